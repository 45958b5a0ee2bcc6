"""
Dyson equations
===============

Spectral laws from self-consistent equations: an atom, a matrix unknown, the outlier of a term of rank one.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from theory import (
    KrausCovariance,
    ProfileCovariance,
    axis_resolvent,
    dyson_moments,
    outliers,
    solve_matrix_dyson,
    spectral_edge,
)

rng = np.random.default_rng(0)
eta = 0.05
energies = np.linspace(-4.0, 4.0, 161)
z = energies + 1j * eta

# %%
# A block matrix with an atom
# ---------------------------
# H = [[0, B], [Bᵀ, 0]], B (300, 100) with entries of variance 1/300: half of the eigenvalues are 0.
block = rng.normal(size=(300, 100)) / np.sqrt(300)
matrix = np.block([[np.zeros((300, 300)), block], [block.T, np.zeros((100, 100))]])
# Rows of one kind share one unknown: -1/g_1 = z + 100/300 g_2, -1/g_2 = z + g_1.
law = solve_matrix_dyson(ProfileCovariance([[0.0, 1 / 3], [1.0, 0.0]]), z)
g = np.diagonal(law.values, axis1=1, axis2=2) @ np.array([0.75, 0.25])
measured = (1.0 / (np.linalg.eigvalsh(matrix) - z[:, None])).mean(axis=1)
print(f"block matrix: residual {law.residual:.0e} after {law.iterations} iterations")
print(f"  L1 of the densities at eta {eta}: {np.trapezoid(np.abs(g.imag - measured.imag), energies) / np.pi:.4f}")
print(f"  weight at 0: {eta * g[80].imag:.3f} predicted, {eta * measured[80].imag:.3f} measured, 0.5 exact")

blocks = (g.imag / np.pi, measured.imag / np.pi)

# %%
# Correlated blocks
# -----------------
# H = A ⊗ 1 + Σ_k A_k ⊗ W_k with Wigner matrices W_k: the unknown is a 3 × 3 matrix.
mean = np.diag([1.0, 0.0, -0.5])
shapes = rng.normal(size=(2, 3, 3))
shapes = 0.15 * (shapes + shapes.transpose(0, 2, 1))
covariance = KrausCovariance(shapes)
law = solve_matrix_dyson(covariance, z, mean)
matrix = np.kron(mean, np.eye(200))
for shape in shapes:
    noise = rng.normal(size=(200, 200))
    matrix += np.kron(shape, (noise + noise.T) / np.sqrt(400))
eigenvalues = np.linalg.eigvalsh(matrix)
measured = (1.0 / (eigenvalues - z[:, None])).mean(axis=1)
print(f"correlated blocks: residual {law.residual:.0e} after {law.iterations} iterations")
print(f"  L1 of the densities: {np.trapezoid(np.abs(law.g.imag - measured.imag), energies) / np.pi:.4f}")
moments = [np.mean(eigenvalues**p) for p in range(1, 5)]
print(f"  moments 1 to 4: {np.round(dyson_moments(covariance, mean), 3)} predicted, {np.round(moments, 3)} measured")

fig, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for ax, (predicted, found), title in zip(
    axes, (blocks, (law.g.imag / np.pi, measured.imag / np.pi)), ("block matrix", "correlated blocks"), strict=True
):
    ax.plot(energies, found, color="0.6", lw=3, label="eigenvalues of one matrix")
    ax.plot(energies, predicted, color="#882255", lw=1.2, label="Dyson equation")
    ax.set(title=title, xlabel="E", xlim=(-3, 3))
axes[0].set(ylabel=f"density, η = {eta}", yscale="log")
fig.legend(*axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)

# %%
# An outlier
# ----------
# A term of rank 1 in the third block, away from the support: where does its eigenvalue go?
edge = spectral_edge(lambda w: solve_matrix_dyson(covariance, w, mean).g, 1.0, 9.0, 1e-5)
direction = np.array([[0.0], [0.0], [1.0]])
bulk = axis_resolvent(covariance, direction, mean, height=1e-4)
v = np.kron(direction[:, 0], rng.normal(size=200))
v /= np.linalg.norm(v)
print(f"rank one: upper edge {edge:.3f} predicted, {eigenvalues[-1]:.3f} measured")
for strength in (0.5, 2.0, 4.0):
    found = outliers(bulk, [strength], (edge + 0.02, edge + 20.0))
    top = np.linalg.eigvalsh(matrix + strength * np.outer(v, v))[-1]
    print(f"  strength {strength}: outliers {np.round(found, 3)} predicted, largest eigenvalue {top:.3f}")

plt.show()
