"""From cells to numbers with errors: means over the examples at every epoch, and what training changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from validation.statistics.estimate import mean_of

from .cell import Record

Cell = Mapping[str, Any]
KEPT = ("risk", "accuracy", "epoch")
TOLD = ("energy", "entropy", "free_energy", "relu", "forward_bound", "log_marginal")
EXACT_TOLD = (*TOLD, "gibbs", "best")


def share(flags: Sequence[bool]) -> Record:
    """A share of the examples, and its standard error.

    Where all agree the error is that of one example more of either kind (the rule of succession), so that no share of a
    finite number of examples is without error.
    """
    n, found = len(flags), sum(flags)
    likely = (found + 1) / (n + 2) if found in (0, n) else found / n
    return {"value": found / n, "standard_error": float(np.sqrt(likely * (1 - likely) / n)), "examples": n}


def difference(first: Sequence[float], second: Sequence[float]) -> Record:
    """Mean of second - first over the same examples."""
    return mean_of(np.subtract(second, first))


def source(entry: Cell) -> Cell:
    """The exact numbers of a temperature where there are some, else the sampled ones."""
    found: Cell = entry.get("exact") or entry["sampled"]
    return found


def summarise(cells: Sequence[Cell]) -> Record:
    """What a network's cells say, in the order of their epochs: ``epochs`` and ``training``, by temperature."""
    return {
        "epochs": [{key: cell[key] for key in KEPT} | {"temperatures": _entries(cell)} for cell in cells],
        "training": [_trained(cells, k) for k in range(len(cells[0]["temperatures"]))],
    }


def _entries(cell: Cell) -> list[Record]:
    return [_entry(entry) for entry in cell["temperatures"]]


def _entry(entry: Cell) -> Record:
    """One epoch and temperature: means with errors, in nats an example (energies in units of z)."""
    found, search = source(entry), entry["search"]
    exact = "exact" in entry
    told = {name: mean_of(found[name]) for name in (EXACT_TOLD if exact else TOLD)}
    record: Record = {
        "temperature": entry["temperature"],
        **told,
        "relu_gap": difference(found["relu"], found["log_marginal"]),
        "forward_gap": difference(found["forward_bound"], found["log_marginal"]),
        "relu_less_forward": difference(found["forward_bound"], found["relu"]),
        "most_probable": share(found["most_probable"]) if exact else None,
        "prior_most_probable": share(found["prior_most_probable"]) if exact else None,
        "refuted": share(search["refuted"]),
        "rise": mean_of(search["rise"]),
        "flips": mean_of(search["flips"]),
        "climbed": search["climbed"],
        "stable": share(entry["stable"]),
        "stages": entry["stages"],
        "drift": entry["drift"],
    }
    if exact:
        record["above_gibbs"] = difference(found["gibbs"], found["free_energy"])
        record["best_gap"] = difference(found["relu"], found["best"])
        wrong = [not own for own in found["most_probable"][: len(search["refuted"])]]
        record["detected"] = {"wrong": sum(wrong), "found": sum(search["refuted"])}
        record["deviations"] = entry["deviations"]
    return record


def _trained(cells: Sequence[Cell], k: int) -> Record:
    """Last record less the first one, over the same examples; None where there is one record only.

    ``since``: last record less the second one, of which ``since_epoch`` is the epoch: the first epoch of a training may
    go the other way.
    """
    told: Record = {"temperature": cells[0]["temperatures"][k]["temperature"]}
    told |= _changes(cells, k) | {
        "since": _changes(cells[1:], k),
        "since_epoch": cells[min(1, len(cells) - 1)]["epoch"],
    }
    return told


def _changes(cells: Sequence[Cell], k: int) -> Record:
    """Last less first of these cells, by name."""
    if len(cells) < 2:
        return dict.fromkeys(TOLD)
    first, last = (source(cell["temperatures"][k]) for cell in (cells[0], cells[-1]))
    return {name: difference(first[name], last[name]) for name in TOLD}
