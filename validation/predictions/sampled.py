"""The sampled rungs: the mean spectrum of draws from an ensemble that knows as much as the rung does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.integrate import trapezoid

from backends import Backend
from simulator import Ensemble, EnsembleDensity, EnsembleLanczos, Network, SpectralDensity
from simulator.passes.drawn import DrawnGates
from simulator.streams import Seed
from validation.run.storage import finite_or_none
from validation.statistics.bulk import sampled_bulk_distances
from validation.statistics.distances import l1_distance, w1_distance
from validation.statistics.extremes import TAILS, fewer_steps, largest_eigenvalues, tail_shares

from .rung import SAMPLED_RUNGS

Array = np.ndarray[Any, Any]


def ensemble_of(
    rung: str, network: Network, weights: Sequence[Any], x: Any, c: Any, backend: str | Backend | None, **options: Any
) -> Ensemble:
    """The ensemble of a sampled rung; `options` of `simulator.Ensemble` beside its own. `ValueError`: no such rung."""
    if rung not in SAMPLED_RUNGS:
        raise ValueError(f"rung {rung!r} draws from no ensemble: use one of {', '.join(SAMPLED_RUNGS)}")
    return Ensemble(network, weights, x, c, backend=backend, **{**SAMPLED_RUNGS[rung], **options})


def ensemble_density(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    c: Any,
    *,
    rung: str = "RE",
    directions: int | tuple[int, int] = 0,
    draws: int = 4,
    n_probes: int = 2,
    n_steps: int = 120,
    seed: Seed = 0,
    layers: Sequence[int] | None = None,
    curvature: Any = None,
    gates: DrawnGates | None = None,
    backend: str | Backend | None = None,
    progress: Callable[[int], object] | None = None,
) -> EnsembleDensity:
    """The mean spectrum of a sampled rung by stochastic Lanczos quadrature, with standard errors over draws and probes.

    RE: x, δ̂ and gates of the network, fresh Gaussian weights of each layer's mean square. REp: weights whose variances
    follow the norms of their two neurons. RK: the signals are drawn again too, from the Gram matrices of every layer's
    preactivations and errors over its sites. `simulator.Ensemble` says more.

    Parameters
    ----------
    x : (m, ...) examples; ``c`` (m,) = ∂ℓ/∂T/m of each; ``curvature`` (m,) = ℓ''/m: the Gauss-Newton part is added,
        exactly
    directions : how many leading directions of the signals are given (RE, REp); a pair: of inputs and of errors; 0: as
        many as the rung gives
    draws, n_probes, n_steps : draws of the ensemble, Lanczos probes in each, steps of each probe
    layers : the layers (0 for the first) that are drawn afresh, by default all; the others stay as they are
    gates : those that the rows x draw at a temperature; new fields of RK draw theirs at it too
    progress : called with the number of Hessian products done

    Returns
    -------
    A `simulator.EnsembleDensity`: ``terminated_density(energies, eta)``, ``stieltjes(z)``, ``nodes`` and ``weights``
    (draws · n_probes, n_steps).

    Examples
    --------
    >>> import numpy as np
    >>> from simulator import mlp
    >>> from validation import ensemble_density
    >>> network, x = mlp([3, 8, 8, 1]), np.eye(3)
    >>> drawn = ensemble_density(network, network.init(0), x, np.ones(3) / 3, n_steps=20, backend="numpy")
    >>> drawn.nodes.shape
    (8, 20)
    """
    given: dict[str, Any] = {"directions": directions} if directions else {}  # 0: those of the rung
    ensemble = ensemble_of(
        rung, network, weights, x, c, backend, layers=layers, curvature=curvature, gates=gates, **given
    )
    return finished(EnsembleLanczos(ensemble, draws, n_probes, n_steps, seed), progress)


def finished(run: EnsembleLanczos, progress: Callable[[int], object] | None) -> EnsembleDensity:
    """The result of a run, once all its draws are done."""
    while count := run.advance():
        if progress is not None:
            progress(count)
    return run.result()


def describe_sampled(spectrum: dict[str, Any], drawn: EnsembleDensity, eta: float, n: int) -> dict[str, Any]:
    """What a record keeps of a sampled rung, beside the record of the measured ``spectrum`` of n eigenvalues.

    Energies and densities in units of the measured rms; ``rms``: that of the ensemble over it. Both laws rest on as
    many Lanczos steps. ``l1_standard_error`` and ``w1_standard_error``: what the distance would be for two equal laws,
    given the probes of one and the draws of the other, and the change that a quarter of both laws' steps makes in it.
    """
    rms, grid = spectrum["rms"], np.array(spectrum["energies"])
    density, error = drawn.terminated_density(grid * rms, eta * rms)
    measured = np.array(spectrum["density"])
    square, square_error = drawn.moment(2)
    return {
        "l1": l1_distance(grid, measured, density * rms),
        "w1": w1_distance(grid, measured, density * rms),
        **_distance_errors(spectrum, drawn, eta, n),
        "interpolation_error": 0.0,
        "density": (density * rms).tolist(),
        "standard_error": [finite_or_none(float(e)) for e in error * rms],
        "rms": {
            "value": math.sqrt(square) / rms,
            "standard_error": finite_or_none(square_error / (2.0 * math.sqrt(square) * rms)) if square > 0 else None,
        },
        "draws": drawn.draws,
        "alpha": drawn.alpha.tolist(),
        "beta": drawn.beta.tolist(),
        "tails": {
            "thresholds": list(TAILS),
            **{side: _counts(shares, n) for side, shares in tail_shares(drawn, rms).items()},
            "largest": largest_eigenvalues(drawn, rms),
        },
        **sampled_bulk_distances(spectrum, drawn),
    }


def _distance_errors(spectrum: dict[str, Any], drawn: EnsembleDensity, eta: float, n: int) -> dict[str, float | None]:
    """Standard errors of L1 and W1 between the measured law of n eigenvalues and that of the draws."""
    rms, grid = spectrum["rms"], np.array(spectrum["energies"])
    law = SpectralDensity.from_recurrence(spectrum["alpha"], spectrum["beta"], n)
    steps = fewer_steps(drawn)

    def error(name: str, scale: float, distance: Callable[[Array, Array, Array], float]) -> float | None:
        full, short = (
            [getattr(s, name)(grid * rms, eta * rms, k) for s in (law, drawn)] for k in (None, steps)
        )  # each: (values, standard errors) of the measured and of the drawn law
        noise = trapezoid(np.hypot(full[0][1], full[1][1]) * scale, grid)
        long, less = (distance(grid, pair[0][0] * scale, pair[1][0] * scale) for pair in (full, short))
        return finite_or_none(math.hypot(math.sqrt(2.0 / math.pi) * float(noise), long - less))

    def between(energies: Array, one: Array, other: Array) -> float:
        return float(trapezoid(np.abs(one - other), energies))

    return {
        "l1_standard_error": error("terminated_density", rms, l1_distance),
        "w1_standard_error": error("terminated_law", 1.0, between),
    }


def _counts(shares: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Numbers of n eigenvalues from shares."""
    return [{key: None if value is None else n * value for key, value in share.items()} for share in shares]
