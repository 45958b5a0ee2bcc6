"""
2. The spectrum, measured and predicted
=======================================

The Hessian of the risk has as many eigenvalues as the network has weights. We measure their density without forming
the matrix, and then predict it without diagonalising anything.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from simulator import HessianOperator, mlp, spectral_density, train
from validation import predict_spectrum
from validation.data import load_dataset
from validation.statistics.distances import energy_grid, l1_distance

digits = load_dataset("digits", examples=1000, spectrum_examples=100)
network = mlp([64, 24, 24, 1])
weights = train(
    network, network.init(0), digits.x, digits.y, epochs=2, batch_size=64, learning_rate=0.01, momentum=0.9
).weights
x, y = digits.x[digits.spectrum], digits.y[digits.spectrum]

# %%
# An operator
# -----------
# `HessianOperator` is a scipy ``LinearOperator`` with the gates frozen. It is the Hessian wherever the risk is
# differentiable. For the hinge it has exact properties whatever the weights: its diagonal blocks vanish :eq:`E1`, so
# its trace is 0 :eq:`E2`, and it maps the weights to (L - 1) times the gradient :eq:`E3`.
hessian = HessianOperator(network, weights, x, y)
theta = np.concatenate([w.ravel() for w in weights])
print(f"{hessian.shape} operator; {hessian.active.size} of {len(y)} examples active")
print(f"θᵀHθ = {theta @ (hessian @ theta):.6f}")

# %%
# Measured
# --------
# Stochastic Lanczos quadrature: random probes, a tridiagonal matrix for each, and a standard error over probes.
# Densities are smoothed with a width η, here 0.05 of the rms eigenvalue, and never shown without it.
spectrum = spectral_density(hessian, n_probes=4, n_steps=120)
rms = spectrum.rms
eta = 0.05 * rms
energies = energy_grid() * rms
measured, error = spectrum.terminated_density(energies, eta)
nodes = spectrum.nodes
print(f"rms {rms:.4f}; extreme Ritz values {nodes.min() / rms:.1f} and {nodes.max() / rms:.1f} rms")

# %%
# The network is small enough to check against all eigenvalues.
eigenvalues = np.linalg.eigvalsh(hessian.dense())
exact = (1 / (eigenvalues - (energies + 1j * eta)[:, None])).mean(axis=1).imag / np.pi
print(f"L1 between measured and exact: {l1_distance(energies, measured, exact):.4f} (at most 2)")
print(
    f"sum of the eigenvalues: {eigenvalues.sum():.1e}; negative: {np.sum(eigenvalues < -1e-9)}, "
    f"positive: {np.sum(eigenvalues > 1e-9)}"
)

# %%
# Predicted
# ---------
# Each rung of the ladder solves a self-consistent equation that knows more of the network. :eq:`R0` knows the rms,
# :eq:`R2` mean squares of the rows, :eq:`R5` and :eq:`R6` the signals, errors and gates and, of each layer's
# weights, only the mean square. No rung has a fitted number.
colours = {"R0": "#E69F00", "R2": "#009E73", "R5": "#D55E00", "R6": "#882255"}
fig, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
ax.plot(energies / rms, exact * rms, color="0.75", lw=4, label="all eigenvalues")
ax.plot(energies / rms, measured * rms, color="k", lw=1.2, label="measured (Lanczos)")
for rung, colour in colours.items():
    g = predict_spectrum(network, x, hessian.c, energies + 1j * eta, rung=rung, weights=weights)
    distance = l1_distance(energies, exact, g.imag / np.pi)
    ax.plot(energies / rms, g.imag / np.pi * rms, color=colour, ls="--", label=f"{rung}, L1 = {distance:.3f}")
    print(f"{rung}: L1 = {distance:.4f}")
ax.set(xlabel="E / rms", ylabel="density × rms, η = 0.05 rms", yscale="log")
ax.legend(frameon=False)

# %%
# What does it mean that R6 is close? Put symmetric randomness of the same mean squares in the place of the weights that
# carry tangents, keep the signals and gates that the trained weights have made, and the spectrum hardly moves. So the
# weights in tangent passes may be redrawn. The signals themselves are many numbers, more than there are weights.
#
# The main job does this through training: ``python -m validation.compare``, or `validation.compare` as in the
# gallery's last script.

plt.show()
