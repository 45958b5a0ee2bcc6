"""The rungs of the ladder of predictions: what each knows, of what it speaks, and how it is drawn.

Tables, legends, captions, the ladder, the phase diagram and help texts read this registry. The laws stand in `predict`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Rung:
    """One rung.

    name      as in reports;  title  in words
    needs     "moments" of the Hessian, the "shape" of a perceptron and its examples, the "signals" of every neuron,
              "draws" of an ensemble, or the shape, the "data" and the schedule of training
    average   whether it describes networks of a shape on average, and not the one at hand
    closure   of the linearised equations, for rungs that solve them
    ensemble  arguments of `simulator.Ensemble`, for rungs that draw from one, or solve for signals drawn from one
    moves     whether the kernels behind a prediction of the training move with it
    recorded  whether a run of the main job tries it at every record
    style     colour (Okabe and Ito's; R6 Tol's wine: distinct to the colour-blind), line, marker (for grey prints)
    """

    name: str
    title: str
    needs: Literal["moments", "shape", "signals", "draws", "data"]
    style: tuple[str, Any, str]
    average: bool = False
    closure: str = ""
    ensemble: Mapping[str, Any] = field(default_factory=dict)
    moves: bool = False
    recorded: bool = True


RUNGS: dict[str, Rung] = {
    rung.name: rung
    for rung in (
        Rung("R0", "semicircle", "moments", ("#E69F00", "--", "s")),
        Rung("R1", "layer blocks", "moments", ("#56B4E9", "-.", "^")),
        Rung("R2", "separable profile", "moments", ("#009E73", (0, (5, 1.5)), "D")),
        Rung("R3", "arc-cosine kernels", "shape", ("#CC79A7", ":", "v"), average=True),
        Rung("R4w", "wide perceptron", "signals", ("#999933", (0, (1, 1)), "<"), True, "mean_field"),
        Rung("R4", "fresh networks", "signals", ("#0072B2", "-.", "P"), True, "cavity"),
        Rung("R5", "measured signals", "signals", ("#D55E00", "-", "o"), False, "mean_field"),
        Rung("R6", "every weight for itself", "signals", ("#882255", (0, (4, 1, 1, 1)), "X"), False, "cavity"),
        Rung("R7", "before training", "data", ("#EE3377", (0, (3, 1, 1, 1)), "$7$"), average=True),
        Rung(
            "R7m", "before training, kernels moved", "data", ("#EE7733", (0, (6, 1.5)), "$m$"), average=True, moves=True
        ),
        Rung("RE", "fresh weights", "draws", ("#117733", "-", ">")),
        Rung("REp", "fresh weights, norms of neurons", "draws", ("#DDCC77", "-.", "h"), ensemble={"profile": True}),
        Rung(
            "REp8",
            "norms, and 8 directions of the signals",
            "draws",
            ("#332288", "-", "*"),
            ensemble={"profile": True, "directions": 8},
        ),
        Rung(
            "REe8",
            "norms, and 8 directions of errors",
            "draws",
            ("#44AA99", "-", "d"),
            ensemble={"profile": True, "directions": (0, 8)},
        ),
        Rung("RK", "Gram matrices of the layers", "draws", ("#AA4499", (0, (5, 1.5)), "p"), ensemble={"fields": True}),
        Rung(
            "RKp",
            "Gram matrices, norms of neurons",
            "draws",
            ("#661100", ":", "8"),
            recorded=False,
            ensemble={"fields": True, "profile": True},
        ),
        Rung(
            "RK6",
            "Gram matrices, every weight for itself",
            "signals",
            ("#999999", (0, (4, 1, 1, 1)), "H"),
            closure="cavity",
            ensemble={"fields": True},
            recorded=False,
        ),
    )
}
MOMENT_RUNGS = tuple(name for name, rung in RUNGS.items() if rung.needs == "moments")
SIGNAL_RUNGS = {name: rung.closure for name, rung in RUNGS.items() if rung.needs == "signals"}
AVERAGE_RUNGS = tuple(name for name, rung in RUNGS.items() if rung.average and rung.needs != "data")
"""Those that describe networks at initialisation."""
SAMPLED_RUNGS = {name: rung.ensemble for name, rung in RUNGS.items() if rung.needs == "draws"}
"""The arguments of `simulator.Ensemble` of every rung that draws from one."""
RECORDED_DRAWS = tuple(name for name in SAMPLED_RUNGS if RUNGS[name].recorded)
FORECAST_RUNGS = {name: rung.moves for name, rung in RUNGS.items() if rung.needs == "data"}
"""Whether kernels are read again, of every rung that predicts the training."""
OWN_RUNGS = tuple(name for name, rung in RUNGS.items() if not rung.average)
SOLVED_RUNGS = tuple(name for name, rung in RUNGS.items() if rung.closure and not rung.average and not rung.ensemble)
"""Those that solve equations with the signals of the network at hand."""


def rungs_of(report: Mapping[str, Any]) -> list[str]:
    """Every rung with a prediction at some recorded epoch: those of the registry in its order, then others by name."""
    return in_order({rung for epoch in report.get("epochs", []) for rung in epoch["predictions"]})


def in_order(rungs: Iterable[str]) -> list[str]:
    """Names of rungs in the order of the registry, then those that it does not know by name."""
    found = set(rungs)
    return [rung for rung in RUNGS if rung in found] + sorted(found - set(RUNGS))


def title_of(rung: str) -> str:
    """A rung in words; nothing for one that is not known."""
    return RUNGS[rung].title if rung in RUNGS else ""


def named(rung: str) -> str:
    """A rung with its title in brackets, where it is known."""
    return f"{rung} ({RUNGS[rung].title})" if rung in RUNGS else rung
