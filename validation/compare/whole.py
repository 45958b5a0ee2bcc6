"""What --whole adds to a record: the spectrum of H + G, measured and predicted, and of the Gram matrix of gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from simulator import HessianOperator, Lanczos, SpectralDensity
from simulator.streams import Streams
from validation.measurements.spectrum import describe_spectrum
from validation.measurements.whole import (
    COUNT,
    RANDOM,
    VECTORS,
    Gradients,
    describe_gradients,
    describe_largest,
    describe_squares,
    gradients,
    whole_facts,
)
from validation.predictions.sampled import describe_sampled, ensemble_of
from validation.predictions.whole import WHOLE_RUNGS, describe_sums
from validation.run.stages import Stages

from .bench import Bench
from .draws import drawn_from
from .estimates import forecast_bytes, kernel_seconds, product_bytes, spectrum_bytes

Array = np.ndarray[Any, Any]
Progress = Callable[[int], object]
REMEDY = "use fewer --spectrum-examples or --steps, or leave out --whole"


def whole(bench: Bench, weights: Sequence[Array], c: Array, epoch: int, stages: Stages, progress: Progress) -> None:
    """Fill ``whole`` of the record, kept part by part.

    The Gram matrix and what it gives is there for every loss. With ℓ'' = 0 that is all: H + G is H.
    """
    record = stages.record
    x, y = bench.dataset.x[bench.dataset.spectrum], bench.dataset.y[bench.dataset.spectrum]
    found = _gradients(bench, weights, x, y, epoch)
    if "whole" not in record:
        facts = whole_facts(bench.network, weights, x, y, bench.options.loss, found, bench.backend)
        record["whole"] = describe_gradients(found) | {"exact": facts, "spectrum": None, "predictions": {}}
        stages.keep()
    if found.gauss_newton.rank == 0:
        return
    _measure(bench, weights, x, y, found, epoch, stages, progress)
    _predict(bench, weights, x, c, found, epoch, stages, progress)


def _gradients(bench: Bench, weights: Sequence[Array], x: Array, y: Array, epoch: int) -> Gradients:
    need = forecast_bytes(bench.network, bench.backend, len(y), 0, 2)
    seconds = kernel_seconds(bench.network, bench.backend, len(y), 0)
    bench.memory.announce(f"the Gram matrix of gradients at epoch {epoch}", need, REMEDY, seconds)
    return gradients(bench.network, weights, x, y, bench.options.loss, bench.backend)


def _measure(
    bench: Bench,
    weights: Sequence[Array],
    x: Array,
    y: Array,
    found: Gradients,
    epoch: int,
    stages: Stages,
    progress: Progress,
) -> None:
    """The spectrum of H + G, its largest eigenvalues, and what is known without a draw."""
    record, options, n = stages.record, bench.options, bench.network.n_weights
    made, streams = record["whole"], Streams(options.seed)
    operators = [
        HessianOperator(bench.network, weights, x, y, options.loss, part=part, backend=bench.backend)
        for part in ("full", "residual")
    ]
    if made["spectrum"] is None:
        run = Lanczos(operators[0], options.probes, bench.density_steps(), streams("whole", epoch))
        bench.memory.check(f"the spectrum of H + G at epoch {epoch}", spectrum_bytes(operators[0], run), REMEDY)
        stages.run("lanczos-whole", run, progress)
        made["spectrum"] = describe_spectrum(run.result(), options.eta, streams("whole mirror", epoch), options.steps)
        stages.keep()
        stages.forget("lanczos-whole")
    if "largest" not in made:
        law = SpectralDensity.from_recurrence(record["spectrum"]["alpha"], record["spectrum"]["beta"], n)
        rng = streams("whole eigenvectors", epoch)
        need = 8.0 * n * VECTORS + product_bytes(operators[0], COUNT + RANDOM)
        bench.memory.check(f"the largest eigenvalues of H + G at epoch {epoch}", need, REMEDY)
        made |= describe_largest((operators[0], operators[1]), weights, x, y, found, law, rng)
        made["squares"] = describe_squares(record["spectrum"], operators[1], weights, x, found, rng)
        sums = describe_sums(made["spectrum"], record["spectrum"], found.gauss_newton, options.eta, n)
        made["predictions"] |= sums
        stages.keep()


def _predict(
    bench: Bench,
    weights: Sequence[Array],
    x: Array,
    c: Array,
    found: Gradients,
    epoch: int,
    stages: Stages,
    progress: Progress,
) -> None:
    """The sampled rungs, from the same random numbers as those of H alone."""
    made, options = stages.record["whole"], bench.options
    for rung in WHOLE_RUNGS:
        if rung in made["predictions"]:
            continue
        # G consists of signals x_{l-1} δ_l^T alone: the network's own where they stay (RE, REp8), a draw's own in RK.
        ensemble = ensemble_of(rung, bench.network, weights, x, c, bench.backend, curvature=found.curvature)
        words = f"{rung} of H + G", REMEDY
        drawn = drawn_from(bench, ensemble, f"whole-{rung}", epoch, stages, progress, words)
        made["predictions"][rung] = describe_sampled(made["spectrum"], drawn, options.eta, bench.network.n_weights)
        stages.keep()
        stages.forget(f"whole-{rung}")
