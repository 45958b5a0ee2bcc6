"""A deep network as a product form of maximum-entropy multipliers (4)-(6), and the best such form of a tensor.

python examples/hierarchy.py
"""

from __future__ import annotations

import numpy as np

from simulator import expand_multipliers, fit_hierarchy, hierarchical_logits, mlp, output, tensor_logits

network = mlp([3, 4, 3, 1])
weights = network.init(0)
x = np.random.default_rng(0).normal(size=(5, 3))
observed = [x]
for _ in weights[:-1]:
    observed.append((hierarchical_logits(weights, observed) > 0).astype(float))

tensor = expand_multipliers(weights)
print(f"multipliers: {tensor.size} numbers in a tensor {tensor.shape}; weights: {network.n_weights}")
print("logits from the tensor: ", np.round(tensor_logits(tensor, observed)[:, 0], 6))
print("logits from the chain:  ", np.round(hierarchical_logits(weights, observed)[:, 0], 6))
print("output of the network:  ", np.round(output(network, weights, x), 6))

fit = fit_hierarchy(tensor)
print(f"the chain found again: relative residual {fit.residual:.1e} ({fit.status})")
noise = np.random.default_rng(1).normal(size=tensor.shape)
for share in (0.01, 0.1, 1.0):
    mixed = tensor + share * noise * np.linalg.norm(tensor) / np.linalg.norm(noise)
    print(f"with {share:.0%} noise: best chain misses {fit_hierarchy(mixed).residual:.3f} of the tensor")
