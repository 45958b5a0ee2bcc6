"""`python -m validation.exact`: a report on small cases where every sum over gate configurations is done.

Marginals against temperature, exact EM beside its approximations, and the statements that must hold to rounding.
From Python: ``run_exact(seed=0, quick=False, out=None, backend=None)``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from backends import Backend, get_backend
from simulator.enumeration.gates import n_gates
from simulator.streams import Streams
from validation.report.experiment import Experiment
from validation.report.finished import FinishedRun
from validation.run.command import Clock
from validation.run.plain_options import WholeOptions

from .answer import answer
from .cases import (
    DRAWS,
    LEARNING_WIDTHS,
    QUICK,
    RATE,
    REPEATS,
    TEMPERATURE,
    WRONG_LABELS,
    LearningCase,
    Record,
    Sizes,
    learn,
    learning_case,
    marginal_case,
    measure_marginals,
)
from .claims import check_all


class ExactReport(FinishedRun):
    """A finished run: ``data`` is the content of report.json, ``path`` the folder it stands in."""

    KIND = "report"
    PICTURE = ("em", "likelihood, evidence bound and entropy through exact EM")

    def answer(self) -> str:
        """The report in one sentence, without its stop."""
        return answer(self.data)


EXACT = Experiment("exact", ExactReport)


def run_exact(**options: Any) -> ExactReport:
    """Compute the small cases, check them, and write report.json, report.html and figures/*.png to `out`.

    Options as `WholeOptions`. Raises `OptionError`, `StorageError` or `BackendUnavailableError` before
    any work is done; nothing is written unless the run comes to its end.
    """
    chosen = WholeOptions(**options)
    chosen.check_integers()
    ops = get_backend(chosen.backend)
    sizes = QUICK if chosen.quick else Sizes()
    return EXACT.whole(chosen.folder("exact"), lambda clock: _compute(chosen, sizes, ops, clock))


def _compute(options: WholeOptions, sizes: Sizes, ops: Backend, clock: Clock) -> dict[str, Any]:
    """The content of the report, but for the time it took."""
    case_seed, sample_seed, start_seed, run_seed, check_seed = Streams(options.seed).spawn("exact", 5)
    marginal, learning = marginal_case(case_seed), learning_case(sizes, start_seed)
    marginals = measure_marginals(marginal, sizes, sample_seed, ops)
    clock.lap("marginals")
    runs = learn(learning, sizes, run_seed, ops)
    clock.lap("learning")
    checks = check_all(marginals, marginal, runs, learning, sizes, check_seed, ops)
    clock.lap("checks")
    given = {"backend": options.backend, "quick": options.quick, **asdict(sizes)}
    return EXACT.head(given, ops, seed=options.seed) | {
        "marginal": marginals,
        "learning": _describe(learning, float(runs[0].history["entropy"][0])),
        "runs": [run.record() for run in runs],
        "checks": [check.record() for check in checks],
    }


def _describe(case: LearningCase, entropy: float) -> Record:
    return {
        "widths": list(LEARNING_WIDTHS),
        "gates": n_gates(case.network),
        "repeats": REPEATS,
        "wrong_labels": list(WRONG_LABELS),
        "entropy": entropy,
        "temperature": TEMPERATURE,
        "rate": RATE,
        "draws": DRAWS,
    }
