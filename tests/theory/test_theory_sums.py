"""Spikes above a law and free sums, against closed forms and large random matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory import ConvergenceError, free_sum, isotropic_spikes, outliers, semicircle

Array = np.ndarray[Any, Any]


def semicircle_rule(rms: float, n: int = 400) -> tuple[Array, Array]:
    """The Gauss rule of the semicircle: Chebyshev's of the second kind."""
    angles = np.arange(1, n + 1) * np.pi / (n + 1)
    return 2 * rms * np.cos(angles), 2 / (n + 1) * np.sin(angles) ** 2


@pytest.mark.parametrize("rms", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("ratio", [1.3, 2.0, 7.0, 400.0])
def test_spikes_of_a_wigner_matrix(rms: float, ratio: float) -> None:
    theta = ratio * rms
    found = isotropic_spikes([theta], *semicircle_rule(rms))
    assert found.positions[0] == pytest.approx(theta + rms**2 / theta, rel=1e-9)
    assert found.overlaps[0] == pytest.approx(1 - 1 / ratio**2, rel=1e-7)


def test_below_the_transition_nothing_is_left_of_the_direction() -> None:
    found = isotropic_spikes([0.5, 0.9], *semicircle_rule(1.0))
    assert (found.positions < 2.0 + 1e-3).all()
    assert (found.overlaps < 0.01).all()


def test_spikes_agree_with_the_general_outliers() -> None:
    """`outliers` counts the zeros of M^{-1} + g(E): for isotropic directions the same equation, another method."""
    nodes, weights = np.random.default_rng(0).normal(size=50), np.random.default_rng(1).dirichlet(np.ones(50))
    theta = np.array([4.0, 9.0])

    def resolvent(energies: Array) -> Array:
        g = np.sum(weights / (nodes - energies[:, None]), axis=1)
        return np.asarray(g[:, None, None] * np.eye(2), dtype=complex)

    found = outliers(resolvent, theta, (float(nodes.max()) + 1e-3, 30.0))
    assert isotropic_spikes(theta, nodes, weights).positions == pytest.approx(found, rel=1e-8)


def test_spikes_of_a_large_random_matrix() -> None:
    """Three directions beside a matrix that is no Wigner matrix: positions and overlaps to the size of N^{-1/2}."""
    rng, n = np.random.default_rng(3), 600
    values = np.concatenate([np.zeros(n // 2), rng.exponential(size=n // 2) - 1.0])
    turn = np.linalg.qr(rng.standard_normal((n, 3)))[0]
    theta = np.array([12.0, 20.0, 35.0])
    found, vectors = np.linalg.eigh(np.diag(values) + (turn * theta) @ turn.T)
    predicted = isotropic_spikes(theta, values, np.full(n, 1.0 / n))
    assert found[-3:] == pytest.approx(predicted.positions, rel=0.03)
    overlaps = np.sum(turn * vectors[:, -3:], axis=0) ** 2
    assert overlaps == pytest.approx(predicted.overlaps, abs=0.03)


@given(
    nodes=st.lists(st.floats(-5, 5), min_size=1, max_size=8),
    theta=st.floats(1e-3, 1e3),
    seed=st.integers(0, 100),
)
def test_spikes_solve_their_equation(nodes: list[float], theta: float, seed: int) -> None:
    x, w = np.array(nodes), np.random.default_rng(seed).dirichlet(np.ones(len(nodes)))
    found = isotropic_spikes([theta], x, w)
    energy = found.positions[0]
    assert energy >= float(w @ x) + theta - 1e-9 * (10 + theta)
    assert 0.0 < found.overlaps[0] <= 1.0 + 1e-9
    if energy - x.max() > 1e-3:
        assert theta * np.sum(w / (energy - x)) == pytest.approx(1.0, rel=1e-6)


def test_spikes_refuse_what_is_no_law() -> None:
    with pytest.raises(ValueError, match="expected finite numbers > 0"):
        isotropic_spikes([-1.0], [0.0], [1.0])
    with pytest.raises(ValueError, match=r"with sum 2: expected \(k,\) both and sum 1"):
        isotropic_spikes([1.0], [0.0, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="expected"):
        isotropic_spikes([1.0], [0.0, 1.0], [1.0])


def atoms(values: Array) -> Callable[[Array], Array]:
    """The transform of a law of equal atoms."""
    return lambda z: np.asarray(np.mean(1.0 / (values - z[..., None]), axis=-1))


def test_semicircles_add_to_a_semicircle() -> None:
    z = np.linspace(-12, 12, 41) + 0.1j
    g = free_sum(lambda w: semicircle(w, 3.0), lambda w: semicircle(w, 4.0), z)
    assert np.abs(g - semicircle(z, 5.0)).max() < 1e-7


def test_coins_add_to_the_arcsine_law() -> None:
    """Two free signs ±1 add to the arcsine law on [-2, 2], g = -1/sqrt(z² - 4): far from the classical ±2, 0."""
    z = np.linspace(-3, 3, 31) + 0.2j
    coin = atoms(np.array([-1.0, 1.0]))
    root = np.sqrt(z - 2) * np.sqrt(z + 2)
    assert np.abs(free_sum(coin, coin, z) + 1 / root).max() < 1e-7


def test_free_sum_of_turned_matrices() -> None:
    """Two matrices of fixed spectra, one turned at random, and the order of the two does not matter."""
    rng, n = np.random.default_rng(5), 300
    first, second = rng.standard_normal(n) ** 3, np.where(np.arange(n) < 30, 4.0, 0.0)
    turn = np.linalg.qr(rng.standard_normal((n, n)))[0]
    values = np.linalg.eigvalsh(np.diag(first) + (turn * second) @ turn.T)
    z = np.linspace(-4, 8, 13) + 0.5j
    g = free_sum(atoms(first), atoms(second), z)
    assert np.abs(g - np.mean(1.0 / (values - z[:, None]), axis=1)).max() < 0.02
    assert np.abs(free_sum(atoms(second), atoms(first), z) - g).max() < 1e-6


@given(shift=st.floats(-3, 3), x=st.floats(-5, 5), eta=st.floats(0.2, 3))
def test_a_number_shifts_the_law(shift: float, x: float, eta: float) -> None:
    law, number = atoms(np.array([-1.0, 0.5, 2.0])), atoms(np.array([shift]))
    z = np.array(complex(x, eta))
    assert free_sum(law, number, z) == pytest.approx(complex(law(z - shift)), abs=1e-7)


def test_free_sum_says_where_it_cannot() -> None:
    coin = atoms(np.array([-1.0, 1.0]))
    with pytest.raises(ValueError, match="upper half plane"):
        free_sum(coin, coin, [1.0])
    with pytest.raises(ConvergenceError, match="raise the imaginary part"):
        free_sum(coin, coin, [0.5 + 1e-9j])
