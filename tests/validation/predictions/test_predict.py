"""Moments of the Hessian against its dense entries, and the ladder's predictions against dense eigenvalues."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from simulator import HessianOperator, Network, mlp
from support.cases import DENSE, IMAGES, Array, Case, assert_close, he_weights
from theory.linearised.sweep import LinearisedEquation
from validation import predict_spectrum
from validation.measurements.moments import HessianMoments, default_moment_probes, hessian_moments
from validation.predictions.predict import SignalLaw, predict_from_moments, rung_law
from validation.predictions.rung import FORECAST_RUNGS, MOMENT_RUNGS, RUNGS, SAMPLED_RUNGS
from validation.statistics.distances import energy_grid, l1_distance

ETA = 0.05
CONV = IMAGES[10]
ANY_NETWORK = (*MOMENT_RUNGS, "R5", "R6", "RE", "RK")
PERCEPTRONS = ("R3", "R4w", "R4")
CASES = [("conv", rung) for rung in ANY_NETWORK] + [
    ("mlp", rung)
    for rung in RUNGS
    if rung in ("RE", "RK", "R7") or not (RUNGS[rung].ensemble or RUNGS[rung].moves)  # the others share their code
]
SAMPLED = (*SAMPLED_RUNGS, *FORECAST_RUNGS)


def coefficients(rung: str, c: Array) -> Array:
    """c as a rung takes it: one row for every fresh network, here all alike."""
    return np.tile(c, (2, 1)) if rung in FORECAST_RUNGS else c


def dense_rows(operator: HessianOperator) -> Array:
    """Σ_{q in layer l'} H_pq² from the matrix itself, (N, L)."""
    h = operator.dense()
    return np.stack([np.sum(h[:, part] ** 2, axis=1) for part in operator.network.slices], axis=1)


@pytest.mark.parametrize("case", [*DENSE, IMAGES[1], IMAGES[9]], ids=str)
@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_moments_are_exact_with_as_many_probes_as_weights(case: Case, loss: str, backend: str) -> None:
    operator = HessianOperator(*case.problem, loss, "residual", backend=backend)
    moments = hessian_moments(operator, probes=max(case.network.layer_sizes))
    assert moments.probes is None
    assert moments.sizes == case.network.layer_sizes
    assert_close(moments.rows, dense_rows(operator), 1e-12)
    eigenvalues = np.linalg.eigvalsh(operator.dense())
    assert moments.rms == pytest.approx(np.sqrt(np.mean(eigenvalues**2)), rel=1e-12)


@pytest.mark.parametrize("case", [DENSE[4], CONV], ids=str)
def test_estimated_moments_are_unbiased_within_their_standard_error(case: Case) -> None:
    """Layers larger than the probes: (Hv)_p² varies by 2 ((Σ_q H_pq²)² - Σ_q H_pq⁴) per Rademacher probe."""
    operator, probes, repeats = HessianOperator(*case.problem), 4, 60
    found = np.stack([hessian_moments(operator, probes, seed=s).rows for s in range(repeats)])
    exact, h = dense_rows(operator), operator.dense()
    fourth = np.stack([np.sum(h[:, part] ** 4, axis=1) for part in case.network.slices], axis=1)
    estimated = np.array(case.network.layer_sizes) > probes
    variance = np.where(estimated, 2 * (exact**2 - fourth) / probes, 0)
    error = np.sqrt(np.maximum(variance, 0) / repeats)
    assert estimated.sum() >= 2
    gap = np.abs(found.mean(axis=0) - exact)
    assert np.all(gap[:, ~estimated] <= 1e-14 * exact.max())
    scores = gap[error > 1e-9 * exact.max()] / error[error > 1e-9 * exact.max()]
    assert scores.size > 30
    assert scores.max() < 5.5
    assert np.mean(scores**2) == pytest.approx(1.0, abs=0.5)
    assert hessian_moments(operator, probes).probes == probes


def test_moments_follow_their_seed_and_count_their_products() -> None:
    operator, seen = HessianOperator(*CONV.problem), list[int]()
    first, again, other = (hessian_moments(operator, 4, seed, seen.append).rows for seed in (0, 0, 1))
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert sum(seen) == 3 * sum(min(4, size) for size in CONV.network.layer_sizes)


@pytest.mark.parametrize(("n_weights", "probes"), [(100, 32), (12_352, 32), (50_000, 8), (9_660_000, 4)])
def test_fewer_probes_where_products_are_dear(n_weights: int, probes: int) -> None:
    assert default_moment_probes(n_weights) == probes


def test_block_mean_squares_are_the_symmetric_block_means() -> None:
    operator = HessianOperator(*DENSE[4].problem)
    h, slices = operator.dense(), operator.network.slices
    exact = hessian_moments(operator, 1000).block_mean_square
    assert_allclose(exact, [[np.mean(h[a, b] ** 2) for b in slices] for a in slices], rtol=1e-12, atol=1e-300)
    estimated = hessian_moments(operator, 3).block_mean_square
    assert_array_equal(estimated, estimated.T)
    assert not np.allclose(estimated, exact)
    assert not estimated.diagonal().any()


@cache
def smooth_problem(seed: int) -> tuple[Network, list[Array], Array, Array, Array]:
    """An mlp 16-24-24-1 at He initialisation on 60 smooth 4×4 images of two classes, with its dense eigenvalues."""
    rng, side = np.random.default_rng(seed), np.linspace(0, 1, 4)
    kernel = np.exp(-((side[:, None] - side) ** 2) / 0.5)
    factor = np.linalg.cholesky(np.kron(kernel, kernel) + 1e-6 * np.eye(16))
    y = np.repeat([-1.0, 1.0], 30)
    means = 0.5 * rng.standard_normal((2, 16)) @ factor.T
    x = means[(y > 0).astype(int)] + rng.standard_normal((60, 16)) @ factor.T
    network = mlp([16, 24, 24, 1])
    weights = he_weights(network, seed)
    operator = HessianOperator(network, weights, x, y, backend="numpy")
    return network, weights, x, operator.c, np.linalg.eigvalsh(operator.dense())


def l1(g: Array, eigenvalues: Array, grid: Array, rms: float) -> float:
    measured = np.mean(1 / (eigenvalues[:, None] - rms * (grid + 1j * ETA)), axis=0)
    return l1_distance(grid, measured.imag / np.pi * rms, g.imag / np.pi * rms)


def test_the_ladder_meets_the_reference_figures() -> None:
    """L = 3, n = 24, 60 images of 16 pixels: L1 is 1.21 for R0, 0.89 for R1 and 0.40 for R2 on the reference's data."""
    grid, found = energy_grid(), dict[str, list[float]]()
    for seed in range(3):
        network, weights, x, c, eigenvalues = smooth_problem(seed)
        rms = float(np.sqrt(np.mean(eigenvalues**2)))
        for rung in ANY_NETWORK:
            g = predict_spectrum(network, x, c, rms * (grid + 1j * ETA), rung, weights, seed)
            found.setdefault(rung, []).append(l1(g, eigenvalues, grid, rms))
    mean = {rung: np.mean(errors) for rung, errors in found.items()}
    assert all(a > b > c for a, b, c in zip(found["R0"], found["R1"], found["R2"], strict=True))
    assert 1.05 < mean["R0"] < 1.4
    assert 0.75 < mean["R1"] < 1.05
    assert 0.2 < mean["R2"] < 0.5
    assert 0.015 < mean["R5"] < 0.05
    assert all(cavity < 0.7 * mean_field for cavity, mean_field in zip(found["R6"], found["R5"], strict=True))
    assert mean["R6"] < 0.025


@pytest.mark.slow
def test_rungs_without_weights_meet_the_average_spectrum() -> None:
    """R3 and R4w are the limit of wide layers, R4 is a few other networks: each nearer than the one before."""
    network, _, x, *_ = smooth_problem(0)
    c, grid = np.random.default_rng(3).choice([-1.0, 1.0], 60) / 60, energy_grid()
    spectra = [
        np.linalg.eigvalsh(HessianOperator(network, network.init(s), x, None, c=c, backend="numpy").dense())
        for s in range(6)
    ]
    eigenvalues = np.concatenate(spectra)
    rms = float(np.sqrt(np.mean(eigenvalues**2)))
    z = rms * (grid + 1j * ETA)
    errors = [l1(predict_spectrum(network, x, c, z, rung, seed=9), eigenvalues, grid, rms) for rung in PERCEPTRONS]
    assert 0.5 > errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.15
    assert errors[2] < 0.05


def test_the_time_of_a_prediction_is_said_in_advance() -> None:
    """It grows with the examples and the number of energies, and is there before anything is solved."""
    network, weights, x, c, _ = smooth_problem(0)
    many = rung_law(mlp([16, 24, 24, 24, 1]), x, c, "R5", mlp([16, 24, 24, 24, 1]).init(0))
    few = rung_law(network, x, c, "R5", weights)
    assert 0 < few.seconds(60) < many.seconds(60) < many.seconds(200)
    assert rung_law(network, x, 0 * c, "R5", weights).seconds(60) == 0


@pytest.mark.parametrize("rung", ["R4", "R4w", "R5", "R6"])
def test_a_subsample_has_the_second_moment_of_all_examples(rung: str) -> None:
    """Stretched, it is nearer to the law of all than as it comes; a sample of all is that law."""
    network, weights, x, c, _ = smooth_problem(0)
    whole = rung_law(network, x, c, rung, weights, seed=2)
    assert rung_law(network, x, c, rung, weights, seed=2, examples=len(c)).stretch == ()
    (rms,) = {LinearisedEquation(whole.signals[0], whole.closure).rms}
    far = np.array([1e4j * rms])
    part = rung_law(network, x, c, rung, weights, seed=2, examples=20)
    assert len(part.stretch) == len(whole.signals)
    seconds = [float((-(far**2) * (1 + far * law(far))).real[0]) for law in (whole, part)]
    assert seconds[1] == pytest.approx(seconds[0], rel=0.02)
    assert all(np.count_nonzero(one.top) <= 20 for one in part.signals)


def test_stretching_a_subsample_brings_it_nearer() -> None:
    network, weights, x, c, _ = smooth_problem(1)
    grid, gains = energy_grid(8), []
    whole = rung_law(network, x, c, "R6", weights)
    rms = LinearisedEquation(whole.signals[0], "cavity").rms
    z = rms * (grid + 1j * ETA)
    for seed in range(12):
        part = rung_law(network, x, c, "R6", weights, seed=seed, examples=8)
        plain = SignalLaw(part.signals, part.closure, part.backend)
        densities = [law(z).imag / np.pi * rms for law in (whole, part, plain)]
        gains.append(l1_distance(grid, densities[0], densities[1]) - l1_distance(grid, densities[0], densities[2]))
    assert np.mean(gains) < -2.0 * np.std(gains, ddof=1) / np.sqrt(len(gains))


@pytest.mark.parametrize("rung", [r for r in RUNGS if not RUNGS[r].moves])
def test_both_backends_predict_the_same(rung: str) -> None:
    network, weights, x, c, _ = smooth_problem(0)
    c = coefficients(rung, c)
    z = np.array([0.1, -0.4]) + 0.02j
    one, other = (predict_spectrum(network, x, c, z, rung, weights, backend=name) for name in ("numpy", "numba"))
    assert_allclose(one, other, rtol=1e-7 if rung in MOMENT_RUNGS else 1e-6)


def conv_problem() -> tuple[Network, list[Array], Array, Array]:
    case = IMAGES[5]
    c = np.random.default_rng(5).standard_normal(case.examples) / case.examples
    return case.network, case.weights, case.x, c


one_draw = partial(predict_spectrum, draws=1)  # of the sampled rungs


@pytest.mark.parametrize(("case", "rung"), CASES)
def test_predictions_are_stieltjes_transforms_with_the_second_moment(case: str, rung: str) -> None:
    """Im g > 0, g ~ -1/z, and z²(1 + z g) → -tr H²/N: 4 a(2z) - a(z) leaves an error of order z⁻⁴.

    Rungs that do not see every weight give the second moment of their ensemble, near that of one network.
    """
    network, weights, x, c = conv_problem() if case == "conv" else smooth_problem(1)[:4]
    rms = hessian_moments(HessianOperator(network, weights, x, None, c=c), seed=3).rms

    def g(z: Any) -> Array:
        return one_draw(network, x, coefficients(rung, c), z, rung, weights, seed=3)

    z = rms * (np.linspace(-5, 5, 41) + 0.05j)
    assert g(z).imag.min() > 0
    far = 30j * rms * np.array([1, 2, 1e4])
    values = g(far)
    a = -(far**2) * (1 + far * values)
    assert abs(far[2] * values[2] + 1) < 1e-6
    if rung not in SAMPLED:  # few draws have a trace
        assert (4 * a[1] - a[0]) / 3 == pytest.approx(rms**2, rel=2e-3 if rung in MOMENT_RUNGS else 0.5)


def problem(case: str) -> tuple[Network, list[Array], Array, Array]:
    return conv_problem() if case == "conv" else smooth_problem(1)[:4]


@pytest.mark.parametrize(("case", "rung"), CASES)
def test_predictions_scale_with_c(case: str, rung: str) -> None:
    """H is linear in c: g_{rc}(r z) = g_c(z)/r; and -c has the same second moments, or turns every draw around."""
    network, weights, x, c = problem(case)
    z, close = np.array([0.2, -0.5, 0.0]) + 0.1j, 1e-8 if rung in (*MOMENT_RUNGS, "R3") else 1e-5
    c = coefficients(rung, c)
    expected = one_draw(network, x, c, z, rung, weights)
    assert_allclose(one_draw(network, x, 1e3 * c, 1e3 * z, rung, weights), expected / 1e3, rtol=close)
    mirrored = expected
    if rung in SAMPLED:
        mirrored = -np.conj(one_draw(network, x, c, -np.conj(z), rung, weights))
    assert_allclose(one_draw(network, x, -c, z, rung, weights), mirrored, rtol=close)


@pytest.mark.parametrize(("case", "rung"), CASES)
def test_z_of_any_shape(case: str, rung: str) -> None:
    network, weights, x, c = problem(case)
    z, close = np.linspace(-1, 1, 6) + 0.3j, 1e-9 if rung in (*MOMENT_RUNGS, "R3") else 1e-5
    c = coefficients(rung, c)
    flat = one_draw(network, x, c, z, rung, weights)
    assert_allclose(one_draw(network, x, c, z.reshape(2, 1, 3), rung, weights), flat.reshape(2, 1, 3), rtol=close)
    single = one_draw(network, x, c, complex(z[2]), rung, weights)
    assert single.shape == ()
    assert single == pytest.approx(flat[2], rel=close)


def test_two_layers_are_what_r0_cannot_say() -> None:
    """L = 2: H = 0 on all but ±||v_b||; the atom at 0 (E7) is in R2's law, not in the semicircle; R5, R6 are exact."""
    network = mlp([16, 12, 1])
    weights, rng = network.init(0), np.random.default_rng(0)
    x, c = rng.standard_normal((40, 16)), rng.standard_normal(40) / 40
    eigenvalues = np.linalg.eigvalsh(HessianOperator(network, weights, x, None, c=c).dense())
    rms = float(np.sqrt(np.mean(eigenvalues**2)))
    grid = energy_grid()
    errors = {
        r: l1(predict_spectrum(network, x, c, rms * (grid + 1j * ETA), r, weights), eigenvalues, grid, rms)
        for r in RUNGS
        if r not in FORECAST_RUNGS
    }
    assert errors["R2"] < 0.5 < errors["R0"]
    assert max(errors["R5"], errors["R6"]) < 1e-12


def test_no_hessian_at_all() -> None:
    """c = 0: every rung says -1/z."""
    z = np.array([0.3 + 0.1j, -2 + 1e-3j])
    for case, rung in CASES:
        network, weights, x, c = problem(case)
        none = 0 * coefficients(rung, c)
        assert_allclose(predict_spectrum(network, x, none, z, rung, weights), -1 / z, rtol=1e-12)


def test_the_prediction_is_that_of_the_moments() -> None:
    network, weights, x, c, _ = smooth_problem(2)
    z = np.array([0.05 + 0.01j])
    moments = hessian_moments(HessianOperator(network, weights, x, None, c=c), seed=9)
    assert isinstance(moments, HessianMoments)
    for rung in MOMENT_RUNGS:
        expected = predict_from_moments(moments, z, rung)
        assert_array_equal(predict_spectrum(network, x, c, z, rung, weights, seed=9), expected)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rung": "R9"}, "rung 'R9' is not available: use one of R0, R1, R2"),
        ({"rung": "r1"}, "rung 'r1' is not available"),
        ({"weights": None}, "rung R1 needs the network's weights: pass weights="),
        ({"weights": None, "rung": "R6"}, "rung R6 needs the network's weights: pass weights="),
        ({"rung": "R3"}, "rung R3 treats multilayer perceptrons only"),
        ({"rung": "R4"}, "rung R4 treats multilayer perceptrons only"),
        ({"rung": "R5", "z": -1j}, "Im z > 0"),
        ({"z": [0.3, 0.1j]}, "Im z > 0"),
        ({"z": complex("nan")}, "finite"),
        ({"c": np.zeros(3)}, r"c has shape \(3,\)"),
        ({"x": np.zeros((6, 4))}, "shape"),
        ({"weights": [np.zeros((2, 2))]}, "1 weight arrays were given"),
        ({"backend": "fortran"}, "backend 'fortran' is unknown"),
        ({"seed": -1}, "seed -1 is not usable"),
    ],
    ids=str,
)
def test_refusals(changed: dict[str, Any], message: str) -> None:
    network, weights, x, c = conv_problem()
    options: dict[str, Any] = {"x": x, "c": c, "z": 1j, "rung": "R1", "weights": weights} | changed
    with pytest.raises(ValueError, match=message):
        predict_spectrum(network, **options)
