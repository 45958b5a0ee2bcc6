"""
Exact sums over gates
=====================

Every configuration of the gates of a small network: its prior, its posterior, and the sums over all of them.
"""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import numpy as np

from simulator import circuit_moments, exact_marginal, exact_posterior, gate_law, mlp, monte_carlo_marginal, output

network, temperature = mlp([3, 4, 3, 1]), 0.5
weights = network.init(0)
x = np.random.default_rng(1).standard_normal((2, 3))
print(f"{network.n_weights} weights, 7 gates, {2**7} configurations, temperature {temperature}")

# %%
# µ(y = +1|x): the sum over all configurations, an estimate of it, and what is left of it at temperature 0.
marginal = exact_marginal(network, weights, x, temperature)
estimate = monte_carlo_marginal(network, weights, x, temperature, samples=2000)
relu = 1 / (1 + np.exp(-output(network, weights, x)))
for i in range(len(x)):
    drawn = f"{estimate.value[i]:.4f} ± {estimate.standard_error[i]:.4f}"
    print(f"input {i}: µ(+1|x) = {marginal[i]:.6f}, Monte Carlo {drawn}, ReLU network {relu[i]:.4f}")

# %%
# What a label says about the gates: the posterior, and its divergence from the prior in nats.
posterior = exact_posterior(network, weights, x, [1, 1], temperature)
law = gate_law(network, weights, x, temperature)
for i in range(len(x)):
    best = int(posterior[i].argmax())
    gates = " ".join(f"{best >> first & (1 << size) - 1:0{size}b}"[::-1] for first, size in ((0, 4), (4, 3)))
    print(
        f"input {i}: given y = +1 the likeliest gates are {gates} ({posterior[i, best]:.3f}); entropy "
        f"{law.entropy[i]:.3f} nats, after the label {law.posterior_entropy[i, 1]:.3f}, "
        f"information {law.kl[i, 1]:.4f}"
    )

fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for i in range(len(x)):
    ax.step(range(1, 2**7 + 1), np.sort(posterior[i])[::-1], where="mid", label=f"input {i}")
ax.axhline(2.0**-7, color="k", lw=0.8, ls=":", label="fair coins")
ax.set(xscale="log", yscale="log", xlabel="configuration, by rank", ylabel="posterior probability", ylim=(1e-6, 1))
ax.legend(frameon=False)

# %%
# The output is the assembly of its circuits :eq:`10`, also on average over the gates.
paths = np.array(list(itertools.product(range(3), range(4), range(3), range(1))))
(means,) = circuit_moments(network, weights, x, paths, temperature, orders=[1])
for i in range(len(x)):
    print(
        f"input {i}: {len(paths)} circuits sum to {means[i].sum():.12f}, the mean output is {law.mean_output[i]:.12f}"
    )

plt.show()
