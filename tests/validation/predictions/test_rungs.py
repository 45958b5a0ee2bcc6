"""The ladder in a record of the main job: what is predicted, what is left out and why."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import HessianOperator, Network, mlp, spectral_density
from support.cases import IMAGES, Case, he_weights
from theory import Continuation, ConvergenceError
from validation import predict_spectrum
from validation.measurements.moments import hessian_moments
from validation.measurements.spectrum import describe_spectrum
from validation.predictions import predict
from validation.predictions import record as rungs
from validation.statistics.distances import l1_distance

ETA = 0.05
REDUCED = bool(os.environ.get("UMWELT_REDUCED"))


def recorded(
    network: Network, weights: Any, x: Any, y: Any, epoch: int = 0, budget: float = 1e3, examples: int | None = None
) -> dict[str, Any]:
    operator = HessianOperator(network, weights, x, y)
    spectrum = spectral_density(operator, 4, 80)
    record: dict[str, Any] = {"epoch": epoch, "fresh": epoch == 0, "predictions": {}, "left_out": {}}
    record["spectrum"] = describe_spectrum(spectrum, ETA, np.random.default_rng(0))
    rungs.predict_moments(record, hessian_moments(operator), spectrum.rms, ETA)
    rungs.predict_signals(
        record,
        network,
        weights,
        x,
        operator.c,
        rms=spectrum.rms,
        eta=ETA,
        budget=budget,
        examples=examples,
        seed=1,
        backend=get_backend(),
    )
    return record


@pytest.fixture(scope="module")
def perceptron() -> tuple[Network, Any, Any, Any]:
    rng, network = np.random.default_rng(0), mlp([8, 12, 12, 1])
    return network, network.init(0), rng.standard_normal((20, 8)), rng.choice([-1.0, 1.0], 20)


@pytest.fixture(scope="module")
def fresh(perceptron: tuple[Network, Any, Any, Any]) -> dict[str, Any]:
    """The record of the perceptron at its initialisation; not to be written to."""
    return recorded(*perceptron)


def test_every_rung_at_initialisation(fresh: dict[str, Any]) -> None:
    record = fresh
    made = record["predictions"]
    assert set(made) == {"R0", "R1", "R2", "R3", "R4w", "R4", "R5", "R6"}
    assert record["left_out"] == {}
    assert made["R6"]["l1"] < made["R2"]["l1"] < made["R0"]["l1"]
    assert all(len(p["density"]) == 121 and 0 <= p["l1"] <= 2 and p["w1"] >= 0 for p in made.values())


def numbers(estimates: list[dict[str, Any]]) -> Any:
    return np.array([one["value"] for one in estimates])


def test_tails_are_those_of_the_spectrum(perceptron: tuple[Network, Any, Any, Any], fresh: dict[str, Any]) -> None:
    network, weights, x, y = perceptron
    record = fresh
    eigenvalues = np.linalg.eigvalsh(HessianOperator(network, weights, x, y).dense()) / record["spectrum"]["rms"]
    for rung in ("R5", "R6"):
        assert "tails_left_out" not in record["predictions"][rung]
        tails = record["predictions"][rung]["tails"]
        counts = [np.sum(np.abs(eigenvalues) > t) / 2 for t in tails["thresholds"]]
        assert np.abs(numbers(tails["positive"]) - counts).max() <= 3
        assert tails["largest"]["negative"][0]["value"] == pytest.approx(np.abs(eigenvalues).max(), rel=0.15)
    measured, n = record["spectrum"]["tails"], network.n_weights
    for side, sign in (("negative", -1), ("positive", 1)):
        for share, threshold in zip(measured[side], measured["thresholds"], strict=True):
            found = np.sum(sign * eigenvalues > threshold)
            assert abs(n * share["value"] - found) <= 5 * n * share["standard_error"] + 1e-9


def test_a_density_stays_where_its_tail_is_not_solved() -> None:
    """One of the two, never both: a rung that is in the predictions is not left out."""
    record = {
        "spectrum": {"tail_energies": [0.0, 5.0]}, "predictions": {"R2": {"l1": 0.1}}, "left_out": {},
    }  # fmt: skip

    def stuck(z: Any) -> Any:
        raise ConvergenceError("the Dyson equation has residual 1e-9")

    rungs._keep_tail(record, "R2", stuck, 0.05)
    assert record["predictions"]["R2"] == {"l1": 0.1, "tails_left_out": "the Dyson equation has residual 1e-9"}
    rungs._keep_tail(record, "R2", lambda z: 1j * np.ones(2), 0.05)
    assert len(record["predictions"]["R2"]["tail_density"]) == 2


def test_outliers_of_the_mean_directions_are_predicted() -> None:
    """R3 at initialisation: activations have a mean, along which weights are coupled more: a band far from the bulk.

    Counts and the five largest eigenvalues, against their means over fresh networks.
    """
    rng, network = np.random.default_rng(0), mlp([12, 30, 30, 1])
    x, c = rng.standard_normal((40, 12)), rng.choice([-1.0, 1.0], 40) / 40
    spectra = np.array(
        [
            np.linalg.eigvalsh(HessianOperator(network, he_weights(network, s), x, None, c=c).dense())
            for s in range(2 if REDUCED else 8)
        ]
    )
    rms = float(np.sqrt(np.mean(spectra**2)))
    law = Continuation(lambda z: predict_spectrum(network, x, c, z, "R3"), rms)
    tails = rungs.tails(law, network.n_weights)
    counts = [np.mean(np.sum(spectra > t * rms, axis=1)) for t in tails["thresholds"]]
    largest = np.mean(spectra[:, :-6:-1], axis=0) / rms
    assert tails["negative"] == tails["positive"]
    assert abs(numbers(tails["positive"])[0] - counts[0]) < 6
    assert abs(numbers(tails["positive"])[1] - counts[1]) < 1
    # Products of Gaussian matrices taken for Gaussian have an edge where theirs has a tail: the largest come out low.
    found = numbers(tails["largest"]["positive"])
    assert np.all(found < largest)
    np.testing.assert_allclose(found, largest, rtol=0.3)


def test_after_initialisation_only_what_sees_the_network(perceptron: tuple[Network, Any, Any, Any]) -> None:
    record = recorded(*perceptron, epoch=3)
    assert set(record["predictions"]) == {"R0", "R1", "R2", "R5", "R6"}
    assert set(record["left_out"]) == {"R3", "R4", "R4w"}
    assert all("initialisation" in reason for reason in record["left_out"].values())


def test_images_leave_the_perceptron_rungs_out() -> None:
    case = IMAGES[5]
    record = recorded(*case.problem)
    assert set(record["predictions"]) == {"R0", "R1", "R2", "R5", "R6"}
    assert all("multilayer perceptrons only" in record["left_out"][rung] for rung in ("R3", "R4", "R4w"))


def test_a_rung_over_the_budget_is_named_with_its_estimate(perceptron: tuple[Network, Any, Any, Any]) -> None:
    record = recorded(*perceptron, budget=1e-6)
    assert {"R4w", "R4", "R5", "R6"} <= set(record["left_out"])
    for rung in ("R4w", "R4", "R5", "R6"):
        assert "more than --prediction-seconds 1e-06" in record["left_out"][rung]


def test_what_memory_cannot_hold_is_left_out(
    perceptron: tuple[Network, Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "MEMORY", 10.0)
    assert "GB for each energy" in recorded(*perceptron)["left_out"]["R5"]


def test_equations_that_are_not_solved_give_no_prediction(
    perceptron: tuple[Network, Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConvergenceError("residual 1 after 2 sweeps")

    monkeypatch.setattr(predict, "law_of", fail)
    record = recorded(*perceptron)
    assert "R6" not in record["predictions"]
    assert record["left_out"]["R6"] == "its equations did not converge: residual 1 after 2 sweeps"


def test_between_the_nodes_the_law_is_that_of_the_equations(
    perceptron: tuple[Network, Any, Any, Any], fresh: dict[str, Any]
) -> None:
    network, weights, x, y = perceptron
    record = fresh
    grid, rms = np.array(record["spectrum"]["energies"]), record["spectrum"]["rms"]
    c = HessianOperator(network, weights, x, y).c
    solved = predict_spectrum(network, x, c, rms * (grid + 1j * ETA), "R6", weights).imag / np.pi * rms
    assert l1_distance(grid, solved, np.array(record["predictions"]["R6"]["density"])) < 2e-3


def smooth_images() -> tuple[Network, Any, Any, Any]:
    """Two smooth images and three convolutions, which leave few directions to the inner layers."""
    case = Case("smooth", (8, 8, 1), (*(("conv", 3, 3),) * 3, ("pool", 4), ("dense", 1)), 2, 7)
    rows, columns = np.mgrid[:8, :8] / 8
    x = np.stack([np.cos(rows + columns), np.sin(columns - rows)])[..., None]
    return case.network, case.weights, x, np.array([-1.0, 1.0])


@pytest.mark.slow
def test_what_the_budget_needs_is_approximated_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directions of the inner layers are left out before a rung is; the examples that were asked for are counted."""
    monkeypatch.setattr(rungs, "SIGNAL_RUNGS", {"R5": "mean_field"})
    monkeypatch.setattr(rungs, "tails", lambda *_: {})
    monkeypatch.setattr(rungs, "bulk_distances", lambda *_: {})
    problem = smooth_images()
    whole = recorded(*problem, epoch=1)
    assert whole["predictions"]["R5"]["approximations"] == []
    monkeypatch.setattr(predict.SignalLaw, "seconds", lambda law, _: 1.0 if law.cut else 1e9)
    cut = recorded(*problem, epoch=1)
    (said,) = cut["predictions"]["R5"]["approximations"]
    assert said == "directions of inner layers below 0.001 of the largest left out"
    monkeypatch.setattr(predict.SignalLaw, "seconds", lambda *_: 1.0)
    few = recorded(*problem, epoch=1, examples=1)
    (said,) = few["predictions"]["R5"]["approximations"]
    assert said == "1 of 2 active examples, stretched to the second moment of all"
    densities = [np.array(record["predictions"]["R5"]["density"]) for record in (whole, cut, few)]
    grid = np.array(whole["spectrum"]["energies"])
    assert 1e-6 < l1_distance(grid, densities[0], densities[1]) < 0.05
    assert l1_distance(grid, densities[0], densities[2]) > 0.01
