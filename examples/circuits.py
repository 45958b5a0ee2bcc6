"""
Circuits
========

The circuits of a network: their sums are output, gradient, Hessian and order parameter. Too many to list? Draw them.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from simulator import (
    Conv,
    Dense,
    HessianOperator,
    MaxPool,
    count_paths,
    enumerate_circuits,
    estimate_assemblies,
    gradient_assemblies,
    hessian_assemblies,
    order_parameter,
    order_parameter_pairs,
    output,
    output_assembly,
    sample_circuits,
    sample_live_paths,
    sequential,
    train,
    vgg12,
)

network = sequential((6, 6, 1), [Conv(2), MaxPool(2), Conv(2), Dense(3), Dense(1)])
weights, rng = network.init(0), np.random.default_rng(1)
x = rng.standard_normal((40, 6, 6, 1))
y = np.where(x[:, :3].mean(axis=(1, 2, 3)) > 0, 1.0, -1.0)
print(f"{network.n_weights} weights, {count_paths(network)} paths from input to output")

# %%
# Order 0, 1, 2: summed over the circuits that share their removed weights they are T :eq:`10`, ∇T and
# ∇²T: the circuits of :eq:`16` without the loss, the terms of :eq:`18`.
plain, once, twice = (enumerate_circuits(network, weights, x[:5], order) for order in (0, 1, 2))
t = output(network, weights, x[:5])
error = np.abs(output_assembly(plain) - t).max()
print(f"{np.mean(plain.values != 0):.3f} of the circuits are live, and their sum is T to {error:.1e}")
slopes = gradient_assemblies(network, once)
shares = [float(np.sum(slope[1] * w)) for slope, w in zip(slopes, weights, strict=True)]
print(f"T(x_1) = {t[1]:.6f}; its share in every layer, ⟨W_l, ∂T/∂W_l⟩: {', '.join(f'{s:.6f}' for s in shares)}")
dense = HessianOperator(network, weights, x[:5], None, c=np.eye(5)[1]).dense()
print(f"Hessian of T(x_1): largest difference {np.abs(hessian_assemblies(network, twice)[1] - dense).max():.1e}")

# %%
# The order parameter :eq:`15`, pair by pair: what it would be if circuits did not know of one another, and what it is.
# Pairs of like sign and of unlike sign all but cancel.
table = []
for epochs in (0, 10, 30):
    now = weights
    if epochs:
        now = train(network, weights, x, y, epochs=epochs, batch_size=40, learning_rate=0.05, momentum=0.9).weights
    pairs = order_parameter_pairs(network, now, x, y)
    table.append([pairs.self_pairs.sum(), pairs.constructive.sum(), -pairs.destructive.sum()])
    own, like, unlike = (float(part.sum()) for part in (pairs.self_pairs, pairs.constructive, pairs.destructive))
    print(
        f"epoch {epochs}: ||∇R||² = {order_parameter(network, now, x, y):.6f} = {own:.6f} (a circuit with itself) "
        f"+ {like:.4f} (pairs of like sign) - {-unlike:.4f} (of unlike sign)"
    )

fig, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
names = ("a circuit with itself", "pairs of like sign", "pairs of unlike sign (−)")
for place, (name, values) in enumerate(zip(names, np.transpose(table), strict=True)):
    ax.bar(np.arange(3) + 0.27 * (place - 1), values, 0.25, label=name)
ax.set(yscale="log", ylabel="share of ||∇R||²", xlabel="epoch", xticks=range(3), xticklabels=("0", "10", "30"))
fig.legend(loc="outside upper center", ncols=3, frameon=False)

# %%
# A sample of the same circuits, and its standard error.
drawn = estimate_assemblies(sample_circuits(network, weights, x, 400_000, seed=2))
exact = output(network, weights, x).mean()
print(f"mean of T: {exact:.4f}, from 400,000 circuits {drawn.value:.4f} ± {drawn.standard_error:.4f}")

# %%
# The paper's network at a quarter of its width: hardly a circuit is live, so draw the live ones for their law.
deep, images = vgg12(0.25), rng.standard_normal((20, 32, 32, 3))
sample = sample_circuits(deep, deep.init(0), images, 300_000, seed=3)
live = sample_live_paths(deep, deep.init(0), images, 1000, seed=4)
print(
    f"vgg12:0.25 has {sample.n_paths} paths: {np.count_nonzero(sample.values)} of {len(sample.values)} drawn are live,"
)
print(f"and {1e6 * live.fractions.mean():.2f} in a million of all")

plt.show()
