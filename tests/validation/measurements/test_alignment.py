"""The broken share of the circuits: against enumerated circuits, exact symmetries, and a jackknife."""

from __future__ import annotations

import numpy as np
import pytest

from backends import get_backend
from simulator import HessianOperator, enumerate_circuits, gradient, mlp, output
from support.cases import DENSE, IMAGES, Case
from validation.measurements.alignment import CLASSES, aligned_share
from validation.statistics.estimate import ratio

CASES = [case for case in [*DENSE, *IMAGES] if case.name in ("linear", "depth3", "conv5-pool", "avg-first")]
NUMPY = get_backend("numpy")


def balanced(case: Case) -> np.ndarray:
    return np.resize([-1.0, 1.0], case.examples)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_share_of_enumerated_circuits(case: Case, backend: str) -> None:
    """Circuits one by one, each with the label of its example, over their magnitudes."""
    y = balanced(case)
    circuits = enumerate_circuits(case.network, case.weights, case.x, backend="numpy").values
    found = aligned_share(case.network, case.weights, case.x, y, get_backend(backend))
    assert found["examples"] == case.examples
    assert found["value"] == pytest.approx(np.sum(y[:, None] * circuits) / np.abs(circuits).sum(), rel=1e-9)
    for name, label in CLASSES.items():
        of_class = circuits[y == label]
        expected = label * of_class.sum() / np.abs(of_class).sum()
        assert found["classes"][name]["value"] == pytest.approx(expected, rel=1e-9)
    unsigned = np.abs(circuits.sum(axis=1)).sum() / np.abs(circuits).sum()
    assert found["unsigned"]["value"] == pytest.approx(unsigned, rel=1e-9)


def test_positive_networks_push_every_circuit_one_way(backend: str) -> None:
    network = mlp([5, 6, 4, 1])
    weights, x = [np.abs(w) for w in network.init(0)], np.abs(np.random.default_rng(0).standard_normal((8, 5)))
    y = np.resize([-1.0, 1.0], 8)
    found = aligned_share(network, weights, x, y, get_backend(backend))
    assert found["classes"]["positive"]["value"] == pytest.approx(1.0, rel=1e-13)
    assert found["classes"]["negative"]["value"] == pytest.approx(-1.0, rel=1e-13)
    assert found["classes"]["positive"]["standard_error"] == pytest.approx(0.0, abs=1e-13)
    assert found["unsigned"]["value"] == pytest.approx(1.0, rel=1e-13)


