"""The linearised equations against a literal twin, dense eigenvalues, ensembles of fresh weights and exact facts."""

from __future__ import annotations

import dataclasses
import math
import os
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from simulator import HessianOperator, Network, mlp, sequential, train
from simulator.network.layers import Conv, Dense, MaxPool
from support.cases import DENSE, IMAGES, Array, Case, any_case
from support.oracles import linearised as oracle
from support.spectra import even_moments, l1_error, small_digits, transform
from theory import ConvergenceError, linearised_law, population_signals
from theory.arrays import HOST
from theory.linearised.inner_layer import forward_kernels, leading_directions
from theory.linearised.sites import SiteMaps
from theory.linearised.sweep import LinearisedEquation
from theory.signals import NetworkSignals
from validation.measurements.signals import measure_signals
from validation.predictions.predict import initial_variances

REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
CLOSURES = {"mean_field": oracle.mean_field, "cavity": oracle.cavity}
POINTS = np.array([0.02 + 0.03j, -1.3 + 0.05j, 4.0 + 0.2j])
"""In rms: beside the atom at 0, in the bulk and in the tail."""

UNEQUAL = Case("unequal", (4,), (("dense", 9), ("dense", 3), ("dense", 7), ("dense", 1)), examples=7, seed=1)
NARROW = Case("narrow", (5,), (("dense", 1), ("dense", 6), ("dense", 2), ("dense", 1)), examples=5, seed=2)
SITES = Case("more-examples", (3,), (("dense", 4), ("dense", 3), ("dense", 3), ("dense", 1)), examples=16, seed=3)
TWO_CONVS = Case(
    "two-convs", (4, 4, 2), (("conv", 3, 3), ("conv", 2, 3), ("pool", 2), ("dense", 1)), examples=3, seed=4
)
DEEP_IMAGE = Case(
    "deep-image", (4, 5, 1), (("conv", 2, 3), ("pool", 2), ("conv", 3, 3), ("dense", 4), ("dense", 1)), 4, 5
)
FLAT_TWICE = Case("flat-twice", (2, 2, 2), (("dense", 5), ("dense", 4), ("dense", 3), ("dense", 1)), 6, 6)
LITERAL = [
    DENSE[2],
    DENSE[3],
    DENSE[5],
    IMAGES[1],
    IMAGES[2],
    IMAGES[4],
    IMAGES[11],
    UNEQUAL,
    NARROW,
    TWO_CONVS,
    DEEP_IMAGE,
]
LARGE = [DENSE[4], IMAGES[5], IMAGES[6], *IMAGES[7:], SITES, FLAT_TWICE]
EXACT = [DENSE[1], IMAGES[0], IMAGES[3], Case("pooled", (5, 4, 2), (("conv", 4, 3), ("pool", 2), ("dense", 1)))]


def coefficients(case: Case, m: int) -> Array:
    return np.random.default_rng([case.seed, 3]).standard_normal(m) / m


def silence(case: Case, layer: int, neurons: int) -> list[Array]:
    """The case's weights with dead neurons: what they read is ≥ 0 and their weights are < 0."""
    weights = [np.array(w) for w in case.weights]
    weights[layer][..., :neurons] = -np.abs(weights[layer][..., :neurons])
    return weights


def dense_spectrum(network: Network, weights: list[Array], x: Array, c: Array) -> Array:
    return np.linalg.eigvalsh(HessianOperator(network, weights, x, None, c=c, backend="numpy").dense())


def agree(case: Case, closure: str, m: int, weights: list[Array], points: Array = POINTS) -> None:
    x, c = case.x[:m], coefficients(case, m)
    layers = oracle.measured_layers(case.network, weights, x, c)
    n = case.network.n_weights
    rms = float(np.sqrt(np.mean(dense_spectrum(case.network, weights, x, c) ** 2)))
    assert rms > 0.0
    signals = measure_signals(case.network, weights, x, c)
    law = linearised_law(signals, rms * points, closure, tolerance=1e-7)
    expected = [CLOSURES[closure](layers, complex(z)) / n for z in rms * points]
    assert_allclose(law.g, expected, rtol=1e-5)
    assert law.residual <= 1e-7


# the equations


