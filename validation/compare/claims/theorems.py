"""Claims on the symmetry theorems and moment bounds for the main job, on reduced ensembles drawn from the run's seed.

S1-S3, M1-M4 are exact facts: "holds", or a bug. (20) and (21), order by order, and the exponent of S3 are claims under
test; `python -m validation.bounds` measures all of them on larger grids.
"""

from __future__ import annotations

from collections.abc import Sequence

from backends import Backend, get_backend
from simulator import Network
from simulator.streams import Seed, spawn_streams
from validation.measurements.ensembles.assemblies import KINDS, AssemblyMoments
from validation.measurements.ensembles.claims import (
    assembly_name,
    flip_checks,
    mean_bound_check,
    number,
    theorem_checks,
)
from validation.measurements.ensembles.gates import measure_flips
from validation.measurements.ensembles.random import check_theorems
from validation.measurements.ensembles.slopes import (
    ERRORS,
    GROWTH,
    Grid,
    Slopes,
    assembly_slopes,
    measure_grid,
    order_of,
    select_moments,
)
from validation.statistics.claim import Claim, Record
from validation.statistics.decide import all_of

ENSEMBLES = 60
GRID = Grid((16, 32, 64), (4, 6, 8), 3e6)
FLIP_BUDGET = 2e6
NARROWEST, WIDEST = 64, 2048


def bound_claims(network: Network, seed: Seed, backend: str | Backend | None = None) -> list[Record]:
    """Claims S1-S3, M1-M4, eq20 and eq21 as a report keeps them, in about two seconds.

    They do not depend on data or training. From the network come the widths below a neuron (fan-ins) that S3's exponent
    is measured at; a network with fewer than three of 64 or more gets powers of two up to 2048 as well.
    """
    ops = get_backend(backend)
    if ops.dtype != "float64":
        ops = get_backend(ops.name)  # rounding of single precision would look like a violation
    ensembles, grid, flips = spawn_streams(seed, 3)
    moments = measure_grid(GRID, grid, ops)
    rows = [*theorem_checks(check_theorems(ENSEMBLES, ensembles, ops)), mean_bound_check(moments)]
    rows += flip_checks(measure_flips(_widths(network), FLIP_BUDGET, flips, ops))
    rows += [_vanishing(moments), *(_growth(moments, eq, k) for eq in ("eq20", "eq21") for k in range(3))]
    return [row.record() for row in rows]


def _widths(network: Network) -> list[int]:
    """Fan-ins from 64 to 2048, where the power law is reached; powers of two if there are fewer than three."""
    own = {layer.fan_in for layer in network.layers if NARROWEST <= layer.fan_in <= WIDEST}
    return sorted(own if len(own) >= 3 else own | {2**k for k in range(6, 12)})


def _vanishing(moments: Sequence[AssemblyMoments]) -> Claim:
    """Where W_L is intact and not removed, (20) holds because the mean is 0."""
    kinds = [kind for kind, parts in KINDS.items() if "L" not in parts]
    means = [m.mean.value for kind in kinds for m in select_moments(moments, kind, True)]
    worst = max(map(abs, means))
    return Claim(
        "eq20.intact", "eq. (20)", "the mean of an assembly is 0 where W_L is intact and not removed (M4)",
        f"largest mean {worst:.1e} of {len(means)}", "0", worst == 0.0, exact=False,
    )  # fmt: skip


def _growth(moments: Sequence[AssemblyMoments], equation: str, order: int) -> Claim:
    """The fastest growth of measured/bracket among the assemblies of one order, some weights broken."""
    fits = [(kind, _fit(moments, kind, equation)) for kind in KINDS if order_of(kind) == order]
    kind, worst = max(fits, key=lambda fit: (fit[1].bounded is False, fit[1].per_layer.value))
    held = all_of(fit.bounded for _, fit in fits)
    what = "mean" if equation == "eq20" else "mean square"
    return Claim(
        f"{equation}.k{order}", f"eq. ({equation[2:]})",
        f"the {what} of assemblies of order {order} is at most a constant times the bracket, some weights broken",
        f"measured/bracket: slope {number(worst.per_layer)} per layer, {number(worst.per_log_width)} per log n for "
        f"{assembly_name(kind)}; {sum(fit.bounded is True for _, fit in fits)} of {len(fits)} kinds bounded",
        f"no slope above {GROWTH:g}, by {ERRORS:g} standard errors", held, exact=False,
    )  # fmt: skip


def _fit(moments: Sequence[AssemblyMoments], kind: str, equation: str) -> Slopes:
    fit = assembly_slopes(select_moments(moments, kind, False), equation)
    if fit is None:
        raise ValueError(f"every mean of {assembly_name(kind)} is 0: expected broken weights in the grid")
    return fit
