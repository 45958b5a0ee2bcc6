"""`python -m validation.bounds`: every symmetry theorem and moment bound put to the test, with a table of verdicts.

S1-S3 and M1-M4 in random exact sign ensembles; (20), (21) and the exponents by Monte Carlo. From Python:
``bounds(seed=0, quick=False, out=None, backend=None)``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from backends import Backend, get_backend
from simulator.streams import Streams
from validation.measurements.ensembles.claims import (
    bracket_checks,
    bracket_slopes,
    correlation_checks,
    flip_checks,
    mean_bound_check,
    planted_check,
    theorem_checks,
)
from validation.measurements.ensembles.gates import gate_record, measure_correlations, measure_flips
from validation.measurements.ensembles.random import check_theorems, ensembles_until_caught
from validation.measurements.ensembles.slopes import Grid, measure_grid, moments_record
from validation.report.experiment import Experiment
from validation.report.finished import FinishedRun
from validation.run.command import Clock
from validation.run.plain_options import WholeOptions

from .answer import answer


@dataclass(frozen=True)
class Sizes:
    """How much is tried: ensembles, the grid of assemblies, widths and weights drawn for flips, for correlations."""

    ensembles: int = 4000
    grid: Grid = field(default_factory=Grid)
    flip_widths: tuple[int, ...] = tuple(2**k for k in range(3, 12))
    flip_budget: float = 5e7
    correlation_widths: tuple[int, ...] = tuple(2**k for k in range(3, 11))
    inputs: int = 2000


QUICK = Sizes(200, Grid((16, 32, 64), (4, 6, 8), 4e6), Sizes.flip_widths, 2e6, (8, 16, 32, 64, 128, 256), 1000)


class BoundsReport(FinishedRun):
    """A finished run: ``data`` is the content of bounds.json, ``path`` the folder it stands in."""

    KIND = "bounds"
    PICTURE = ("bounds_means", "means of assemblies over their brackets")

    def answer(self) -> str:
        """The report in one sentence, without its stop."""
        return answer(self.data)


BOUNDS = Experiment("bounds", BoundsReport)


def bounds(**options: Any) -> BoundsReport:
    """Test every theorem and bound, and write bounds.json, bounds.html and figures/*.png to `out`.

    Options as `WholeOptions`. Raises `OptionError`, `StorageError` or `BackendUnavailableError` before
    any work is done; nothing is written unless the run comes to its end.
    """
    chosen = WholeOptions(**options)
    chosen.check_integers()
    ops = get_backend(chosen.backend)
    sizes = QUICK if chosen.quick else Sizes()
    return BOUNDS.whole(chosen.folder("bounds"), lambda clock: _compute(chosen, sizes, ops, clock))


def _compute(options: WholeOptions, sizes: Sizes, ops: Backend, clock: Clock) -> dict[str, Any]:
    """The content of the report, but for the time it took."""
    streams = Streams(options.seed).spawn("bounds", 5)
    theorems = check_theorems(sizes.ensembles, streams[0], ops)
    caught = ensembles_until_caught(streams[1], ops, sizes.ensembles)
    clock.lap("theorems")
    moments = measure_grid(sizes.grid, streams[2], ops)
    clock.lap("assemblies")
    flips = measure_flips(sizes.flip_widths, sizes.flip_budget, streams[3], ops)
    correlations = measure_correlations(sizes.correlation_widths, sizes.inputs, streams[4], ops)
    clock.lap("gates")
    slopes = bracket_slopes(moments)
    checks = [*theorem_checks(theorems), mean_bound_check(moments), planted_check(caught, sizes.ensembles)]
    checks += [*flip_checks(flips), *correlation_checks(correlations), *bracket_checks(slopes)]
    given = {"backend": options.backend, "quick": options.quick, **_flat(sizes)}
    return BOUNDS.head(given, ops, seed=options.seed) | {
        "theorems": [asdict(c) | {"holds": c.holds} for c in theorems.values()],
        "planted": {"bound": "S2 with ¼", "caught_after": caught, "of": sizes.ensembles},
        "assemblies": [moments_record(m) for m in moments],
        "slopes": [{"id": name, "fit": None if s is None else asdict(s)} for name, s in slopes.items()],
        **gate_record(flips, correlations),
        "checks": [check.record() for check in checks],
    }


def _flat(sizes: Sizes) -> dict[str, Any]:
    """Lists, as JSON has them."""
    values = asdict(sizes)
    grid = values.pop("grid")
    named = values | {f"assembly_{key}": value for key, value in grid.items()}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in named.items()}
