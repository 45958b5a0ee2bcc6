"""
Ensembles of signs
==================

A network under all signs of its weights: exact laws of its circuits, and the theorems that bound their asymmetry.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from simulator import enumerate_paths, enumerate_signs, mlp
from theory import gate_flip_probability, mean_output_bound, second_moment

network = mlp([3, 3, 3, 1])
x = np.array([1.0, 0.5, -2.0])
paths = enumerate_paths(network)

# %%
# All 21 signs random, Gaussian magnitudes: every circuit is exactly symmetric, because its last weight is :eq:`S1`.
weights = network.init(0)
ensemble = enumerate_signs(network, weights, x)
law = ensemble.circuit_law(paths)
print(f"{ensemble.output.size} patterns, {len(paths)} circuits: largest d_TV(Ψ, -Ψ) = {law.distance.max():g}")
print(f"circuit {paths[0]}: P(Ψ < 0), P(Ψ = 0), P(Ψ > 0) = {law.probabilities[0]}")

# %%
# The last layer broken: what is left of the symmetry is what the gates do not see of the weights below :eq:`S2`.
broken = np.arange(network.n_weights) >= network.slices[-1].start
ensemble = enumerate_signs(network, weights, x, ~broken)
distance = ensemble.circuit_law(paths).distance
fig, ax = plt.subplots(figsize=(5.4, 3.6), layout="constrained")
for layer in range(2):
    coupling = ensemble.coupling_law(paths, layer)
    i = int(distance.argmax())
    print(
        f"W_3 broken, circuit {paths[i]}: d_TV {distance[i]:.4f} ≤ ½P(Ψ' ≠ -Ψ) = {coupling.mismatch[i] / 2:.4f} ≤ "
        f"½P(a gate changes) = {coupling.gate_change[i] / 2:.4f}, the weight of layer {layer + 1} negated"
    )

    ax.plot(coupling.gate_change / 2, distance, "o", mfc="none", label=f"weight of layer {layer + 1} negated")
ax.plot([0, 0.5], [0, 0.5], color="k", lw=0.8, ls=":", label="equality")
ax.set(xlabel="½ P(a gate of the path changes)", ylabel="d_TV(Ψ, −Ψ) of a circuit")
ax.legend(frameon=False)

# %%
# The mean output: one factor ½ from the last hidden layer, however deep the network :eq:`M4`.
bound = mean_output_bound(weights[-1][:, 0], ensemble.last_layer[:, 3])
print(f"E T = {ensemble.mean_output:.4f}, within ±{bound:.4f} (M4)")

# %%
# Equal magnitudes s_l: second moments are products of n_l s_l²/2, to the last bit here :eq:`M1`.
scales = [1.0, 2.0, 3.0]
equal = enumerate_signs(network, [np.full(s, c) for s, c in zip(network.weight_shapes, scales, strict=True)], x)
print(
    f"E||x_1||², E||x_2||², E T² = {equal.second_moments}, M1 says {second_moment([3, 3, 3, 1], np.square(scales), x)}"
)

# %%
# One sign in the first layer: how often does its gate change? Fixed magnitudes here, Gaussian ones in :eq:`S3`.
flips, gaussian = equal.flip_probability(np.arange(0, 9, 3))[:, 0], gate_flip_probability(x, np.arange(3))
print(f"gate 0 changes with the sign of w_a0: {flips}; for Gaussian weights {gaussian.round(4)}")

plt.show()
