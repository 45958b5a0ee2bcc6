"""Coupling sets: with how many other entries a Hessian entry has a non-zero covariance or higher cross-cumulant.

Every pair is tested, from m examples, and the set of discoveries keeps a false discovery rate [Benjamini1995].
A pair's p-value is the larger of two, which guard against different ways for chance to look like coupling:

- *Random signs.* Two entries that react to the same few examples with independent signs are uncorrelated but not
  independent. If d (see `entry_cumulants`) is symmetric then, whatever its size on each example,
  P(V ≥ x) ≤ Φ(-x)/(4 Φ(-√2)), 3.18 times the normal tail at most [Bentkus2015].
- *Permutation.* Where d is skewed, as products of one-sided and rarely non-zero entries are, V has one heavy tail. The
  examples of every entry are permuted independently of all others, which keeps each entry's law and makes all pairs
  independent; the p-value is the share of all pairs of permuted entries with a V of that sign as large, doubled.
  Laws differ from pair to pair, but false discoveries are counted over all pairs, and the pooled share is their mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control, norm

from backends import Backend
from simulator import EntryPairs
from simulator.streams import Seed, Streams

from .cumulants import KINDS, CrossCumulants, cross_cumulants, resolutions, standardise

Array = np.ndarray[Any, Any]
LEVEL = 0.05
NULL_STATISTICS = 2_000_000  # so many at least, from permutations of all entries:
ROUNDS = (3, 40)  # between so many; with r of them less than 2/(r LEVEL) discoveries cannot be told from none
SIGN_BOUND = 1.0 / (4.0 * norm.sf(math.sqrt(2.0)))


@dataclass(frozen=True)
class Coupling:
    """Pairs of entries with a significant cross-cumulant of one kind.

    ``value`` (E, E) of the standardised entries, ``p_value`` (E, E), and ``coupled`` (E, E), the discoveries at false
    discovery rate `LEVEL`; diagonals are 0, 1 and False. For κ_aab (row a, column b) not symmetric.
    ``detectable``: the correlation (of a and b, of a² and b, of a² and b²) from which the median entry's coupling to a
    partner that is large on the same examples would be discovered: above 1 nothing can be found, and that nothing was
    found says little unless it is small.
    """

    value: Array
    p_value: Array
    coupled: Array
    detectable: float

    @property
    def sizes(self) -> Array:
        """The coupling-set size of each entry within the sample, (E,): for κ_aab the mean over the two roles."""
        sizes: Array = (self.coupled.sum(axis=0) + self.coupled.sum(axis=1)) / 2.0
        return sizes


def find_coupling(
    values: Array, ops: Backend, seed: Seed, rounds: int | None = None, level: float = LEVEL
) -> dict[str, Coupling]:
    """All coupled pairs among the columns of (m, E), by kind of cumulant; every column must vary over the examples.

    `rounds` of permutations: None stands for up to 40 with few entries and for 3 with many. No p-value is below
    4/(rounds E²) or so.
    Raises `ValueError` for fewer than two columns or examples.
    """
    if min(values.shape) < 2:
        raise ValueError(f"entries have shape {values.shape}: coupling needs two examples and two entries at least")
    if rounds is None:
        count = values.shape[1] * (values.shape[1] - 1) // 2
        rounds = min(max(-(-NULL_STATISTICS // count), ROUNDS[0]), ROUNDS[1])
    standard = standardise(values)
    observed, seen = cross_cumulants(standard, ops), resolutions(standard)
    null: dict[str, list[Array]] = {kind: [] for kind in KINDS}
    for stream in Streams(seed).spawn("permutations", rounds):
        shuffled = cross_cumulants(stream.permuted(standard, axis=0), ops)
        for kind in KINDS:
            null[kind].append(shuffled[kind].statistic[_family(values.shape[1], kind)])
    return {
        kind: _discover(
            observed[kind], np.sort(np.concatenate(null[kind])), _family(values.shape[1], kind), seen[kind], level
        )
        for kind in KINDS
    }


def _family(count: int, kind: str) -> Array:
    """The pairs that are tested: every unordered one, or every ordered one for κ_aab, as a mask (E, E)."""
    mask = ~np.eye(count, dtype=bool)
    return mask if kind == "third" else np.triu(mask)


def _discover(observed: CrossCumulants, null: Array, family: Array, seen: Array, level: float) -> Coupling:
    """The discoveries among the tested pairs ``family`` (E, E), with sorted null statistics."""
    value, statistic = observed.value, observed.statistic[family]
    p = np.maximum(sign_p_value(statistic), pooled_p_value(statistic, null))
    found = false_discovery_control(p, method="bh") <= level
    p_value, coupled = np.ones(value.shape), np.zeros(value.shape, dtype=bool)
    p_value[family], coupled[family] = p, found
    if not family.T[family].any():  # every pair was tested once
        p_value, coupled = np.minimum(p_value, p_value.T), coupled | coupled.T
    # A discovery needs the p-value of the last one, or of a first one.
    critical = _critical(float(p[found].max()) if found.any() else level / p.size, null)
    own = np.where(np.eye(value.shape[0], dtype=bool), 0.0, value)
    return Coupling(own, p_value, coupled, critical * float(np.median(seen)))


def _critical(p: float, null: Array) -> float:
    """The |V| at which both p-values are p, the mean of the two sides."""
    beyond = min(max(int(p * (null.size + 1.0) / 2.0), 1), null.size)
    sides = np.maximum([-null[beyond - 1], null[-beyond]], norm.isf(min(p / (2.0 * SIGN_BOUND), 0.5)))
    return float(np.mean(sides))


def sign_p_value(statistic: Array) -> Array:
    """A bound on P(|V| ≥ |v|) for a symmetric d."""
    bound: Array = np.minimum(1.0, 2.0 * SIGN_BOUND * norm.sf(np.abs(statistic)))
    return bound


def pooled_p_value(statistic: Array, null: Array) -> Array:
    """Twice the share of null statistics (sorted) at least as far out on the same side; never 0."""
    order = np.argsort(statistic)  # sorted queries stay in cache: ten times as fast
    asked = statistic[order]
    above = null.size - np.searchsorted(null, asked, side="left")
    below = np.searchsorted(null, asked, side="right")
    p = np.empty(statistic.shape)
    p[order] = np.minimum(1.0, 2.0 * (np.where(asked >= 0, above, below) + 1.0) / (null.size + 1.0))
    return p


@dataclass(frozen=True)
class CouplingSize:
    """How large coupling sets are, extrapolated from sampled pairs to the whole Hessian.

    ``share``: of the other non-zero entries, how many an entry is coupled with, over pairs that share no parameter, as
    almost all do; ``standard_error`` by leaving out the entries of one first parameter at a time. ``even_share`` (and
    error): the same with every pair of layers counting alike. ``share_with_parameter``: among pairs that share one.
    ``size`` = share × number of non-zero entries of the N×N matrix; ``ratio`` = size/N²; ``exponent`` = log_N size,
    None where nothing was found. Errors follow from that of the share.
    """

    share: float
    standard_error: float
    even_share: float
    even_standard_error: float
    share_with_parameter: float | None
    size: float
    ratio: float
    exponent: float | None
    exponent_standard_error: float | None


def coupling_size(coupled: Array, pairs: EntryPairs, live: Array, n_weights: int) -> CouplingSize:
    """Extrapolate ``coupled`` (E', E') among the live ones (indices, E') of E sampled pairs to N(N-1) entries.

    Each sampled entry stands for as many as its pair of layers has per sampled entry.
    """
    weight = stratum_weights(pairs)[live]
    shared = share_parameter(pairs, live)
    both = (coupled + coupled.T.astype(float)) / 2.0
    first = pairs.first[live]
    share, error = cluster_share(both, ~shared, weight, first)
    even, even_error = cluster_share(both, ~shared, np.ones(live.size), first)
    np.fill_diagonal(shared, False)
    joint = float(both[shared].mean()) if shared.any() else None
    size = share * 2.0 * float(weight.sum())
    found = size > 0
    return CouplingSize(
        share, error, even, even_error, joint, size, size / n_weights**2,
        math.log(size) / math.log(n_weights) if found else None,
        error / (share * math.log(n_weights)) if found else None,
    )  # fmt: skip


def stratum_weights(pairs: EntryPairs) -> Array:
    """The number of existing entries that each sampled one stands for, (E,)."""
    same = np.all(pairs.layers[:, None, :] == pairs.strata[None, :, :], axis=2)
    weights: Array = (same * (pairs.existing / np.maximum(same.sum(axis=0), 1))).sum(axis=1)
    return weights


def share_parameter(pairs: EntryPairs, chosen: Array) -> Array:
    """Whether two entries share a parameter, (E', E'); an entry does with itself."""
    p, q = pairs.first[chosen], pairs.second[chosen]
    shared: Array = (p[:, None] == p) | (q[:, None] == q) | (p[:, None] == q) | (q[:, None] == p)
    return shared


def cluster_share(coupled: Array, tested: Array, weight: Array, cluster: Array) -> tuple[float, float]:
    """The weighted share of tested pairs that are coupled, and its jackknife error over clusters of entries."""
    groups, member = np.unique(cluster, return_inverse=True)
    ones = np.zeros((groups.size, cluster.size))
    ones[member, np.arange(cluster.size)] = weight
    found, all_pairs = (ones @ (matrix @ ones.T) for matrix in (coupled * tested, tested.astype(float)))
    if all_pairs.sum() == 0.0:
        return 0.0, math.nan
    left = [m.sum() - m.sum(axis=0) - m.sum(axis=1) + np.diag(m) for m in (found, all_pairs)]
    usable = left[1] > 0
    shares = left[0][usable] / left[1][usable]
    n = shares.size
    error = math.sqrt((n - 1) / n * float(np.sum((shares - shares.mean()) ** 2))) if n > 1 else math.nan
    return float(found.sum() / all_pairs.sum()), error
