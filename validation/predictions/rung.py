"""The rungs of the ladder of predictions: what each knows, of what it speaks, and how it is drawn.

Tables, legends, captions, the ladder, the phase diagram and help texts read this registry. The laws stand in `predict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Rung:
    """One rung.

    name      as in reports;  title  in words
    needs     "moments" of the Hessian, the "shape" of a perceptron and its examples, or coarse-grained "signals"
    average   whether it describes networks at initialisation on average, and not the one at hand
    closure   of the linearised equations, for rungs that solve them
    style     colour (Okabe and Ito's; R6 Tol's wine: distinct to the colour-blind), line, marker (for grey prints)
    """

    name: str
    title: str
    needs: Literal["moments", "shape", "signals"]
    style: tuple[str, Any, str]
    average: bool = False
    closure: str = ""


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
    )
}
MOMENT_RUNGS = tuple(name for name, rung in RUNGS.items() if rung.needs == "moments")
SIGNAL_RUNGS = {name: rung.closure for name, rung in RUNGS.items() if rung.needs == "signals"}
AVERAGE_RUNGS = tuple(name for name, rung in RUNGS.items() if rung.average)
OWN_RUNGS = tuple(name for name, rung in RUNGS.items() if not rung.average)
SOLVED_RUNGS = tuple(name for name, rung in RUNGS.items() if rung.closure and not rung.average)
"""Those that solve equations with the signals of the network at hand."""


def rungs_of(report: Mapping[str, Any]) -> list[str]:
    """Every rung with a prediction at some recorded epoch, in order."""
    return sorted({rung for epoch in report.get("epochs", []) for rung in epoch["predictions"]})


def title_of(rung: str) -> str:
    """A rung in words; nothing for one that is not known."""
    return RUNGS[rung].title if rung in RUNGS else ""


def named(rung: str) -> str:
    """A rung with its title in brackets, where it is known."""
    return f"{rung} ({RUNGS[rung].title})" if rung in RUNGS else rung