def test_examples_at_which_no_circuit_is_live(backend: str) -> None:
    """All gates of the second layer are off at two of three examples: T, its gradient and its Hessian are 0 there."""
    network, x = mlp([2, 2, 2, 1]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    weights = [np.eye(2), np.array([[-1.0, 2.0], [-1.0, -3.0]]), np.array([[1.0], [1.0]])]
    found = aligned_share(network, weights, x, np.array([1.0, 1.0, -1.0]), get_backend(backend))
    assert (found["examples"], found["dead_examples"]) == (3, 2)
    dead = x[[1, 2]]
    assert not output(network, weights, dead, backend).any()
    assert not any(g.any() for g in gradient(network, weights, dead, np.ones(2), backend=backend))
    assert not HessianOperator(network, weights, dead, np.ones(2), backend=backend).dense().any()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_changes_its_sign(case: Case) -> None:
    """-W_L and -y turn the share round, exactly; rescaling of neurons and of the data leaves it."""
    y, (*hidden, last) = balanced(case), case.weights
    share = aligned_share(case.network, case.weights, case.x, y, NUMPY)
    flipped = aligned_share(case.network, [*hidden, -last], case.x, y, NUMPY)
    assert flipped["value"] == -share["value"]
    assert flipped["chance"] == share["chance"]
    assert flipped["unsigned"] == share["unsigned"]
    relabelled = aligned_share(case.network, case.weights, case.x, -y, NUMPY)
    assert relabelled["value"] == pytest.approx(-share["value"], rel=1e-12)
    scaled = aligned_share(case.network, [w * (2 + i) for i, w in enumerate(case.weights)], 3.0 * case.x, y, NUMPY)
    for key in ("value", "standard_error", "chance"):
        assert scaled[key] == pytest.approx(share[key], rel=1e-10)


def test_shares_at_initialisation_scatter_by_chance() -> None:
    """Over fresh networks value/chance has mean 0 and variance 1, which no error over the examples would give."""
    network, rng = mlp([6, 12, 12, 1]), np.random.default_rng(3)
    x, y = rng.standard_normal((60, 6)), np.resize([-1.0, 1.0], 60)
    x[:, 0] += y  # the classes differ: any network leans to one side
    found = [aligned_share(network, network.init(seed), x, y, NUMPY) for seed in range(400)]
    pulls = np.array([share["value"] / share["chance"] for share in found])
    assert abs(pulls.mean()) < 3 / 20
    assert pulls.var() == pytest.approx(1.0, abs=0.2)
    over_examples = [share["value"] / share["standard_error"] for share in found]
    assert np.var(over_examples) > 2


def test_an_aligned_network_has_a_share_beyond_chance() -> None:
    """Readout of the class means of the last signals: every neuron pushes for the labels."""
    network, rng = mlp([6, 20, 1]), np.random.default_rng(4)
    x, y = rng.standard_normal((200, 6)), np.resize([-1.0, 1.0], 200)
    x[:, 0] += y
    first, _ = network.init(0)
    signals = np.maximum(x @ first, 0.0)
    share = aligned_share(network, [first, (y @ signals)[:, None]], x, y, NUMPY)
    assert share["value"] > 4 * share["standard_error"]
    assert share["value"] > 2 * share["chance"]


def test_dead_networks_and_classes_without_a_live_circuit() -> None:
    network = mlp([2, 3, 1])
    dead = aligned_share(
        network, [-np.ones((2, 3)), np.ones((3, 1))], np.ones((4, 2)), np.resize([-1.0, 1.0], 4), NUMPY
    )
    nothing = {"value": None, "standard_error": None}
    assert dead == {
        "examples": 4, "dead_examples": 4, **nothing, "chance": None, "unsigned": nothing,
        "classes": dict.fromkeys(CLASSES, nothing | {"chance": None}),
    }  # fmt: skip
    x = np.array([[-1.0, -1.0], [1.0, 1.0], [1.0, 2.0]])
    one = aligned_share(network, [np.ones((2, 3)), np.ones((3, 1))], x, np.array([-1.0, 1.0, 1.0]), NUMPY)
    assert one["classes"]["negative"] == nothing | {"chance": None}
    assert one["value"] == one["classes"]["positive"]["value"] == pytest.approx(1.0)
    alone = aligned_share(network, [np.ones((2, 3)), np.ones((3, 1))], x[1:], np.ones(2), NUMPY)
    assert alone["classes"]["negative"]["value"] is None


def test_one_example_has_no_error() -> None:
    assert ratio(np.array([1.0]), np.array([2.0])) == {"value": 0.5, "standard_error": None}
    assert ratio(np.zeros(3), np.zeros(3)) == {"value": None, "standard_error": None}


def test_the_error_of_a_ratio_is_that_of_the_jackknife() -> None:
    """Leaving out one example of 500 at a time."""
    rng = np.random.default_rng(0)
    wholes = np.exp(0.5 * rng.standard_normal(500))
    parts = wholes * (0.3 + 0.2 * rng.standard_normal(500))
    left_out = (parts.sum() - parts) / (wholes.sum() - wholes)
    jackknife = np.sqrt(499 / 500 * np.sum((left_out - left_out.mean()) ** 2))
    assert ratio(parts, wholes)["standard_error"] == pytest.approx(jackknife, rel=0.01)


def test_the_error_of_a_ratio_covers_what_it_should() -> None:
    """The truth, 0.3, lies within two errors in about 95 % of 2,000 samples of 100."""
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(2000):
        wholes = np.exp(0.5 * rng.standard_normal(100))
        found = ratio(wholes * (0.3 + 0.2 * rng.standard_normal(100)), wholes)
        inside += abs(found["value"] - 0.3) < 2 * found["standard_error"]
    assert inside / 2000 == pytest.approx(0.95, abs=0.02)


def test_an_example_is_used_as_often_as_it_is_given(backend: str) -> None:
    case = DENSE[2]
    y, ops = balanced(case), get_backend(backend)
    once = aligned_share(case.network, case.weights, case.x, y, ops)
    twice = aligned_share(case.network, case.weights, np.tile(case.x, (2, 1)), np.tile(y, 2), ops)
    assert twice["value"] == pytest.approx(once["value"], rel=1e-10)
    assert twice["chance"] == pytest.approx(once["chance"], rel=1e-10)
    t = output(case.network, case.weights, case.x)
    assert np.sign(once["value"]) == np.sign(float(y @ t))
