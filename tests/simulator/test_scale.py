"""Every law in any unit: g(z; s H) = g(z/s; H)/s, from s = 1e-12 to 1e12, and for H = 0."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import HessianOperator, SpectralDensity, mlp, spectral_density
from theory import (
    arc_cosine_law,
    block_law,
    continued,
    expected_positions,
    mass_beyond,
    semicircle,
    separable_law,
    solve_matrix_dyson,
    solve_vector_dyson,
)
from theory.linearised.law import linearised_law
from theory.linearised.sweep import LinearisedEquation
from validation.measurements.signals import measure_signals
from validation.predictions.predict import rung_law
from validation.statistics.mirror import mirror_symmetry

SCALES = st.floats(-12.0, 12.0).map(lambda p: 10.0**p)
Z = np.array([0.05j, 0.3 + 0.05j, 1.0 + 0.05j, 3.0 + 0.1j])
RNG = np.random.default_rng(0)
NETWORK = mlp([6, 7, 5, 1])
DEEP = mlp([6, 5, 4, 5, 1])
X, Y = RNG.standard_normal((12, 6)), RNG.choice([-1.0, 1.0], 12)
C = -Y / 12
SQUARE = RNG.uniform(0.1, 1.0, (3, 3))
SQUARE = 0.1 * (SQUARE + SQUARE.T)
ROWS = RNG.uniform(0.0, 0.2, (9, 3))
WIGNER = 0.5 * np.eye(3)

LAWS: dict[str, Callable[[float, np.ndarray], np.ndarray]] = {
    "semicircle": lambda s, z: semicircle(z, s),
    "blocks": lambda s, z: block_law(z, s**2 * SQUARE, [2, 3, 4]).g,
    "separable": lambda s, z: separable_law(z, s**2 * ROWS, [2, 3, 4]).g,
    "vector Dyson": lambda s, z: solve_vector_dyson(s**2 * SQUARE, z).values.mean(axis=1),
    "matrix Dyson": lambda s, z: solve_matrix_dyson(lambda r: s**2 * WIGNER * np.trace(r), z, size=3).g,
    "arc-cosine": lambda s, z: arc_cosine_law(X, s * C, [6, 7, 5, 1], [1 / 3, 2 / 7, 1 / 5], z).g,
    **{
        f"{rung} of {network.depth} layers": (
            lambda s, z, network=network, rung=rung: rung_law(network, X, s * C, rung, network.init(1))(z)
        )
        for network in (mlp([6, 7, 1]), NETWORK, DEEP)
        for rung in ("R5", "R6")
    },
}


@pytest.mark.parametrize("name", LAWS)
@settings(max_examples=8, deadline=None)
@given(s=SCALES)
def test_a_law_scales_with_its_matrix(name: str, s: float) -> None:
    law, unit = LAWS[name], 0.1
    np.testing.assert_allclose(s * law(s, s * unit * Z), law(1.0, unit * Z), rtol=3e-4)


@pytest.mark.parametrize("closure", ["mean_field", "cavity"])
@settings(max_examples=10, deadline=None)
@given(s=SCALES)
def test_the_rms_of_an_equation_scales(closure: str, s: float) -> None:
    for network in (NETWORK, DEEP):
        rms = [
            LinearisedEquation(measure_signals(network, network.init(1), X, t * C), closure).rms / t for t in (1.0, s)
        ]
        assert rms[0] > 0.0
        assert rms[1] == pytest.approx(rms[0], rel=1e-6)


@pytest.mark.parametrize("factor", [1e-90, 1e-6, 1e6])
def test_weights_and_inputs_of_any_size(factor: float) -> None:
    """All weights times r make H of L layers r^{L-2} times as large at fixed c, inputs times r make it r times."""
    weights = NETWORK.init(1)
    signals = measure_signals(NETWORK, weights, X, C)
    rms = LinearisedEquation(signals, "cavity").rms
    small = measure_signals(NETWORK, [factor * w for w in weights], factor * X, C)
    assert LinearisedEquation(small, "cavity").rms == pytest.approx(factor**2 * rms, rel=1e-5)
    found = linearised_law(small, factor**2 * rms * Z, "cavity").g * factor**2
    np.testing.assert_allclose(found, linearised_law(signals, rms * Z, "cavity").g, rtol=3e-4)


def test_a_power_of_two_changes_no_digit() -> None:
    laws = [rung_law(DEEP, X, s * C, "R6", DEEP.init(1))(0.1 * s * Z) * s for s in (1.0, 2.0**-40)]
    assert np.array_equal(laws[0], laws[1])


def test_where_the_hessian_is_zero_the_law_is_an_atom() -> None:
    """Signals that are not all 0 although H = 0: every gate of the first layer is off."""
    signals = measure_signals(NETWORK, NETWORK.init(1), X, C)
    first = signals.layers[0]
    off = replace(first, source=np.full_like(first.source, -1))
    dead = replace(signals, layers=(off, *(replace(y, inputs=0.0 * y.inputs) for y in signals.layers[1:])))
    dead = replace(
        dead, layers=(*dead.layers[:-1], replace(dead.layers[-1], source=np.full_like(dead.layers[-1].source, -1)))
    )
    for closure in ("mean_field", "cavity"):
        assert LinearisedEquation(dead, closure).rms == 0.0
        np.testing.assert_array_equal(linearised_law(dead, Z, closure).g, -1.0 / Z)


@pytest.mark.parametrize("s", [1e-12, 1e-8, 1.0, 1e12])
def test_a_sample_is_stretched_in_any_unit(s: float) -> None:
    reference = rung_law(NETWORK, X, C, "R6", NETWORK.init(1), 0, examples=6).stretch
    found = rung_law(NETWORK, X, s * C, "R6", NETWORK.init(1), 0, examples=6).stretch
    assert found == pytest.approx(reference, rel=1e-5)


def test_fresh_networks_without_a_gradient_are_no_division_by_zero() -> None:
    """Of narrow networks freshly drawn some are dead: H = 0 on the sample as on all examples, and the stretch is 1."""
    network = mlp([6, 2, 2, 2, 1])
    ended = []
    for seed in range(6):
        try:
            ended.append(all(s > 0.0 for s in rung_law(network, X, C, "R4", None, seed, examples=1).stretch))
        except ValueError as error:
            ended.append("use more --prediction-examples" in str(error))
    assert all(ended)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e12])
def test_tails_and_the_mirror_image_scale(scale: float) -> None:
    g = continued(lambda z: semicircle(z, scale), scale)
    assert 1000 * mass_beyond(g, [1.5 * scale])[0] == pytest.approx(
        1000 * mass_beyond(lambda z: semicircle(z, 1.0), [1.5])[0], abs=0.05
    )
    assert expected_positions(g, 1000, scale)[0] / scale == pytest.approx(1.99, abs=0.03)
    spectrum = spectral_density(HessianOperator(NETWORK, NETWORK.init(1), X, Y), 4, 20)
    other = SpectralDensity.from_recurrence(scale * spectrum.alpha, scale * spectrum.beta, spectrum.size)
    one, two = (mirror_symmetry(law, 0.05 * law.rms, np.random.default_rng(0)) for law in (spectrum, other))
    assert two.value == pytest.approx(one.value, rel=1e-6)
    for name in ("m3", "skew", "standard_error", "p_value"):
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-6)


@pytest.mark.parametrize("widths", [[6, 1, 1], [6, 1, 1, 1], [6, 2, 1, 1], [6, 8, 8, 1]])
def test_the_time_of_tiny_networks_is_that_of_the_calls(widths: list[int]) -> None:
    """Arithmetic alone said 1e-7 s where calls of the library take milliseconds: hundreds of times too little."""
    network = mlp(widths)
    for seed in range(20):
        law = rung_law(network, X, C, "R6", network.init(seed))
        if law.equations[0] is not None and law.equations[0].rms > 0.0:
            break
    equation = law.equations[0]
    assert equation is not None
    z = equation.rms * (np.linspace(0.0, 4.0, 32) + 0.05j)
    law(z)
    begun = time.process_time()
    law(z)
    assert (time.process_time() - begun) / 30.0 < law.seconds(32) < 1.0
