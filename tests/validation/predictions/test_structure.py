"""Single layers drawn afresh, directions given, and the eigenvectors of far eigenvalues."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulator import HessianOperator, gradient, mlp, vgg12
from support.cases import he_weights
from validation.compare.claims.structure import judge_structure
from validation.measurements.outliers import COUNT, describe_outliers
from validation.predictions.structure import largest_ratio, smallest_description, structure_cases


def test_every_layer_with_a_part_is_drawn_once_and_directions_stop_at_the_width() -> None:
    cases = list(structure_cases(mlp([5, 12, 12, 12, 1])))
    assert [c.value for c in cases if (c.part, c.kind) == ("layers", "RE")] == [1, 2]
    assert [c.value for c in cases if (c.part, c.kind) == ("layers", "RK")] == [0, 1, 2]
    directions = {kind: [c.value for c in cases if (c.part, c.kind) == ("directions", kind)]
                  for kind in ("both", "errors", "inputs")}  # fmt: skip
    assert directions == {"both": [0, 1, 2, 4, 8], "errors": [1, 2, 4, 8], "inputs": [1, 2, 4, 8]}
    assert len({c.name for c in cases}) == len(cases)
    assert {c.options["directions"] for c in cases if c.kind == "errors"} == {(0, 1), (0, 2), (0, 4), (0, 8)}
    assert len(list(structure_cases(vgg12(0.25)))) == 10 + 11 + 7 + 6 + 6
    assert list(structure_cases(mlp([4, 1]))) == []


def problem() -> tuple[Any, ...]:
    network, rng = mlp([8, 14, 12, 1]), np.random.default_rng(0)
    weights = he_weights(network, 0)
    weights[1] += 0.2
    x, y = rng.standard_normal((25, 8)), rng.choice([-1.0, 1.0], 25)
    operator = HessianOperator(network, weights, x, y)
    return network, weights, operator, gradient(network, weights, x, y)


def test_outliers_are_the_ends_of_the_spectrum_with_their_eigenvectors() -> None:
    network, weights, operator, slopes = problem()
    values, vectors = np.linalg.eigh(operator.dense())
    found = describe_outliers(operator, weights, slopes, np.random.default_rng(1))
    assert len(found) == 2 * COUNT
    ends = sorted([*values[:COUNT], *values[-COUNT:]], key=lambda value: -abs(value))
    np.testing.assert_allclose([one["eigenvalue"] for one in found], ends, rtol=1e-4)
    flat = network.flatten(slopes)
    for one in found:
        v = vectors[:, np.argmin(np.abs(values - one["eigenvalue"]))]
        assert one["gradient"] == pytest.approx((v @ flat) ** 2 / (flat @ flat), rel=1e-3, abs=1e-5)
        np.testing.assert_allclose(one["layers"], [np.sum(v[part] ** 2) for part in network.slices], atol=1e-3)
        assert sum(one["layers"]) == pytest.approx(1.0)
        basis = []
        for layer, part in enumerate(network.slices):
            for kind in (weights, slopes):
                basis.append(np.zeros(v.size))
                basis[-1][part] = kind[layer].ravel()
        inside = np.linalg.qr(np.stack(basis, axis=1))[0]
        assert one["span"] == pytest.approx(np.sum((inside.T @ v) ** 2), rel=1e-3, abs=1e-5)
        assert one["gradient"] <= one["span"] + 1e-9


def test_no_outliers_where_the_hessian_is_0() -> None:
    network, weights, _, slopes = problem()
    silent = HessianOperator(network, weights, np.ones((2, 8)), None, c=np.zeros(2))
    assert describe_outliers(silent, weights, slopes, np.random.default_rng(0)) == []


def case(known: int, l1: float, ratio: float, error: float | None = 0.001) -> dict[str, Any]:
    largest = {side: [{"value": ratio * v, "standard_error": 0.1} for v in (50.0, 20.0)] for side in SIDES}
    return {"known": known, "l1": l1, "l1_standard_error": error, "largest": largest, "directions": known}


SIDES = ("negative", "positive")
RE = {"l1": 0.05, "l1_standard_error": 0.001}
SPECTRUM = {"largest": {side: [{"value": v, "standard_error": 0.0} for v in (50.0, 20.0)] for side in SIDES}}


def test_the_smallest_description_is_near_in_density_and_in_outliers() -> None:
    few, coarse, enough, more = case(10, 0.05, 1.0), case(20, 0.01, 0.8), case(40, 0.019, 0.95), case(80, 0.001, 1.0)
    assert largest_ratio(coarse, SPECTRUM) == pytest.approx(0.8)
    assert smallest_description([more, enough, few, coarse], SPECTRUM) is enough
    assert smallest_description([few, coarse], SPECTRUM) is None
    noisy = case(15, 0.04, 1.05, error=0.05)  # equal laws would be as far apart
    assert smallest_description([more, noisy], SPECTRUM) is noisy
    assert largest_ratio({"largest": {side: [] for side in SIDES}}, SPECTRUM) is None


def record(cases: list[dict[str, Any]], layer: float, spans: tuple[float, ...]) -> dict[str, Any]:
    outliers = [
        {"eigenvalue": sign * value, "span": span, "gradient": 0.1, "layers": [1.0]}
        for span, value in zip(spans, (9.0, 8.0), strict=True)
        for sign in (1, -1)
    ]
    layers = {"RE": [{"layer": 3, "l1": layer, "l1_standard_error": 0.001}]}
    structure = {"layers": layers, "directions": {"errors": cases}, "outliers": outliers}
    return {"epoch": 4, "spectrum": SPECTRUM, "structure": structure, "predictions": {"RE": RE}}


def test_verdicts_on_structure() -> None:
    good = record([case(50, 0.01, 1.0)], 0.03, (0.8, 0.1))
    assert [c.verdict for c in judge_structure([good], 1000)] == ["supported"] * 3
    long = record([case(500, 0.01, 1.0)], 0.08, (0.3, 0.9))
    assert [c.verdict for c in judge_structure([good, long], 1000)] == ["not supported"] * 3
    none = record([case(50, 0.1, 1.0)], 0.03, (0.8, 0.1))
    (description, *_) = judge_structure([good, none], 1000)
    assert description.verdict == "not supported"
    assert "none tried suffices at epochs 4" in str(description.measured)
    assert judge_structure([{"epoch": 0}], 1000) == []
