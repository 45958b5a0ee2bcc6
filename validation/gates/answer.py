"""The answer of the report on gates in one sentence, made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from validation.statistics.estimate import written

Record = Mapping[str, Any]


def answer(data: Record) -> str:
    """One sentence, without its stop: how often the ReLU gates are the most probable ones, and the free energy."""
    small, network = data["networks"]["small"], data["networks"]["network"]
    told = (
        f"At epoch {small['epochs'][-1]['epoch']} the ReLU gates are the most probable ones for "
        f"{_at(small, 'most_probable')} of the examples in {small['name']}; a search refutes this for "
        f"{_at(network, 'refuted')} in {network['name']}"
    )
    fallen = {end: _fallen(data["checks"], end) for end in (True, False)}
    if not fallen[True]:
        return told
    first, second = (sum(found) for found in fallen.values())
    return (
        f"{told}; training is seen to lower the free energy at {first} of {len(fallen[True])} temperatures in the "
        f"first and at {second} in the second"
    )


def _at(told: Record, key: str) -> str:
    """The number at the coldest and at the hottest temperature of the last epoch."""
    entries = told["epochs"][-1]["temperatures"]
    ends = entries[:1] if len(entries) == 1 else [entries[0], entries[-1]]
    return " and ".join(f"{written(entry[key])} (T = {entry['temperature']:g})" for entry in ends)


def _fallen(claims: Sequence[Record], exact: bool) -> list[bool]:
    """Whether the free energy falls, for each temperature of a network where a change was seen."""
    found = [c for c in claims if c["id"].startswith("gates.free_energy.") and c["id"].endswith(".exact") is exact]
    return [c["verdict"] == "supported" for c in found if c["verdict"] != "not applicable"]
