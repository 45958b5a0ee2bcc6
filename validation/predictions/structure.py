"""Which structure of a trained network its Hessian spectrum sees: single layers drawn afresh, directions given."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator import EnsembleDensity, Network
from validation.statistics.decide import Held, all_of, at_most, l1_at_most

from .sampled import describe_sampled

DIRECTIONS = (0, 1, 2, 4, 8, 16, 32)
"""How many directions of the signals are given, up to the width of the network."""
KINDS = {"both": (1, 1), "errors": (0, 1), "inputs": (1, 0)}
"""Of what directions are given: (inputs, errors)."""
KEPT = ("l1", "l1_standard_error", "log_distance", "rms")
CLOSE_L1, CLOSE_LARGEST = 0.02, 0.1
"""A description is sufficient where L1 is at most this, and the five largest on either side are within this share."""


@dataclass(frozen=True)
class Case:
    """An ensemble to draw: ``part`` and ``kind`` say where its record stands, ``value`` is the layer or the number."""

    part: str
    kind: str
    value: int
    rung: str
    options: Mapping[str, Any]

    @property
    def key(self) -> str:
        """What ``value`` is called in the record."""
        return "layer" if self.part == "layers" else "directions"

    @property
    def name(self) -> str:
        """Of the file that keeps it while it is drawn."""
        return f"structure-{self.part}-{self.kind}-{self.value}"


def structure_cases(network: Network) -> Iterator[Case]:
    """One layer's weights (RE), or its weights and fields (RK), drawn afresh; then norms and directions given.

    The weights of the first and the last layer have no part in the products, and the last has no fields.
    """
    inner = range(1, network.depth - 1)
    for layer in inner:
        yield Case("layers", "RE", layer, "RE", {"layers": [layer]})
    for layer in range(network.depth - 1):
        yield Case("layers", "RK", layer, "RK", {"layers": [layer]})
    widest = max((network.weight_shapes[layer][-1] for layer in inner), default=0)
    for kind, (of_inputs, of_errors) in KINDS.items():
        for count in (r for r in DIRECTIONS if r < widest and (r > 0 or kind == "both")):
            pair = (of_inputs * count, of_errors * count)
            yield Case("directions", kind, count, "REp", {"directions": pair})


def describe_case(
    case: Case, spectrum: dict[str, Any], drawn: EnsembleDensity, eta: float, n_known: int, n_weights: int
) -> dict[str, Any]:
    """What a record keeps of a case: distances, rms, the largest eigenvalues, and how many numbers describe its law."""
    made = describe_sampled(spectrum, drawn, eta, n_weights)
    kept = {name: made[name] for name in KEPT} | {"largest": made["tails"]["largest"]}
    return kept | {case.key: case.value, "known": n_known}


def largest_ratio(made: Mapping[str, Any], spectrum: Mapping[str, Any]) -> float | None:
    """Mean over both sides and the five largest of predicted over measured; None without eigenvalues to compare."""
    ratios = [
        drawn["value"] / measured["value"]
        for side, row in spectrum["largest"].items()
        for drawn, measured in zip(made["largest"][side], row, strict=False)
    ]
    return float(np.mean(ratios)) if ratios else None


def sufficient(made: Mapping[str, Any], spectrum: Mapping[str, Any]) -> Held:
    """Whether a description is sufficient, by the standard errors of L1 and of the largest eigenvalues.

    Errors of the largest eigenvalues, relative, are taken for those of one and the same number: their mean is that of
    the mean ratio at most.
    """
    ratio = largest_ratio(made, spectrum)
    if ratio is None:
        return None
    pairs = [
        (drawn, measured)
        for side, row in spectrum["largest"].items()
        for drawn, measured in zip(made["largest"][side], row, strict=False)
    ]
    error = np.mean([math.hypot(*(e["standard_error"] / e["value"] for e in pair)) for pair in pairs])
    return all_of((
        l1_at_most(made["l1"], CLOSE_L1, made["l1_standard_error"]),
        at_most(abs(ratio - 1.0), CLOSE_LARGEST, float(error)),
    ))  # fmt: skip


def described_by_directions(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every case of a record in which directions are given, of all kinds."""
    return [case for cases in record["structure"]["directions"].values() for case in cases]


def smallest_description(cases: Sequence[Mapping[str, Any]], spectrum: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The case of fewest numbers that is sufficient; None where none is.

    Its L1 is at most `CLOSE_L1`, or no larger than that of equal laws (its standard error), and its five largest
    eigenvalues on either side are within `CLOSE_LARGEST` on average.
    """
    for made in sorted(cases, key=lambda case: case["known"]):
        ratio = largest_ratio(made, spectrum)
        near = made["l1"] <= max(CLOSE_L1, made["l1_standard_error"] or 0.0)
        if near and ratio is not None and abs(ratio - 1.0) <= CLOSE_LARGEST:
            return made
    return None
