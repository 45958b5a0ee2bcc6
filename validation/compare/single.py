"""One run of the main job: train, measure the Hessian spectrum, predict it, compare, report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from simulator import Epoch, Network, gradient, train_epochs
from simulator.streams import Streams
from validation.compare.claims.judge import judge
from validation.compare.claims.theorems import bound_claims
from validation.data import Dataset, load_dataset
from validation.errors import StorageError
from validation.interchange import LoadedWeights, read_weights
from validation.interchange.given import GivenWeights
from validation.report.write import finish
from validation.run.budget import Memory
from validation.run.console import Stage, printable, say, say_compilation
from validation.run.deadline import Deadline
from validation.run.directory import Checkpoint, RunDirectory
from validation.run.environment import environment, package_version
from validation.run.stages import KeptStages
from validation.run.storage import REPORT_SCHEMA, arrays_checksum, write_json
from validation.statistics.symmetry import false_discoveries

from .bench import Bench
from .estimates import seconds_of, training_bytes, weight_bytes
from .forecast import forecast
from .options import QUICK_SPECTRUM_EXAMPLES, Options, build_network
from .record import measure, silent_record, silent_since
from .report import Report

IN_A_LINE = 5  # distances, on a terminal of 80 columns


def compare_one(**options: Any) -> Report:
    """One run of the main job: see `validation.compare`."""
    say_compilation()
    chosen = Options(**options).completed()
    bench, name = prepare(chosen)
    identity = chosen.identity()
    with RunDirectory(chosen.folder()) as run:
        report = run.open(identity, chosen.resume)
        say(f"data: {bench.dataset.source}\nfolder: {run.root}")
        if chosen.weights is not None:
            say(f"weights: {chosen.weights} (SHA-256 {identity['weights']}), {bench.loaded}")
        if report is None:
            report = _new_report(bench, name, identity)
            write_json(run.report_path, report)  # before any checkpoint, so that none lies there without saying whose
        elif report["dataset"] != _describe_data(bench.dataset):
            raise StorageError(f"--out {run.root} holds a run on other data: name another folder")
        _train_and_measure(bench, run, report)
        _finish(run, report)
    return Report(report, run.root)


def prepare(options: Options) -> tuple[Bench, str]:
    """The bench of a run and the name of its network; raises for options, data or a backend that cannot be used."""
    backend = options.resolve_backend(images=options.tf32)  # an unusable backend is said before data are read
    with Stage("reading the data"):
        dataset = _load(options, options.spectrum_examples)
        if options.quick and options.spectrum_examples is None and dataset.spectrum.size > QUICK_SPECTRUM_EXAMPLES:
            dataset = _load(options, QUICK_SPECTRUM_EXAMPLES)
    images = dataset.x.ndim == 4
    backend = options.resolve_backend(images) if images != options.tf32 else backend
    name, network = build_network(options.network, dataset.x.shape[1:])
    limit = options.memory if isinstance(options.memory, int) else None
    loaded = _loaded(options, network, dataset)
    return Bench(dataset, network, options, backend, loaded, Memory(limit, say), Deadline(options.stop_after)), name


def _loaded(options: Options, network: Network, dataset: Dataset) -> LoadedWeights | None:
    """The weights that were given, for inputs in this data's order; None: random ones."""
    if options.weights is None:
        return None
    shape = dataset.x.shape[1:]
    images = shape if len(shape) == 3 else None
    if isinstance(options.weights, GivenWeights):
        return options.weights.load(network, images, options.weights_names)
    return read_weights(
        options.weights, network, image_shape=images, names=options.weights_names, key=options.weights_key
    )


def _load(options: Options, spectrum_examples: int | None) -> Dataset:
    return load_dataset(
        options.data, options.data_root, options.classes, options.examples, spectrum_examples,
        seed=options.seed, dtype=options.dtype,
    )  # fmt: skip


def _new_report(bench: Bench, name: str, identity: dict[str, Any]) -> dict[str, Any]:
    data, options = bench.dataset, bench.options
    with Stage("theorems and bounds on small ensembles"):
        theorems = bound_claims(bench.network, Streams(options.seed)("theorems"), bench.backend)
    return {
        "schema": REPORT_SCHEMA,
        "version": package_version("umwelt-dnn"),
        "complete": False,
        "options": identity,
        "dataset": _describe_data(data),
        "network": {
            "name": name,
            "weight_shapes": [list(s) for s in bench.network.weight_shapes],
            "n_weights": bench.network.n_weights,
            "n_layers": bench.network.depth,
            **_describe_start(bench, identity),
        },
        "loss": options.loss,
        "backend": {"name": bench.backend.name, "dtype": bench.backend.dtype, "tf32": bench.backend.tf32},
        "seed": options.seed,
        "environment": environment(),
        "eta": options.eta,
        "training": {
            "epochs": options.epochs,
            "batch_size": options.batch_size,
            "learning_rate": options.learning_rate,
            "rate_drops": list(options.rate_drops),
            "momentum": options.momentum,
            "temperature": options.temperature,
            "e_step": options.e_step,
            "gate_draws": options.gate_draws,
            "history": {"epoch": [], "risk": [], "accuracy": []},
        },
        "epochs": [],
        "silent": [],
        "theorems": theorems,
        "symmetry_tests": false_discoveries([]),
        "claims": [],
    }


