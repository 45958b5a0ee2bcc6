"""Training against an independent optimiser on `autograd`, and the documented order of its mini-batches."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import Epoch, TrainingDivergedError, mlp, risk, train, train_epochs
from support.cases import DENSE, IMAGES, LOSSES, Array, Case, assert_close
from support.oracles import network as oracle

TRAINED = [DENSE[2], DENSE[4], IMAGES[1], IMAGES[5]]
SETTINGS: dict[str, Any] = {"epochs": 6, "batch_size": 4, "learning_rate": 0.003, "momentum": 0.9, "seed": 5}
LARGER = Case("larger", DENSE[2].input_shape, DENSE[2].spec, examples=19)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("case", TRAINED, ids=str)
def test_25_full_batch_momentum_steps(case: Case, loss: str, backend: str) -> None:
    settings: dict[str, Any] = {"learning_rate": 0.01, "momentum": 0.9}
    result = train(*case.problem, epochs=25, batch_size=case.examples, loss=loss, backend=backend, **settings)
    expected = oracle.train(case.oracle(loss), case.theta, 25, **settings)
    moved = float(np.linalg.norm(expected - case.theta))
    assert moved > 1e-2 * np.linalg.norm(case.theta)
    assert_close(case.network.flatten(result.weights), expected, 1e-9, moved)


BATCHES = np.frombuffer(hashlib.sha256(b"batches").digest()[:16], dtype="<u4").tolist()


def replay(case: Case, loss: str) -> tuple[Array, list[float], list[float]]:
    """The documented run by hand: every epoch permutes with its own stream, the last partial batch is kept."""
    theta, velocity = case.theta, np.zeros_like(case.theta)
    risks, accuracies = [], []
    for epoch in range(1, SETTINGS["epochs"] + 1):
        rng = np.random.default_rng(np.random.SeedSequence(SETTINGS["seed"], spawn_key=(*BATCHES, 1, epoch)))
        order, seen = rng.permutation(case.examples), np.zeros(case.examples)
        for start in range(0, case.examples, SETTINGS["batch_size"]):
            rows = order[start : start + SETTINGS["batch_size"]]
            batch = replace(case.oracle(loss), x=case.x[rows], y=case.y[rows])
            seen[rows] = batch.y * batch.output(theta)
            velocity = SETTINGS["momentum"] * velocity + batch.gradient(theta)
            theta = theta - SETTINGS["learning_rate"] * velocity
        risks.append(float(np.mean(oracle.LOSSES[loss](seen))))
        accuracies.append(float(np.mean(seen > 0)))
    return theta, risks, accuracies


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
@pytest.mark.parametrize("case", [LARGER, IMAGES[1]], ids=str)
def test_mini_batches(case: Case, loss: str, backend: str) -> None:
    assert case.examples % SETTINGS["batch_size"]
    result = train(*case.problem, loss=loss, backend=backend, **SETTINGS)
    theta, risks, accuracies = replay(case, loss)
    assert_close(case.network.flatten(result.weights), theta, 1e-9)
    assert result.history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert_close(result.history["risk"], risks, 1e-10)
    assert_close(result.history["accuracy"], accuracies, 1e-14)


def same(first: list[Array], second: list[Array]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("case", [LARGER, IMAGES[5]], ids=str)
def test_a_seed_gives_one_run(case: Case, backend: str) -> None:
    first, again = (train(*case.problem, backend=backend, **SETTINGS) for _ in range(2))
    other = train(*case.problem, backend=backend, **{**SETTINGS, "seed": 6})
    assert same(first.weights, again.weights)
    assert all(np.array_equal(first.history[key], again.history[key]) for key in first.history)
    assert not same(first.weights, other.weights)


@pytest.mark.parametrize("stop", [0, 1, 4, 6])
@pytest.mark.parametrize("case", [LARGER, IMAGES[5]], ids=str)
def test_a_continued_run_equals_the_uninterrupted_one(case: Case, stop: int, backend: str) -> None:
    """Bit for bit: weights, velocity and history, from the state after any epoch."""
    whole = list(train_epochs(*case.problem, backend=backend, **SETTINGS))
    head = list(islice(train_epochs(*case.problem, backend=backend, **SETTINGS), stop))
    weights, velocity = (head[-1].weights, head[-1].velocity) if head else (case.weights, None)
    tail = train_epochs(
        case.network, weights, case.x, case.y, backend=backend, **SETTINGS, velocity=velocity, first_epoch=stop + 1
    )
    joined = [*head, *tail]
    assert [e.epoch for e in joined] == [e.epoch for e in whole] == [1, 2, 3, 4, 5, 6]
    for one, two in zip(joined, whole, strict=True):
        assert same(one.weights, two.weights)
        assert same(one.velocity, two.velocity)
        assert (one.risk, one.accuracy) == (two.risk, two.accuracy)


def test_more_epochs_extend_a_run() -> None:
    short = train(*LARGER.problem, **{**SETTINGS, "epochs": 3})
    long = list(train_epochs(*LARGER.problem, **SETTINGS))
    assert same(short.weights, long[2].weights)


def test_what_was_passed_and_yielded_is_not_written_to(backend: str) -> None:
    case = IMAGES[1]
    before = [w.copy() for w in case.weights]
    states = train_epochs(*case.problem, backend=backend, **SETTINGS)
    first = next(states)
    kept = [w.copy() for w in first.weights]
    list(states)
    assert same(case.weights, before)
    assert same(first.weights, kept)


def test_no_epochs_return_a_copy_of_the_weights() -> None:
    result = train(*LARGER.problem, **{**SETTINGS, "epochs": 0})
    assert same(result.weights, LARGER.weights)
    assert not any(np.shares_memory(a, b) for a, b in zip(result.weights, LARGER.weights, strict=True))
    assert result.history["risk"].size == 0


def test_training_lowers_the_risk_and_float32_follows(backend: str) -> None:
    case = IMAGES[1]
    settings = {**SETTINGS, "epochs": 60, "learning_rate": 0.01}
    exact = train(*case.problem, backend=backend, loss="logistic", **settings)
    rounded = train(*case.problem, backend=get_backend(backend, "float32"), loss="logistic", **settings)
    before, after = (risk(case.network, w, case.x, case.y, "logistic") for w in (case.weights, exact.weights))
    assert after < before / 4
    assert {w.dtype for w in rounded.weights} == {np.dtype("float32")}
    assert abs(risk(case.network, rounded.weights, case.x, case.y, "logistic") - after) < 0.05 * before


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflow is what is being provoked
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", ["hinge", "logistic", "squared", "squared_hinge"])
@pytest.mark.parametrize("learning_rate", [1e30, 1e80])
def test_divergence_names_the_epoch(learning_rate: float, loss: str, dtype: str, backend: str) -> None:
    """The epoch of the error is the one after the last finite state."""
    run = train_epochs(
        *DENSE[2].problem, epochs=40, batch_size=2, learning_rate=learning_rate, momentum=0.9, loss=loss,
        backend=get_backend(backend, dtype), seed=21,  # in another order the batches may switch off every gate instead
    )  # fmt: skip
    states: list[Epoch] = []
    with pytest.raises(TrainingDivergedError, match="use a smaller learning rate") as caught:
        states.extend(run)
    assert all(np.isfinite([state.risk, *map(np.sum, state.weights)]).all() for state in states)
    assert caught.value.epoch == len(states) + 1
    assert f"epoch {caught.value.epoch} at learning rate {learning_rate:g}" in str(caught.value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("loss", ["hinge", "logistic", "squared", "squared_hinge"])
def test_an_output_that_is_not_a_number_is_divergence(loss: str, backend: str) -> None:
    """T = ∞ - ∞ from finite weights: neither a risk of 0 nor a reason to go on."""
    network = mlp([1, 1, 2, 1])
    weights = [np.full((1, 1), 1e200), np.full((1, 2), 1e200), np.array([[1.0], [-1.0]])]
    data = (np.ones((4, 1)), np.ones(4))
    assert np.isnan(risk(network, weights, *data, loss, backend))
    with pytest.raises(TrainingDivergedError, match="epoch 1 ") as caught:
        train(network, weights, *data, epochs=3, batch_size=2, learning_rate=0.1, loss=loss, backend=backend)
    assert caught.value.epoch == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": -1}, "epochs -1 is not usable"),
        ({"epochs": 1.5}, "epochs 1.5 is not usable"),
        ({"batch_size": 0}, "batch_size 0 is not usable"),
        ({"learning_rate": 0.0}, r"learning_rate 0\.0 is not usable"),
        ({"learning_rate": float("inf")}, "learning_rate inf is not usable"),
        ({"momentum": 1.0}, r"momentum 1\.0 is not usable: use a number in \[0, 1\)"),
        ({"momentum": -0.1}, r"momentum -0\.1 is not usable"),
        ({"loss": "l1"}, "loss 'l1' is unknown"),
        ({"seed": -3}, "seed -3 is not usable"),
        ({"velocity": [np.zeros(2)]}, "1 weight arrays were given: this network has 3 layers"),
        ({"first_epoch": 0}, "first_epoch 0"),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(train_epochs(*LARGER.problem, **{**SETTINGS, **change}))
