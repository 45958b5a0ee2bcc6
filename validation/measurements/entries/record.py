"""Statistics of Hessian entries as a record keeps them (docs/theory/estimators.md, figs. 6 and 7 of the paper).

`entry_statistics` measures one network. `python -m validation.compare --entries` does so at every recorded epoch, for
the same entries and on all training examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control

from backends import Backend, get_backend
from simulator import EntryPairs, HessianEntries, Network, hessian_entries
from simulator.streams import Seed, Streams
from validation.measurements.laws import histogram
from validation.run.storage import finite_or_none
from validation.statistics.symmetry import broken_symmetry, symmetry_test

from .bootstrap import BOUND, averages, cluster_error, concentration, resampling_weights
from .coupling import LEVEL, cluster_share, coupling_size, find_coupling, share_parameter, stratum_weights
from .cumulants import standardise

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
    ones. ``active``: at how many examples some entry is not 0. Entries that are 0 on every example are counted
    (``sampled`` less ``live``) and left out of everything else; statistics are None where fewer than two entries vary.
    """
    ops = get_backend(backend)
    drawn, *streams = Streams(seed).spawn("entry statistics", 6)
    entries = hessian_entries(network, weights, x, y, n, n_first, drawn, loss, backend=ops)
    return describe_entries(entries, network.n_weights, resamples, ops, streams)


def describe_entries(
    entries: HessianEntries, n_weights: int, resamples: int, ops: Backend, streams: Sequence[np.random.Generator]
) -> Law:
    """The content of `entry_statistics` from values that are there already; five random streams."""
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
        "laws": followed_laws(values, pairs, resamples, ops, streams[0]),
        **dict.fromkeys(("symmetry", "concentration", "correlation", "coupling")),
    }
    if live.size < 2:
        return record
    scaled = values[:, live]
    correlation = correlations(scaled, pairs, live, streams[3])
    return record | {
        "symmetry": law_symmetry(scaled, pairs.first[live], streams[1]),
        "concentration": _concentration(scaled, pairs.first[live], resamples, ops, streams[2]),
        "correlation": correlation,
        "coupling": _coupling(scaled, pairs, live, n_weights, ops, streams[4])
        | {"least_ratio": least_ratio(correlation["weighted"], pairs, live, n_weights)},
    }


def followed_laws(values: Array, pairs: EntryPairs, resamples: int, ops: Backend, rng: np.random.Generator) -> Law:
    """The laws of `FOLLOWED` entries as averages of 1 and of 100 examples, in their own standard deviations.

    For one example it is the law over the examples themselves, for 100 that of bootstrap resamples of so many. ``laws``
    is empty for an entry that does not vary.
    """
    followed = np.sort(rng.permutation(values.shape[1])[:FOLLOWED])
    m = values.shape[0]
    drawn = {B: averages(values[:, followed], resampling_weights(m, B, resamples, rng), ops) for B in LAW_AVERAGES[1:]}
    drawn[1] = values[:, followed]
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
        })  # fmt: skip
    return {"edges": LAW_EDGES.tolist(), "entries": kept}


def law_symmetry(values: Array, first: Array, rng: np.random.Generator) -> Law:
    """How symmetric the laws of single entries are over the examples at which they are not 0: broken part, and tests.

    (With the zeros, most of which stand for closed gates and inactive examples, every law would seem symmetric.)
    ``value``: the mean over entries of the broken part less its null (few examples make that of one entry uncertain),
    its error over first parameters, and quantiles. ``rejected`` of ``tests`` reject symmetry at false discovery rate
    ``level`` (Benjamini and Yekutieli: entries share their examples).
    """
    excess, p = [], []
    for entry in values.T:
        column = entry[entry != 0]
        size, test = broken_symmetry(column, rng, draws=50), symmetry_test(column)
        if size is not None and test is not None:
            excess.append(size.value - size.null)
            p.append(test.p_value)
    return {
        "tests": len(p),
        "rejected": int(np.sum(false_discovery_control(p, method="by") <= LEVEL)),
        "level": LEVEL,
        "value": float(np.mean(excess)),
        "standard_error": finite_or_none(cluster_error(np.array(excess), first)),
        "median": float(np.median(excess)),
        "quantile_95": float(np.quantile(excess, 0.95)),
    }


def _concentration(values: Array, first: Array, resamples: int, ops: Backend, rng: np.random.Generator) -> Law:
    """`concentration` for B of `AVERAGES` and all examples; the law of µ/σ over entries, and its symmetry."""
    m = values.shape[0]
    sizes = tuple(sorted({B for B in AVERAGES if m > B} | {m}))
    found = concentration(values, first, sizes, resamples, ops, rng)
    broken = broken_symmetry(found.ratio, rng)
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
        "symmetry": None if broken is None else asdict(broken),
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
