"""Gates and choosing pools at a temperature, against sums over all decisions that are written out in loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from backends import Backend, get_backend
from simulator import (
    AvgPool,
    Conv,
    Dense,
    MaxPool,
    exact_marginal,
    exact_posterior,
    exact_thermodynamics,
    gate_law,
    mlp,
    output,
    relu_gates,
    sample_thermodynamics,
    search_gates,
    sequential,
)
from simulator.passes.laws import Choices, Gates
from simulator.thermal.walk import given, largest_entropy, likeliest, log_joint, slopes, stage_names, walk
from support.strict_namespace import strict

Array = np.ndarray[Any, Any]
Decisions = list[Array]
OPS = get_backend("numpy")
TEMPERATURES = (0.3, 1.0, 4.0)

# Rows 0 and 1 of the 3 x 2 image make the only whole window; row 2 is a ragged edge.
TINY = sequential((3, 2, 1), [Conv(1, kernel=3), MaxPool(2), Dense(2), Dense(1)])
WINDOW = [(0, 0), (0, 1), (1, 0), (1, 1)]


def tiny_weights(seed: int = 5) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) * 1.5 for shape in TINY.weight_shapes]


def tiny_terms(weights: list[Array], x: Array, y: float, d: Decisions, temperature: float) -> tuple[list[Any], float]:
    """([(f, d, log Z) of every stage], log σ(y T)) of one image, decisions being any real numbers, in loops."""
    kernel, first, last = weights
    z = np.zeros((3, 2))
    for i, j, a, b in itertools.product(range(3), range(2), range(3), range(3)):
        if 0 <= i + a - 1 < 3 and 0 <= j + b - 1 < 2:
            z[i, j] += kernel[a, b, 0, 0] * x[i + a - 1, j + b - 1, 0]
    gated = d[0] * z
    seen = np.array([gated[site] for site in WINDOW])
    pooled = float(d[1] @ seen)
    z2 = pooled * first[0]
    t = float((d[2] * z2) @ last[:, 0])
    stages = [
        (z, d[0], np.sum(np.log1p(np.exp(z / temperature)))),
        (seen, d[1], np.log(np.sum(np.exp(seen / temperature)))),
        (z2, d[2], np.sum(np.log1p(np.exp(z2 / temperature)))),
    ]
    return stages, -float(np.log1p(np.exp(-y * t)))


def tiny_joint(weights: list[Array], x: Array, y: float, d: Decisions, temperature: float) -> float:
    stages, label = tiny_terms(weights, x, y, d, temperature)
    return float(sum(np.sum(f * e) / temperature - log_z for f, e, log_z in stages) + label)


def all_decisions() -> Iterator[Decisions]:
    for bits in itertools.product((0.0, 1.0), repeat=6):
        for site, pair in itertools.product(range(4), itertools.product((0.0, 1.0), repeat=2)):
            yield [np.reshape(bits, (3, 2)), np.eye(4)[site], np.array(pair)]


def as_arrays(d: Decisions) -> list[Array]:
    """The decisions of one image in the form that a walk takes."""
    window = np.zeros((3, 2), dtype=bool)
    for site, on in zip(WINDOW, d[1], strict=True):
        window[site] = on > 0.5
    return [d[0][None, :, :, None] > 0.5, window[None, :, :, None], d[2][None] > 0.5]


IMAGES = np.random.default_rng(11).standard_normal((3, 3, 2, 1))
LABELS = np.array([1.0, -1.0, 1.0])


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_joint_law_of_gates_choices_and_label_sums_to_one_and_is_the_one_of_the_walk(temperature: float) -> None:
    weights, states = tiny_weights(), list(all_decisions())
    together = [np.concatenate(stage) for stage in zip(*map(as_arrays, states), strict=True)]
    passed = walk(TINY, weights, np.repeat(IMAGES[:1], len(states), axis=0), OPS, given(together))
    total = 0.0
    for y in (1.0, -1.0):
        expected = [tiny_joint(weights, IMAGES[0], y, d, temperature) for d in states]
        found = log_joint(OPS, passed, np.full(len(states), y), temperature)
        assert found == pytest.approx(np.array(expected), abs=1e-10)
        total += float(np.sum(np.exp(expected)))
    assert total == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_slopes_are_the_derivatives_of_the_joint_law(temperature: float) -> None:
    """∂ log µ / ∂d_j = f_j (1/T + s_j), by central differences of the written-out law in real-valued decisions."""
    weights, step = tiny_weights(), 1e-6
    for k, d in enumerate(itertools.islice(all_decisions(), 3, None, 37)):
        y = LABELS[k % 3]
        passed = walk(TINY, weights, IMAGES[:1], OPS, given(as_arrays(d)))
        found = slopes(TINY, weights, OPS, passed, np.array([y]), temperature)
        first = [(f * (1 / temperature + s))[0] for f, s in zip(passed.signals, found, strict=True)]
        at = [first[0][:, :, 0].ravel(), np.array([first[1][i, j, 0] for i, j in WINDOW]), first[2]]
        for stage, expected in enumerate(at):
            for place in range(expected.size):
                ends = []
                for sign in (1, -1):
                    moved = [part.copy() for part in d]
                    moved[stage].flat[place] += sign * step
                    ends.append(tiny_joint(weights, IMAGES[0], y, moved, temperature))
                assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(expected[place], abs=2e-6)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_sampled_energies_and_entropies_are_those_of_the_sums(temperature: float) -> None:
    """Stage by stage: mean energy, entropy and log Z under the joint law of gates and choices, within five errors."""
    weights, draws = tiny_weights(), 4000
    seen = sample_thermodynamics(TINY, weights, np.repeat(IMAGES[:1], draws, axis=0), temperature, 1, 3, OPS)
    assert seen.stages == ("gates 1", "pool 1", "gates 2")
    expected = np.zeros((2, 3))  # energy, log Z
    logs, label = [], 0.0
    for d in all_decisions():
        stages, own = tiny_terms(weights, IMAGES[0], 1.0, d, temperature)
        log = sum(np.sum(f * e) / temperature - log_z for f, e, log_z in stages)
        logs.append(log)
        expected += np.exp(log) * np.array([[-np.sum(f * e) for f, e, _ in stages], [z for _, _, z in stages]])
        label += np.exp(log + own)
    entropy = -float(np.exp(logs) @ logs)
    energy, log_z = expected
    for values, truth in ((seen.energy, energy), (seen.drawn_energy, energy), (seen.log_normaliser, log_z)):
        error = values[0].std(axis=0) / np.sqrt(draws) + 1e-12
        assert np.all(np.abs(values[0].mean(axis=0) - truth) < 5 * error + 1e-9)
    total = seen.entropy[0].sum(axis=1)
    assert abs(total.mean() - entropy) < 5 * total.std() / np.sqrt(draws) + 1e-9
    labels = 1 / (1 + np.exp(-seen.output[0]))
    assert abs(labels.mean() - label) < 5 * labels.std() / np.sqrt(draws)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("seed", range(4))
def test_a_search_finds_states_of_the_tiny_network_and_never_beats_the_maximum(temperature: float, seed: int) -> None:
    weights = tiny_weights(seed)
    search = search_gates(TINY, weights, IMAGES, LABELS, temperature, backend=OPS)
    for i, y in enumerate(LABELS):
        best = max(tiny_joint(weights, IMAGES[i], y, d, temperature) for d in all_decisions())
        relu = walk(TINY, weights, IMAGES[i : i + 1], OPS, likeliest(OPS))
        start = log_joint(OPS, relu, np.array([y]), temperature)[0]
        assert search.relu[i] == pytest.approx(start, abs=1e-12)
        assert start <= search.found[i] <= best + 1e-10
        assert search.refuted[i] == (search.flips[i] > 0)


def test_a_search_shows_that_the_relu_gates_are_not_the_most_probable_ones() -> None:
    """An open gate that makes the label improbable; closed, it costs less than the label gains."""
    weights = [np.array([[0.1]]), np.array([[-30.0]])]
    search = search_gates(mlp([1, 1, 1]), weights, [[1.0], [1.0]], [1.0, -1.0], 1.0, backend=OPS)
    assert search.refuted.tolist() == [True, False]
    law = [1 / (1 + np.exp(-0.1)), 1 / (1 + np.exp(0.1))]
    assert search.relu[0] == pytest.approx(np.log(law[0]) - np.log1p(np.exp(3.0)))
    assert search.found[0] == pytest.approx(np.log(law[1]) - np.log(2.0))
    assert search.climbed.all()


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_a_promise_bounds_what_other_decisions_of_one_stage_can_gain(temperature: float) -> None:
    """log µ is concave in what a stage hands on: from 40 states to every other decision of each of the stages (F5)."""
    weights, y = tiny_weights(2), -1.0
    everything = list(all_decisions())
    for d in everything[:: len(everything) // 40]:
        passed = walk(TINY, weights, IMAGES[1:2], OPS, given(as_arrays(d)))
        found = slopes(TINY, weights, OPS, passed, np.array([y]), temperature)
        worth = [(f * (1 / temperature + s))[0] for f, s in zip(passed.signals, found, strict=True)]
        flat = [worth[0][:, :, 0], np.array([worth[1][i, j, 0] for i, j in WINDOW]), worth[2]]
        start = tiny_joint(weights, IMAGES[1], y, d, temperature)
        for stage in range(3):
            for other in {tuple(e[stage].ravel()) for e in everything}:
                moved = [*d]
                moved[stage] = np.reshape(other, d[stage].shape)
                rise = tiny_joint(weights, IMAGES[1], y, moved, temperature) - start
                assert rise <= np.sum((moved[stage] - d[stage]) * flat[stage]) + 1e-10


@pytest.mark.parametrize("temperature", [*TEMPERATURES, 20.0])
def test_where_the_relu_gates_are_called_stable_no_other_gates_of_one_layer_are_more_probable(
    temperature: float,
) -> None:
    stable = unstable = 0
    for seed in range(8):
        network, weights, x, y = mlp_case(seed)
        seen = relu_gates(network, weights, x, y, temperature)
        assert seen.largest_rise <= 0.0
        exact = exact_thermodynamics(network, weights, x, y, temperature)
        assert seen.log_joint == pytest.approx(exact.relu, abs=1e-10)
        for i in range(5):
            states = mlp_states(weights, x[i], y[i], temperature)
            joint, relu = states["prior"] + states["label"], int(exact.relu_state[i])
            first, second = (np.arange(128) & mask == relu & mask for mask in (0b1110000, 0b0001111))
            best = max(joint[first].max(), joint[second].max())
            stable += bool(seen.stable[i])
            unstable += bool(best > joint[relu] + 1e-9)
            assert not (seen.stable[i] and best > joint[relu] + 1e-9)
    assert stable > 0 or temperature > 10
    assert unstable > 0 or temperature < 1


def mlp_case(seed: int) -> tuple[Any, list[Array], Array, Array]:
    network = mlp([3, 4, 3, 1])
    rng = np.random.default_rng(seed)
    weights = [2.0 * w for w in network.init(seed)]
    return network, weights, rng.standard_normal((5, 3)), rng.choice([-1.0, 1.0], 5)


def mlp_states(weights: list[Array], x: Array, y: float, temperature: float) -> dict[str, Array]:
    """Energy, log µ(h|x) and log µ(y|x, h) of all 2^7 configurations, one by one."""
    rows = []
    for state in range(1 << 7):
        bits, signal, energy, prior = [(state >> k) & 1 for k in range(7)], x, 0.0, 0.0
        for w, h in ((weights[0], bits[:4]), (weights[1], bits[4:])):
            z = signal @ w
            energy -= float(np.dot(h, z))
            prior -= float(np.sum(np.log1p(np.exp((1 - 2 * np.array(h)) * z / temperature))))
            signal = np.array(h) * z
        rows.append((energy, prior, -float(np.log1p(np.exp(-y * float((signal @ weights[2])[0]))))))
    return dict(zip(("energy", "prior", "label"), np.array(rows).T, strict=True))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_exact_energies_bounds_and_maxima_are_those_of_a_loop_over_configurations(temperature: float) -> None:
    network, weights, x, y = mlp_case(1)
    seen = exact_thermodynamics(network, weights, x, y, temperature)
    for i in range(5):
        one = mlp_states(weights, x[i], y[i], temperature)
        law, joint = np.exp(one["prior"]), one["prior"] + one["label"]
        assert seen.energy[i] == pytest.approx(law @ one["energy"])
        assert seen.entropy[i] == pytest.approx(-law @ one["prior"])
        assert seen.gibbs[i] == pytest.approx(-temperature * np.log(np.sum(np.exp(-one["energy"] / temperature))))
        assert seen.log_marginal[i] == pytest.approx(np.log(np.sum(np.exp(joint))))
        assert seen.forward_bound[i] == pytest.approx(law @ one["label"])
        assert seen.best[i] == pytest.approx(joint.max())
        assert seen.best_state[i] == joint.argmax()
        assert seen.prior_state[i] == one["prior"].argmax()
        assert seen.relu[i] == pytest.approx(joint[seen.relu_state[i]])
    assert np.all(seen.relu <= seen.best + 1e-12)
    assert np.all(seen.best <= seen.log_marginal)
    assert np.all(seen.gibbs <= seen.free_energy + 1e-12)
    posterior = exact_posterior(network, weights, x, y, temperature)
    assert seen.best_state.tolist() == posterior.argmax(axis=1).tolist()
    assert np.log(posterior[np.arange(5), seen.relu_state]) == pytest.approx(seen.relu - seen.log_marginal)
    assert seen.entropy == pytest.approx(gate_law(network, weights, x, temperature).entropy)
    marginal = exact_marginal(network, weights, x, temperature)
    assert np.exp(seen.log_marginal) == pytest.approx(np.where(y > 0, marginal, 1 - marginal))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_a_search_of_all_single_flips_against_the_exact_maximum(temperature: float) -> None:
    refuted = 0
    for seed in range(6):
        problem = mlp_case(seed)
        exact, search = exact_thermodynamics(*problem, temperature), search_gates(*problem, temperature)
        assert search.climbed.all()
        assert np.all(search.found <= exact.best + 1e-10)
        assert search.relu == pytest.approx(exact.relu, abs=1e-10)
        assert not np.any(search.refuted & exact.most_probable)
        refuted += int(search.refuted.sum())
    assert refuted > 0 or temperature < 1


def test_a_network_without_gates_has_one_state() -> None:
    search = search_gates(mlp([2, 1]), [np.ones((2, 1))], [[1.0, 2.0]], [1.0], 1.0, backend=OPS)
    assert search.found == pytest.approx(-np.log1p(np.exp(-3.0)))
    assert (search.flips.tolist(), search.climbed.tolist()) == ([0], [True])
    assert relu_gates(mlp([2, 1]), [np.ones((2, 1))], [[1.0, 2.0]], [1.0], 1.0, OPS).stable.tolist() == [True]


def test_flips_that_the_gates_above_follow_find_what_single_flips_do_not() -> None:
    """The states reached are the largest that the loop over configurations has, for four in five of the examples."""
    reached = total = 0
    for seed in range(12):
        problem = mlp_case(seed)
        exact, search = exact_thermodynamics(*problem, 4.0), search_gates(*problem, 4.0)
        wrong = ~exact.most_probable
        reached += int(np.sum(search.found[wrong] > exact.best[wrong] - 1e-9))
        total += int(wrong.sum())
        again = walk(problem[0], problem[1], problem[2], OPS, likeliest(OPS))
        assert search.relu == pytest.approx(log_joint(OPS, again, problem[3], 4.0))
    assert reached >= 0.8 * total > 5


NETWORKS = {
    "ragged": sequential((5, 5, 2), [Conv(3), MaxPool(2), Conv(2, kernel=1), AvgPool(2), Dense(4), Dense(1)]),
    "two pools": sequential((6, 6, 1), [Conv(2), MaxPool(2), MaxPool(3), Dense(1)]),
    "inputs": sequential((4, 4, 2), [MaxPool(2), AvgPool(2), Dense(3), Dense(1)]),
    "mean first": sequential((5, 4, 1), [Conv(2), AvgPool(2), MaxPool(2), Dense(1)]),
}


@pytest.mark.parametrize("ops", [get_backend("numpy"), get_backend("numba"), strict()], ids=lambda ops: ops.name)
@pytest.mark.parametrize("name", NETWORKS)
def test_free_energy_is_minus_t_log_z_of_every_stage(name: str, ops: Backend) -> None:
    network = NETWORKS[name]
    x = np.random.default_rng(2).standard_normal((4, *network.input_shape))
    weights = network.init(1)
    seen = sample_thermodynamics(network, weights, x, 0.7, draws=3, seed=1, backend=ops)
    assert seen.stages == tuple(stage_names(network))
    assert seen.free_energy == pytest.approx(-0.7 * seen.log_normaliser, abs=1e-12)
    reference = sample_thermodynamics(network, weights, x, 0.7, draws=3, seed=1, backend=OPS)
    assert seen.energy == pytest.approx(reference.energy, abs=1e-11)
    assert seen.output == pytest.approx(reference.output, abs=1e-11)
    y = np.array([1.0, -1.0, 1.0, -1.0])
    assert search_gates(network, weights, x, y, 2.0, backend=ops).found == pytest.approx(
        search_gates(network, weights, x, y, 2.0, backend=OPS).found, abs=1e-9
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_as_the_temperature_goes_to_zero_the_pass_is_the_relu_network(name: str) -> None:
    """And so it is with the most probable decisions of every stage."""
    network = NETWORKS[name]
    x, weights = np.random.default_rng(3).standard_normal((6, *network.input_shape)), network.init(4)
    expected = output(network, weights, x, OPS)
    assert walk(network, weights, x, OPS, likeliest(OPS)).output == pytest.approx(expected, abs=1e-12)
    cold = sample_thermodynamics(network, weights, x, 1e-9, draws=1, seed=1, backend=OPS)
    assert cold.output[0] == pytest.approx(expected, abs=1e-6)
    assert np.all(np.isfinite(cold.entropy))


@pytest.mark.parametrize("name", NETWORKS)
def test_in_the_limit_of_high_temperature_the_entropy_is_that_of_coins_and_dice(name: str) -> None:
    network = NETWORKS[name]
    hot = sample_thermodynamics(network, network.init(1), np.ones((1, *network.input_shape)), 1e9, draws=1, backend=OPS)
    assert hot.entropy.sum() == pytest.approx(largest_entropy(network), rel=1e-9)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_a_pool_chooses_by_the_exponentials_of_its_signals(temperature: float) -> None:
    """Probabilities, entropy and log Z of a window with a ragged edge beside it; frequencies of draws within errors."""
    values = np.array([0.3, -1.0, 2.0, 0.0])
    image = np.zeros((1, 3, 3, 1))
    image[0, :2, :2, 0], image[0, 2], image[0, :, 2] = values.reshape(2, 2), 9.0, -7.0
    weights = np.exp(values / temperature)
    p = weights / weights.sum()
    law = Choices(2)
    found = law.means(OPS, image, temperature)
    assert found[0, :2, :2, 0].ravel() == pytest.approx(p)
    assert found.sum() == pytest.approx(1.0)
    assert law.log_normaliser(OPS, image, temperature)[0] == pytest.approx(np.log(weights.sum()))
    assert law.entropy(OPS, image, found, temperature)[0] == pytest.approx(-p @ np.log(p))
    draws = 4000
    chosen = law.draw(OPS, np.repeat(image, draws, axis=0), temperature, np.random.default_rng(0))
    assert np.all(chosen.sum(axis=(1, 2, 3)) == 1)
    often = chosen[:, :2, :2, 0].mean(axis=0).ravel()
    assert np.all(np.abs(often - p) < 4.5 * np.sqrt(p * (1 - p) / draws) + 1e-3)


def test_extreme_signals_neither_overflow_nor_lose_a_choice() -> None:
    signals = np.array([[1e4, -1e4], [1e4, 0.0]]).reshape(1, 2, 2, 1)
    for law in (Gates(), Choices(2)):
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            means = law.means(OPS, signals, 1e-3)
            assert np.all(np.isfinite(law.log_normaliser(OPS, signals, 1e-3)))
            assert np.isfinite(law.entropy(OPS, signals, means, 1e-3)).all()
    assert Choices(2).entropy(OPS, signals, means, 1e-3)[0] == pytest.approx(np.log(2.0))


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: sample_thermodynamics(*mlp_case(0)[:3], 0.0), "temperature 0"),
    (lambda: sample_thermodynamics(*mlp_case(0)[:3], -1.0), "temperature -1.0"),
    (lambda: sample_thermodynamics(*mlp_case(0)[:3], 1.0, draws=0), "draws 0"),
    (lambda: search_gates(*mlp_case(0), 0.0), "temperature 0"),
    (lambda: relu_gates(*mlp_case(0), 0.0), "temperature 0"),
    (lambda: search_gates(*mlp_case(0), 1.0, most_steps=0), "most_steps 0"),
    (lambda: exact_thermodynamics(*mlp_case(0), 0.0), "temperature 0"),
    (lambda: exact_thermodynamics(*mlp_case(0), 1.0, max_configurations=10), "7 gates and 5 inputs"),
    (lambda: exact_thermodynamics(TINY, tiny_weights(), IMAGES, LABELS, 1.0), "without pools"),
]


@pytest.mark.parametrize(("call", "words"), REFUSED)
def test_what_cannot_be_is_refused(call: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
