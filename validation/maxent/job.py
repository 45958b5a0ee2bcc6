"""`python -m validation.maxent`: from couplings by maximum entropy to multipliers, weights and a network.

Planted worlds where every sum is done, and the digits with events at three scales. From Python:
``maxent(seed=0, quick=False, out=None, backend=None)``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from backends import Backend, get_backend
from simulator.streams import Streams
from validation.report.experiment import Experiment
from validation.report.finished import FinishedRun
from validation.run.command import Clock
from validation.run.plain_options import WholeOptions

from .answer import answer
from .cases import QUICK, Record, Sizes, learned_digits, planted_worlds
from .claims import check_all


class MaxentReport(FinishedRun):
    """A finished run: ``data`` is the content of maxent.json, ``path`` the folder it stands in."""

    KIND = "maxent"
    PICTURE = ("maxent", "what the chain form loses, and the network learned scale by scale beside trained ones")

    def answer(self) -> str:
        """What the hierarchical form loses, and how well the stack predicts the label."""
        return answer(self.data)


MAXENT = Experiment("maxent", MaxentReport)


def maxent(**options: Any) -> MaxentReport:
    """Learn the worlds and the digits scale by scale, and write maxent.json, maxent.html and figures/*.png to `out`.

    Options as `WholeOptions`. Raises `OptionError`, `StorageError` or `BackendUnavailableError` before
    any work is done; nothing is written unless the run comes to its end.
    """
    chosen = WholeOptions(**options)
    chosen.check_integers()
    ops = get_backend(chosen.backend)
    sizes = QUICK if chosen.quick else Sizes()
    return MAXENT.whole(chosen.folder("maxent"), lambda clock: _compute(chosen, sizes, ops, clock))


def _compute(options: WholeOptions, sizes: Sizes, ops: Backend, clock: Clock) -> Record:
    """The content of the report, but for the time it took."""
    first, second = Streams(options.seed).spawn("maxent", 2)
    planted = planted_worlds(sizes, first)
    clock.lap("planted")
    digits = learned_digits(sizes, second, ops)
    clock.lap("digits")
    given = {"backend": options.backend, "quick": options.quick, **asdict(sizes)}
    return MAXENT.head(given, ops, seed=options.seed) | {
        "planted": planted,
        "digits": digits,
        "checks": [check.record() for check in check_all(planted, digits)],
    }
