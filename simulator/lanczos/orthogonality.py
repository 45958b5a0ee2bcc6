"""How far Lanczos vectors have strayed from orthogonality, foretold without looking at them.

Source: [Simon1984a] and [Simon1984b]: overlaps follow the recurrence itself,
and where all stay below sqrt(eps) the coefficients are those of an orthonormal basis to eps. Differences: the signs of
rounding errors are taken to add up (Simon draws them), and a vector that almost vanishes counts as lost. Rounding is
that of the products, which may be coarser than that of the vectors: with factors of 10 bits every vector is lost.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from backends import HostArray

ROUNDING = 4.0  # rounding of one step, in units of eps


class Orthogonality:
    """Estimates of ω_jk = q_j^T q_k for every probe's vectors q_0, q_1, ...

        β_j ω_{j+1,k} = β_k ω_{j,k+1} + (α_k - α_j) ω_jk + β_{k-1} ω_{j,k-1} - β_{j-1} ω_{j-1,k} + rounding,

    k < j, where β_j couples q_j and q_{j+1}. With f_j the error of the product with q_j, the rounding is q_k^T f_j -
    q_j^T f_k, and ||f_j|| is ``precision`` times ||H q_j||, or times ``size`` where that is more. Overlaps grow as
    eigenvalues converge; once one would exceed sqrt(precision) the vector and the one after it are to be orthogonalised
    against all (the recurrence takes two). `dtype`: of the vectors. `left`: about what overlaps orthogonalising leaves,
    where it is more than rounding. ``precision`` and ``size`` are those of `products`, once they are known.
    """

    def __init__(self, n_probes: int, n_steps: int, dtype: Any, left: float = 0.0) -> None:
        self._eps = self.precision = float(np.finfo(dtype).eps)
        self.size = 0.0
        self._left = max(left, self._eps * ROUNDING)
        self.overlaps = np.zeros((n_probes, 2, n_steps + 1))
        self.overlaps[:, 1, 0] = 1.0  # of the vector before, and of the one at hand
        self.due = np.zeros(n_probes, dtype=bool)

    def lost(self, probe: int, step: int, alpha: HostArray, beta: HostArray, norm: float, scale: float) -> bool:
        """Whether q_{step+1}, of length `norm` before it is normalised, is to be orthogonalised against all before it.

        alpha (n_steps,) up to α_step and beta up to β_{step-1}, of this probe; `scale` the size of the operator.
        """
        level = np.sqrt(self.precision)
        vanished = norm <= level * scale
        found = None if vanished else self._foretold(probe, step, alpha, beta, norm)
        strayed = found is not None and bool(np.max(np.abs(found)) > level)
        lost = vanished or strayed or bool(self.due[probe])
        self.due[probe] = strayed and not self.due[probe]
        before, now = self.overlaps[probe]
        before[:] = now
        now[: step + 1] = self._left if lost else found
        now[step + 1] = 1.0
        return lost

    def _foretold(self, probe: int, step: int, alpha: HostArray, beta: HostArray, norm: float) -> HostArray:
        """ω_{step+1,k} for k ≤ step; orthogonality to the last two is seen to by the recurrence."""
        before, now = self.overlaps[probe]
        found: HostArray = np.full(step + 1, self._eps * ROUNDING)
        if step > 1:
            k = slice(0, step - 1)
            left = np.concatenate([[0.0], beta[: step - 2] * now[: step - 2]])
            found[k] = beta[k] * now[1:step] + (alpha[k] - alpha[step]) * now[k] + left - beta[step - 1] * before[k]
            rounding = ROUNDING * self.precision * self._lengths(step, alpha, beta, norm)
            found[k] += np.copysign(rounding, found[k])
            found[k] /= norm
        return found

    def _lengths(self, step: int, alpha: HostArray, beta: HostArray, norm: float) -> HostArray:
        """||H q_k|| + ||H q_step|| for k < step - 1, each at least ``size``."""
        own = max(math.hypot(alpha[step], beta[step - 1], norm), self.size)
        k = slice(0, step - 1)
        below = np.concatenate([[0.0], beta[: step - 2]])
        lengths: HostArray = np.maximum(np.hypot(np.hypot(alpha[k], beta[k]), below), self.size) + own
        return lengths