@pytest.mark.parametrize("closure", CLOSURES)
@pytest.mark.parametrize("case", LITERAL, ids=str)
def test_solutions_are_those_of_the_literal_equations(case: Case, closure: str) -> None:
    agree(case, closure, 2 if case in IMAGES else case.examples, case.weights)


@pytest.mark.parametrize("closure", CLOSURES)
@pytest.mark.parametrize("case", [UNEQUAL, DENSE[3], TWO_CONVS], ids=str)
def test_far_apart_starts_end_in_the_same_solution(case: Case, closure: str) -> None:
    """What "observed" means for the uniqueness of R4 to R6 (docs/theory/ladder.md): it is not proved."""
    m = 2 if case is TWO_CONVS else case.examples
    signals = measure_signals(case.network, case.weights, case.x[:m], coefficients(case, m))
    equation = LinearisedEquation(signals, closure)
    rng, z = np.random.default_rng(case.seed), equation.own_rms * POINTS
    found = []
    for size in (0.05, 1.0, 20.0):
        answer = equation.own_rms * size * (rng.standard_normal(3) + 1j * rng.uniform(0.1, 2.0, 3))
        start = equation.start(answer)  # of a network that answers -1/z at another z: in the half planes, far away
        solved, _ = equation.solve(z, start, 1e-9, 5000)
        assert solved.converged.all()
        found.append(equation.sweep(z, solved.value)[1])
    assert_allclose(found[1], found[0], rtol=1e-6)
    assert_allclose(found[2], found[0], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("closure", CLOSURES)
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_larger_networks_obey_the_literal_equations(case: Case, closure: str) -> None:
    agree(case, closure, 2 if case in IMAGES else case.examples, case.weights, POINTS[1:] if REDUCED else POINTS)


@pytest.mark.parametrize("closure", CLOSURES)
@pytest.mark.parametrize(("case", "layer"), [(UNEQUAL, 1), (UNEQUAL, 2), (DENSE[2], 1), (TWO_CONVS, 1)], ids=str)
def test_dead_neurons_are_part_of_the_law(case: Case, layer: int, closure: str) -> None:
    agree(case, closure, 3, silence(case, layer, 1))


@pytest.mark.parametrize("closure", CLOSURES)
def test_a_dead_layer_leaves_only_the_atom(closure: str) -> None:
    """T = 0 nearby: no signal passes, H = 0."""
    case = Case("dead", (4,), (("dense", 5), ("dense", 3), ("dense", 4), ("dense", 1)))
    weights = silence(case, 1, 3)
    signals = measure_signals(case.network, weights, case.x, coefficients(case, case.examples))
    assert_allclose(linearised_law(signals, POINTS, closure).g, -1 / POINTS, rtol=1e-12)


@pytest.mark.parametrize("widths", [[3, 5, 4, 1], [4, 3, 5, 4, 1], [3, 4, 2, 3, 2, 1]], ids=str)
def test_population_equations_are_the_literal_ones(widths: list[int]) -> None:
    """R4 with the on-sets that were drawn; their number is not the width."""
    rng = np.random.default_rng(len(widths))
    x, c, variances = rng.normal(size=(6, widths[0])), rng.normal(size=6), list(rng.uniform(0.2, 0.9, len(widths) - 1))
    signals = population_signals(x, c, widths, variances, 7, rng)
    on = [np.asarray(layer.source >= 0) for layer in signals.layers]
    n = signals.n_weights
    rms = LinearisedEquation(signals, "mean_field").rms
    expected = [oracle.population_mean_field(x, c, widths, variances, on, complex(z)) / n for z in rms * POINTS]
    assert_allclose(linearised_law(signals, rms * POINTS, tolerance=1e-7).g, expected, rtol=1e-5)


# exact facts


@pytest.mark.parametrize("closure", CLOSURES)
@pytest.mark.parametrize("case", EXACT, ids=str)
def test_two_layers_are_exact(case: Case, closure: str) -> None:
    c = coefficients(case, case.examples)
    eigenvalues = dense_spectrum(case.network, case.weights, case.x, c)
    z = np.sqrt(np.mean(eigenvalues**2)) * np.array([0.001j, 0.3 + 0.01j, -2.0 + 0.05j])
    signals = measure_signals(case.network, case.weights, case.x, c)
    assert_allclose(linearised_law(signals, z, closure).g, transform(eigenvalues, z), rtol=1e-10)


@pytest.mark.parametrize("closure", CLOSURES)
def test_one_layer_and_no_active_example_have_no_hessian(closure: str) -> None:
    linear, deep = DENSE[0], DENSE[3]
    for case, c in ((linear, np.ones(linear.examples)), (deep, np.zeros(deep.examples))):
        law = linearised_law(measure_signals(case.network, case.weights, case.x, c), POINTS.reshape(3, 1), closure)
        assert_allclose(law.g, -1 / POINTS.reshape(3, 1), rtol=1e-14)
        assert law.iterations == 0


@given(case=any_case, closure=st.sampled_from(list(CLOSURES)), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 2**31))
@settings(max_examples=12)
def test_exact_properties(case: Case, closure: str, scale: float, seed: int) -> None:
    """A Stieltjes transform with mirror symmetry; linear in c; blind to the order and the splitting of examples."""
    rng = np.random.default_rng(seed)
    c = rng.normal(size=case.examples)
    rms = float(np.sqrt(np.mean(HessianOperator(case.network, case.weights, case.x, None, c=c).dense() ** 2)))
    rms *= math.sqrt(case.network.n_weights)
    assume(rms > 1e-6)
    z = rms * POINTS

    def g(x: Array, c: Array, z: Array) -> Array:
        signals = measure_signals(case.network, case.weights, x, c)
        return linearised_law(signals, z, closure, tolerance=1e-9, max_iterations=2000).g

    expected = g(case.x, c, z)
    assert (expected.imag > 0.0).all()
    assert (np.abs(expected) <= (1 + 1e-9) / z.imag).all()
    assert_allclose(g(case.x, c, -z.conj()), -expected.conj(), rtol=1e-12)
    far = 1e5j * rms
    assert abs(1 + far * g(case.x, c, np.array([far]))[0]) < 1e-8
    assert_allclose(g(case.x, -scale * c, scale * z), expected / scale, rtol=1e-6)
    order = rng.permutation(case.examples)
    assert_allclose(g(case.x[order], c[order], z), expected, rtol=1e-6)
    share = rng.uniform(0.2, 0.8, case.examples)
    split = g(np.concatenate([case.x, case.x]), np.concatenate([share * c, (1 - share) * c]), z)
    assert_allclose(split, expected, rtol=1e-6)


