"""
Weights as multipliers
======================

A deep network as a product form of maximum-entropy multipliers, :eq:`4` to :eq:`6`, and the best such form of a tensor.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from simulator import expand_multipliers, fit_hierarchy, hierarchical_logits, mlp, output, tensor_logits

network = mlp([3, 4, 3, 1])
weights = network.init(0)
x = np.random.default_rng(0).normal(size=(5, 3))
observed = [x]
for _ in weights[:-1]:
    observed.append((hierarchical_logits(weights, observed) > 0).astype(float))

# %%
# The logits of the last layer three ways: from the tensor, from the chain :eq:`4`, and as the output of the network.
tensor = expand_multipliers(weights)
print(f"multipliers: {tensor.size} numbers in a tensor {tensor.shape}; weights: {network.n_weights}")
print("logits from the tensor: ", np.round(tensor_logits(tensor, observed)[:, 0], 6))
print("logits from the chain:  ", np.round(hierarchical_logits(weights, observed)[:, 0], 6))
print("output of the network:  ", np.round(output(network, weights, x), 6))

# %%
# The chain is found again in its own tensor. With noise added, the best chain follows a little of the noise.
fit = fit_hierarchy(tensor)
print(f"the chain found again: relative residual {fit.residual:.1e} ({fit.status})")
noise = np.random.default_rng(1).normal(size=tensor.shape)
shares = (0.01, 0.03, 0.1, 0.3, 1.0)
missed = []
for share in shares:
    mixed = tensor + share * noise * np.linalg.norm(tensor) / np.linalg.norm(noise)
    missed.append(fit_hierarchy(mixed).residual)
    print(f"with {share:.0%} noise: best chain misses {missed[-1]:.3f} of the tensor")

fig, ax = plt.subplots(figsize=(5.4, 3.2), layout="constrained")
ax.loglog(shares, missed, "o-", label="best chain")
ax.loglog(shares, np.array(shares) / np.hypot(1, shares), color="k", lw=0.8, ls=":", label="all of the noise")
ax.set(xlabel="noise / tensor", ylabel="share of the tensor missed")
ax.legend(frameon=False)
plt.show()
