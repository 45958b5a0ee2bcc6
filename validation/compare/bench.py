"""What stays fixed through a run of the main job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backends import Backend
from simulator import Network, StochasticNetwork
from simulator.streams import Streams
from validation.data import Dataset
from validation.interchange import LoadedWeights
from validation.measurements.moments import default_moment_probes
from validation.measurements.stochastic import Temperature
from validation.measurements.whole import has_curvature
from validation.predictions.forecast import Forecast
from validation.predictions.rung import RECORDED_DRAWS
from validation.predictions.structure import structure_cases
from validation.predictions.whole import WHOLE_RUNGS
from validation.run.budget import Memory
from validation.run.deadline import Deadline

from .options import Options

Array = np.ndarray[Any, Any]
CHEAP, DENSER = 5_000_000, 4  # weights times examples up to which densities rest on four times the steps
VERIFYING = 2  # products that verify the others before the first step


@dataclass(frozen=True)
class Bench:
    """What stays fixed through a run: data, network, options, the backend, and weights to start from if not random."""

    dataset: Dataset
    network: Network
    options: Options
    backend: Backend
    loaded: LoadedWeights | None = None
    memory: Memory = field(default_factory=Memory)
    deadline: Deadline = field(default_factory=Deadline)
    forecast: Forecast | None = None

    def n_products(self) -> int:
        """Hessian products of one record, for the progress bar."""
        count = default_moment_probes(self.network.n_weights)
        moments = sum(min(count, size) for size in self.network.layer_sizes)
        spectra = 2 if self.curved else 1
        runs = 1 if self.temperature is None else self.options.probes  # every probe has a set of gates of its own
        measured = spectra * (self.options.probes * self._products_of_a_probe() + runs * VERIFYING)
        return measured + moments + self.n_sampled()

    @property
    def temperature(self) -> Temperature | None:
        """The temperature of the gates and the law of their averages; None for ReLU gates."""
        if self.options.temperature == 0.0:
            return None
        law = "posterior" if self.options.e_step == "posterior" else "forward"
        return Temperature(self.options.temperature, law, self.options.gate_draws or 1)

    def drawn(self, weights: Sequence[Array], epoch: int, rows: Array | None = None) -> StochasticNetwork | None:
        """The network with the gates that an epoch's record draws, on these rows of the training examples or on all."""
        if self.temperature is None:
            return None
        data = self.dataset
        x, y = (data.x, data.y) if rows is None else (data.x[rows], data.y[rows])
        streams = Streams(self.options.seed)
        return self.temperature.network(self.network, weights, x, y, self.options.loss, streams, epoch, self.backend)

    @property
    def curved(self) -> bool:
        """Whether H + G is measured, and is another matrix than H."""
        return self.options.whole and has_curvature(self.options.loss)

    def n_sampled(self) -> int:
        """Hessian products of the sampled rungs, of R7, --structure and --whole: one probe in each draw."""
        cases = len(list(structure_cases(self.network))) if self.options.structure else 0
        cases += len(WHOLE_RUNGS) if self.curved else 0
        networks = 0 if self.forecast is None else self.forecast.networks * len(self.forecast.rungs)
        count = (len(RECORDED_DRAWS) + cases) * (self.options.draws or 0) + networks
        return count * (self._products_of_a_probe() + VERIFYING)

    def _products_of_a_probe(self) -> int:
        return min(self.density_steps(), self.network.n_weights)

    def density_steps(self) -> int:
        """Lanczos steps behind the density: more than --steps where products are cheap.

        A prediction that is right to 0.01 needs a measurement that resolves as much, which 60 steps of a narrow
        bulk with far outliers do not.
        """
        work = self.network.n_weights * self.dataset.spectrum.size
        return (self.options.steps or 1) * (DENSER if work <= CHEAP else 1)