MOMENTS = [
    DENSE[2],
    DENSE[3],
    dataclasses.replace(UNEQUAL, spec=(("dense", 5), ("dense", 2), ("dense", 3), ("dense", 1))),
    TWO_CONVS,
    IMAGES[1],
]


@pytest.mark.parametrize("closure", CLOSURES)
@pytest.mark.parametrize("case", MOMENTS, ids=str)
def test_the_second_moment_is_exact(case: Case, closure: str) -> None:
    """That of H over fresh weights at fixed signals, to rounding, from a contour of g around the support."""
    m = min(case.examples, 6)
    layers = oracle.measured_layers(case.network, case.weights, case.x[:m], coefficients(case, m))
    signals, n = oracle.as_signals(layers), case.network.n_weights
    square = oracle.mean_square(layers) / n
    moments = even_moments(
        lambda z: linearised_law(signals, z, closure, tolerance=1e-11, max_iterations=2000).g, 20 * math.sqrt(square)
    )
    assert_allclose(moments[:2], [1.0, square], rtol=1e-9)
    assert LinearisedEquation(signals, closure).rms == pytest.approx(math.sqrt(square), rel=1e-5)


# directions of the inner layers


def smooth_signals() -> NetworkSignals:
    """Convolutions on smooth images: inner layers of 128 sites that few directions fill."""
    case = Case("smooth", (8, 8, 1), (*(("conv", 3, 3),) * 3, ("pool", 4), ("dense", 4), ("dense", 1)), 2, 7)
    rows, columns = np.mgrid[:8, :8] / 8
    x = np.stack([np.cos(3 * rows + columns), np.sin(2 * columns - rows)])[..., None]
    return measure_signals(case.network, case.weights, x, np.array([0.6, -0.4]))


