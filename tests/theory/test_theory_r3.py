"""Rung R3 against the matrix Dyson equation of its literal entry covariance, and against ensembles of networks."""

from __future__ import annotations

import math
import os
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from simulator import Conv, Dense, HessianOperator, MaxPool, mlp, sequential
from support.cases import Array, he_weights
from support.oracles.linearised import arc_cosine_kernels
from support.spectra import l1_error, small_digits
from theory import ConvergenceError, arc_cosine_law, entry_covariance, solve_matrix_dyson
from validation import predict_spectrum
from validation.measurements.moments import hessian_moments
from validation.predictions.predict import initial_variances

REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
Z = np.array([0.02 + 0.05j, -0.7 + 0.1j, 1.9 + 0.05j, 3.0 + 2.0j])


def problem(m: int, widths: list[int], seed: int) -> tuple[Array, Array, list[int], list[float]]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, widths[0])), rng.normal(size=m), widths, list(rng.uniform(0.2, 1.0, len(widths) - 1))


def literal_covariance(x: Array, c: Array, widths: list[int], variances: list[float]) -> Array:
    """E[H_pq H_rs] as an (N, N, N, N) array, entry by entry from the definition of R3."""
    depth, m = len(widths) - 1, len(x)
    sigma, overlap, activation = arc_cosine_kernels(x, widths, variances)
    place, n = {}, 0
    for at in range(1, depth + 1):
        for a, b in product(range(widths[at - 1]), range(widths[at])):
            place[at, a, b], n = n, n + 1
    backward = {depth: np.ones((m, m))}
    for at in range(depth - 1, 0, -1):
        backward[at] = overlap[at - 1] * variances[at] * widths[at + 1] * backward[at + 1]
    total = np.zeros((n, n, n, n))
    for low, high in product(range(1, depth + 1), repeat=2):
        if low >= high:
            continue
        jacobian = overlap[low - 1] / widths[low] if high == low + 1 else overlap[low - 1] * np.ones((m, m))
        for between in range(low + 1, high):
            jacobian = jacobian * variances[between - 1] * overlap[between - 1]
            if between > low + 1:
                jacobian = jacobian * widths[between - 1]
        kernel = np.outer(c, c) * jacobian * backward[high]
        for a, e in product(range(widths[low - 1]), repeat=2):
            if low == 1:
                signal = np.outer(x[:, a], x[:, e])
            elif a == e:
                signal = activation[low - 2]
            else:
                mean = np.sqrt(np.diag(sigma[low - 2]) / (2 * math.pi))
                signal = np.outer(mean, mean)
            value = np.sum(kernel * signal)
            for b, a2, b2 in product(range(widths[low]), range(widths[high - 1]), range(widths[high])):
                p, r, q = place[low, a, b], place[low, e, b], place[high, a2, b2]
                for one, two in product([(p, q), (q, p)], [(r, q), (q, r)]):
                    total[(*one, *two)] = value
    return total


@pytest.mark.parametrize(
    "widths", [[3, 2, 1], [2, 3, 2, 1], [5, 2, 3, 1], [2, 2, 3, 2, 1], [2, 2, 1, 2, 2, 1]], ids=str
)
def test_the_reduced_equation_is_the_full_one(widths: list[int]) -> None:
    """N × N matrix Dyson equation with no structure put in: G comes out in blocks, and traces agree."""
    arrays = problem(4, widths, seed=len(widths))
    covariance = literal_covariance(*arrays)
    n = len(covariance)
    rms = math.sqrt(np.einsum("pqpq->", covariance) / n)
    assert math.sqrt(entry_covariance(*arrays).mean_square) == pytest.approx(rms, rel=1e-12)
    full = solve_matrix_dyson(lambda r: np.einsum("pqrs,qr->ps", covariance, r), rms * Z, size=n)
    law = arc_cosine_law(*arrays, rms * Z)
    assert_allclose(law.g, full.g, rtol=1e-7)
    assert law.residual <= 1e-10


def test_two_layers_have_the_exact_second_moment() -> None:
    """L = 2: gates of the first layer depend on nothing else, so that the covariance holds at any width."""
    rng = np.random.default_rng(1)
    network, x, c = mlp([3, 4, 1]), rng.normal(size=(8, 3)), rng.normal(size=8)
    predicted = entry_covariance(x, c, [3, 4, 1], initial_variances(network)).mean_square
    squares = [
        np.mean(HessianOperator(network, network.init(s), x, None, c=c, backend="numpy").dense() ** 2) * 16
        for s in range(1500)
    ]
    error = np.std(squares) / math.sqrt(len(squares))
    assert abs(np.mean(squares) - predicted) < 4 * error
    assert error < 0.03 * predicted


@pytest.mark.parametrize("depth", [3, 4])
def test_wide_networks_have_the_predicted_second_moment(depth: int) -> None:
    """Within four standard errors and the 1/n of signals that fluctuate; from four layers on they do it more."""
    x, c, _, _ = problem(12, [5, 1], seed=2)
    n, squares = 64, []
    network = mlp([5, *[n] * (depth - 1), 1])
    for s in range(100):
        operator = HessianOperator(network, network.init(s), x, None, c=c, backend="numpy")
        squares.append(hessian_moments(operator, 4, seed=s).rms ** 2)
    predicted = entry_covariance(x, c, [5, *[n] * (depth - 1), 1], initial_variances(network)).mean_square
    error = np.std(squares) / math.sqrt(len(squares))
    assert error < 0.08 * predicted
    assert abs(np.mean(squares) - predicted) < 4 * error + 2 * depth / n * predicted


