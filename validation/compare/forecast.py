"""What a run predicts of its training before it begins (rung R7), kept in the folder of the run."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from simulator import TrainingDivergedError, fresh_weights, tangent_kernel
from simulator.passes.losses import get_loss
from simulator.streams import Streams
from validation.errors import InsufficientMemoryError
from validation.predictions.forecast import Forecast
from validation.predictions.training import describe, linearised_epochs, linearised_networks
from validation.run.console import Stage
from validation.run.directory import RunDirectory

from .bench import Bench
from .estimates import forecast_bytes, seconds_of

Array = np.ndarray[Any, Any]
NETWORKS = 4
TRIAL = 32  # examples of the smaller of two trials, from which the kernel's time is estimated
FILE = "forecast"
COLUMNS = ("risk", "accuracy", "active_fraction", "order_parameter")


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
    if bench.loaded is not None:
        return "the weights come from a file: R7 predicts training that starts from random weights"
    options, m = bench.options, len(bench.dataset.y)
    remedy = "use fewer --examples"
    need = forecast_bytes(bench.network, bench.backend, m, _tested(bench).size, NETWORKS)
    seconds, budget = _seconds(bench), options.prediction_seconds or 0.0
    if seconds > budget:
        return (
            f"the tangent kernel of {NETWORKS} fresh networks on {m:,} training examples is estimated at "
            f"{seconds:.0f} s, more than --prediction-seconds {budget:g}: raise it, or {remedy}"
        )
    try:
        bench.memory.announce(f"tangent kernels on {m:,} training examples", need, remedy, seconds)
    except InsufficientMemoryError as error:
        return str(error)
    return None


def _seconds(bench: Bench) -> float:
    """About how long the kernels will take: a part in proportion to the examples, one to the pairs of them."""
    weights, x, m = fresh_weights(bench.network, Streams(bench.options.seed), 0), bench.dataset.x, len(bench.dataset.y)
    few = min(TRIAL, max(1, m // 2))

    def trial(count: int) -> float:
        return seconds_of(lambda: tangent_kernel(bench.network, weights, x[:count], backend=bench.backend))

    one, two = trial(few), trial(2 * few)  # a few + b few², 2 a few + 4 b few²
    pairs = max(two - 2 * one, 0.0) / (2 * few**2)
    each = max(one / few - pairs * few, 0.0)
    tested = _tested(bench).size
    return NETWORKS * (each * (m + tested) + pairs * m * (m + 2 * tested))


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
    streams, tested = Streams(options.seed), _tested(bench)
    drawn = [fresh_weights(network, streams, k) for k in range(NETWORKS)]
    with Stage("tangent kernels of fresh networks"):
        test = data.x_test[tested] if data.x_test is not None else None
        law = linearised_networks(network, data.x, drawn, test, bench.backend)
    loss, wanted, rows = get_loss(options.loss), set(options.record or ()), []
    last = max(wanted, default=0)
    rates = [options.rate(epoch) for epoch in range(1, last + 1)]
    steps = linearised_epochs(
        law, data.y, epochs=last, batch_size=options.batch_size, learning_rate=rates,
        momentum=options.momentum, loss=options.loss, seed=options.seed,
    )  # fmt: skip
    with Stage("predicting the training", last, "epochs") as progress:
        for epoch, moved in enumerate(steps):
            progress.reach(epoch)
            if epoch in wanted:
                found = describe(law, moved, data.y, loss)
                found["active_fraction"] = found["active"] / len(data.y)
                if (outputs := law.test_outputs(moved)) is not None and data.y_test is not None:
                    found["test_accuracy"] = np.mean(data.y_test[tested] * outputs > 0, axis=1)
                rows.append(found)
    c = np.stack([row["c"][:, data.spectrum] for row in rows]) * (len(data.y) / data.spectrum.size)
    names = [*COLUMNS, "test_accuracy"] if "test_accuracy" in rows[0] else COLUMNS
    return Forecast(np.array(sorted(wanted)), c, {name: np.stack([row[name] for row in rows]) for name in names})