def _describe_start(bench: Bench, identity: dict[str, Any]) -> dict[str, Any]:
    if bench.loaded is None:
        return {"init": "gaussian", "weights": None}
    named = {"file": str(bench.options.weights), "order": str(bench.loaded)}
    return {"init": None, "weights": {k: printable(v) for k, v in named.items()} | {"sha256": identity["weights"]}}


def _describe_data(data: Dataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "source": data.source,
        "negative": list(data.negative),
        "positive": list(data.positive),
        "examples": int(data.x.shape[0]),
        "spectrum_examples": int(data.spectrum.size),
        "left_out": dict(data.left_out),
        "test_examples": 0 if data.x_test is None else int(data.x_test.shape[0]),
        "input_shape": list(data.x.shape[1:]),
        "sha256": _data_checksum(data),
    }


def _data_checksum(data: Dataset) -> str:
    """Of everything that the numbers of a run depend on."""
    arrays = {"x": data.x, "y": data.y, "x_test": data.x_test, "y_test": data.y_test, "spectrum": data.spectrum}
    return arrays_checksum((name, a) for name, a in arrays.items() if a is not None).hex()


def _train_and_measure(bench: Bench, run: RunDirectory, report: dict[str, Any]) -> None:
    """Record every epoch asked for, going on from the newest checkpoint; the report is written after each record.

    An epoch whose record is missing, but whose state is there, is measured first.
    """
    bench = replace(bench, forecast=forecast(bench, run, report))
    options, recorded = bench.options, {r["epoch"] for r in [*report["epochs"], *report["silent"]]}
    wanted = set(options.record or ())
    start = _first_state(bench, run, resumed=bool(options.resume))
    _announce_training(bench, start)
    with Stage("training", options.epochs, "epochs") as progress:
        for state in chain(_kept_states(run, wanted - recorded, start.epoch), _states(bench, run, start, wanted)):
            progress.reach(state.epoch)
            report["training"]["history"] = state.history
            if state.epoch in wanted and state.epoch not in recorded:
                _record(bench, run, report, state)
            if state.epoch < (options.epochs or 0):
                bench.deadline.check()


def _record(bench: Bench, run: RunDirectory, report: dict[str, Any], state: Checkpoint) -> None:
    """The record of an epoch; at H = 0 since the last one it is named and not measured again."""
    since = silent_since(report["epochs"], state.history, state.epoch)
    silent = None if since is None else silent_record(bench, state.weights, state.epoch, since)
    kind, made = ("epochs", _measured(bench, run, state)) if silent is None else ("silent", silent)
    report[kind] = sorted([*report[kind], made], key=itemgetter("epoch"))
    _judge(report)
    write_json(run.report_path, report, indent=None)
    run.forget_record(state.epoch)
    (_say if silent is None else _say_silent)(made)


def _kept_states(run: RunDirectory, wanted: set[int], before: int) -> Iterator[Checkpoint]:
    """States of epochs that training has passed and whose records are not there: they are measured again."""
    for epoch in sorted(wanted):
        if epoch < before and run.checkpoint_path(epoch).exists():
            yield run.load_checkpoint(epoch)


def _announce_training(bench: Bench, start: Checkpoint) -> None:
    """Say what the epochs to come will take, by a trial of one batch."""
    options, data = bench.options, bench.dataset
    left, batch = (options.epochs or 0) - start.epoch, min(options.batch_size, len(data.y))
    if left <= 0:
        return
    step, remedy = f"training, {left} epochs", "use a smaller --batch-size or --network"
    drawn = options.gate_draws if options.e_step == "posterior" else None  # passes of a batch that go together
    need = training_bytes(bench.network, bench.backend, batch * (drawn or 1))
    bench.memory.check(step, need, remedy)
    with np.errstate(over="ignore", invalid="ignore"):  # divergence is said by the training itself
        seconds = seconds_of(lambda: _try_step(bench, start.weights, batch))
    bench.memory.announce(step, need, remedy, seconds * left * math.ceil(len(data.y) / batch))


def _try_step(bench: Bench, weights: Sequence[np.ndarray[Any, Any]], batch: int) -> None:
    """The gradient of one batch, with the gates that training draws."""
    options, x, y = bench.options, bench.dataset.x[:batch], bench.dataset.y[:batch]
    hot = bench.temperature
    if hot is None:
        gradient(bench.network, weights, x, y, options.loss, backend=bench.backend)
        return
    one = hot if hot.law == "posterior" else replace(hot, samples=1)
    one.network(bench.network, weights, x, y, options.loss, Streams(options.seed), 0, bench.backend).gradient(0)


