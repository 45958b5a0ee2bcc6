"""What results of the theory show of themselves: a few lines, in the form that the simulator's have."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest

import theory
from simulator.shown import short_repr as of_the_simulator
from theory.shown import short_repr
from theory.solvers.vector_dyson import DysonSolution

LARGE = np.zeros((300, 400), dtype=np.float32)
DIRECTIONS = {name: getattr(theory, name) for name in theory.__all__}
KINDS = {n: kind for n, kind in DIRECTIONS.items() if inspect.isclass(kind) and dataclasses.is_dataclass(kind)}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_public_result_is_short(name: str) -> None:
    kind = KINDS[name]
    assert kind.__repr__ is short_repr
    result = object.__new__(kind)
    shown = [field.name for field in dataclasses.fields(kind) if field.repr]
    for field in dataclasses.fields(kind):
        object.__setattr__(result, field.name, LARGE)
    assert repr(result) == f"{name}({', '.join(f'{field}=<array 300×400 float32>' for field in shown)})"


def test_numbers_lists_and_short_arrays() -> None:
    result = theory.FixedPoint([LARGE] * 9, 1.23456789e-11, 7, True)
    arrays = ", ".join(["<array 300×400 float32>"] * 3)
    assert repr(result) == f"FixedPoint(value=[{arrays}, ...], residual=1.23457e-11, iterations=7, converged=True)"
    short = DysonSolution(np.array([1.0, 2.0]), 0.5, 3)
    assert repr(short) == of_the_simulator(short)
