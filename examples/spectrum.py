"""
A Hessian spectrum
==================

Measured and predicted, on real digits; the L1 distance of each rung is at most 2.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from simulator import HessianOperator, mlp, spectral_density, train
from validation import predict_spectrum
from validation.data import load_dataset
from validation.statistics.distances import energy_grid, l1_distance

digits = load_dataset("digits", examples=600, spectrum_examples=100)
network = mlp([64, 24, 24, 1])
trained = train(network, network.init(0), digits.x, digits.y, epochs=3, batch_size=64, learning_rate=0.01, momentum=0.9)
x, y = digits.x[digits.spectrum], digits.y[digits.spectrum]
hessian = HessianOperator(network, trained.weights, x, y)
print(f"{network.n_weights} weights, {hessian.active.size} of {x.shape[0]} examples active")

# %%
# Measured: stochastic Lanczos quadrature, and its density with the continued fraction closed by a semicircle.
spectrum = spectral_density(hessian, n_probes=4, n_steps=80)
rms, eta = spectrum.rms, 0.05 * spectrum.rms
energies = energy_grid() * rms
measured, error = spectrum.terminated_density(energies, eta)
print(f"rms {rms:.4f}, extreme Ritz values {spectrum.nodes.min():.3f} and {spectrum.nodes.max():.3f}")
print(f"density at 0: {measured[60] * rms:.3f} ± {error[60] * rms:.3f} (in 1/rms, smoothed by 0.05 rms)")
# %%
# Predicted by rungs :eq:`R0`, :eq:`R2` and :eq:`R6` of the ladder, at the same smoothing.
fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.fill_between(energies / rms, (measured - error) * rms, (measured + error) * rms, color="0.8")
ax.plot(energies / rms, measured * rms, color="k", label="measured ± one standard error")
for rung in ("R0", "R2", "R6"):
    g = predict_spectrum(network, x, hessian.c, energies + 1j * eta, rung=rung, weights=trained.weights)
    distance = l1_distance(energies, measured, g.imag / np.pi)
    ax.plot(energies / rms, g.imag / np.pi * rms, ls="--", label=f"{rung}, L1 = {distance:.3f}")
    print(f"{rung}: L1 = {distance:.3f}")
ax.set(xlabel="E / rms", ylabel="density × rms", yscale="log")
ax.legend(frameon=False)
plt.show()
