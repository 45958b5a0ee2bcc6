"""
Expectation-maximisation
========================

XOR with some labels wrong, and three ways to choose the gates: their exact posterior, draws from their forward law, and
the gates of the ReLU network.
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from simulator import exact_marginal, expectation_maximization, mlp

# %%
# Each corner of the square eight times, y = -x1 x2; 1, 2, 0 and 1 labels are wrong. No model can know which.
corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
x, y = np.repeat(corners, 8, axis=0), np.repeat(-corners.prod(axis=1), 8)
y[[0, 8, 9, 24]] *= -1

# %%
# The risk is the entropy of the labels, which no network can lower, and a divergence, which learning lowers.
network = mlp([2, 4, 3, 1])
weights = network.init(1)
methods: dict[str, dict[str, Any]] = {
    "exact posterior": {"e_step": "exact", "temperature": 0.5},
    "Monte Carlo": {"e_step": "monte_carlo", "temperature": 0.5, "samples": 20, "learning_rate": 0.5},
    "zero temperature (ReLU)": {"e_step": "zero_temperature", "temperature": 0.0, "learning_rate": 0.5},
}
fig, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for name, options in methods.items():
    result = expectation_maximization(network, weights, x, y, iterations=100, backend="numpy", **options)
    history = result.history
    ax.plot(history["kl"], label=name)
    steps = np.diff(history["log_likelihood"])
    print(f"\n{name}: {np.sum(steps < -1e-12)} of {steps.size} iterations lower the likelihood")
    for iteration in (0, 10, 100):
        now = {key: values[iteration] for key, values in history.items()}
        print(
            f"  iteration {iteration:3d}: risk {-now['log_likelihood']:.4f} = entropy of the labels "
            f"{now['entropy']:.4f} + divergence {now['kl']:.4f}, at most {-now['bound']:.4f} (bound); "
            f"entropy of the gates {now['gate_entropy']:.3f}"
        )
    model = exact_marginal(network, result.weights, corners, options["temperature"])
    print(f"  µ(+1|x) of the corners: {', '.join(f'{p:.3f}' for p in model)} (in the data: 0.125, 0.750, 1, 0.125)")
ax.set(xlabel="iteration", ylabel="divergence (nats)", yscale="log")
ax.legend(frameon=False)
plt.show()
