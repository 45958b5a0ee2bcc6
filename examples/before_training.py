"""
Before training
===============

Risk, active examples and Hessian spectrum of a training, predicted before a single step is taken, then measured.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from simulator import HessianOperator, evaluate, mlp, spectral_density, train_epochs
from validation import fresh_density, predict_training
from validation.data import load_dataset

data = load_dataset("digits", examples=200, seed=0)
x, y, network = data.x, data.y, mlp([64, 256, 256, 1])
schedule = {"epochs": 10, "batch_size": 32, "learning_rate": 0.0025, "momentum": 0.9, "seed": 0}

# %%
# Four freshly drawn networks follow their tangent kernels through the same batches :eq:`R7`.
law = predict_training(network, x, y, **schedule)
for epoch in (0, 2, 5):
    risk, active = law.risk[epoch], law.active[epoch]
    print(f"epoch {epoch}: predicted risk {risk.mean():.2f} ± {risk.std(ddof=1):.2f}, active {active.mean():.0f}")

# %%
# Another network is trained. Nothing of it has been used.
weights = network.init(1)
states = {0: weights} | {s.epoch: s.weights for s in train_epochs(network, weights, x, y, **schedule)}
measured = [evaluate(network, w, x, y) for w in states.values()]
fig, ax = plt.subplots(figsize=(5.4, 3.6), layout="constrained")
ax.fill_between(range(11), law.risk.min(axis=1), law.risk.max(axis=1), alpha=0.2, label="predicted, four networks")
ax.plot(range(11), [m.risk for m in measured], "o-", label="measured")
ax.set(xlabel="epoch", ylabel="risk (hinge)", yscale="log")
ax.legend(frameon=False)

# %%
# The spectrum after two epochs, from the predicted coefficients c of the fresh networks, and measured.
operator = HessianOperator(network, states[2], x, y)
own = spectral_density(operator, n_probes=4, n_steps=80)
predicted = fresh_density(network, x, law.c[2], n_probes=2, n_steps=80)
energies = np.linspace(-4, 4, 161) * own.rms
fig, ax = plt.subplots(figsize=(5.4, 3.6), layout="constrained")
for spectrum, label in ((own, "measured"), (predicted, "predicted before training")):
    density, error = spectrum.terminated_density(energies, 0.05 * own.rms)
    ax.plot(energies / own.rms, density * own.rms, label=label)
    ax.fill_between(energies / own.rms, (density - error) * own.rms, (density + error) * own.rms, alpha=0.2)
ax.set(xlabel="E / rms", ylabel="density × rms (η = 0.05 rms)", yscale="log")
ax.legend(frameon=False)
print(f"active examples: {operator.active.size}, predicted {law.active[2].mean():.0f}")
