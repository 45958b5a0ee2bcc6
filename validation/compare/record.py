"""One recorded epoch: everything that the report says of the network at that moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.integrate import trapezoid

from backends import Backend
from simulator import (
    HessianOperator,
    Lanczos,
    Network,
    SpectralDensity,
    TrainingDivergedError,
    evaluate,
    output,
    signal_powers,
)
from simulator.streams import Streams, spawn_streams
from validation.data import Dataset
from validation.interchange import LoadedWeights
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
from validation.measurements.moments import MomentProbes, default_moment_probes
from validation.predictions.predict import SignalLaw
from validation.predictions.record import predict_moments, predict_signals
from validation.run.budget import InsufficientMemoryError, Memory
from validation.run.deadline import Deadline
from validation.run.stages import Stages
from validation.run.storage import finite_or_none
from validation.statistics.bulk import describe_bulk
from validation.statistics.distances import TAILS, mirror_symmetry, spectral_grid

from .estimates import entries_bytes, law_bytes, moments_bytes, seconds_of, spectrum_bytes, state_bytes
from .options import Options

Array = np.ndarray[Any, Any]
Progress = Callable[[int], object]
CHEAP, DENSER = 5_000_000, 4  # weights times examples up to which densities rest on four times the steps
VERIFYING = 2  # products that verify the others before the first step
SHARE_POINTS = 320  # of the integrals behind shares by sign
DIVERGED = 1e12  # beyond this risk nothing is learned any more, and moments of the Hessian overflow


@dataclass(frozen=True)
class Bench:
    """What stays fixed through a run: data, network, options, the backend, and weights to start from if not random."""

    dataset: Dataset
    network: Network
    options: Options
    backend: Backend
    loaded: LoadedWeights | None = None
    memory: Memory = field(default_factory=Memory)
    deadline: Deadline = field(default_factory=Deadline)

    def n_products(self) -> int:
        """Hessian products of one record, for the progress bar."""
        count = default_moment_probes(self.network.n_weights)
        moments = sum(min(count, size) for size in self.network.layer_sizes)
        return self.options.probes * min(self.density_steps(), self.network.n_weights) + VERIFYING + moments

    def density_steps(self) -> int:
        """Lanczos steps behind the density: more than --steps where products are cheap.

        A prediction that is right to 0.01 needs a measurement that resolves as much, which 60 steps of a narrow
        bulk with far outliers do not.
        """
        work = self.network.n_weights * self.dataset.spectrum.size
        return (self.options.steps or 1) * (DENSER if work <= CHEAP else 1)


def measure(bench: Bench, weights: Sequence[Array], epoch: int, stages: Stages, progress: Progress) -> dict[str, Any]:
    """The record of one epoch, as it stands in report.json, from what `stages` has of it to its end.

    Every stage has random streams of its own, so that it gives the same numbers whenever it is done.
    `TrainingDivergedError` for a risk beyond `DIVERGED`.
    """
    begun = time.perf_counter()
    data, network, options, ops = bench.dataset, bench.network, bench.options, bench.backend
    streams = Streams(options.seed)
    record = stages.record
    x, y = data.x[data.spectrum], data.y[data.spectrum]
    if not stages.done("state"):
        need = state_bytes(network, ops, len(data.y))
        bench.memory.check(f"the state at epoch {epoch}", need, "use a smaller --network")
        record |= _state(bench, weights, epoch, streams)
        stages.complete("state")
    operator = HessianOperator(network, weights, x, y, options.loss, part="residual", backend=ops)
    if not stages.done("entries"):
        record["entries"] = _entries(bench, weights) if options.entries else None
        stages.complete("entries")
    if not stages.done("spectrum"):
        run = Lanczos(operator, options.probes, bench.density_steps(), streams("lanczos", epoch))
        _announce_spectrum(bench, operator, run, epoch)
        stages.run("lanczos", run, progress)
        record["spectrum"] = describe_spectrum(run.result(), options.eta, streams("mirror", epoch), options.steps)
        stages.complete("spectrum")
        stages.forget("lanczos")
    record.setdefault("predictions", {})
    rms = record["spectrum"]["rms"]
    if rms > 0 and not stages.done("moments"):
        probes = MomentProbes(operator, seed=streams("hutchinson", epoch))
        stages.run("moments", probes, progress)
        predict_moments(record, probes.result(), rms, options.eta, stages.keep)
        stages.complete("moments")
        stages.forget("moments")
    if rms > 0 and not stages.done("signals"):
        predict_signals(
            record, network, weights, x, operator.c, rms=rms, eta=options.eta,
            budget=options.prediction_seconds or 0.0, examples=options.prediction_examples,
            seed=streams("predictions", epoch), backend=ops, keep=stages.keep, refuse=partial(_refuse, bench, epoch),
        )  # fmt: skip
        stages.complete("signals")
    record.pop("stages")
    record["seconds"] = round(stages.seconds_before + time.perf_counter() - begun, 2)
    return record


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
    with np.errstate(over="ignore", invalid="ignore"):
        whole = evaluate(network, weights, data.x, data.y, options.loss, ops)
    if not whole.risk <= DIVERGED:
        raise TrainingDivergedError(epoch, options.learning_rate)
    x, y = data.x[data.spectrum], data.y[data.spectrum]
    c = HessianOperator(network, weights, x, y, options.loss, part="residual", backend=ops).c
    powers = signal_powers(network, weights, x, ops)
    exact = check_facts(network, weights, x, y, c, options.loss, ops, streams("facts", epoch))
    statistics = streams("statistics", epoch)
    return {
        "epoch": epoch,
        "fresh": epoch == 0 and bench.loaded is None,
        "risk": whole.risk,
        "accuracy": whole.accuracy,
        "test_accuracy": _test_accuracy(bench, weights),
        "order_parameter": whole.order_parameter,
        "active_fraction": whole.active_fraction,
        "dead_layers": int(np.sum(powers[1:] == 0.0)),
        "growth": [finite_or_none(b / a) if a > 0 else None for a, b in pairwise(powers)],
        "weight_symmetry": [symmetry(w, statistics) for w in weights],
        "gradient_symmetry": [symmetry(g, statistics) for g in whole.gradient],
        "exact": {name: {"value": f.value, "tolerance": f.tolerance} for name, f in exact.items()},
        "left_out": {},
        **_laws(bench, weights, whole.gradient, epoch, streams("circuits", epoch)),
    }


def _test_accuracy(bench: Bench, weights: Sequence[Array]) -> float | None:
    data = bench.dataset
    if data.x_test is None or data.y_test is None:
        return None
    margins = data.y_test * output(bench.network, weights, data.x_test, bench.backend)
    return float(np.mean(margins > 0))


def _laws(
    bench: Bench, weights: Sequence[Array], gradient: Sequence[Array], epoch: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Histograms of weights and gradient; at the first and the last recorded epoch the laws of the circuits."""
    data, network, options = bench.dataset, bench.network, bench.options
    whole, drawn = spawn_streams(rng, 2)
    found: dict[str, Any] = {
        "weight_histograms": weight_histograms(network, weights),
        "gradient_histograms": gradient_histograms(gradient),
        "gradient_symmetry_all": symmetry(network.flatten(gradient), whole),
        "circuits": None,
    }
    record = options.record or ()
    if epoch in (record[0], record[-1]):
        count = QUICK_CIRCUITS if options.quick else CIRCUITS
        found["circuits"] = circuit_laws(network, weights, data.x[data.spectrum], count, bench.backend, drawn)
    return found