@pytest.mark.parametrize("closure", ["mean_field", pytest.param("cavity", marks=pytest.mark.slow)])
def test_directions_left_out_change_little_and_less_with_the_cut(closure: str) -> None:
    signals = smooth_signals()
    z = LinearisedEquation(signals, closure).rms * np.array([0.05j, 0.4 + 0.05j, 2 + 0.05j])
    whole, errors = linearised_law(signals, z, closure).g, []
    for cut in (3e-2, 3e-3):
        kept = [layer.directions for layer in LinearisedEquation(signals, closure, cut).inner]
        assert any(f is not None and f.shape[1] < len(f) / 2 for f in kept)
        errors.append(np.abs(linearised_law(signals, z, closure, cut=cut).g / whole - 1).max())
    assert errors[1] < 0.06
    assert errors[1] < 0.3 * errors[0]


@given(n=st.integers(1, 12), rank=st.integers(1, 12), seed=st.integers(0, 2**31))
def test_leading_directions_span_what_is_above_the_cut(n: int, rank: int, seed: int) -> None:
    factor = np.random.default_rng(seed).normal(size=(n, min(rank, n)))
    kernel = factor @ factor.T
    f = leading_directions(kernel, 1e-6)
    assert_allclose(f.T @ f, np.eye(f.shape[1]), atol=1e-10)
    assert np.linalg.norm(kernel - f @ (f.T @ kernel), 2) <= 2e-6 * n * np.linalg.norm(kernel, 2)


def test_forward_kernels_are_what_the_equation_has_far_out() -> None:
    """-z A^l at z → i∞, A^l of channel averages: tested by U of the first inner layer's equation with B = 0."""
    signals = smooth_signals()
    kernels = forward_kernels(signals)
    first, second = signals.layers[:2]
    assert_allclose(kernels[0], first.inputs @ first.inputs.T)
    masks = [source >= 0 for source in first.source.T]
    mean = np.mean([np.outer(on, on) * kernels[0] for on in masks], axis=0)
    passed = SiteMaps(HOST, second, first.n_pooled, "float64").gather(mean[None])[0]
    expected = second.inputs @ second.inputs.T + second.variance * second.n_in * passed
    assert_allclose(kernels[1], expected, rtol=1e-12)


@pytest.mark.parametrize("cut", [-0.1, 1.0, math.nan])
def test_a_cut_that_leaves_nothing_is_refused(cut: float) -> None:
    with pytest.raises(ValueError, match="expected 0 <= cut < 1"):
        linearised_law(smooth_signals(), POINTS, cut=cut)


# fresh weights at fixed signals

REPLICATED = {
    "dense": Case("dense", (8,), (("dense", 6), ("dense", 5), ("dense", 1)), examples=12, seed=3),
    "conv": Case("conv", (4, 4, 2), (("conv", 3, 3), ("pool", 2), ("dense", 5), ("dense", 1)), examples=5, seed=3),
}


@cache
def replicas(name: str, r: int) -> tuple[NetworkSignals, Array]:
    """Signals with every hidden neuron r times, and the eigenvalues for fresh Gaussian weights."""
    case = REPLICATED[name]
    base = oracle.measured_layers(case.network, case.weights, case.x, coefficients(case, case.examples))
    layers = oracle.replicate(base, r)
    spectra = oracle.fresh_spectra(layers, {1: 400, 2: 80, 4: 12}[r], np.random.default_rng(r))
    return oracle.as_signals(layers), spectra


@cache
def replica_errors(name: str, r: int) -> dict[str, float]:
    signals, spectra = replicas(name, r)
    return {k: l1_error(spectra, lambda z, k=k: linearised_law(signals, z, k).g, 40) for k in CLOSURES}


@pytest.mark.parametrize("name", [pytest.param("dense", marks=pytest.mark.slow), "conv"])
def test_the_law_of_fresh_weights_is_approached_as_neurons_are_replicated(name: str) -> None:
    """Gaussian weights at fixed signals: right factors make L1 fall; the cavity starts where the mean field ends."""
    errors = [replica_errors(name, r) for r in (1, 2, 4)]
    mean_field, cavity = ([error[closure] for error in errors] for closure in CLOSURES)
    assert mean_field[0] > 1.2 * mean_field[1] > 1.6 * mean_field[2]
    assert mean_field[2] < 0.05
    assert all(a < b for a, b in zip(cavity, mean_field, strict=True))
    assert cavity[0] < 0.4 * mean_field[0]
    assert max(cavity) < 0.05


