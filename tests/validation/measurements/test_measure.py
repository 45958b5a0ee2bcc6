"""What a record says of a spectrum, against spectra that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

from simulator import HessianOperator, mlp, spectral_density
from validation.measurements.spectrum import describe_spectrum

ETA = 0.05


@pytest.mark.parametrize(("below", "above", "far"), [(20, 60, 8), (0, 40, 0), (50, 50, 20), (0, 0, 3)])
def test_an_atom_at_zero_does_not_count_as_eigenvalues_of_a_sign(below: int, above: int, far: int) -> None:
    rng, n = np.random.default_rng(0), 600
    parts = (-rng.uniform(1.0, 3.0, below), rng.uniform(1.0, 3.0, above), rng.uniform(8.0, 30.0, far))
    values = np.concatenate([*parts, np.zeros(n - below - above - far)])
    spectrum = spectral_density(aslinearoperator(np.diag(values)), 40, 60, 1)
    found = describe_spectrum(spectrum, ETA, rng)
    assert np.abs(values[values != 0]).min() > 2 * ETA * spectrum.rms
    for name, exact in (("negative", below / n), ("positive", (above + far) / n)):
        share = found[f"fraction_{name}"]
        assert abs(share["value"] - exact) < 4 * share["standard_error"] + 2e-3, name
    assert sum(found[f"fraction_{s}"]["value"] for s in ("negative", "zero", "positive")) == pytest.approx(1.0)


def test_shares_of_a_hessian() -> None:
    rng, network = np.random.default_rng(1), mlp([20, 10, 10, 1])
    x, y = rng.standard_normal((60, 20)), rng.choice([-1.0, 1.0], 60)
    operator = HessianOperator(network, network.init(0), x, y)
    values = np.linalg.eigvalsh(operator.dense())
    found = describe_spectrum(spectral_density(operator, 100, 80, 0), ETA, rng)
    t = ETA * found["rms"]
    for name, exact in (("negative", np.mean(values < -t)), ("positive", np.mean(values > t))):
        share = found[f"fraction_{name}"]
        assert abs(share["value"] - exact) < 4 * share["standard_error"] + 0.01, name
