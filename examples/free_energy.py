"""
Free energy of the gates
========================

Energy, entropy and free energy of all gates against the temperature, :eq:`9` and :eq:`F2`, by sums and by draws; and
how far the bound at the ReLU gates is below the likelihood.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from simulator import exact_thermodynamics, mlp, sample_thermodynamics, search_gates

network = mlp([4, 6, 5, 1])
rng = np.random.default_rng(0)
weights, x, y = network.init(0), rng.standard_normal((20, 4)), rng.choice([-1.0, 1.0], 20)
temperatures = (0.05, 0.1, 0.3, 1.0, 3.0, 10.0)
print("temperature   energy U   entropy S   U - T S   drawn            ReLU gates   below log µ(y|x)")
curve = []
for t in temperatures:
    exact = exact_thermodynamics(network, weights, x, y, t)
    drawn = sample_thermodynamics(network, weights, x, t, draws=200, seed=1).free_energy.sum(axis=2).mean(axis=1)
    value, error = drawn.mean(), drawn.std(ddof=1) / np.sqrt(drawn.size)
    gap, share = np.mean(exact.log_marginal - exact.relu), exact.most_probable.mean()
    curve.append((exact.energy.mean(), exact.entropy.mean(), exact.free_energy.mean(), value, gap))
    print(f"{t:11g}   {curve[-1][0]:8.3f}   {curve[-1][1]:9.3f}   {curve[-1][2]:7.3f}   {value:7.3f} ± {error:.3f}"
          f"   {share:10.2f}   {gap:.3f} nats")  # fmt: skip

search = search_gates(network, weights, x, y, temperature=3.0)
rise = (search.found - search.relu)[search.refuted].mean()
print(f"at T = 3 a search finds more probable gates for {search.refuted.sum()} of 20 examples, by {rise:.2f} nats")

energy, entropy, free, value, gap = np.transpose(curve)
fig, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 4.4), sharex=True, layout="constrained")
top.plot(temperatures, energy, "C0.-", lw=1, label="energy U")
top.plot(temperatures, -np.array(temperatures) * entropy, "C2.-", lw=1, label="− T S")
top.plot(temperatures, free, "k.-", lw=1, label="free energy U − T S")
top.plot(temperatures, value, "ro", ms=5, mfc="none", label="the same, by draws")
top.set(xscale="log", yscale="symlog", ylabel="mean over the examples")
top.legend(frameon=False)
bottom.plot(temperatures, gap, "k.-", lw=1)
bottom.set(xlabel="temperature", ylabel="ReLU gates below\nlog µ(y|x) (nats)", yscale="log")
plt.show()
