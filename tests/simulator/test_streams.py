"""Random streams: one for every purpose, none shared between functions, epochs or commands."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import validation
from simulator import (
    HessianOperator,
    expectation_maximization,
    fit_hierarchy,
    hessian_entries,
    mlp,
    monte_carlo_marginal,
    output,
    sample_circuits,
    sample_live_paths,
    sample_paths,
    spectral_density,
    train,
)
from simulator.streams import PURPOSES, Streams, spawn_streams
from support.places import ROOT
from validation.bounds.job import bounds
from validation.capacity.cell import measure_cell as search_capacity
from validation.chaos.cell import measure_cell as chaos_cell
from validation.exact.job import run_exact
from validation.gates.job import gates
from validation.ladder.job import ladder
from validation.maxent.job import maxent
from validation.measurements.entries.record import entry_statistics
from validation.measurements.moments import hessian_moments
from validation.novel.cell import measure_cell as measure_novel
from validation.phase.cell import measure_cell
from validation.scales.cell import measure_cell as measure_scales
from validation.stationary.cell import measure_cell as searched_cell
from validation.temperature.cell import measure_cell as temperature_cell

NETWORK = mlp([6, 5, 4, 1])
Draw = tuple[str, tuple[int, ...], Any]


def state(rng: np.random.Generator) -> tuple[int, ...]:
    sequence: Any = rng.bit_generator.seed_seq
    return tuple(sequence.generate_state(4).tolist())


def test_purposes_seeds_and_indices_give_different_streams() -> None:
    """Every purpose, at 40 epochs with 8 probes each, of seeds that lists would confuse."""
    seeds = (0, 1, 2**32, 2**32 + 1, 2**64, 2**160)
    indices = [(), *((e,) for e in range(40)), *((e, k) for e in range(40) for k in range(8))]
    seen = {state(Streams(seed)(purpose, *index)) for seed in seeds for purpose in PURPOSES for index in indices[:9]}
    assert len(seen) == len(seeds) * len(PURPOSES) * 9
    seen = {state(Streams(7)(purpose, *index)) for purpose in PURPOSES for index in indices}
    assert len(seen) == len(PURPOSES) * len(indices)


@given(st.integers(0, 2**70), st.lists(st.integers(0, 2**20), max_size=3), st.integers(1, 4))
def test_a_generator_never_meets_its_own_children(seed: int, index: list[int], count: int) -> None:
    """What numpy spawns from a stream, what this module draws from it, and the streams with a longer index."""
    parent = Streams(seed)("lanczos", *index)
    longer = Streams(seed).spawn("lanczos", count, *index)
    children = [*parent.spawn(count), *spawn_streams(parent, count), *Streams(parent).spawn("lanczos", count)]
    assert len({state(rng) for rng in [parent, *longer, *children]}) == 1 + 4 * count


def test_the_same_stream_comes_again_from_an_integer_and_not_from_a_generator() -> None:
    assert Streams(3)("facts", 2).random() == Streams(3)("facts", 2).random()
    generator = np.random.default_rng(3)
    first, second = Streams(generator), Streams(generator)
    assert first("facts").random() != second("facts").random()
    assert first("facts").random() == Streams(np.random.default_rng(3))("facts").random()


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0", None, [0, 1], np.float64(2)])
def test_other_seeds_are_refused(seed: Any) -> None:
    with pytest.raises(ValueError, match="is not usable: pass an integer >= 0"):
        Streams(seed)


def test_unknown_purposes_are_refused() -> None:
    with pytest.raises(ValueError, match="purpose 'lancsoz' of a random stream is unknown"):
        Streams(0)("lancsoz")


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[Draw]:
    """(purpose, index, state) of every stream that is made."""
    made: list[Draw] = []
    original = Streams.__call__

    def recorded(self: Streams, purpose: str, *index: int) -> np.random.Generator:
        rng = original(self, purpose, *index)
        made.append((purpose, index, state(rng)))
        return rng

    monkeypatch.setattr(Streams, "__call__", recorded)
    return made


def shared(made: list[Draw]) -> dict[Any, list[Draw]]:
    """Streams that were made more than once."""
    found: dict[Any, list[Draw]] = defaultdict(list)
    for draw in made:
        found[draw[2]].append(draw)
    return {key: several for key, several in found.items() if len(several) > 1}


def data() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(1)
    return NETWORK.init(1, "rademacher"), rng.standard_normal((12, 6)), rng.choice([-1.0, 1.0], 12)


FUNCTIONS: dict[str, Callable[[Any, Any, Any], object]] = {
    "init": lambda w, x, y: NETWORK.init(0, "rademacher"),
    "train": lambda w, x, y: train(NETWORK, w, x, y, epochs=2, batch_size=4, learning_rate=0.01),
    "train_monte_carlo": lambda w, x, y: train(
        NETWORK, w, x, y, epochs=2, batch_size=4, learning_rate=0.01, loss="logistic", temperature=1.0,
        e_step="monte_carlo",
    ),
    "em": lambda w, x, y: expectation_maximization(
        NETWORK, w, x, y, temperature=1.0, e_step="monte_carlo", iterations=1
    ),
    "output": lambda w, x, y: output(NETWORK, w, x, temperature=1.0),
    "marginal": lambda w, x, y: monte_carlo_marginal(NETWORK, w, x, 1.0, 4),
    "paths": lambda w, x, y: sample_paths(NETWORK, 5),
    "circuits": lambda w, x, y: sample_circuits(NETWORK, w, x, 5),
    "live_paths": lambda w, x, y: sample_live_paths(NETWORK, w, x, 5),
    "entries": lambda w, x, y: hessian_entries(NETWORK, w, x, y, 10, 4),
    "entry_statistics": lambda w, x, y: entry_statistics(NETWORK, w, x, y, n=20, n_first=6, resamples=10),
    "spectrum": lambda w, x, y: spectral_density(HessianOperator(NETWORK, w, x, y)),
    "moments": lambda w, x, y: hessian_moments(HessianOperator(NETWORK, w, x, y)),
    "hierarchy": lambda w, x, y: fit_hierarchy(np.random.default_rng(0).normal(size=(2, 2, 2, 2))),
    "data": lambda w, x, y: validation.data.load_dataset("digits", examples=20),
    "fresh": lambda w, x, y: validation.predict_spectrum(NETWORK, x, y / 12, [1 + 1j], "R4"),
    "wide": lambda w, x, y: validation.predict_spectrum(NETWORK, x, y / 12, [1 + 1j], "R4w"),
}  # fmt: skip
SAME = {frozenset({"train", "train_monte_carlo"}), frozenset({"fresh", "wide"})}
"""Functions that draw the same on purpose: the batches of a seed, and what a rung without weights draws."""


def test_no_two_functions_draw_the_same_from_one_integer(draws: list[Draw]) -> None:
    """The default seed of all is 0: the signs of a layer must not be those of a probe."""
    drawn: dict[str, set[Any]] = {}
    problem = data()
    for name, function in FUNCTIONS.items():
        draws.clear()
        function(*problem)
        drawn[name] = {key for _, _, key in draws}
        assert drawn[name], name
        assert not shared(draws), name
    pairs = {frozenset({a, b}) for a in drawn for b in drawn if a != b and drawn[a] & drawn[b]}
    assert pairs == SAME


def test_probes_know_nothing_of_rademacher_weights() -> None:
    """With the same seed for both, tr H² by one probe is right on average over networks."""
    network, ratios = mlp([16, 16, 16, 1]), []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        w = network.init(seed, "rademacher")
        h = HessianOperator(network, w, rng.standard_normal((30, 16)) + 1.0, None, c=np.full(30, -1 / 30))
        exact = spectral_density(h, 32, 2, seed=10**6 + seed).moment(2)[0]
        ratios.append(spectral_density(h, 1, 2, seed=seed).moment(2)[0] / exact)
    assert abs(np.mean(ratios) - 1.0) < 4.0 * np.std(ratios) / np.sqrt(len(ratios))


SCALES_CELL = {
    "network": "mlp:6x5", "examples": 60, "measured_examples": 40, "record": (0, 2), "circuits": 200, "entries": 60,
    "first": 20,
}  # fmt: skip
COMMANDS: dict[str, Callable[[str], object]] = {
    "compare": lambda out: validation.compare(
        data="digits", network="mlp:6x6", examples=60, quick=True, entries=True, entry_examples=40, epochs=1,
        record=(0, 1), out=out, prediction_examples=10, prediction_seconds=0.2, steps=10, probes=2,
    ),
    "exact": lambda out: run_exact(quick=True, out=out),
    "bounds": lambda out: bounds(quick=True, out=out),
    "ladder": lambda out: ladder(
        data="digits", widths=(6,), depths=(3,), examples=20, networks=2, train=(0, 5), draws=2, out=out
    ),
    "maxent": lambda out: maxent(quick=True, out=out),
    "scales": lambda out: [measure_scales(SCALES_CELL, seed) for seed in (0, 1)],
    "capacity": lambda out: [
        search_capacity({"data": "digits", "examples": 120, "inputs": 5, "starts": 3, "iterations": 200, "updates": 40},
                        "hinge", "random", depth, width, 0)
        for depth, width in ((2, 12), (3, 4))
    ],
    "gates": lambda out: gates(
        data="digits", network="mlp:6x6", small="mlp:4x3", examples=60, measured=10, searched=4, draws=2, epochs=2,
        record=(0, 2), temperatures=(0.3, 1.0), out=out,
    ),
    "phase": lambda out: [measure_cell({"data": "digits"}, width, m, 0) for width, m in ((4, 40), (40, 4))],
    "novel": lambda out: [
        measure_novel({"examples": 30, "novel": 8, "rounds": 2, "updates": 60}, width, 0) for width in (4, 5)
    ],
    "chaos": lambda out: [
        chaos_cell({"width": 6, "depth": 3, "examples": 20, "updates": 20, "probes": 2, "steps": 4}, gain, 0)
        for gain in (0.5, 1.0)
    ],
    "temperature": lambda out: [
        temperature_cell({"network": "mlp:4", "examples": 20, "measured_examples": 10, "epochs": 1, "gate_draws": 2,
                          "probes": 2, "steps": 4, "backend": "numpy"}, 0, t)
        for t in (0.0, 0.5)
    ],
    "stationary": lambda out: [
        searched_cell({"network": "mlp:3", "examples": 20, "epochs": 3, "points": 2, "found": 1}, loss, 0)
        for loss in ("hinge", "squared")
    ],
}  # fmt: skip
AGAIN = {
    "batches": "full-batch training, and the batches of the training that is predicted",
    "training gates": "the same, with gates that are not drawn",
    "spectrum examples": "a quick run selects its data twice",
    "examples": "a quick run selects its data twice",
    "entry statistics": "the same entries at every epoch",
    "entry examples": "the same examples at every epoch",
    "entry labels": "the same entries at every epoch",
    "entry pairs": "the same entries at every epoch",
    "verification": "the same vector in every run of Lanczos quadrature",
    "permutations": "the same entries at every epoch",
    "fresh networks": "a sample of the examples and all of them, in the same networks",
    "weights": "the fresh networks",
    "sampled rungs": "the seed of every sampled rung of a record: all draw the same numbers",
    "ensemble weights": "the same",
    "ensemble fields": "the same",
    "ensemble probes": "the same",
    "lanczos": "the probes of the sampled rungs",
    "parts": "parts of those above",
    "forecast examples": "the same test examples at every reading of the kernels",
    "forecast probes": "both rungs on the same probes",
    "capacity data": "every search of a seed has the same order of examples",
    "capacity labels": "and the same random labels",
    "chaos data": "the examples of a seed at every gain",
    "chaos weights": "its weights at every gain",
    "chaos batches": "its batches at every gain",
    "temperature data": "the examples of a seed at every temperature",
    "temperature weights": "its weights at every temperature",
    "temperature batches": "its batches at every temperature, for both trainings",
    "temperature records": "its probes at every temperature",
    "record gates": "the gates of a record on all examples and on those of its spectrum, at every temperature",
    "stochastic gates": "the same",
    "scale": "the same probes at every temperature",
    "stochastic probes": "the same",
    "facts": "the same",
    "phase batches": "the batches that are predicted are those that are visited",
    "novel data": "networks of every width see the same examples",
}
"""Streams that a run makes more than once on purpose."""


SLOW = ("compare", "bounds", "exact", "ladder", "maxent")


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c not in SLOW] + [pytest.param(c, marks=pytest.mark.slow) for c in SLOW]
)
def test_every_stream_of_a_command_has_one_purpose(draws: list[Draw], command: str, tmp_path: Path) -> None:
    COMMANDS[command](str(tmp_path / "run"))
    assert len(draws) > 20
    for several in shared(draws).values():
        assert len({(purpose, index) for purpose, index, _ in several}) == 1, several
        assert several[0][0] in AGAIN, several[0]


def test_random_numbers_come_from_named_streams_only() -> None:
    """No generator is made elsewhere, but for two tables and two placeholders that draw nothing."""
    made = re.compile(r"SeedSequence|default_rng\(|RandomState|np\.random\.(seed|rand|normal)\b|\.spawn\(\d")
    allowed = {"simulator/streams.py", "backends/numba/basis.py", "validation/exact/claims.py"}
    files = [p for name in ("backends", "simulator", "theory", "validation") for p in (ROOT / name).rglob("*.py")]
    assert len(files) > 100
    found = {p.relative_to(ROOT).as_posix() for p in files if made.search(p.read_text())}
    assert found == allowed
