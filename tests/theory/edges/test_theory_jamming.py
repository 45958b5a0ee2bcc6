"""The edge of capacity of a hinge: inertia, Weyl's inequality behind the stability edge, and the edge itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory import inertia, stability_edge


def spectrum(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.eigvalsh(matrix)


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_weyl_bounds_the_negative_eigenvalues_of_a_stable_sum(size: int, rank: int, seed: int) -> None:
    """N_-(H) ≤ N_-(H + G) + rank G, for any H and G ≥ 0: few active examples leave negative eigenvalues."""
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((size, size))
    h = h + h.T
    u = 3.0 * rng.standard_normal((size, rank))
    whole = inertia(spectrum(h + u @ u.T))
    assert inertia(spectrum(h)).negative <= whole.negative + min(rank, size)


@given(st.integers(2, 12), st.integers(0, 3), st.floats(-18, 0), st.integers(0, 2**32 - 1))
def test_with_one_scale_weyl_holds_for_a_part_that_is_nearly_zero(
    size: int, rank: int, power: float, seed: int
) -> None:
    """A residual part within the rounding of the sum has eigenvalues of its own, which the sum cannot show."""
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((size, size))
    h = 10.0**power * (h + h.T)
    u = rng.standard_normal((size, rank))
    own, whole = spectrum(h), spectrum(h + u @ u.T)
    scale = max(np.abs(own).max(), np.abs(whole).max())
    assert inertia(own, 10 * scale).negative <= inertia(whole, scale).negative + rank
    assert inertia([-1e-17, 1.0]).negative == 0
    assert inertia([-1e-17, 1e-17]).negative == 1
    assert inertia([-1e-17, 1e-17], 1.0).negative == 0


@given(st.integers(1, 10), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_a_congruence_keeps_the_inertia(size: int, zeros: int, seed: int) -> None:
    """Sylvester's law, with zeros that rounding makes small numbers."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.choice([-1.0, 1.0], size), np.zeros(zeros)])
    q, _ = np.linalg.qr(rng.standard_normal((values.size, values.size)))
    found = inertia(spectrum(q @ np.diag(values) @ q.T))
    assert (found.negative, found.zero, found.positive) == (np.sum(values < 0), zeros, np.sum(values > 0))


def test_the_inertia_of_nothing_and_of_what_is_no_spectrum() -> None:
    assert inertia(np.zeros(3)).zero == 3
    assert inertia([]).negative == 0
    for wrong in ([[1.0]], [np.nan], [np.inf]):
        with pytest.raises(ValueError, match="expected \\(N,\\) finite numbers"):
            inertia(wrong)


@pytest.mark.parametrize("limit", [1, 2, 7, 63, 100])
@pytest.mark.parametrize("slope", [1, 2, 5])
def test_the_stability_edge_of_counts_that_saturate(limit: int, slope: int) -> None:
    """N_-(k) = min(slope·k + 1, limit): the edge is the limit, wherever the search begins."""
    looked: list[int] = []

    def negatives(k: int) -> int:
        looked.append(k)
        return min(slope * k + 1, limit)

    assert stability_edge(negatives, 100) == limit
    assert stability_edge(negatives, limit) == limit
    assert len(looked) < 20


def test_there_may_be_no_stability_edge() -> None:
    assert stability_edge(lambda k: k + 1, 50) is None
    assert stability_edge(lambda k: 0, 50) == 1
    with pytest.raises(ValueError, match="most is 0, expected an integer >= 1"):
        stability_edge(lambda k: k, 0)
