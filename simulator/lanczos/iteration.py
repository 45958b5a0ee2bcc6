"""Stochastic Lanczos quadrature: recurrences of a symmetric operator from products with random vectors.

Source: [Ubaru2017]; a review of such methods is [Lin2016]. Differences: recurrences of several probes
share their products but stay independent (no block Lanczos); every basis is re-orthogonalised where `orthogonality`
foretells, from the precision of the products, that it is about to be lost; a breakdown ends its probe's rule exactly.
What the recurrences say of the spectrum is in `density`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backends import Array, HostArray
from simulator.inputs import check_count
from simulator.streams import Seed, Streams

from .density import SpectralDensity
from .orthogonality import Orthogonality
from .products import Products

SHRUNK = 0.7  # of its length: a vector that an orthogonalisation leaves shorter is orthogonalised again
BREAKDOWN = 100  # roundings of a vector within which what is left of it is nothing
NOISE = 2.0  # roundings of a product within which it is


def spectral_density(
    operator: Any,
    n_probes: int = 4,
    n_steps: int = 60,
    seed: Seed = 0,
    memory_budget: int | None = None,
    progress: Callable[[int], object] | None = None,
    precision: Any = None,
) -> SpectralDensity:
    """Stochastic Lanczos quadrature of a symmetric operator with Rademacher probes.

    `operator` is a `HessianOperator` (recurrences stay on its device) or anything real, square and symmetric with ``@``
    on blocks of columns (recurrences run in float64). Probes run in groups whose bases fit into `memory_budget` bytes.
    By default bases and tangents fit into what suits the backend. `progress` is called with the number of products
    done.

    `precision` of the products: "float64", "float32", "tf32", "float16", "bfloat16", a dtype of that name, or a
    relative rounding error. By default it is that of the operator's ``dtype`` and of its products. Two more products
    verify it. Where they show larger errors, the run goes by those, and ``precision`` of the result says so. A coarse
    precision costs more orthogonalisations; it does not bring eigenvalues that are not there.

    Raises `MemoryError` when the basis of a single probe does not fit. Raises `ValueError` for an operator that is not
    real, symmetric, linear and deterministic, and for products that are not finite or too small for their dtype. A run
    that must survive its process is a `Lanczos`.
    """
    run = Lanczos(operator, n_probes, n_steps, seed, memory_budget, precision)
    while count := run.advance():
        if progress is not None:
            progress(count)
    return run.result()


class Lanczos:
    """The recurrences behind a `SpectralDensity`, one step at a time, with a state that can be kept and put back.

    Recurrences of the probes of a group share their products and are otherwise independent; groups run one after the
    other in the same memory. ``alpha`` and ``beta`` (n_probes, n_steps) fill up as they go. A run put back by `restore`
    goes on bit for bit as the one whose `state` it was, on the same backend with as many threads.

    Parameters as for `spectral_density`. ``group``: how many probes go together; ``nbytes``: the working set, their
    bases as the backend keeps them, two vectors of each in full precision, and what orthogonalising takes.
    """

    def __init__(
        self,
        operator: Any,
        n_probes: int = 4,
        n_steps: int = 60,
        seed: Seed = 0,
        memory_budget: int | None = None,
        precision: Any = None,
    ) -> None:
        n_probes, n_steps = check_count(n_probes, "n_probes"), check_count(n_steps, "n_steps")
        self._products = Products(operator, precision)
        self._ops, n = self._products.ops, self._products.n
        self._n, self._steps = n, min(n_steps, n)
        item = np.dtype(self._ops.dtype).itemsize
        basis = self._ops.basis_bytes(self._steps, n)
        _check_budget(basis, self._steps, self._ops.kept_bytes if memory_budget is None else memory_budget)
        together = (
            self._ops.group_bytes // (basis + self._products.tangent_bytes)
            if memory_budget is None
            else memory_budget // basis
        )
        self.group = min(n_probes, max(1, together))
        self.nbytes: int = self.group * (basis + 2 * item * n) + item * (self._steps + n)
        self.alpha, self.beta = np.zeros((2, n_probes, n_steps))
        self._streams = Streams(seed).spawn("lanczos", n_probes)
        self._scale = np.zeros(n_probes)
        left = self._ops.basis_overlap(self._steps, n)
        self._orthogonality = Orthogonality(n_probes, self._steps, self._ops.dtype, left)
        self._bases: list[Array] = []  # of the group, all vectors as `Backend.keep` leaves them
        self._recent: Array = None  # (group, 2, n): q_step of each at step % 2 and the one before it, in full precision
        self._first = self._step = 0  # the group at hand starts with probe _first and has made _step steps
        self._live: list[int] = []

    @property
    def finished(self) -> bool:
        """Whether every recurrence has come to its end."""
        return self._first >= len(self.alpha)

    def advance(self) -> int:
        """One more step of the group at hand: how many products it took, 0 when all is done.

        The first one verifies the products.
        """
        if self.finished:
            return 0
        if self._step == 0:
            self._start()
        live, step = self._live, self._step
        with self._ops.computing():
            block = self._recent[:, step % 2, :]
            if len(live) < self.group:
                block = self._ops.xp.stack([block[k - self._first, :] for k in live], axis=0)
            product, count = self._multiplied(block)
            self._live = [k for row, k in enumerate(live) if self._extend(k, product[row, :])]
        self._step += 1
        if not self._live:
            self._first, self._step = self._first + self.group, 0
        return count

    def _multiplied(self, block: Array) -> tuple[Array, int]:
        """H v / unit for rows v, and the number of products that it took."""
        if self._products.verified:
            return self._products.rows(block), int(block.shape[0])
        product, count = self._products.first(block, self.group)
        self._orthogonality.precision, self._orthogonality.size = self._products.precision, self._products.size
        return product, count

    def result(self) -> SpectralDensity:
        """The rules of what was explored; probes not begun yet are no part of it."""
        return SpectralDensity.from_recurrence(self.alpha, self.beta, self._n, self._products.precision)

    def _start(self) -> None:
        """Unit Rademacher vectors for the group at hand."""
        self._live = list(range(self._first, min(self._first + self.group, len(self.alpha))))
        self._allocate()
        for k in self._live:
            signs = self._streams[k].integers(0, 2, self._n)
            self._add(k, 0, self._ops.asarray(signs * 2.0 - 1.0), float(np.sqrt(self._n)))

    def _add(self, k: int, step: int, w: Array, norm: float) -> None:
        """w / norm as vector `step` of probe k."""
        row = k - self._first
        self._ops.keep(self._bases[row], step, w, norm, self._recent[row, step % 2, :])

    def _allocate(self) -> None:
        if not self._bases:
            self._bases = [self._ops.basis(self._steps, self._n) for _ in range(self.group)]
            self._recent = self._ops.zeros((self.group, 2, self._n))
            self._work = self._ops.zeros((self._steps,)), self._ops.zeros((self._n,))

    def _extend(self, k: int, w: Array) -> bool:
        """One step of probe k with w = H q / unit; False when its recurrence has ended."""
        ops, unit, step = self._ops, self._products.unit, self._step
        recent = self._recent[k - self._first, : min(step, 1) + 1, :]
        alpha = unit * ops.inner(recent[step % 2, :], w)
        self.alpha[k, step] = alpha
        scale = max(self._scale[k], abs(alpha))
        w = ops.orthogonalise(recent, w, *self._work)
        norm = float(np.sqrt(ops.inner(w, w)))
        _check_finite(alpha, norm, step)
        if self._orthogonality.lost(k, step, self.alpha[k], self.beta[k], unit * norm, max(scale, unit * norm)):
            w, norm = self._orthogonalised(self._bases[k - self._first][: step + 1, :], w, norm)
        beta = unit * norm
        self._scale[k] = max(scale, beta)
        ended = self._nothing_left(k, beta)
        self.beta[k, step] = 0.0 if ended else beta
        if ended or step == self._steps - 1:
            return False
        self._add(k, step + 1, w, norm)
        return True

    def _nothing_left(self, k: int, beta: float) -> bool:
        """Whether β, what a product leaves beyond an invariant subspace, is rounding.

        Rounding of vectors grows with the scale of H, that of a product at least with its own length. Where it is more
        and the recurrence goes on from rounding alone, no harm is done. A vector orthogonal to all before it leads to
        more of the spectrum, with next to no weight.
        """
        before = self.beta[k, self._step - 1] if self._step > 0 else 0.0
        noise = NOISE * self._products.precision * math.hypot(self.alpha[k, self._step], before, beta)
        return bool(beta <= max(BREAKDOWN * float(np.finfo(self._ops.dtype).eps) * self._scale[k], noise))

    def _orthogonalised(self, basis: Array, w: Array, norm: float) -> tuple[Array, float]:
        """w, of length `norm`, less its part along the basis, and its length then.

        A second pass where the first shortens w: what it leaves is then no longer small beside w, and after two it is
        [Daniel1976].
        """
        for _ in range(2):
            w, before = self._ops.orthogonalise(basis, w, *self._work), norm
            norm = float(np.sqrt(self._ops.inner(w, w)))
            if norm >= SHRUNK * before:
                break
        return w, norm

    def state(self) -> dict[str, HostArray]:
        """Everything that the rest of the run depends on, as host arrays; bases only of what is still going on."""
        kept = {
            "alpha": self.alpha,
            "beta": self.beta,
            "scale": self._scale,
            "overlaps": self._orthogonality.overlaps,
            "due": self._orthogonality.due,
            "live": np.array(self._live, dtype=np.int64),
            "place": np.array([self.group, self._first, self._step], dtype=np.int64),
            "products": self._products.state(),
        }
        for k in self._live:
            kept[f"basis_{k}"] = self._ops.to_numpy(self._bases[k - self._first][: self._step + 1, :])
            kept[f"recent_{k}"] = self._ops.to_numpy(self._recent[k - self._first, :, :])
        return kept

    def restore(self, state: Mapping[str, HostArray]) -> None:
        """Go on from a `state` of a run with the same parameters; `ValueError` where it is of another one."""
        group, first, step = (int(value) for value in state["place"])
        live = [int(k) for k in state["live"]]
        fits = state["alpha"].shape == state["beta"].shape == self.alpha.shape and group == self.group
        fits &= state["products"].shape == (3,)
        if fits and live:
            self._allocate()
        for k in live if fits else ():
            room, found = self._bases[k - first], state[f"basis_{k}"]
            fits &= found.shape == (step + 1, room.shape[1]) and found.dtype == self._ops.to_numpy(room[:0, :]).dtype
        if not fits:
            raise ValueError("the state is not of a run with these probes, steps and weights")
        self.alpha, self.beta, self._scale = (np.array(state[name]) for name in ("alpha", "beta", "scale"))
        self._orthogonality.overlaps = np.array(state["overlaps"])
        self._orthogonality.due = np.array(state["due"])
        self._products.restore(state["products"])
        if self._products.verified:
            self._orthogonality.precision, self._orthogonality.size = self._products.precision, self._products.size
        self._first, self._step, self._live = first, step, live
        for k in live:
            basis = state[f"basis_{k}"]
            self._bases[k - first][: step + 1, :] = self._ops.asarray(basis, str(basis.dtype))
            self._recent[k - first, :, :] = self._ops.asarray(state[f"recent_{k}"])


def _check_finite(alpha: float, norm: float, step: int) -> None:
    if not (math.isfinite(alpha) and math.isfinite(norm)):
        raise ValueError(
            f"the product of step {step + 1} holds NaN or infinite numbers (its inner products are {alpha:g} and "
            f"{norm:g}): expected an operator whose products are finite"
        )


def _check_budget(basis: int, n_steps: int, budget: int) -> None:
    if basis > budget:
        raise MemoryError(
            f"the Lanczos basis of one probe takes {basis / 1e9:.2f} GB, the budget is {budget / 1e9:.2f} GB: "
            f"use at most {budget * n_steps // basis} steps, or raise memory_budget"
        )
