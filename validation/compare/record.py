"""One recorded epoch: everything that the report says of the network at that moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from operator import itemgetter
from typing import Any

import numpy as np

from simulator import (
    Evaluation,
    HessianOperator,
    Lanczos,
    SpectralDensity,
    StochasticNetwork,
    TrainingDivergedError,
    evaluate,
    output,
    signal_powers,
)
from simulator.streams import Streams, spawn_streams
from validation.errors import InsufficientMemoryError
from validation.measurements.alignment import aligned_share, unknown_share
from validation.measurements.entries.record import ENTRIES, QUICK_ENTRIES, entry_statistics
from validation.measurements.facts import check_facts
from validation.measurements.laws import (
    CIRCUITS,
    QUICK_CIRCUITS,
    circuit_laws,
    gradient_histograms,
    symmetry,
    weight_histograms,
)
from validation.measurements.moments import MomentProbes
from validation.measurements.spectrum import describe_spectrum
from validation.measurements.stochastic import (
    SETS,
    Rows,
    accuracy,
    described,
    evaluated,
    facts,
    lanczos,
    scale_of,
    spectrum_of,
)
from validation.predictions.predict import SignalLaw
from validation.predictions.record import predict_moments, predict_signals
from validation.run.stages import Stages
from validation.run.storage import finite_or_none

from .bench import Bench
from .draws import fresh_networks, sampled_rungs, structure
from .estimates import entries_bytes, law_bytes, moments_bytes, seconds_of, spectrum_bytes, state_bytes
from .whole import whole

Array = np.ndarray[Any, Any]
Progress = Callable[[int], object]
DIVERGED = 1e12  # beyond this risk nothing is learned any more, and moments of the Hessian overflow


def measure(bench: Bench, weights: Sequence[Array], epoch: int, stages: Stages, progress: Progress) -> dict[str, Any]:
    """The record of one epoch, as it stands in report.json, from what `stages` has of it to its end.

    Every stage has random streams of its own, so that it gives the same numbers whenever it is done.
    `TrainingDivergedError` for a risk beyond `DIVERGED`.
    """
    begun = time.perf_counter()
    data, network, options, ops = bench.dataset, bench.network, bench.options, bench.backend
    streams, record = Streams(options.seed), stages.record
    if not stages.done("state"):
        need = state_bytes(network, ops, len(data.y))
        if bench.temperature is not None:
            need += 16.0 * SETS * network.n_weights  # the gradients of all sets, twice
        bench.memory.check(f"the state at epoch {epoch}", need, "use a smaller --network")
        record |= _state(bench, weights, epoch, streams)
        stages.complete("state")
    if not stages.done("entries"):
        record["entries"] = _entries(bench, weights) if options.entries else None
        stages.complete("entries")
    rows = _products(bench, weights, epoch, stages, progress)
    rms = record["spectrum"]["rms"]
    if rms > 0 and not stages.done("signals"):
        predict_signals(
            record, network, weights, rows.x, rows.c, rms=rms, eta=options.eta, gates=rows.gates,
            budget=options.prediction_seconds or 0.0, examples=options.prediction_examples,
            seed=streams("predictions", epoch), backend=ops, keep=stages.keep, refuse=partial(_refuse, bench, epoch),
        )  # fmt: skip
        stages.complete("signals")
    if rms > 0:
        sampled_rungs(bench, weights, rows, epoch, stages, progress)
        fresh_networks(bench, epoch, stages, progress)
    if options.structure and not stages.done("structure"):
        record.setdefault("structure", {"layers": {}, "directions": {}, "outliers": []})
        if rms > 0:
            structure(bench, weights, rows.c, epoch, stages, progress)
        stages.complete("structure")
    if options.whole and not stages.done("whole"):
        whole(bench, weights, rows.c, epoch, stages, progress)
        stages.complete("whole")
    record.pop("stages")
    record["seconds"] = round(stages.seconds_before + time.perf_counter() - begun, 2)
    return record


def silent_since(records: Sequence[dict[str, Any]], history: dict[str, list[float]], epoch: int) -> int | None:
    """The last record before an epoch, if no training example was active there nor in any batch of training since.

    A batch of risk 0 has a gradient of exactly 0: since that record the weights have moved by their momentum alone.
    That may wake an example after the last batch, which `silent_record` finds.
    """
    last = max((r for r in records if r["epoch"] < epoch), key=itemgetter("epoch"), default=None)
    if last is None or last["active_fraction"] > 0.0:
        return None
    risks = dict(zip(history["epoch"], history["risk"], strict=True))
    return last["epoch"] if all(risks[e] == 0.0 for e in range(last["epoch"] + 1, epoch + 1)) else None


def silent_record(bench: Bench, weights: Sequence[Array], epoch: int, since: int) -> dict[str, Any] | None:
    """What is said of an epoch at which no example is active, as at the record of `since`: H = 0, not measured again.

    None where an example is active after all.
    """
    whole, _ = _whole(bench, weights, epoch)
    if whole.active_fraction > 0.0:
        return None
    return {"epoch": epoch, "since": since, **_told(bench, weights, whole, epoch)}


def _products(bench: Bench, weights: Sequence[Array], epoch: int, stages: Stages, progress: Progress) -> Rows:
    """The measured spectrum, and the predictions from moments: all that products of the network's own Hessian give.

    Returns the examples of the spectrum with their c, and the gates that they draw; the frozen signals are let go. At a
    temperature every probe meets a set of gates of its own, and predictions start from the first set.
    """
    data, options, record, streams = bench.dataset, bench.options, stages.record, Streams(bench.options.seed)
    x, y = data.x[data.spectrum], data.y[data.spectrum]
    drawn = bench.drawn(weights, epoch, data.spectrum)
    if drawn is None:
        operator = HessianOperator(bench.network, weights, x, y, options.loss, part="residual", backend=bench.backend)
        rows = Rows(x, operator.c)
    else:
        operator, rows = drawn.draw(0), Rows.of_set(drawn)
    if not stages.done("spectrum"):
        spectrum = _spectrum(bench, operator, drawn, epoch, stages, progress)
        record["spectrum"] = describe_spectrum(spectrum, options.eta, streams("mirror", epoch), options.steps)
        stages.complete("spectrum")
        stages.forget("lanczos")
    if drawn is not None and not stages.done("scale"):
        record["stochastic"]["scale"] = scale_of(drawn, streams("scale", epoch))
        stages.complete("scale")
    record.setdefault("predictions", {})
    rms = record["spectrum"]["rms"]
    if rms > 0 and not stages.done("moments"):
        probes = MomentProbes(operator, seed=streams("hutchinson", epoch))
        stages.run("moments", probes, progress)
        predict_moments(record, probes.result(), rms, options.eta, stages.keep)
        stages.complete("moments")
        stages.forget("moments")
    return rows


def _spectrum(
    bench: Bench,
    operator: HessianOperator,
    drawn: StochasticNetwork | None,
    epoch: int,
    stages: Stages,
    progress: Progress,
) -> SpectralDensity:
    """Stochastic Lanczos quadrature of the Hessian, kept step by step."""
    probes, steps = bench.options.probes, bench.density_steps()
    seed = Streams(bench.options.seed)("lanczos", epoch)
    if drawn is None:
        run = Lanczos(operator, probes, steps, seed)
        _announce_spectrum(bench, operator, run, epoch)
        stages.run("lanczos", run, progress)
        return run.result()
    _announce_spectrum(bench, operator, Lanczos(operator, 1, steps), epoch)
    sets = lanczos(drawn, probes, steps, seed)
    stages.run("lanczos", sets, progress)
    return spectrum_of(sets)


def _announce_spectrum(bench: Bench, operator: HessianOperator, run: Lanczos, epoch: int) -> None:
    """Say what the products of a record will take, by a trial of a few of them."""
    need = max(spectrum_bytes(operator, run), moments_bytes(operator))
    step = f"the spectrum at epoch {epoch}, {bench.n_products():,} products"
    remedy = "use fewer --spectrum-examples or --steps, or a smaller --network"
    bench.memory.check(step, need, remedy)
    trial = operator.backend.zeros((run.group, bench.network.n_weights))
    seconds = seconds_of(lambda: operator.rows(trial)) / run.group
    bench.memory.announce(step, need, remedy, seconds * bench.n_products())


def _refuse(bench: Bench, epoch: int, rung: str, law: SignalLaw, n_points: int) -> str | None:
    """Say what a rung will take; the reason where memory will not hold it."""
    remedy = "use fewer --spectrum-examples or --prediction-examples"
    try:
        bench.memory.announce(
            f"{rung} at epoch {epoch}", law_bytes(law.memory, n_points), remedy, law.seconds(n_points)
        )
    except InsufficientMemoryError as error:
        return str(error)
    return None


def _state(
    bench: Bench,
    weights: Sequence[Array],
    epoch: int,
    streams: Streams,
) -> dict[str, Any]:
    """What needs no spectrum: risk, order parameter, exact facts, symmetry and laws."""
    data, network, options, ops = bench.dataset, bench.network, bench.options, bench.backend
    whole, stochastic = _whole(bench, weights, epoch)
    x, y = data.x[data.spectrum], data.y[data.spectrum]
    drawn = bench.drawn(weights, epoch, data.spectrum)
    if drawn is None:
        c = HessianOperator(network, weights, x, y, options.loss, part="residual", backend=ops).c
        powers = signal_powers(network, weights, x, ops)
        exact = check_facts(network, weights, x, y, c, options.loss, ops, streams("facts", epoch))
    else:
        powers = signal_powers(network, weights, drawn.rows, ops, drawn.gates(0))
        exact = facts(drawn, weights, streams("facts", epoch))
    statistics = streams("statistics", epoch)
    return {
        "epoch": epoch,
        "fresh": epoch == 0 and bench.loaded is None,
        "learning_rate": options.rate(max(epoch, 1)),
        **_told(bench, weights, whole, epoch, stochastic),
        "dead_layers": int(np.sum(powers[1:] == 0.0)),
        "growth": [finite_or_none(b / a) if a > 0 else None for a, b in pairwise(powers)],
        "weight_symmetry": [symmetry(w, statistics) for w in weights],
        "gradient_symmetry": [symmetry(g, statistics) for g in whole.gradient],
        "aligned": aligned_share(network, weights, data.x, data.y, ops) if drawn is None else unknown_share(data.y),
        "exact": {name: {"value": f.value, "tolerance": f.tolerance} for name, f in exact.items()},
        "left_out": {},
        "stochastic": stochastic,
        **_laws(bench, weights, whole, epoch, streams("circuits", epoch)),
    }


def _whole(bench: Bench, weights: Sequence[Array], epoch: int) -> tuple[Evaluation, dict[str, Any] | None]:
    """Risk and gradient on all training examples; `TrainingDivergedError` for a risk beyond `DIVERGED`.

    At a temperature averages over drawn gates, and what is recorded of them; else None.
    """
    data, options = bench.dataset, bench.options
    drawn, stochastic = bench.drawn(weights, epoch), None
    with np.errstate(over="ignore", invalid="ignore"):
        if drawn is None:
            whole = evaluate(bench.network, weights, data.x, data.y, options.loss, bench.backend)
        else:
            whole, seen = evaluated(drawn)
            stochastic = described(drawn, seen, weights)
    if not whole.risk <= DIVERGED:
        raise TrainingDivergedError(epoch, options.rate(max(epoch, 1)))
    return whole, stochastic


def _told(
    bench: Bench, weights: Sequence[Array], whole: Evaluation, epoch: int, stochastic: dict[str, Any] | None = None
) -> dict[str, Any]:
    order = whole.order_parameter if stochastic is None else stochastic["order_parameter"]["value"]
    return {
        "forecast": None if bench.forecast is None else bench.forecast.described(epoch),
        "risk": whole.risk,
        "accuracy": whole.accuracy,
        "test_accuracy": _test_accuracy(bench, weights, epoch),
        "order_parameter": order,
        "active_fraction": whole.active_fraction,
    }


def _test_accuracy(bench: Bench, weights: Sequence[Array], epoch: int) -> float | None:
    data, hot = bench.dataset, bench.temperature
    if data.x_test is None or data.y_test is None:
        return None
    if hot is not None:
        streams, loss = Streams(bench.options.seed), bench.options.loss
        return accuracy(
            hot.network(bench.network, weights, data.x_test, data.y_test, loss, streams, epoch, bench.backend)
        ).value
    margins = data.y_test * output(bench.network, weights, data.x_test, bench.backend)
    return float(np.mean(margins > 0))


def _laws(
    bench: Bench, weights: Sequence[Array], whole: Evaluation, epoch: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Histograms of weights and gradient; at the first and the last recorded epoch the laws of the circuits.

    Where no example is active the record may be the last one that is measured.
    """
    data, network, options = bench.dataset, bench.network, bench.options
    of_all, drawn = spawn_streams(rng, 2)
    found: dict[str, Any] = {
        "weight_histograms": weight_histograms(network, weights),
        "gradient_histograms": gradient_histograms(whole.gradient),
        "gradient_symmetry_all": symmetry(network.flatten(whole.gradient), of_all),
        "circuits": None,
    }
    record = options.record or ()
    if bench.temperature is None and (epoch in (record[0], record[-1]) or whole.active_fraction == 0.0):
        count = QUICK_CIRCUITS if options.quick else CIRCUITS
        found["circuits"] = circuit_laws(network, weights, data.x[data.spectrum], count, bench.backend, drawn)
    return found


def _entries(bench: Bench, weights: Sequence[Array]) -> dict[str, Any]:
    """Statistics of Hessian entries on training examples: the same entries and examples at every epoch."""
    data, network, options = bench.dataset, bench.network, bench.options
    size = QUICK_ENTRIES if options.quick else {}
    x, y = data.x, data.y
    if options.entry_examples is not None and options.entry_examples < len(y):
        chosen = np.sort(Streams(options.seed)("entry examples").permutation(len(y))[: options.entry_examples])
        x, y = x[chosen], y[chosen]
    need = entries_bytes(network, bench.backend, len(y), **(ENTRIES | size))
    bench.memory.announce("statistics of Hessian entries", need, "use fewer --entry-examples, or leave out --entries")
    return entry_statistics(network, weights, x, y, loss=options.loss, backend=bench.backend, seed=options.seed, **size)
