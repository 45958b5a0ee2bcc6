"""The mathematics on any array namespace: array-api-strict, on a device that is not the default one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import Backend, get_backend
from simulator import (
    HessianOperator,
    circuit_moments,
    evaluate,
    exact_marginal,
    exact_posterior,
    expectation_maximization,
    gate_law,
    gradient,
    mlp,
    monte_carlo_marginal,
    order_parameter,
    output,
    risk,
    signal_powers,
    spectral_density,
    tangent_kernel,
    train,
)
from support.cases import DENSE, IMAGES, SMALL, Case, assert_close
from support.strict_namespace import strict
from theory.arrays import HOST
from theory.linearised.law import law_of
from theory.linearised.sweep import LinearisedEquation
from validation import predict_spectrum
from validation.measurements.facts import check_facts
from validation.measurements.signals import measure_signals


def _product(case: Case, ops: Backend, part: str) -> Any:
    operator = HessianOperator(*case.problem, "logistic", part, backend=ops, batch_size=4)
    v = np.random.default_rng(0).standard_normal((case.network.n_weights, 2))
    return np.hstack([operator @ v, (operator @ v[:, 0])[:, None], ops.to_numpy(operator.product(ops.asarray(v)))])


def _layer(case: Case, ops: Backend) -> Any:
    operator = HessianOperator(*case.problem, "logistic", backend=ops)
    products = [operator.layer_rows(i, ops.asarray(w.reshape(1, -1))) for i, w in enumerate(case.weights)]
    return np.stack([ops.to_numpy(p) for p in products])


def _given(case: Case, ops: Backend) -> Any:
    c = np.linspace(-1, 1, case.examples)
    return HessianOperator(case.network, case.weights, case.x, None, c=c, backend=ops).dense()


def _spectrum(case: Case, ops: Backend) -> Any:
    result = spectral_density(HessianOperator(*case.problem, backend=ops), 2, 8)
    return result.stieltjes((result.rms or 1.0) * (np.linspace(-3, 3, 9) + 1j)).imag


def _trained(case: Case, ops: Backend, loss: str) -> Any:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 4, "learning_rate": 0.003, "momentum": 0.9}
    result = train(*case.problem, loss=loss, backend=ops, **settings)
    return np.concatenate([case.network.flatten(result.weights), result.history["risk"]])


CALLS: dict[str, Callable[[Case, Backend], Any]] = {
    "output": lambda case, ops: output(case.network, case.weights, case.x, ops),
    "risk": lambda case, ops: risk(*case.problem, "logistic", ops),
    "gradient hinge": lambda case, ops: case.network.flatten(gradient(*case.problem, "hinge", ops)),
    "gradient squared": lambda case, ops: case.network.flatten(gradient(*case.problem, "squared", ops)),
    "order parameter": lambda case, ops: order_parameter(*case.problem, "logistic", ops),
    "evaluate": lambda case, ops: evaluate(*case.problem, backend=ops, batch_size=4).active_fraction,
    "tangent kernel": lambda case, ops: tangent_kernel(case.network, case.weights, case.x, case.x[:2], ops, 4),
    "signal powers": lambda case, ops: signal_powers(case.network, case.weights, case.x, ops),
    "full": lambda case, ops: _product(case, ops, "full"),
    "gauss-newton": lambda case, ops: _product(case, ops, "gauss_newton"),
    "residual": lambda case, ops: _product(case, ops, "residual"),
    "one layer": _layer,
    "given c": _given,
    "spectrum": _spectrum,
    "train hinge": lambda case, ops: _trained(case, ops, "hinge"),
    "train logistic": lambda case, ops: _trained(case, ops, "logistic"),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_agrees_with_numpy(case: Case, name: str) -> None:
    expected = CALLS[name](case, get_backend("numpy"))
    assert_close(CALLS[name](case, strict()), expected, 1e-12)


@pytest.mark.parametrize("name", ["gradient hinge", "full", "spectrum", "train logistic"])
def test_float32_stays_float32(name: str) -> None:
    for case in SMALL:
        expected = CALLS[name](case, get_backend("numpy", "float32"))
        assert_close(CALLS[name](case, strict("float32")), expected, 1e-3)


def test_thermal_gates_are_drawn_on_the_host() -> None:
    """One seed, one draw: every namespace sees the same gates."""
    for case in SMALL:
        if any(kind == "pool" for kind, *_ in case.spec):
            continue
        call = partial(output, case.network, case.weights, case.x, temperature=0.5, seed=4)
        assert_close(call(strict()), call(get_backend("numpy")), 1e-12)


def _enumerated(ops: Backend) -> list[Any]:
    network = mlp([3, 3, 2, 1])
    weights, rng = network.init(0), np.random.default_rng(1)
    x, y = rng.normal(size=(5, 3)), np.array([1.0, -1.0, 1.0, 1.0, -1.0])
    law = gate_law(network, weights, x, 0.5, ops)
    fits = [
        expectation_maximization(
            network, weights, x, y, temperature=t, e_step=e, iterations=3, samples=4, backend=ops
        ).history["log_likelihood"]
        for e, t in (("exact", 0.5), ("monte_carlo", 0.5), ("zero_temperature", 0.0))
    ]
    steps = [
        train(
            network, weights, x, y, epochs=2, batch_size=2, learning_rate=0.1, loss="logistic", temperature=0.5,
            e_step=e, backend=ops,
        ).history["risk"]
        for e in ("exact", "monte_carlo")
    ]  # fmt: skip
    return [
        exact_marginal(network, weights, x, 0.5, ops),
        exact_posterior(network, weights, x, y, 0.5, ops),
        exact_posterior(network, weights, x, y, 0.0, ops),
        law.entropy,
        law.kl,
        circuit_moments(network, weights, x, [[0, 1, 1, 0]], 0.5, backend=ops),
        monte_carlo_marginal(network, weights, x, 0.5, 50, backend=ops).value,
        output(network, weights, x, ops, temperature=0.5, seed=0),
        *fits,
        *steps,
    ]


def test_exact_small_cases_and_em() -> None:
    for found, expected in zip(_enumerated(strict()), _enumerated(get_backend("numpy")), strict=True):
        assert_close(found, expected)


SIGNALS = [case for case in SMALL if case.network.depth > 1]


@pytest.mark.parametrize("closure", ["mean_field", "cavity"])
@pytest.mark.parametrize("case", SIGNALS, ids=str)
def test_the_linearised_law(case: Case, closure: str) -> None:
    """R4 to R6, dense layers and convolutions, whole and with directions of the inner layers left out."""
    c = np.random.default_rng(case.seed).standard_normal(case.examples)
    c[1 if case.name == "four-convs" else 4 :] = 0.0  # few sites: array-api-strict is slow
    signals = measure_signals(case.network, case.weights, case.x, c)
    if signals.silent:
        pytest.skip("no signal passes this network")
    for cut in (0.0, 0.05):
        whole = LinearisedEquation(signals, closure, cut)
        z = whole.rms * np.array([0.1 + 0.5j, -1.5 + 1.0j])  # few iterations, each of which makes every call
        found = law_of(LinearisedEquation(signals, closure, cut, strict()), z, 1e-11)
        np.testing.assert_allclose(found.g, law_of(whole, z, 1e-11).g, rtol=1e-9)


@given(
    lead=st.lists(st.integers(1, 3), max_size=2), n=st.integers(1, 6), data=st.data(), seed=st.integers(0, 2**32 - 1)
)
def test_adding_a_block(lead: list[int], n: int, data: st.DataObject, seed: int) -> None:
    """Every backend adds in the rows and columns that were named, in whatever order, and nowhere else."""
    rows = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=n, unique=True)), dtype=np.int64)
    rng = np.random.default_rng(seed)
    total, block = (rng.normal(size=(*lead, k, k)) + 1j * rng.normal(size=(*lead, k, k)) for k in (n, len(rows)))
    expected = total.copy()
    for index in np.ndindex(*lead):
        for i, row in enumerate(rows):
            expected[index][row, rows] += block[index][i]
    for ops in (strict(), get_backend("numpy"), get_backend("numba"), HOST):
        to = [ops.asarray(total.copy(), "complex128"), ops.asarray(rows, "int64"), ops.asarray(block, "complex128")]
        np.testing.assert_allclose(ops.to_numpy(ops.add_block(*to)), expected, rtol=1e-13, atol=1e-13)


@given(
    lead=st.lists(st.integers(1, 3), max_size=2), n=st.integers(1, 6), r=st.integers(1, 4), k=st.integers(0, 5),
    single=st.booleans(), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_blocks_and_products_with_real_factors(
    lead: list[int], n: int, r: int, k: int, single: bool, seed: int
) -> None:
    """Every backend reads the rows and columns named, and multiplies by real factors in either precision."""
    rng = np.random.default_rng(seed)
    matrix, real = rng.normal(size=(*lead, n, n)) + 1j * rng.normal(size=(*lead, n, n)), rng.normal(size=(r, n))
    rows = rng.permutation(n)[: min(k, n)]
    kind, width, tolerance = ("float32", "complex64", 1e-5) if single else ("float64", "complex128", 1e-13)
    for ops in (strict(), get_backend("numpy"), get_backend("numba"), HOST):
        there, factor = ops.asarray(matrix, width), ops.asarray(real, kind)
        picked = ops.to_numpy(ops.block(there, ops.asarray(rows, "int64")))
        np.testing.assert_array_equal(picked, matrix.astype(width)[..., rows[:, None], rows])
        for other, expected in ((there, matrix), (ops.xp.matrix_transpose(there), np.swapaxes(matrix, -1, -2))):
            found = ops.to_numpy(ops.real_times(factor, other))
            assert found.dtype == width
            np.testing.assert_allclose(found, real @ expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rung", ["R1", "R2", "R5", "R6"])
@pytest.mark.parametrize("case", [DENSE[3], DENSE[5], IMAGES[1], IMAGES[4]], ids=str)
def test_predictions(case: Case, rung: str) -> None:
    c = HessianOperator(*case.problem, backend="numpy").c
    z = np.array([0.03 + 0.02j, -0.1 + 0.01j])
    found, expected = (
        predict_spectrum(case.network, case.x, c, z, rung, case.weights, 0, b) for b in (strict(), "numpy")
    )
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()  # of the fixed point's tolerance


@pytest.mark.parametrize("case", [DENSE[3], IMAGES[5]], ids=str)
def test_exact_facts(case: Case) -> None:
    """Every exact fact holds on every namespace."""
    operator = HessianOperator(*case.problem, backend="numpy")
    facts = check_facts(*case.problem, operator.c, "hinge", strict(), np.random.default_rng(0))
    assert facts
    assert all(fact.value <= fact.tolerance for fact in facts.values())