def _entries(bench: Bench, weights: Sequence[Array]) -> dict[str, Any]:
    """Statistics of Hessian entries on all training examples: the same entries, from one stream, at every epoch."""
    data, network, options = bench.dataset, bench.network, bench.options
    size = QUICK_ENTRIES if options.quick else {}
    need = entries_bytes(network, bench.backend, len(data.y), **(ENTRIES | size))
    bench.memory.announce("statistics of Hessian entries", need, "use fewer --examples, or leave out --entries")
    return entry_statistics(
        network, weights, data.x, data.y, loss=options.loss, backend=bench.backend, seed=options.seed, **size
    )


def describe_spectrum(
    spectrum: SpectralDensity, eta: float, rng: np.random.Generator, steps: int | None = None
) -> dict[str, Any]:
    """Raw nodes and weights, extreme Ritz values, shares by sign, symmetry, and the density at η rms on the grid.

    Nodes and weights are those of the first `steps` steps, α, β and all else rest on every step made. Energies and
    densities are in units of the rms; ``l1_standard_error`` is what two measurements like this one differ by.
    """
    nodes, rms = spectrum.nodes, spectrum.rms
    rule = spectrum if steps is None else spectrum.truncated(steps)
    kept = nodes[spectrum.weights > 0]
    described: dict[str, Any] = {
        "nodes": rule.nodes.tolist(),
        "weights": rule.weights.tolist(),
        "alpha": spectrum.alpha.tolist(),
        "beta": spectrum.beta.tolist(),
        "rms": rms,
        "minimum": float(kept.min()),
        "maximum": float(kept.max()),
        "symmetry": asdict(mirror_symmetry(spectrum, eta * rms, rng)),
        "energies": [],
        "density": [],
        "standard_error": [],
        "tails": {
            "thresholds": list(TAILS),
            "negative": _tail_shares(spectrum, -1),
            "positive": _tail_shares(spectrum, 1),
        },
        "l1_standard_error": 0.0,
    }
    described |= _shares(spectrum, eta * rms)
    described["bulk"] = describe_bulk(spectrum)
    if rms > 0:
        grid = spectral_grid(eta)
        density, error = spectrum.terminated_density(grid * rms, eta * rms)
        described |= {
            "energies": grid.tolist(),
            "density": (density * rms).tolist(),
            "standard_error": [finite_or_none(float(e)) for e in error * rms],
            "l1_standard_error": finite_or_none(spectrum.l1_standard_error(grid * rms, eta * rms)),
        }
    return described


