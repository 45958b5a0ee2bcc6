"""
Temperature
===========

From fair coins to ReLU: the law of the gates, and the marginal it gives, as the temperature falls, :eq:`7` and :eq:`8`.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from simulator import exact_marginal, gate_law, mlp, monte_carlo_marginal

network = mlp([2, 6, 5, 1])
weights, x = network.init(0), np.array([[1.5, -0.5]])
print("temperature   µ(+1|x)   Monte Carlo (1000 draws)   deviation   entropy of the 11 gates")
temperatures = (100.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
curve = []
for temperature in temperatures:
    exact = exact_marginal(network, weights, x, temperature)[0]
    drawn = monte_carlo_marginal(network, weights, x, temperature, samples=1000, seed=1)
    value, error = drawn.value[0], drawn.standard_error[0]
    # A gate that flips less than once in all the draws leaves no trace in the estimate or in its error.
    deviation = f"{(value - exact) / error:+8.1f} σ" if error > 1e-6 else "   all agree"
    entropy = gate_law(network, weights, x, temperature).entropy[0]
    curve.append((exact, value, error, entropy))
    print(f"{temperature:11g}   {exact:.5f}   {value:.5f} ± {error:.5f}        {deviation:>12}   {entropy:.3f} nats")
cold = exact_marginal(network, weights, x, 0.0)[0]
print(f"          0   {cold:.5f}   the ReLU network: every gate is 1[z > 0], entropy 0 (7), (8)")
print(f"fair coins would have 11 ln 2 = {11 * np.log(2):.3f} nats")

fig, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 4.4), sharex=True, layout="constrained")
exact, value, error, entropy = np.transpose(curve)
top.errorbar(temperatures, value, 2 * error, fmt="o", ms=4, capsize=3, label="1000 draws, ± two standard errors")
top.plot(temperatures, exact, color="k", lw=1, label="sum over all configurations")
top.axhline(cold, color="0.6", ls="--", lw=1, label="ReLU network")
top.set(xscale="log", ylabel="µ(+1|x)")
top.legend(frameon=False)
bottom.plot(temperatures, entropy, "k.-", lw=1)
bottom.axhline(11 * np.log(2), color="0.6", ls=":", lw=1)
bottom.set(xlabel="temperature", ylabel="entropy of the gates (nats)")
plt.show()
