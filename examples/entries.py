"""
Entries of the Hessian
======================

Single entries of the Hessian, example by example: how close to 0 their means are, and which of them move together.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import validation
from simulator import HessianOperator, entry_values, hessian_entries, mlp, train

digits = load_digits()
x = digits.data / 16 - np.mean(digits.data / 16, axis=0)
x, y = x / x.std(), np.where(digits.target % 2, 1.0, -1.0)
network = mlp([64, 32, 32, 1])
weights = network.init(0)

# %%
# ∂²T_i/∂w_p ∂w_q times ∂ℓ/∂T_i for every example: their mean is the entry of the risk's Hessian.
p, q = 70, 64 * 32 + 6 * 32 + 3  # weight (2, 6) of layer 1 enters neuron 6, which weight (6, 3) of layer 2 leaves
values = entry_values(network, weights, x, y, [p], [q])[:, 0]
unit = np.eye(1, network.n_weights, p)[0]
print(
    f"H[{p}, {q}] = {values.mean():.6f}; a product with the Hessian gives "
    f"{(HessianOperator(network, weights, x, y) @ unit)[q]:.6f}"
)
ratio = values.mean() / values.std()
print(f"it is 0 at {np.mean(values == 0):.2f} of the examples; its mean is {ratio:.3f} standard deviations off 0")

# %%
# A stratified sample, without the pairs that no path joins.
sample = hessian_entries(network, weights, x[:10], y[:10], n=300)
print(f"{len(sample.first)} entries through {sample.pairs.n_first} first parameters; left out: {sample.pairs.excluded}")

# %%
# How far means are off 0 in standard deviations of an average of B examples, and how many pairs of entries are coupled.
fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for epochs in (0, 3):
    if epochs:
        weights = train(network, weights, x, y, epochs=epochs, batch_size=64, learning_rate=0.01, momentum=0.9).weights
    found = validation.entry_statistics(network, weights, x, y, n=120, n_first=40, resamples=100)
    print(f"epoch {epochs}: {found['active']} of {found['examples']} examples active, {found['live']} entries vary")
    averages = found["concentration"]["averages"]
    ax.errorbar(
        *zip(*((r["average"], r["fraction"], r["standard_error"]) for r in averages), strict=True),
        marker="o",
        capsize=3,
        label=f"epoch {epochs}",
    )
    for row in averages:
        print(
            f"  within 0.15 standard deviations of an average of {row['average']:4d} examples: "
            f"{row['fraction']:.3f} ± {row['standard_error']:.3f}"
        )
    for kind in ("covariance", "third", "fourth"):
        row = found["coupling"][kind]
        print(f"  {kind}: {row['found']} of {row['tests']} pairs coupled, {row['ratio']:.1e} of N²")
ax.axhspan(0.95, 0.98, color="0.85", label="paper: 0.95 to 0.98")
ax.set(xscale="log", xlabel="B, examples in an average", ylabel="share within 0.15 standard deviations", ylim=(0, 1.05))
ax.legend(frameon=False)
plt.show()
