"""What the labels do to the statistics of Hessian entries: ∂²T without them, and labels at random.

h_{i,e} = c_i ∂²T_i, and for the hinge c_i = -y_i at active examples: labels in equal numbers that know nothing of ∂²T
make any entry symmetric, and its mean small. So two more laws are measured on the same numbers, without a further pass:

- *∂²T itself*, |c_i| ∂²T_i: the entry of the output's second derivative at the examples that the Hessian sums, with the
  weight that it gives them (1 for the hinge), but not the sign;
- *random labels*, |c_i| s_{π(i)} ∂²T_i with the signs s of the c_i permuted among the examples with c_i ≠ 0: what the
  balance of the labels gives alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from backends import Backend

from .bootstrap import BOUND, averages, mean_ratio
from .symmetry import broken_excess, law_excess

Array = np.ndarray[Any, Any]
Law = dict[str, Any]
PERMUTATIONS = 20


def permuted_signs(c: Array, count: int, rng: np.random.Generator) -> Array:
    """Signs of c permuted among the examples at which it is not 0, (count, m); 0 at the others."""
    signs = np.zeros((count, c.size))
    active = np.flatnonzero(c)
    for row in signs:
        row[active] = np.sign(c[rng.permutation(active)])
    return signs


def random_labels(values: Array, c: Array, sizes: tuple[int, ...], ops: Backend, rng: np.random.Generator) -> Law:
    """Symmetry and concentration of the entries (m, E) with permuted labels, as means over `PERMUTATIONS` of them.

    Every number has its ``value``, the ``spread`` of one labelling, and the ``standard_error`` of the mean.
    ``negative``: the share of c_i < 0 among those that are not 0 (the hinge: label +1).
    """
    change = permuted_signs(c, PERMUTATIONS, rng) * np.sign(c)
    mean = averages(values, change / len(values), ops)
    ratio = mean_ratio(mean, np.mean(np.square(values, dtype=np.float64), axis=0))
    fractions = [{"average": B} | _spread(np.mean(np.sqrt(B) * np.abs(ratio) < BOUND, axis=1)) for B in sizes]
    laws = np.array([law_excess(row) for row in ratio])
    return {
        "permutations": PERMUTATIONS,
        "negative": float(np.mean(c[c != 0] < 0)),
        "symmetry": _spread(broken_excess(values, change).mean(axis=1)),
        "concentration": {"averages": fractions, "symmetry": _spread(laws)},
    }


def _spread(values: Array) -> Law:
    spread = float(np.std(values, ddof=1))
    return {"value": float(np.mean(values)), "spread": spread, "standard_error": spread / math.sqrt(len(values))}