def _judge(report: dict[str, Any]) -> None:
    """What is said of all recorded epochs together: claims, and the symmetry tests adjusted for their number."""
    report["symmetry_tests"] = false_discoveries(report["epochs"])
    training = report["training"]
    report["claims"] = (
        judge(report["epochs"], training["momentum"], report["network"]["n_weights"]) + report["theorems"]
    )


def _first_state(bench: Bench, run: RunDirectory, resumed: bool) -> Checkpoint:
    last = run.last_epoch() if resumed else None
    if last is not None:
        return run.load_checkpoint(last)
    weights = None if bench.loaded is None else bench.loaded.weights
    if weights is None:
        bench.memory.check("drawing the first weights", weight_bytes(bench.network), "use a smaller --network")
        weights = bench.network.init(bench.options.seed)
    history: dict[str, list[float]] = {"epoch": [], "risk": [], "accuracy": []}
    return Checkpoint(0, weights, [np.zeros_like(w) for w in weights], history)


def _states(bench: Bench, run: RunDirectory, state: Checkpoint, wanted: set[int]) -> Any:
    """The state at the start and after every further epoch, saved where it is recorded and now and then between."""
    options = bench.options
    run.save_checkpoint(state, wanted)
    yield state
    saved = time.monotonic()
    history = {name: list(values) for name, values in state.history.items()}
    for epoch in _trained(bench, state):
        for name in history:
            history[name].append(getattr(epoch, name))
        reached = Checkpoint(epoch.epoch, epoch.weights, epoch.velocity, {k: list(v) for k, v in history.items()})
        late = time.monotonic() - saved >= options.save_seconds or bench.deadline.passed
        if epoch.epoch in wanted or late or epoch.epoch == options.epochs:
            run.save_checkpoint(reached, wanted)
            saved = time.monotonic()
        yield reached


def _trained(bench: Bench, state: Checkpoint) -> Iterator[Epoch]:
    """The epochs after a state: every stretch of one learning rate goes on from where the last one ended."""
    options, data = bench.options, bench.dataset
    weights, velocity, first = state.weights, state.velocity, state.epoch + 1
    for last in (*options.rate_drops, options.epochs or 0):
        for epoch in train_epochs(
            bench.network, weights, data.x, data.y, epochs=last, batch_size=options.batch_size,
            learning_rate=options.rate(last), momentum=options.momentum, loss=options.loss, seed=options.seed,
            temperature=options.temperature, e_step=options.e_step or "zero_temperature",
            samples=options.gate_draws or 1, choosing_pools=True, backend=bench.backend, velocity=velocity,
            first_epoch=first,
        ):  # fmt: skip
            weights, velocity, first = epoch.weights, epoch.velocity, epoch.epoch + 1
            yield epoch


def _measured(bench: Bench, run: RunDirectory, state: Checkpoint) -> dict[str, Any]:
    stages = KeptStages(run, state.epoch, bench.options.save_seconds, bench.deadline)
    with Stage(f"spectrum at epoch {state.epoch}", bench.n_products(), "products") as progress:
        return measure(bench, state.weights, state.epoch, stages, progress.update)


def _say(record: dict[str, Any]) -> None:
    say(
        f"epoch {record['epoch']:4d}  risk {record['risk']:.4g}  accuracy {record['accuracy']:.4f}  "
        f"active {record['active_fraction']:.3f}  rms {record['spectrum']['rms']:.3g}  ({record['seconds']:.0f} s)"
    )
    distances = [f"{rung} {p['l1']:.3f}" for rung, p in record["predictions"].items()]
    for first in range(0, len(distances), IN_A_LINE):
        say(f"      L1  {'  '.join(text.ljust(10) for text in distances[first : first + IN_A_LINE])}".rstrip())


def _say_silent(record: dict[str, Any]) -> None:
    say(f"epoch {record['epoch']:4d}  as at epoch {record['since']} no example is active, so H = 0: not measured again")


def _finish(run: RunDirectory, report: dict[str, Any]) -> None:
    """The final report, its page and its figures; not complete where a wanted epoch has neither record nor state."""
    from .pages.report import render_html

    def figures() -> Mapping[str, Callable[[Any], Any]]:
        from validation.compare.figures.registry import figures_of

        return figures_of(report)

    _judge(report)
    found = {record["epoch"] for record in [*report["epochs"], *report["silent"]]}
    missing = sorted(set(report["options"]["record"]) - found)
    if missing:
        epochs = ", ".join(map(str, missing))
        say(f"not recorded: epochs {epochs}, whose states are not in {run.checkpoint_path(0).parent}")
    report["complete"] = not missing
    finish(run.root, "report", report, figures, render_html)
