"""
Weights from and to other software
==================================

A network goes to PyTorch's format and back, its Hessian meets SciPy's eigensolvers, and a report becomes plain arrays.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse.linalg import eigsh

import validation
from simulator import HessianOperator, mlp, output, train
from validation.data import load_dataset

digits = load_dataset("digits", examples=600, spectrum_examples=100)
network = mlp([64, 24, 24, 1])
weights = train(
    network, network.init(0), digits.x, digits.y, epochs=3, batch_size=64, learning_rate=0.01, momentum=0.9
).weights  # fmt: skip

with tempfile.TemporaryDirectory() as folder:
    for name in ("digits.pt", "digits.npz"):  # .safetensors too, with the package of that name
        file = Path(folder) / name
        validation.save_weights(file, network, weights)
        again = validation.load_weights(file, network)
        print(f"{name}: {file.stat().st_size} bytes")
        assert np.array_equal(output(network, again, digits.x), output(network, weights, digits.x))

    # The main job on a file: what PyTorch trained is measured in the same way.
    report = validation.compare(
        data="digits", network="mlp:24x24", weights=str(Path(folder) / "digits.pt"), epochs=0, quick=True,
        out=str(Path(folder) / "run"),
    )  # fmt: skip
    validation.to_npz(report, Path(folder) / "run.npz")
    with np.load(Path(folder) / "run.npz") as arrays:
        for rung, distance in zip(arrays["rung"], arrays["l1"][0], strict=True):
            print(f"{rung}: L1 = {distance:.3f}")

hessian = HessianOperator(network, weights, digits.x[digits.spectrum], digits.y[digits.spectrum])
low, high = (eigsh(hessian, k=3, which=which, return_eigenvectors=False) for which in ("SA", "LA"))
print(f"lowest eigenvalues {np.sort(low)}, highest {np.sort(high)}")