def _tail_shares(spectrum: SpectralDensity, sign: int) -> list[dict[str, float | None]]:
    """Shares of the spectrum beyond 4, 8 and 12 rms on one side, from the nodes there, with standard errors."""
    shorter = spectrum.truncated(_fewer(spectrum))

    def share(threshold: float) -> dict[str, Any]:
        found = [np.sum(s.weights * (sign * s.nodes > threshold), axis=-1) for s in (spectrum, shorter)]
        return _share(spectrum, *found)

    return [share(t * spectrum.rms) for t in TAILS]


def _fewer(spectrum: SpectralDensity) -> int:
    """Three quarters of the steps."""
    return max(1, int(spectrum.alpha.shape[1]) * 3 // 4)


def _share(spectrum: SpectralDensity, values: Array, *others: Array) -> dict[str, Any]:
    """Mean over probes of a share, with its standard error from probes and from what the `others` change."""
    error = finite_or_none(float(spectrum.share_error(values, *others)))
    return {"value": float(values.mean()), "standard_error": error}


def _shares(spectrum: SpectralDensity, threshold: float) -> dict[str, Any]:
    """Shares of the spectrum below -threshold, above it and between, with standard errors.

    ρ(λ > t) = ½ + (1/π) ∫_ε^∞ Re g(t + iy) dy counts an eigenvalue at distance a from t by ½ + arctan(a/ε)/π: nodes
    near t do not jump from one side to the other, but the atom at 0 would leak out in proportion to ε. Extrapolated
    to ε = 0 from t/5 and t/10, 0.06 % of it does. The standard error is that of the probes, of the steps (with a
    quarter of them left out, and with the fraction mirrored) and of the extrapolation (from 2t/5 and t/5).
    """
    if threshold == 0.0:
        low = high = [np.zeros(spectrum.nodes.shape[0])]
    else:
        reach = 1e4 * float(np.abs(spectrum.nodes).max())
        low, high = (_beyond(spectrum, side * threshold, reach) for side in (-1.0, 1.0))
    between = [1.0 - a - b for a, b in zip(low, high, strict=True)]
    found = {"fraction_negative": low, "fraction_zero": between, "fraction_positive": high}
    return {name: _share(spectrum, *values) for name, values in found.items()}


def _beyond(spectrum: SpectralDensity, t: float, reach: float) -> list[Array]:
    """Share of every probe's law beyond t on the side of its sign; then with fewer steps, mirrored, and coarser."""
    width = abs(t) / 10
    rungs = [np.geomspace(width * 2**k, width * 2 ** (k + 1), SHARE_POINTS // 8) for k in range(2)]
    heights = np.concatenate([rungs[0], rungs[1][1:], np.geomspace(4 * width, reach, SHARE_POINTS)[1:]])
    starts = (0, SHARE_POINTS // 8 - 1, 2 * (SHARE_POINTS // 8 - 1))

    def extrapolated(**how: Any) -> tuple[Array, Array]:
        slope = np.sign(t) * spectrum.terminated_stieltjes(t + 1j * heights, **how).real * heights[:, None]
        fine, middle, coarse = (0.5 + trapezoid(slope[k:], np.log(heights[k:]), axis=0) / np.pi for k in starts)
        return 2.0 * fine - middle, 2.0 * middle - coarse

    share, coarser = extrapolated()
    return [share, extrapolated(n_steps=_fewer(spectrum))[0], extrapolated(mirrored=True)[0], coarser]
