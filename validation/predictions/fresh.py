"""Rung R7: the spectrum through training from freshly drawn networks, with coefficients predicted before training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from backends import Backend
from simulator import EnsembleDensity, EnsembleLanczos, FreshNetworks, Network, SpectralDensity
from simulator.streams import Seed
from validation.statistics.distances import l1_distance

from .sampled import describe_sampled, finished

Array = np.ndarray[Any, Any]


def fresh_density(
    network: Network,
    x: Any,
    c: Any,
    *,
    n_probes: int = 2,
    n_steps: int = 120,
    seed: Seed = 0,
    backend: str | Backend | None = None,
    progress: Callable[[int], object] | None = None,
) -> EnsembleDensity:
    """The mean spectrum of H^k = Σ_i c_i^k ∇²T^k(x_i) over freshly drawn networks k: rung R7.

    The networks are those that `validation.predict_training` draws for the same `seed`, so that its ``c`` of an epoch
    gives the spectrum of that epoch. Signals and gates are those of the fresh networks: the prediction knows nothing
    of a trained one. Stochastic Lanczos quadrature of their own Hessians, for any network and width; no closure of
    equations stands between. Standard errors hold the differences between networks.

    Parameters
    ----------
    x : (m, ...) examples; ``c`` (networks, m): ∂ℓ/∂T/m of each in every network
    n_probes, n_steps : Lanczos probes in each network, and their steps
    progress : called with the number of Hessian products done

    Returns
    -------
    A `simulator.EnsembleDensity`, whose draws are the networks.

    Examples
    --------
    >>> import numpy as np
    >>> from simulator import mlp
    >>> from validation import fresh_density, predict_training
    >>> network, x, y = mlp([4, 32, 1]), np.eye(4), np.array([1.0, -1.0, 1.0, -1.0])
    >>> law = predict_training(network, x, y, epochs=3, batch_size=2, learning_rate=0.1, backend="numpy")
    >>> fresh_density(network, x, law.c[3], n_steps=20, backend="numpy").draws
    4
    """
    networks = FreshNetworks(network, x, c, seed, backend)
    return finished(EnsembleLanczos(networks, len(networks), n_probes, n_steps, seed), progress)


def describe_fresh(spectrum: dict[str, Any], drawn: EnsembleDensity, eta: float, n: int) -> dict[str, Any]:
    """What a record keeps of R7: as `describe_sampled`, and what single networks differ by.

    ``spread`` (energies,): standard deviation of a network's density, its probes included, in units of the measured
    rms; ``rms_of_networks``: the rms of each over the measured one; ``l1_of_networks``: L1 of each from the mean of
    the others. A trained network is one of them: its own L1 cannot be smaller on average. ``l1_shape``: L1 with the
    energies of R7 in units of its own rms.
    """
    rms, grid = spectrum["rms"], np.array(spectrum["energies"])
    networks = networks_of(drawn, n)
    densities = np.stack([one.terminated_density(grid * rms, eta * rms)[0] * rms for one in networks])
    total = densities.sum(axis=0)
    others = [(total - one) / max(len(densities) - 1, 1) for one in densities]
    several, own = len(densities) > 1, math.sqrt(drawn.moment(2)[0])
    shape = drawn.terminated_density(grid * own, eta * own)[0] * own if own > 0.0 else np.zeros_like(grid)
    return describe_sampled(spectrum, drawn, eta, n) | {
        "l1_shape": l1_distance(grid, np.array(spectrum["density"]), shape),
        "spread": densities.std(axis=0, ddof=1).tolist() if several else None,
        "rms_of_networks": [float(np.sqrt(one.moment(2)[0])) / rms for one in networks],
        "l1_of_networks": [l1_distance(grid, a, b) for a, b in zip(densities, others, strict=True)] if several else [],
    }


def networks_of(drawn: EnsembleDensity, n: int) -> list[SpectralDensity]:
    """The spectrum of every network by itself."""
    rows = zip(np.split(drawn.alpha, drawn.draws), np.split(drawn.beta, drawn.draws), strict=True)
    return [SpectralDensity.from_recurrence(alpha, beta, n) for alpha, beta in rows]
