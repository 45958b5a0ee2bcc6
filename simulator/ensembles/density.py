"""What the spectra of several draws of an ensemble say of their mean."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from backends import HostArray
from simulator.lanczos.density import SpectralDensity
from simulator.shown import shown


@shown
@dataclass(frozen=True)
class EnsembleDensity(SpectralDensity):
    """Gauss rules of several probes in each of several draws: their mean estimates the mean spectrum of an ensemble.

    As `SpectralDensity`, with the probes of one draw in successive rows. ``draws``: how many draws. Standard errors are
    those of the mean over draws: they hold the differences between draws and the noise of their probes.
    """

    draws: int = 1

    @classmethod
    def of_draws(cls, spectrum: SpectralDensity, draws: int) -> EnsembleDensity:
        """A spectrum whose rows are the probes of so many draws, one after the other."""
        return cls(**{f.name: getattr(spectrum, f.name) for f in fields(spectrum)}, draws=draws)

    def truncated(self, n_steps: int) -> EnsembleDensity:
        """What the first `n_steps` steps alone would have given: recurrences are nested."""
        return EnsembleDensity.of_draws(super().truncated(n_steps), self.draws)

    def per_draw(self, values: HostArray) -> HostArray:
        """The means over the probes of each draw: (..., n_probes of all draws) -> (..., draws)."""
        means: HostArray = values.reshape(*values.shape[:-1], self.draws, -1).mean(axis=-1)
        return means

    def probe_variance(self, values: HostArray, spread: HostArray) -> HostArray:
        """Variance of the mean over draws, given (..., n_probes of all draws); NaN where nothing tells.

        The scatter of the draws' means holds that of their probes. The scatter of few draws is a poor estimate: what
        the probes alone must give at most (`SpectralDensity.probe_variance`) counts as `KNOWN_PROBES` further draws.
        """
        if self.draws < 2:
            return np.full(values.shape[:-1], np.nan)
        return super().probe_variance(self.per_draw(values), spread * (self.draws / values.shape[-1]))
