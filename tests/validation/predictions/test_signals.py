"""Measured signals against a literal reading of the network, and the maps between sites."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from simulator import HessianOperator
from support.cases import DENSE, SMALL, Array, Case, any_case, assert_close
from support.oracles import linearised as oracle
from theory.arrays import HOST
from theory.linearised.sites import SiteMaps
from theory.signals import OFF, LayerSignals, gather_columns, scatter_columns
from validation.measurements.signals import measure_signals

HIDDEN = [case for case in SMALL if case.network.depth > 1]


def coefficients(case: Case) -> Array:
    """c (m,), one of them 0: that example takes no part."""
    c = np.random.default_rng([case.seed, 3]).standard_normal(case.examples) / case.examples
    c[case.examples // 2] = 0.0
    return c


@pytest.mark.parametrize("case", HIDDEN, ids=str)
def test_measured_signals_are_those_of_the_definition(case: Case, backend: str) -> None:
    c = coefficients(case)
    kept = c != 0.0
    expected = oracle.as_signals(oracle.measured_layers(case.network, case.weights, case.x[kept], c[kept]))
    found = measure_signals(case.network, case.weights, case.x, c, backend)
    assert found.sizes == expected.sizes == tuple(case.network.layer_sizes)
    assert found.n_weights == case.network.n_weights
    assert_array_equal(found.top, expected.top)
    assert len(found.layers) == len(expected.layers) == case.network.depth - 1
    for mine, other in zip(found.layers, expected.layers, strict=True):
        assert_close(mine.inputs, other.inputs, 1e-12)
        assert (mine.errors is None) == (other.errors is None)
        if mine.errors is not None and other.errors is not None:
            assert_close(mine.errors, other.errors, 1e-12)
        assert_array_equal(mine.source, other.source)
        assert (mine.offsets is None) == (other.offsets is None)
        if mine.offsets is not None and other.offsets is not None:
            assert_array_equal(mine.offsets, other.offsets)
        assert (mine.n_sites, mine.n_in, mine.n_out) == (other.n_sites, other.n_in, other.n_out)
        assert (mine.n_offsets, mine.n_pooled) == (other.n_offsets, other.n_pooled)
        assert mine.variance == pytest.approx(other.variance, rel=1e-12)


@given(case=any_case)
@settings(max_examples=25)
def test_signals_and_weights_make_the_hessian(case: Case) -> None:
    """The form of the signals is exact: with the true weights it is Σ c_i ∇²T_i."""
    c = np.random.default_rng(case.seed).standard_normal(case.examples)
    layers = oracle.measured_layers(case.network, case.weights, case.x, c)
    weights = [np.reshape(w, y.sizes) for w, y in zip(case.weights, layers, strict=True)]
    operator = HessianOperator(case.network, case.weights, case.x, None, c=c, backend="numpy")
    assert_close(oracle.hessian(layers, weights), operator.dense(), 1e-12)


def test_no_active_example_leaves_no_signals() -> None:
    case = DENSE[3]
    found = measure_signals(case.network, case.weights, case.x, np.zeros(case.examples))
    assert found.layers == ()
    assert found.top.shape == (0, 1)
    assert found.n_weights == case.network.n_weights


@st.composite
def site_maps(draw: st.DrawFn) -> tuple[int, Array]:
    """(S', φ (|O|, S)): offsets that no two sites share, some of them outside."""
    n_below, n_sites = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    count = draw(st.integers(1, 3))
    maps = np.full((count, n_sites), OFF)
    for row in maps:
        inside = rng.random(n_sites) < 0.7
        inside[n_below:] = False
        row[inside] = rng.permutation(n_below)[: inside.sum()]
    return n_below, maps


def maps_of(offsets: Array | None, n_sites: int, n_below: int) -> SiteMaps:
    """Of a layer of which only the sites matter."""
    source = np.zeros((n_sites, 1), dtype=np.int64)
    layer = LayerSignals(np.zeros((n_sites, 1)), None, source, n_sites, 1, 1, 1.0, offsets)
    return SiteMaps(HOST, layer, n_below, "float64")


@given(site_maps(), st.integers(0, 2**31))
def test_scatter_is_the_adjoint_of_gather(maps: tuple[int, Array], seed: int) -> None:
    (n_below, offsets), rng = maps, np.random.default_rng(seed)
    n = offsets.shape[1]
    sites = maps_of(offsets, n, n_below)

    def draw(*shape: int) -> Array:
        return np.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape))

    below, above = draw(2, n_below, n_below), draw(2, n, n)
    assert_close(abs(np.sum(sites.gather(below) * above) - np.sum(below * sites.scatter(above))), 0, 1e-12, 1)
    a, b = rng.normal(size=(n_below, 3)), rng.normal(size=(n, 2))
    seen, sent = gather_columns(a, offsets), scatter_columns(b, offsets, n_below)
    assert seen.shape == (n, 3 * len(offsets))
    assert sent.shape == (n_below, 2 * len(offsets))
    assert_close(seen @ seen.T, sites.gather((a @ a.T).astype(complex)[None])[0].real, 1e-12)
    assert_close(sent @ sent.T, sites.scatter((b @ b.T).astype(complex)[None])[0].real, 1e-12)


def test_dense_layers_have_one_offset() -> None:
    matrix: Any = np.arange(9.0).reshape(3, 3) + 0j
    sites = maps_of(None, 3, 3)
    assert sites.gather(matrix) is matrix
    assert sites.scatter(matrix) is matrix
    assert gather_columns(matrix.real, None) is not None
    assert scatter_columns(matrix.real, None, 3).shape == (3, 3)


@pytest.mark.parametrize("case", [case for case in HIDDEN if case.network.depth > 2], ids=str)
def test_sources_and_inputs_are_the_forward_pass(case: Case) -> None:
    """x_l at an S'_l site is z_l at the site that it reads, 0 where nothing is on; then seen by layer l+1."""
    layers = measure_signals(case.network, case.weights, case.x, np.ones(case.examples)).layers
    for layer, above, weights in zip(layers[:-1], layers[1:], case.weights[:-2], strict=True):
        z = layer.inputs @ np.reshape(weights, (-1, layer.n_out))
        x = np.where(layer.source == OFF, 0.0, np.take_along_axis(z, np.maximum(layer.source, 0), axis=0))
        assert (x >= 0.0).all()
        x = x if above.windows is None else x[above.windows].mean(axis=1)
        assert_close(gather_columns(x, above.offsets), above.inputs, 1e-12)
