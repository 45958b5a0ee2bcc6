"""The sampled rungs and R7 of a record, and what --structure draws besides: each with its memory, kept draw by draw."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from simulator import Ensemble, EnsembleDensity, EnsembleLanczos, FreshNetworks, HessianOperator, Lanczos, gradient
from simulator.lanczos.products import NonlinearOperatorError
from simulator.streams import Streams
from validation.measurements.outliers import describe_outliers
from validation.measurements.stochastic import Rows
from validation.predictions.forecast import Forecast
from validation.predictions.fresh import describe_fresh
from validation.predictions.rung import RECORDED_DRAWS
from validation.predictions.sampled import describe_sampled, ensemble_of
from validation.predictions.structure import describe_case, structure_cases
from validation.run.stages import Stages

from .bench import Bench
from .estimates import spectrum_bytes

Array = np.ndarray[Any, Any]
Progress = Callable[[int], object]


def sampled_rungs(
    bench: Bench, weights: Sequence[Array], rows: Rows, epoch: int, stages: Stages, progress: Progress
) -> None:
    """Every sampled rung, from the same random numbers: what they differ by has less noise than each of them."""
    record = stages.record
    for rung in RECORDED_DRAWS:
        if rung in record["predictions"]:
            continue
        begun = time.perf_counter()
        ensemble = ensemble_of(rung, bench.network, weights, rows.x, rows.c, bench.backend, gates=rows.gates)
        drawn = drawn_from(bench, ensemble, rung, epoch, stages, progress)
        described = describe_sampled(record["spectrum"], drawn, bench.options.eta, bench.network.n_weights)
        record["predictions"][rung] = described | {"seconds": round(time.perf_counter() - begun, 2)}
        stages.keep()
        stages.forget(rung)


def fresh_networks(bench: Bench, epoch: int, stages: Stages, progress: Progress) -> None:
    """R7, R7m: the spectra of fresh networks with the c that was predicted for this epoch, one probe in each."""
    if bench.forecast is None:
        return
    for rung in bench.forecast.rungs:
        if rung not in stages.record["predictions"] and rung not in stages.record["left_out"]:
            _forecast_rung(bench, bench.forecast, rung, epoch, stages, progress)


def _forecast_rung(bench: Bench, forecast: Forecast, rung: str, epoch: int, stages: Stages, progress: Progress) -> None:
    record, data, options, steps = stages.record, bench.dataset, bench.options, bench.density_steps()
    begun = time.perf_counter()

    def weights(index: int) -> list[Array]:
        return forecast.weights(rung, epoch, bench.network, index, data.x, options.seed, bench.backend)

    c = forecast.coefficients(rung, epoch)

    def leave_out(reason: str) -> None:
        record["left_out"][rung] = reason
        stages.keep()
        stages.forget(rung)

    if np.abs(c).max(initial=0.0) < np.finfo(bench.backend.dtype).smallest_normal:
        return leave_out(
            f"the predicted coefficients of all examples are 0 in {bench.backend.dtype}: H = 0 is predicted"
        )
    networks = FreshNetworks(bench.network, data.x[data.spectrum], c, options.seed, bench.backend, weights)
    run = EnsembleLanczos(networks, len(networks), 1, steps, Streams(options.seed)("forecast probes", epoch))
    try:
        drawn = _run(bench, run, networks.draw(0), rung, epoch, stages, progress)
    except NonlinearOperatorError:
        return leave_out(
            "the Hessian of a fresh network is rounding alone: its examples cancel, as one with both labels does with "
            "itself"
        )
    described = describe_fresh(record["spectrum"], drawn, options.eta, bench.network.n_weights)
    record["predictions"][rung] = described | {"seconds": round(time.perf_counter() - begun, 2)}
    stages.keep()
    stages.forget(rung)


def structure(bench: Bench, weights: Sequence[Array], c: Array, epoch: int, stages: Stages, progress: Progress) -> None:
    """Single layers drawn afresh, directions given, and the eigenvectors of the far eigenvalues; kept case by case."""
    record, network = stages.record, bench.network
    x = bench.dataset.x[bench.dataset.spectrum]
    found = record["structure"]
    if not found["outliers"]:
        found["outliers"] = _outliers(bench, weights, x, c, epoch)
        stages.keep()
    for case in structure_cases(network):
        made = found[case.part].setdefault(case.kind, [])
        if case.value in [one[case.key] for one in made]:
            continue
        ensemble = ensemble_of(case.rung, network, weights, x, c, bench.backend, **case.options)
        drawn = drawn_from(bench, ensemble, case.name, epoch, stages, progress)
        eta, n = bench.options.eta, network.n_weights
        made.append(describe_case(case, record["spectrum"], drawn, eta, ensemble.n_known, n))
        stages.keep()
        stages.forget(case.name)


def drawn_from(
    bench: Bench,
    ensemble: Ensemble,
    name: str,
    epoch: int,
    stages: Stages,
    progress: Progress,
    words: tuple[str, str] | None = None,
) -> EnsembleDensity:
    """The draws of an ensemble, one probe each; `InsufficientMemoryError` before they begin.

    The stage has a `name`; ``words``: what is drawn, where it is not the name, and what to do where memory is short.
    """
    options = bench.options
    seed = int(Streams(options.seed)("sampled rungs", epoch).integers(2**63))
    run = EnsembleLanczos(ensemble, options.draws or 1, 1, bench.density_steps(), seed)
    return _run(bench, run, ensemble.operator, name, epoch, stages, progress, words)


def _run(
    bench: Bench,
    run: EnsembleLanczos,
    operator: HessianOperator,
    name: str,
    epoch: int,
    stages: Stages,
    progress: Progress,
    words: tuple[str, str] | None = None,
) -> EnsembleDensity:
    """Draws with one probe each of operators of the size of `operator`, whose memory is checked first."""
    need = spectrum_bytes(operator, Lanczos(operator, 1, bench.density_steps()))
    what, remedy = words or (name, "use fewer --spectrum-examples or --steps, or a smaller --network")
    bench.memory.check(f"{what} at epoch {epoch}", need, remedy)
    stages.run(name, run, progress)
    return run.result()


def _outliers(bench: Bench, weights: Sequence[Array], x: Array, c: Array, epoch: int) -> list[dict[str, Any]]:
    data, options = bench.dataset, bench.options
    operator = HessianOperator(bench.network, weights, x, None, c=c, backend=bench.backend)
    slopes = gradient(bench.network, weights, x, data.y[data.spectrum], options.loss, backend=bench.backend)
    return describe_outliers(operator, weights, slopes, Streams(options.seed)("eigenvectors", epoch))
