"""Statistics of Hessian entries as a record keeps them (docs/theory/estimators.md, figs. 6 and 7 of the paper).

`entry_statistics` measures one network. `python -m validation.compare --entries` does so at every recorded epoch, for
the same entries and on all training examples, or on `--entry-examples` of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import EntryPairs, HessianEntries, Network, hessian_entries
from simulator.streams import Seed, Streams
from validation.measurements.laws import histogram
from validation.run.storage import finite_or_none

from .bootstrap import BOUND, averages, concentration, resampling_weights
from .coupling import LEVEL, cluster_share, coupling_size, find_coupling, share_parameter, stratum_weights
from .cumulants import standardise
from .labels import random_labels
from .symmetry import law_symmetry, ratio_symmetry, rejections

Array = np.ndarray[Any, Any]
Law = dict[str, Any]

AVERAGES = (1, 10, 100)
LAW_AVERAGES = (1, 100)
LAW_EDGES = np.logspace(-4.0, 2.0, 25)  # standard deviations: four bins a decade
RATIO_EDGES = 0.01 * np.sinh(np.linspace(0.0, np.arcsinh(500.0), 41))  # µ/σ
FOLLOWED = 12  # entries whose laws are kept
SHOWN = 100  # entries of a correlation matrix
ENTRIES = {"n": 2000, "resamples": 1000}
QUICK_ENTRIES = {"n": 400, "resamples": 200}
MEASURED = ("symmetry", "concentration", "second_derivative", "random_labels", "symmetry_tests", "correlation",
            "coupling", "blocks")  # fmt: skip
LARGE = 0.1  # |correlation| from which a pair counts as correlated, whatever the number of examples


def entry_statistics(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    *,
    n: int = ENTRIES["n"],
    n_first: int = 110,
    resamples: int = ENTRIES["resamples"],
    loss: str = "hinge",
    backend: str | Backend | None = None,
    seed: Seed = 0,
) -> Law:
    """Laws, concentration, correlations and coupling sets of a sample of Hessian entries, in plain JSON types.

    Entries, resamples and permutations depend on `seed` alone, so that two states of a network are compared on the same
    ones. ``symmetry`` and ``concentration`` stand beside the same of ∂²T (``second_derivative``) and of permuted labels
    (``random_labels``). ``active``: at how many examples some entry is not 0. Entries that are 0 on every example are
    counted (``sampled`` less ``live``) and left out of everything else; statistics are None where fewer than two
    entries vary.
    """
    ops = get_backend(backend)
    own = Streams(seed)
    drawn, *streams = own.spawn("entry statistics", 6)
    entries = hessian_entries(network, weights, x, y, n, n_first, drawn, loss, backend=ops)
    return describe_entries(entries, network.n_weights, resamples, ops, [*streams, *own.spawn("entry labels", 3)])


def describe_entries(
    entries: HessianEntries, n_weights: int, resamples: int, ops: Backend, streams: Sequence[np.random.Generator]
) -> Law:
    """The content of `entry_statistics` from values that are there already; eight random streams."""
    values, pairs = entries.values, entries.pairs
    live = np.flatnonzero(values.std(axis=0, dtype=np.float64) > 0)
    record: Law = {
        "examples": int(values.shape[0]),
        "active": int(np.count_nonzero(values.any(axis=1))),
        "sampled": int(values.shape[1]),
        "live": int(live.size),
        "first_parameters": pairs.n_first,
        "layer_pairs": len(pairs.strata),
        "existing": int(pairs.existing.sum()),
        "excluded": pairs.excluded,
        "resamples": resamples,
        "laws": followed_laws(entries, resamples, ops, streams[0]),
        **dict.fromkeys(MEASURED),
    }
    if live.size < 2:
        return record
    varying, first = values[:, live], pairs.first[live]
    correlation = correlations(varying, pairs, live, streams[3])
    least = least_ratio(correlation["weighted"], pairs, live, n_weights)
    unsigned = varying * np.sign(entries.c)[:, None].astype(values.dtype)
    record |= {
        **_laws(varying, first, resamples, ops, streams[1:3]),
        "second_derivative": _laws(unsigned, first, resamples, ops, streams[5:7]),
        "random_labels": random_labels(varying, entries.c, _sizes(len(values)), ops, streams[7]),
        "symmetry_tests": rejections(varying),
        "correlation": correlation,
        "blocks": block_mean_squares(values, pairs),
    }
    del unsigned
    coupling = _coupling(varying, pairs, live, n_weights, ops, streams[4])
    record["coupling"] = coupling | {
        "least_ratio": least,
        "least_exponent": 2.0 + math.log(least) / math.log(n_weights) if least > 0 else None,
    }
    return record


def _laws(
    values: Array, first: Array, resamples: int, ops: Backend, streams: Sequence[np.random.Generator]
) -> dict[str, Law]:
    """What is measured of the entries themselves and of ∂²T alike."""
    return {
        "symmetry": law_symmetry(values, first, streams[0]),
        "concentration": _concentration(values, first, resamples, ops, streams[1]),
    }


def _sizes(m: int) -> tuple[int, ...]:
    return tuple(sorted({B for B in AVERAGES if m > B} | {m}))


def block_mean_squares(values: Array, pairs: EntryPairs) -> Law:
    """Mean H_e² over the sampled entries of each pair of layers (numbered from 1); None where there are none."""
    square = values.mean(axis=0, dtype=np.float64) ** 2
    member = np.all(pairs.layers[:, None, :] == pairs.strata[None, :, :], axis=2)
    count = member.sum(axis=0)
    return {
        "layers": (pairs.strata + 1).tolist(),
        "mean_square": [float(s / n) if n else None for s, n in zip(square @ member, count, strict=True)],
        "existing": pairs.existing.tolist(),
    }


def followed_laws(entries: HessianEntries, resamples: int, ops: Backend, rng: np.random.Generator) -> Law:
    """The laws of `FOLLOWED` entries as averages of 1 and of 100 examples, in their own standard deviations.

    For one example it is the law over the examples themselves, for 100 that of bootstrap resamples of so many. ``laws``
    is empty for an entry that does not vary. ``second_derivative``: the law over single examples of |c_i| ∂²T_i, in the
    same unit.
    """
    values, pairs = entries.values, entries.pairs
    followed = np.sort(rng.permutation(values.shape[1])[:FOLLOWED])
    m = values.shape[0]
    drawn = {B: averages(values[:, followed], resampling_weights(m, B, resamples, rng), ops) for B in LAW_AVERAGES[1:]}
    drawn[1] = values[:, followed]
    unsigned = drawn[1] * np.sign(entries.c)[:, None]
    kept = []
    for column, index in enumerate(followed):
        deviation = float(values[:, index].std(dtype=np.float64))
        laws = [
            {"average": B, "histogram": histogram(drawn[B][:, column], LAW_EDGES, deviation / np.sqrt(B))}
            for B in LAW_AVERAGES
            if deviation > 0
        ]
        kept.append({
            "first": int(pairs.first[index]),
            "second": int(pairs.second[index]),
            "layers": (pairs.layers[index] + 1).tolist(),
            "laws": laws,
            "second_derivative": histogram(unsigned[:, column], LAW_EDGES, deviation) if deviation > 0 else None,
        })  # fmt: skip
    return {"edges": LAW_EDGES.tolist(), "entries": kept}


def _concentration(values: Array, first: Array, resamples: int, ops: Backend, rng: np.random.Generator) -> Law:
    """`concentration` for B of `AVERAGES` and all examples; the law of µ/σ over entries, and its symmetry."""
    sizes = _sizes(len(values))
    found = concentration(values, first, sizes, resamples, ops, rng)
    keys = ("fraction", "standard_error", "entry_standard_error", "chance")
    return {
        "bound": BOUND,
        "averages": [
            {"average": B} | {key: finite_or_none(float(getattr(found, key)[k])) for key in keys}
            for k, B in enumerate(sizes)
        ],
        "reach": finite_or_none(found.reach),
        "edges": RATIO_EDGES.tolist(),
        "law": histogram(found.ratio, RATIO_EDGES, 1.0),
        "symmetry": ratio_symmetry(found.ratio, values, first, rng),
    }


def correlations(values: Array, pairs: EntryPairs, live: Array, rng: np.random.Generator) -> Law:
    """The correlation matrix of `SHOWN` entries, the first in a fixed order that vary, sorted by layers; and all pairs.

    ``mean_square`` of the correlations of pairs that share no parameter: products of those measured on two halves of
    the examples, so that chance adds nothing; its error from leaving out one first parameter at a time. As r² ≤ 1, no
    smaller a share of all pairs can be correlated: for that, ``weighted`` is the same with every sampled entry counted
    as often as those that it stands for. ``large``: the share with |r| > `LARGE`.
    """
    order = rng.permutation(len(pairs.first))
    chosen = order[np.isin(order, live)][:SHOWN]
    chosen = chosen[np.lexsort((chosen, pairs.layers[chosen, 1], pairs.layers[chosen, 0]))]
    standard = standardise(values)
    own = standard[:, np.searchsorted(live, chosen)]
    separate = ~share_parameter(pairs, live)
    matrix = standard.T @ standard / len(standard)
    halves = _half_correlations(values, rng)
    even, first = np.ones(live.size), pairs.first[live]
    shares = {
        "mean_square": cluster_share(halves, separate, even, first),
        "weighted": cluster_share(halves, separate, stratum_weights(pairs)[live], first),
        "large": cluster_share(np.abs(matrix) > LARGE, separate, even, first),
    }
    return {
        "entries": chosen.tolist(),
        "layers": (pairs.layers[chosen] + 1).tolist(),
        "matrix": np.round(own.T @ own / len(own), 3).tolist(),
        **{k: {"value": v, "standard_error": finite_or_none(error)} for k, (v, error) in shares.items()},
        "threshold": LARGE,
    }


def least_ratio(mean_square: Law, pairs: EntryPairs, live: Array, n_weights: int) -> float:
    """A lower bound on the ratio to N² of the mean coupling set of covariances, whatever the number of examples finds.

    Σ ρ² over the pairs of an entry is at most the number of those with ρ ≠ 0: the mean ρ² less two standard errors.
    """
    share = max(0.0, mean_square["value"] - 2.0 * (mean_square["standard_error"] or 0.0))
    ratio: float = share * 2.0 * float(stratum_weights(pairs)[live].sum()) / n_weights**2
    return ratio


def _half_correlations(values: Array, rng: np.random.Generator) -> Array:
    """r r' of every pair, r and r' measured on two random halves of the examples; 0 where an entry does not vary."""
    product: Array = np.ones((values.shape[1],) * 2)
    for part in np.array_split(rng.permutation(values.shape[0]), 2):
        varying = values[part].std(axis=0, dtype=np.float64) > 0
        standard = np.zeros((part.size, values.shape[1]))
        standard[:, varying] = standardise(values[part][:, varying])
        product *= standard.T @ standard / part.size
    return product


def _coupling(
    values: Array, pairs: EntryPairs, live: Array, n_weights: int, ops: Backend, rng: np.random.Generator
) -> Law:
    found = find_coupling(values, ops, rng)
    described = {}
    for kind, coupling in found.items():
        size = asdict(coupling_size(coupling.coupled, pairs, live, n_weights))
        count = int(np.count_nonzero(coupling.coupled))
        tests = live.size * (live.size - 1)
        described[kind] = {
            **{key: None if value is None else finite_or_none(value) for key, value in size.items()},
            "found": count if kind == "third" else count // 2,
            "tests": tests if kind == "third" else tests // 2,
            "largest": float(coupling.sizes.max()),
            "detectable": coupling.detectable,
            "level": LEVEL,
        }
    return described