@pytest.mark.parametrize("closure", CLOSURES)
def test_the_fourth_moment_is_approached_as_neurons_are_replicated(closure: str) -> None:
    errors, noise = [], []
    for r in (1, 2, 4):
        (signals, spectra), law = replicas("conv", r), partial(linearised_law, closure=closure, tolerance=1e-10)
        fourth = np.mean(spectra**4, axis=1)
        moments = even_moments(lambda z, s=signals, law=law: law(s, z).g, 20 * float(np.sqrt(np.mean(spectra**2))))
        errors.append(abs(moments[2] / fourth.mean() - 1.0))
        noise.append(np.std(fourth) / math.sqrt(len(fourth)) / fourth.mean())
    assert errors[0] < 0.15
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.25 * errors[0] + 2 * noise[2]


# one network's own spectrum


def own_errors(network: Network, weights: list[Array], x: Array, c: Array, n: int = 40) -> dict[str, float]:
    signals, eigenvalues = measure_signals(network, weights, x, c), dense_spectrum(network, weights, x, c)
    return {k: l1_error(eigenvalues, lambda z, k=k: linearised_law(signals, z, k).g, n) for k in CLOSURES}


def mean_errors(found: list[dict[str, float]]) -> dict[str, float]:
    return {k: float(np.mean([errors[k] for errors in found])) for k in CLOSURES}


def test_dense_networks_follow_their_own_spectrum() -> None:
    x, y = small_digits(40)
    network, c = mlp([16, 24, 24, 1]), -y / 40
    mean = mean_errors([own_errors(network, network.init(seed), x, c) for seed in range(3)])
    assert mean["cavity"] < mean["mean_field"] < 0.045
    assert mean["cavity"] < 0.025


def test_a_convolutional_network_follows_its_own_spectrum() -> None:
    network = sequential((8, 8, 1), [Conv(6), MaxPool(2), Conv(6), MaxPool(2), Dense(8), Dense(1)])
    x, y = small_digits(6, side=8)
    errors = own_errors(network, network.init(0), x.reshape(6, 8, 8, 1), -y / 6, 20)
    assert errors["cavity"] < errors["mean_field"] < 0.07
    assert errors["cavity"] < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("widths", [[16, 32, 32, 1], [16, 24, 24, 24, 1]], ids=str)
def test_trained_networks_follow_their_own_spectrum(widths: list[int]) -> None:
    """After 0, 20 and 60 full-batch steps, about 0.9, 0.35 and 0.1 of the examples active."""
    x, y = small_digits(60)
    network, found = mlp(widths), dict[int, list[dict[str, float]]]()
    for seed in range(1 if REDUCED else 3):
        for steps in (0, 20, 60):
            weights: list[Any] = network.init(seed)
            if steps:
                options: dict[str, Any] = {"epochs": steps, "batch_size": 60, "learning_rate": 0.05}
                weights = train(network, weights, x, y, seed=seed, **options).weights
            c = HessianOperator(network, weights, x, y).c
            assert np.any(c)
            found.setdefault(steps, []).append(own_errors(network, weights, x, c))
    for errors in found.values():
        mean = mean_errors(errors)
        assert mean["cavity"] < mean["mean_field"] < 0.04
        assert mean["cavity"] < 0.03


# refusals


def test_refusals() -> None:
    case = DENSE[3]
    signals = measure_signals(case.network, case.weights, case.x, np.ones(case.examples))
    with pytest.raises(ValueError, match="closure 'ring' is unknown: use one of mean_field, cavity"):
        linearised_law(signals, 1j, "ring")
    with pytest.raises(ValueError, match="Im z > 0"):
        linearised_law(signals, [1.0, 1j])
    with pytest.raises(ConvergenceError, match="raise Im z or max_iterations"):
        linearised_law(signals, 0.1 + 0.01j, max_iterations=1)
    population = population_signals(
        case.x, np.ones(case.examples), [4, 7, 3, 6, 1], initial_variances(case.network), 5, np.random.default_rng(0)
    )
    with pytest.raises(ValueError, match="the cavity needs the signals of every neuron"):
        linearised_law(population, 1j, "cavity")
    headless = dataclasses.replace(
        signals, layers=tuple(dataclasses.replace(layer, errors=None) for layer in signals.layers)
    )
    with pytest.raises(ValueError, match="layer 2 has no back-propagated signals"):
        linearised_law(headless, 1j)
