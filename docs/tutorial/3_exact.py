"""
3. A small network, exactly
===========================

At a temperature above 0 the gates are random, and a ReLU network is the limit of cold. With few gates every sum over
them can be done.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from simulator import (
    circuit_moments,
    enumerate_paths,
    exact_marginal,
    exact_posterior,
    expectation_maximization,
    gate_law,
    mlp,
    monte_carlo_marginal,
    output,
)

network = mlp([2, 6, 5, 1])
weights = network.init(0)
x = np.array([[1.5, -0.5], [0.4, 0.9], [-1.0, 0.2]])

# %%
# The marginal
# ------------
# Hidden gates follow P(h = 1) = σ(z/T). µ(y = +1|x) sums over the 2¹¹ configurations of 11 gates. As T goes to 0 it
# becomes the output of the ReLU network :eq:`7`, :eq:`8`; when T is large every gate is a fair coin.
temperatures = np.geomspace(0.02, 50, 40)
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
curves = np.array([exact_marginal(network, weights, x, t) for t in temperatures])
relu = 1 / (1 + np.exp(-output(network, weights, x)))
for i in range(len(x)):
    (line,) = ax.semilogx(temperatures, curves[:, i], label=f"input {i}")
    ax.plot(temperatures[0], relu[i], "o", mfc="none", color=line.get_color())
ax.set(xlabel="temperature of the gates", ylabel="µ(y = +1 | x)")
ax.legend(frameon=False)
print("coldest against ReLU:", np.abs(exact_marginal(network, weights, x, 1e-6) - relu).max())

# %%
# Exact sums say what a Monte Carlo estimate is worth.
drawn = monte_carlo_marginal(network, weights, x, 0.5, samples=2000, seed=1)
for i, exact in enumerate(exact_marginal(network, weights, x, 0.5)):
    off = (drawn.value[i] - exact) / drawn.standard_error[i]
    print(f"input {i}: {exact:.5f} exactly, {drawn.value[i]:.5f} ± {drawn.standard_error[i]:.5f} drawn ({off:+.1f} σ)")

# %%
# The posterior
# -------------
# What does a label say about the gates? Bayes' rule over all configurations: the divergence of the posterior from
# the prior, in nats, beside the entropy that the gates had.
posterior = exact_posterior(network, weights, x, [1, 1, 1], temperature=0.5)
law = gate_law(network, weights, x, 0.5)
print("posterior probabilities sum to", posterior.sum(axis=1))
for i in range(len(x)):
    print(f"input {i}: entropy {law.entropy[i]:.3f} nats, a label +1 tells {law.kl[i, 1]:.4f} nats")

# %%
# Circuits at a temperature
# -------------------------
# Circuits are random now. Their means still add up to the mean output :eq:`10`.
paths = enumerate_paths(network)
(means,) = circuit_moments(network, weights, x, paths, 0.5, orders=[1])
print(f"{len(paths)} circuits: sums {means.sum(axis=1)}, mean outputs {law.mean_output}")

# %%
# Learning
# --------
# Back-propagation is the cold limit of expectation-maximisation. XOR with one wrong label in eight: the likelihood
# never falls with the exact E-step, and the divergence is what is left to learn.
corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
inputs, labels = np.repeat(corners, 8, axis=0), np.repeat(-corners.prod(axis=1), 8)
labels[[0, 8, 16, 24]] *= -1
small = mlp([2, 4, 3, 1])
learnt = expectation_maximization(small, small.init(1), inputs, labels, iterations=80, e_step="exact", temperature=0.5)
history = learnt.history
print(f"smallest step of the log-likelihood: {np.diff(history['log_likelihood']).min():.1e}")

fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
ax.plot(history["log_likelihood"], "k", label="log-likelihood")
ax.plot(history["bound"], "--", color="#D55E00", label="evidence bound after the M-step")
ax.axhline(-history["entropy"][0], color="0.6", ls=":", label="less the entropy of the labels: the most there is")
ax.set(xlabel="iteration", ylabel="nats per example")
ax.legend(frameon=False)

plt.show()