@given(
    m=st.integers(1, 6),
    widths=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    seed=st.integers(0, 2**31),
    scale=st.floats(1e-3, 1e3),
)
@settings(max_examples=25)
def test_exact_properties(m: int, widths: list[int], seed: int, scale: float) -> None:
    """A Stieltjes transform, symmetric, with the second moment of its covariance; linear in c."""
    x, c, widths, variances = problem(m, [*widths, 1], seed)
    s = entry_covariance(x, c, widths, variances)
    rms = math.sqrt(s.mean_square)
    g = arc_cosine_law(x, c, widths, variances, rms * Z).g
    assert (g.imag > 0).all()
    assert (np.abs(g) <= 1 / (rms * Z.imag) * (1 + 1e-9)).all()
    assert_allclose(arc_cosine_law(x, c, widths, variances, -rms * Z.conj()).g, -g.conj(), rtol=1e-8)
    assert_allclose(arc_cosine_law(x, -scale * c, widths, variances, scale * rms * Z).g, g / scale, rtol=1e-7)
    split = arc_cosine_law(np.repeat(x, 2, axis=0), np.repeat(c / 2, 2), widths, variances, rms * Z).g
    assert_allclose(split, g, rtol=1e-7)
    far = rms * 300j * np.array([1, 2])
    a = -(far**2) * (1 + far * arc_cosine_law(x, c, widths, variances, far, tolerance=1e-14).g)
    assert (4 * a[1] - a[0]) / 3 == pytest.approx(rms**2, rel=1e-4)


def ensemble_error(depth: int, n: int, seeds: int, *rungs: str) -> list[float]:
    """L1 of each rung against the spectrum averaged over `seeds` networks, every example active."""
    x, y = small_digits(60)
    network, c = mlp([16, *[n] * (depth - 1), 1]), -y / len(y)
    spectra = np.stack(
        [
            np.linalg.eigvalsh(HessianOperator(network, he_weights(network, s), x, None, c=c).dense())
            for s in range(seeds)
        ]
    )
    return [l1_error(spectra, lambda z, rung=rung: predict_spectrum(network, x, c, z, rung)) for rung in rungs]


def test_three_layers_meet_the_reference_figures() -> None:
    """The reference's images give 0.27 and 0.20 at n = 12 and 24."""
    (narrow,), (wide,) = ensemble_error(3, 12, 8, "R3"), ensemble_error(3, 24, 4, "R3")
    assert wide < narrow < 0.35
    assert wide < 0.25


def test_products_of_weights_are_not_gaussian() -> None:
    """From four layers on R3 is far off, at any width."""
    (found,) = ensemble_error(4, 20, 3, "R3")
    assert 0.4 < found < 0.8


@pytest.mark.slow
def test_only_r4_improves_with_the_width_from_four_layers_on() -> None:
    gaussian, linearised = ensemble_error(4, *((28, 2) if REDUCED else (36, 3)), "R3", "R4")
    assert 0.5 < gaussian < 0.9
    assert linearised < (0.16 if REDUCED else 0.12)
    if not REDUCED:
        assert ensemble_error(3, 48, 3, "R3")[0] < 0.16


def test_one_layer_and_no_active_example_have_no_hessian() -> None:
    x, y = small_digits(5)
    assert_allclose(predict_spectrum(mlp([16, 1]), x, y, Z, "R3"), -1 / Z, rtol=1e-14)
    assert_allclose(predict_spectrum(mlp([16, 3, 3, 1]), x, 0 * y, Z, "R3"), -1 / Z, rtol=1e-14)


def test_examples_without_a_part_and_unseen_directions_change_nothing() -> None:
    x, y = small_digits(7)
    network, c = mlp([16, 5, 4, 1]), y * [1, 0, 1, 1, 0, 1, 1]
    kept = c != 0
    expected = predict_spectrum(network, x[kept], c[kept], Z, "R3")
    assert_allclose(predict_spectrum(network, x, c, Z, "R3"), expected, rtol=1e-9)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(16, 16)))[0]
    assert_allclose(predict_spectrum(network, x @ turn, c, Z, "R3"), expected, rtol=1e-7)
    assert predict_spectrum(network, x, c, Z.reshape(2, 2), "R3").shape == (2, 2)


def test_images_in_front_of_dense_layers_are_flattened() -> None:
    x, y = small_digits(6)
    network = sequential((4, 4, 1), [Dense(5), Dense(1)])
    assert_allclose(
        predict_spectrum(network, x.reshape(6, 4, 4, 1), y, Z, "R3"),
        predict_spectrum(mlp([16, 5, 1]), x, y, Z, "R3"),
        rtol=1e-12,
    )


@pytest.mark.parametrize("layers", [[Conv(2), Dense(1)], [MaxPool(2), Dense(3), Dense(1)]], ids=["conv", "pool"])
def test_other_architectures_are_refused(layers: list[Any]) -> None:
    network = sequential((4, 4, 1), layers)
    with pytest.raises(ValueError, match="R3 treats multilayer perceptrons only"):
        predict_spectrum(network, np.zeros((2, 4, 4, 1)), np.ones(2), Z, "R3")


def test_refusals() -> None:
    x, c, widths, variances = problem(4, [3, 2, 1], seed=0)
    with pytest.raises(ValueError, match=r"c has shape \(3,\)"):
        arc_cosine_law(x, c[:3], widths, variances, Z)
    with pytest.raises(ValueError, match="do not go together"):
        arc_cosine_law(x[:, :2], c, widths, variances, Z)
    with pytest.raises(ValueError, match="at least 2"):
        entry_covariance(x, c, [3, 1], variances[:1])
    with pytest.raises(ValueError, match="Im z > 0"):
        arc_cosine_law(x, c, widths, variances, [1.0])
    with pytest.raises(ConvergenceError, match="raise Im z or max_iterations"):
        arc_cosine_law(x, c, widths, variances, Z, max_iterations=2)
