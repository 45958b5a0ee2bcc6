"""Stochastic Lanczos quadrature of an ensemble, draw by draw, with a state that can be kept and put back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from backends import HostArray
from simulator.hessian.operator import HessianOperator
from simulator.inputs import check_count
from simulator.lanczos.density import SpectralDensity
from simulator.lanczos.iteration import Lanczos
from simulator.network.network import Network
from simulator.streams import Seed, Streams

from .density import EnsembleDensity


class Drawable(Protocol):
    """Random Hessians by number: `Ensemble`, `FreshNetworks`."""

    @property
    def network(self) -> Network:
        """Whose weights the Hessians are of."""

    def draw(self, index: int, seed: Seed) -> HessianOperator:
        """Draw number `index`."""


class EnsembleLanczos:
    """The recurrences of `n_probes` probes in each of `draws` draws of an ensemble, one step at a time.

    Draws run one after the other in the same memory. `state` and `restore` as those of `Lanczos`: a run goes on inside
    a draw bit for bit.
    """

    def __init__(self, ensemble: Drawable, draws: int, n_probes: int, n_steps: int, seed: Seed = 0) -> None:
        self._ensemble = ensemble
        self._draws = check_count(draws, "draws")
        self._probes, self._steps = check_count(n_probes, "n_probes"), check_count(n_steps, "n_steps")
        self._streams = Streams(seed)
        self._root = int(self._streams("ensemble probes").integers(2**63))  # one integer: the same draw at every call
        self._done: list[SpectralDensity] = []
        self._run: Lanczos | None = None

    @property
    def draw(self) -> int:
        """The draw at hand, from 0; `draws` when all is done."""
        return len(self._done)

    @property
    def finished(self) -> bool:
        """Whether every recurrence of every draw has come to its end."""
        return self.draw >= self._draws

    def _begin(self) -> Lanczos:
        if self._run is None:
            operator = self._ensemble.draw(self.draw, self._root)
            self._run = Lanczos(operator, self._probes, self._steps, self._streams("ensemble probes", self.draw))
        return self._run

    def advance(self) -> int:
        """One more step: how many products it took, 0 when all is done."""
        while not self.finished:
            run = self._begin()
            if count := run.advance():
                return count
            self._end(run)
        return 0

    def _end(self, run: Lanczos) -> None:
        self._done.append(run.result())
        self._run = None

    def result(self) -> EnsembleDensity:
        """The mean spectrum of the draws that are done."""
        if not self._done:
            raise ValueError("no draw is done yet: call advance until it returns 0")
        alpha, beta = (np.concatenate([getattr(one, name) for one in self._done]) for name in ("alpha", "beta"))
        precision = max(one.precision for one in self._done)
        size = self._ensemble.network.n_weights
        return EnsembleDensity.of_draws(SpectralDensity.from_recurrence(alpha, beta, size, precision), len(self._done))

    def state(self) -> dict[str, HostArray]:
        """Everything that the rest of the run depends on, as host arrays."""
        kept: dict[str, HostArray] = {"draws": np.array([self._draws, self.draw], dtype=np.int64)}
        for name in ("alpha", "beta", "precision"):
            kept[f"done_{name}"] = np.array([getattr(one, name) for one in self._done], dtype=np.float64)
        if self._run is not None:
            kept |= {f"run_{name}": value for name, value in self._run.state().items()}
        return kept

    def restore(self, state: Mapping[str, HostArray]) -> None:
        """Go on from a `state` of a run with the same parameters; `ValueError` where it is of another one."""
        draws, done = (int(n) for n in state["draws"])
        shape = (done, self._probes, self._steps)
        if draws != self._draws or (done and state["done_alpha"].shape != shape):
            raise ValueError("the state is not of a run with these draws, probes and steps")
        columns: Any = (state["done_alpha"], state["done_beta"], state["done_precision"])
        size = self._ensemble.network.n_weights
        self._done = [SpectralDensity.from_recurrence(a, b, size, float(p)) for a, b, p in zip(*columns, strict=True)]
        self._run = None
        inside = {name.removeprefix("run_"): value for name, value in state.items() if name.startswith("run_")}
        if inside:
            self._begin().restore(inside)
