"""
1. A network, its gates and its circuits
========================================

We describe a network, train it on real digits, and take it apart into gates and paths.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from simulator import (
    count_paths,
    gradient,
    mlp,
    order_parameter,
    output,
    risk,
    sample_live_paths,
    signal_powers,
    train,
)
from validation.data import load_dataset

# %%
# Data and network
# ----------------
# The 8×8 digits that ship with scikit-learn, even against odd: labels are -1 or +1, inputs are centred and scaled. A
# network is an immutable description. Weights are a separate list of arrays, one for each layer, without biases.
digits = load_dataset("digits", examples=1000)
network = mlp([64, 32, 32, 1])
weights = network.init(0)
print(f"{digits.x.shape[0]} examples; weight shapes {network.weight_shapes}, {network.n_weights} weights")

# %%
# At initialisation the variances are 2/fan-in, which keeps the mean square of the signals from layer to layer
# :eq:`M1`. The edge of chaos is the point where this growth factor is 1.
powers = np.asarray(signal_powers(network, weights, digits.x))
print("mean square signal by layer:", np.round(powers, 2))

# %%
# Training
# --------
# Stochastic gradient descent on the hinge loss :eq:`12`, :eq:`13`. Examples with a margin above 1 are inactive: they
# take no part in the gradient or the Hessian.
result = train(network, weights, digits.x, digits.y, epochs=12, batch_size=64, learning_rate=0.01, momentum=0.9)
trained = result.weights
for name, w in (("at initialisation", weights), ("after 12 epochs", trained)):
    margins = digits.y * output(network, w, digits.x)
    print(
        f"{name}: risk {risk(network, w, digits.x, digits.y):.3f}, accuracy {np.mean(margins > 0):.3f}, "
        f"active {np.mean(margins < 1):.3f}, ||∇R||² {order_parameter(network, w, digits.x, digits.y):.4f}"
    )

# %%
# The squared gradient norm is the paper's order parameter :eq:`15`. It goes to 0 with the risk.
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
left.semilogy(result.history["epoch"], result.history["risk"], "o-")
left.set(xlabel="epoch", ylabel="risk, mean over batches")
g = np.concatenate([layer.ravel() for layer in gradient(network, trained, digits.x, digits.y)])
right.hist(g / np.sqrt(np.mean(g**2)), bins=np.linspace(-6, 6, 80), density=True, color="0.6")
right.set(yscale="log", xlabel="gradient entry / rms", ylabel="density")

# %%
# Circuits
# --------
# The output is a sum over paths from input to output :eq:`10`: on each path the product of its weights and 0/1 gates
# :eq:`11`. Most circuits are cut by some gate that is off; those that are not are drawn uniformly here. The share of
# them is counted exactly.
live = sample_live_paths(network, trained, digits.x[:50], 20_000)
print(f"{count_paths(network)} paths, {100 * live.fractions.mean():.1f} % of them live")

# %%
# The circuits :eq:`16` that share a weight add up to its entry of the gradient, those that share two weights to an
# entry of the Hessian, a term of :eq:`18`. The script on circuits in the gallery does these sums. Here is what follows
# from them for the gradient: its product with the weights is the same number for every layer :eq:`E4`, because the
# output is linear in each.
for layer, (w, slope) in enumerate(zip(trained, gradient(network, trained, digits.x, digits.y), strict=True), 1):
    print(f"layer {layer}: ⟨W, ∇R⟩ = {np.sum(w * slope):.12f}")

plt.show()
