"""What a run predicts of its training before it begins (rungs R7 and R7m), kept in the folder of the run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator import TrainingDivergedError, fresh_weights
from simulator.streams import Streams
from validation.errors import InsufficientMemoryError
from validation.predictions.forecast import COLUMNS, Forecast, motions
from validation.predictions.linearised import (
    Linearised,
    Motion,
    Schedule,
    linearised_epochs,
    linearised_networks,
    reader,
)
from validation.predictions.rung import FORECAST_RUNGS
from validation.predictions.training import describe
from validation.run.console import Stage
from validation.run.directory import RunDirectory

from .bench import Bench
from .estimates import forecast_bytes, kernel_seconds

Array = np.ndarray[Any, Any]
NETWORKS = 4
READ_NUMBERS = 2e8  # of a kernel, in a second
OFTEN = 10  # epochs at the start after each of which kernels are read again
FILE = "forecast"


def forecast(bench: Bench, run: RunDirectory, report: dict[str, Any]) -> Forecast | None:
    """The forecast of a run, made once; None where there is none, with the reason in the report.

    ``report["forecast"]``: ``networks``, ``seconds``, and ``left_out``, the reason or None.
    """
    said = report.setdefault("forecast", {"networks": NETWORKS, "seconds": None, "left_out": None})
    if said["left_out"] is not None:
        return None
    if (kept := run.load_arrays(FILE)) is not None:
        return Forecast.of_arrays(kept)
    said["left_out"] = _refused(bench)
    if said["left_out"] is not None:
        return None
    begun = time.perf_counter()
    try:
        made = _made(bench)
    except TrainingDivergedError as error:
        said["left_out"] = f"by the tangent kernel at the start, {error}"
        return None
    said["seconds"] = round(time.perf_counter() - begun, 2)
    run.save_arrays(FILE, made.arrays())
    return made


def _refused(bench: Bench) -> str | None:
    """Why training is not predicted: it starts from weights of its own, or time or memory do not allow it."""
    if bench.options.temperature > 0.0:
        return "gates are drawn at a temperature: R7 predicts the training of a ReLU network"
    if bench.loaded is not None:
        return "the weights come from a file: R7 predicts training that starts from random weights"
    options, m = bench.options, len(bench.dataset.y)
    remedy = "use fewer --examples"
    need = forecast_bytes(bench.network, bench.backend, m, _tested(bench).size, NETWORKS)
    seconds, budget = _seconds(bench), options.prediction_seconds or 0.0
    if seconds > budget:
        return (
            f"tangent kernels of {NETWORKS} fresh networks on {m:,} training examples, read again as training goes on, "
            f"are estimated at {seconds:.0f} s, more than --prediction-seconds {budget:g}: raise it, or {remedy}"
        )
    try:
        bench.memory.announce(f"tangent kernels on {m:,} training examples", need, remedy, seconds)
    except InsufficientMemoryError as error:
        return str(error)
    return None


def _seconds(bench: Bench) -> float:
    """About how long the kernels and the steps between their readings will take."""
    options, m, epochs = bench.options, len(bench.dataset.y), max(bench.options.record or (), default=0)
    kernels = kernel_seconds(bench.network, bench.backend, m, _tested(bench).size)
    steps = epochs * m * m / READ_NUMBERS
    return NETWORKS * (kernels * (1 + len(_reads(options.record or ()))) + 2 * steps)


def _tested(bench: Bench) -> Array:
    """The test examples that are predicted: as many as there are training examples, drawn where there are more."""
    data = bench.dataset
    count = 0 if data.y_test is None else len(data.y_test)
    if count <= len(data.y):
        return np.arange(count)
    chosen: Array = np.sort(Streams(bench.options.seed)("forecast examples").choice(count, len(data.y), replace=False))
    return chosen


def _made(bench: Bench) -> Forecast:
    data, network, options = bench.dataset, bench.network, bench.options
    streams, tested, wanted = Streams(options.seed), _tested(bench), sorted(options.record or ())
    drawn = [fresh_weights(network, streams, k) for k in range(NETWORKS)]
    test = data.x_test[tested] if data.x_test is not None else None
    with Stage("tangent kernels of fresh networks"):
        law = linearised_networks(network, data.x, drawn, test, bench.backend)
    columns: dict[str, Array] = {}
    for rung in FORECAST_RUNGS:
        reads = _reads(wanted) if FORECAST_RUNGS[rung] else []
        moves: list[Motion] = []
        rows = _followed(bench, law, rung, reads, moves)
        columns |= {f"{rung}/{name}": np.stack([row[name] for row in rows]) for name in rows[0]}
        if moves:
            columns |= {f"{rung}/{name}": values for name, values in motions(moves).items()}
            columns[f"{rung}/reads"] = np.array(reads)
    return Forecast(np.array(wanted), columns)


def _reads(wanted: Sequence[int]) -> list[int]:
    """After which epochs kernels are read again: the first `OFTEN`, in which they move most, and the recorded ones."""
    last = max(wanted, default=0)
    return sorted({*range(1, min(OFTEN, last) + 1), *wanted} - {0})


def _followed(
    bench: Bench, law: Linearised, rung: str, reads: list[int], moves: list[Motion]
) -> list[dict[str, Array]]:
    """The rows of the recorded epochs, by one rung; the motion before every reading is added to `moves`."""
    data, options, tested = bench.dataset, bench.options, _tested(bench)
    wanted = set(options.record or ())
    test, labels = (None if a is None else a[tested] for a in (data.x_test, data.y_test))
    last, again = max(wanted), reader(bench.network, data.x, test, bench.backend)
    rates = [options.rate(epoch) for epoch in range(1, last + 1)]
    schedule = Schedule(rates, options.batch_size, options.momentum, options.loss, options.seed)

    def read(before: Linearised, motion: Motion) -> Linearised:
        moves.append(motion)
        return again(before, motion)

    rows = []
    with Stage(f"predicting the training ({rung})", last, "epochs") as progress:
        for epoch, (now, motion) in enumerate(linearised_epochs(law, data.y, schedule, reads, read)):
            progress.reach(epoch)
            if epoch not in wanted:
                continue
            found = describe(now, motion, data.y, options.loss)
            outputs = now.test_outputs(motion)
            row = {name: found[name] for name in COLUMNS if name in found}
            row["active_fraction"] = found["active"] / len(data.y)
            row["c"] = found["c"][:, data.spectrum] * (len(data.y) / data.spectrum.size)
            if outputs is not None and labels is not None:
                row["test_accuracy"] = np.mean(labels * outputs > 0, axis=1)
            rows.append(row)
    return rows
