"""
4. Theorems and bounds
======================

Symmetric weights make symmetric circuits. How exactly, and what does it say of means and mean squares? Theorems S and
M are exact and are compared here without sampling error; the paper's bounds are claims, and one of them fails.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from simulator import enumerate_paths, enumerate_signs, mlp
from theory import gate_flip_probability, mean_bracket, mean_flip_probability, mean_output_bound, second_moment

# %%
# All signs of a small network
# ----------------------------
# Fix the magnitudes of 21 weights and let their signs be fair coins: two million networks, visited one by one. The
# law of every circuit is exact.
network = mlp([3, 3, 3, 1])
x = np.array([1.0, 0.5, -2.0])
weights = network.init(0)
paths = enumerate_paths(network)
every = enumerate_signs(network, weights, x)
print(f"{every.output.size} sign patterns, {len(paths)} circuits")
print(f"largest distance of a circuit's law from its mirror image: {every.circuit_law(paths).distance.max()}")

# %%
# Exactly 0, as :eq:`S1` says: no gate sees the last weight. Now break the last layer, by fixing its signs. The
# weights below still make the circuits nearly symmetric, up to the chance that negating one of them flips a gate
# :eq:`S2`.
broken = np.arange(network.n_weights) >= network.slices[-1].start
half = enumerate_signs(network, weights, x, ~broken)
distance = half.circuit_law(paths).distance
coupling = half.coupling_law(paths, 1)
violated = np.sum(distance > coupling.gate_change / 2 + 1e-12)
print(f"distances up to {distance.max():.4f}; above the bound in {violated} of {len(paths)} cases")

# %%
# How often does a gate flip?
# ---------------------------
# For Gaussian weights there is a formula :eq:`S3`. In a wide layer a single weight hardly matters, and the
# probability falls with the square root of the width.
widths = 2 ** np.arange(3, 12)
mean = np.array([float(mean_flip_probability(n)) for n in widths])
rng = np.random.default_rng(0)
seen = [np.mean(gate_flip_probability(rng.standard_normal(n), np.arange(n))) for n in widths]
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.loglog(widths, mean, "k", label="mean over inputs")
ax.loglog(widths, seen, "o", mfc="none", label="one random input")
ax.loglog(widths, mean[-1] * np.sqrt(widths[-1] / widths), ":", color="0.5", label="slope −1/2")
ax.set(xlabel="width below", ylabel="P(the gate changes)")
ax.legend(frameon=False)

# %%
# Second moments
# --------------
# With equal magnitudes in each layer mean squares are known exactly :eq:`M1`.
scales = np.array([1.0, 2.0, 3.0])
equal = enumerate_signs(network, [np.full(s, c) for s, c in zip(network.weight_shapes, scales, strict=True)], x)
print("measured", equal.second_moments, "M1", second_moment([3, 3, 3, 1], scales**2, x))

# %%
# The mean output, and where (20) goes wrong
# ------------------------------------------
# With the last layer broken the mean output is not 0. :eq:`M4` bounds it by one factor ½.
bound = mean_output_bound(weights[-1][:, 0], half.last_layer[:, 3])
print(f"E T = {half.mean_output:.4f}, within ±{bound:.4f}")

# %%
# The paper's bracket :eq:`20` takes a ½ from every layer. The mean of a signal before the last layer, where nothing
# is broken, tells them apart: it is ½E|z| whatever the depth :eq:`M2`, because second moments do not shrink. Here
# for Gaussian weights at the edge of chaos, width 64, from 400 networks of each depth.
n, depths = 64, np.array([2, 3, 4, 6, 8, 10])
means, errors = [], []
for depth in depths:
    signals = np.ones((400, n))
    for _ in range(depth - 1):
        w = rng.standard_normal((400, n, n)) * np.sqrt(2 / n)
        signals = np.maximum(np.einsum("ri,rij->rj", signals, w), 0)
    by_network = signals.mean(axis=1)
    means.append(by_network.mean())
    errors.append(by_network.std() / np.sqrt(400))
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.errorbar(depths, means, 2 * np.array(errors), fmt="o", capsize=3, label="E ∂T/∂W_L, all weights intact")
bracket = mean_bracket(n, depths, 100, 1.0)  # µ so large that nothing is broken
ax.plot(depths, bracket, "--", color="#D55E00", label="bracket of (20)")
ax.plot(depths, np.full(len(depths), np.sqrt(0.5)), ":", color="k", label="½ √(E z²), the bound of M4")
ax.set(xlabel="depth L", ylabel="mean of an assembly", yscale="log")
ax.legend(frameon=False)
print("measured/bracket:", np.round(np.array(means) / bracket, 1))

# %%
# The ratio doubles with every layer. ``python -m validation.bounds`` does this with standard errors for every kind
# of assembly, widths and depths, and checks thousands of random networks against the theorems.

plt.show()
