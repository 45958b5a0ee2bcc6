"""A Hessian spectrum measured and predicted, on real digits: prints the L1 distance of every rung.

python examples/spectrum.py
"""

from __future__ import annotations

import numpy as np

from simulator import HessianOperator, mlp, spectral_density, train
from validation import predict_spectrum
from validation.data import load_dataset
from validation.distances import energy_grid, l1_distance

digits = load_dataset("digits", examples=600, spectrum_examples=100)
network = mlp([64, 24, 24, 1])
trained = train(
    network, network.init(0), digits.x, digits.y, epochs=3, batch_size=64, learning_rate=0.01, momentum=0.9
)  # fmt: skip
x, y = digits.x[digits.spectrum], digits.y[digits.spectrum]
hessian = HessianOperator(network, trained.weights, x, y)
print(f"{network.n_weights} weights, {hessian.active.size} of {x.shape[0]} examples active")

spectrum = spectral_density(hessian, n_probes=4, n_steps=80)
rms, eta = spectrum.rms, 0.05 * spectrum.rms
energies = energy_grid() * rms
measured, error = spectrum.terminated_density(energies, eta)
print(f"rms {rms:.4f}, extreme Ritz values {spectrum.nodes.min():.3f} and {spectrum.nodes.max():.3f}")
print(f"density at 0: {measured[60] * rms:.3f} ± {error[60] * rms:.3f} (in 1/rms, smoothed by 0.05 rms)")
for rung in ("R0", "R1", "R2"):
    g = predict_spectrum(network, x, hessian.c, energies + 1j * eta, rung=rung, weights=trained.weights)
    print(f"{rung}: L1 = {l1_distance(energies, measured, g.imag / np.pi):.3f}")
