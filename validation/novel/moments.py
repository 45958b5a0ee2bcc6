"""The network at one moment: the spectrum of the Hessian of its batch, and how far its circuits lean to the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backends import Backend
from simulator import HessianOperator, Network, SpectralDensity, spectral_density
from validation.data import Examples
from validation.measurements.alignment import aligned_share
from validation.measurements.spectrum import rms_error
from validation.statistics.extremes import largest_eigenvalues

from .training import LOSS

Array = np.ndarray[Any, Any]
Record = dict[str, Any]


def spectrum_record(
    network: Network,
    weights: Sequence[Array],
    examples: Examples,
    probes: int,
    steps: int,
    backend: Backend,
    rng: np.random.Generator,
) -> Record:
    """rms, λ_min, λ_max and m3 = tr H³/(N rms³) of the Hessian H of the risk, each with its standard error.

    The error of an extreme eigenvalue is what a quarter of the Lanczos steps changes; Ritz values lie inside the
    spectrum. All are exactly 0, without a measurement, where no example is active; m3 is null where H = 0.
    """
    operator = HessianOperator(network, weights, examples.x, examples.y, LOSS, backend=backend)
    active = int(operator.active.size)
    if active == 0:
        return {"active": 0, **_zero()}
    spectrum = spectral_density(operator, probes, steps, rng)
    if spectrum.rms == 0.0:
        return {"active": active, **_zero()}
    return {"active": active, **_described(spectrum)}


def _zero() -> Record:
    zero = {"value": 0.0, "standard_error": 0.0}
    return {"rms": zero, "minimum": zero, "maximum": zero, "m3": None}


def _described(spectrum: SpectralDensity) -> Record:
    rms = float(spectrum.rms)
    ends = largest_eigenvalues(spectrum, rms)
    third, error = spectrum.moment(3)

    def end(side: str, sign: int) -> Record:
        """Beyond all Ritz values there is nothing to tell: an end at 0 has no error to speak of."""
        if not ends[side]:
            return {"value": 0.0, "standard_error": None}
        first = ends[side][0]
        return {"value": sign * rms * first["value"], "standard_error": rms * first["standard_error"]}

    return {
        "rms": {"value": rms, "standard_error": rms_error(spectrum, rms)},
        "minimum": end("negative", -1),
        "maximum": end("positive", 1),
        "m3": {"value": third / rms**3, "standard_error": error / rms**3},
    }


def share_record(network: Network, weights: Sequence[Array], examples: Examples, backend: Backend) -> Record:
    """Aligned share Σ y T / ΣΣ|x Ψ| of the circuits, its standard error over examples, what chance gives, dead ones."""
    found = aligned_share(network, weights, examples.x, examples.y, backend)
    return {key: found[key] for key in ("value", "standard_error", "chance", "dead_examples")}
