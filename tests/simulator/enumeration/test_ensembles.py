"""Finite exact ensembles: every pattern by a loop written independently, both backends, ties, laws, refusals."""

from __future__ import annotations

import itertools
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import get_backend
from simulator import (
    Conv,
    Dense,
    EnumerationError,
    HessianOperator,
    MaxPool,
    Network,
    SignEnsemble,
    enumerate_paths,
    enumerate_signs,
    mlp,
    sequential,
)
from simulator.enumeration.sign_passes import pattern_hessian
from support.cases import BACKENDS, assert_close
from support.oracles.network import Oracle
from support.strict_namespace import strict
from theory import mirror_distance

Array = np.ndarray[Any, Any]
NETS = [[4, 1], [3, 2, 1], [2, 2, 2, 1], [1, 2, 1, 2, 1]]


def case(widths: list[int], seed: int = 0, share: float = 1.0) -> tuple[Network, list[Array], Array, Array]:
    """(network, weights, x, intact), a share of the weights intact."""
    network, rng = mlp(widths), np.random.default_rng([seed, 7])
    return network, network.init(seed), rng.standard_normal(widths[0]), rng.random(network.n_weights) < share


def integers(widths: list[int], seed: int, share: float = 1.0) -> tuple[Network, list[Array], Array, Array]:
    """The same with small integer magnitudes and inputs: ties z = 0 are common, and every sum is exact."""
    network, _, _, intact = case(widths, seed, share)
    rng = np.random.default_rng([seed, 8])
    weights = [rng.integers(-2, 3, shape).astype(float) for shape in network.weight_shapes]
    return network, weights, rng.integers(-2, 3, widths[0]).astype(float), intact


def forward(weights: list[Array], x: Array) -> tuple[list[list[float]], float]:
    """(z of every hidden layer, T), one product at a time."""
    signal, fields = [float(v) for v in x], []
    for w in weights:
        z = [0.0] * w.shape[1]
        for b in range(w.shape[1]):
            for a in range(w.shape[0]):
                z[b] += signal[a] * w[a, b]
        fields.append(z)
        signal = [max(v, 0.0) for v in z]
    return fields[:-1], fields[-1][0]


def brute_force(network: Network, weights: list[Array], x: Array, intact: Array) -> dict[str, Array]:
    """Gates, T and z of every pattern in index order, the flat weights of each with them."""
    flat = np.concatenate([w.ravel() for w in weights])
    chosen = np.flatnonzero(intact)
    found: dict[str, list[Any]] = {"weights": [], "gates": [], "output": [], "fields": []}
    for bits in itertools.product((0, 1), repeat=chosen.size):
        signed = np.where(intact, np.abs(flat), flat)
        for q, bit in zip(chosen, bits[::-1], strict=True):  # product runs its last entry fastest
            signed[q] = -signed[q] if bit else signed[q]
        fields, t = forward(network.unflatten(signed), x)
        z = [v for layer in fields for v in layer]
        found["weights"].append(signed)
        found["gates"].append(sum(1 << g for g, v in enumerate(z) if v > 0))
        found["output"].append(t)
        found["fields"].append(z)
    return {name: np.array(values) for name, values in found.items()}


def circuits(network: Network, states: dict[str, Array], paths: Array) -> tuple[Array, Array]:
    """Ψ of all paths, (n_paths, 2^k), and the flat weight indices of each path."""
    starts = [part.start for part in network.slices]
    shapes = network.weight_shapes
    columns = [starts[i] + paths[:, i] * shape[1] + paths[:, i + 1] for i, shape in enumerate(shapes)]
    route = np.stack(columns, axis=1)
    widths = [shape[1] for shape in network.weight_shapes[:-1]]
    first = np.cumsum([0, *widths])
    psi = np.prod(states["weights"][:, route], axis=2).T
    for i, path in enumerate(paths):
        for layer in range(len(widths)):
            psi[i] = psi[i] * ((states["gates"] >> (first[layer] + path[layer + 1])) & 1)
    return psi, route


def paths_of(network: Network) -> Array:
    widths = [network.input_shape[0], *(shape[1] for shape in network.weight_shapes)]
    return np.array(list(itertools.product(*map(range, widths))))


@pytest.mark.parametrize("make", [case, integers], ids=["gaussian", "integer"])
@pytest.mark.parametrize("share", [1.0, 0.6])
@pytest.mark.parametrize("widths", NETS, ids=str)
def test_patterns_equal_brute_force(widths: list[int], share: float, make: Any, backend: str) -> None:
    network, weights, x, intact = make(widths, 3, share)
    ensemble = enumerate_signs(network, weights, x, intact, backend)
    states = brute_force(network, weights, x, intact)
    np.testing.assert_array_equal(ensemble.gates, states["gates"])
    np.testing.assert_array_equal(ensemble.output, states["output"])  # the same sums in the same order
    z, gates = states["fields"], states["fields"].shape[1]
    signal = np.maximum(z, 0.0)
    moments = np.stack([np.mean(v, axis=0) for v in (signal, signal**2, z, z**2)], axis=-1).reshape(gates, 4)
    np.testing.assert_allclose(ensemble.neuron_moments, moments, rtol=1e-12, atol=1e-15)
    layers = np.split(moments[:, 1], np.cumsum(widths[1:-1])[:-1]) if gates else []
    powers = [*(layer.sum() for layer in layers), np.mean(states["output"] ** 2)]
    np.testing.assert_allclose(ensemble.second_moments, powers, rtol=1e-12)
    assert ensemble.mean_output == pytest.approx(np.mean(states["output"]), abs=1e-13)


@pytest.mark.parametrize("make", [case, integers], ids=["gaussian", "integer"])
@pytest.mark.parametrize("share", [1.0, 0.6])
@pytest.mark.parametrize("widths", NETS, ids=str)
def test_circuit_laws_equal_brute_force(widths: list[int], share: float, make: Any, backend: str) -> None:
    network, weights, x, intact = make(widths, 4, share)
    ensemble, paths = enumerate_signs(network, weights, x, intact, backend), paths_of(network)
    psi, route = circuits(network, brute_force(network, weights, x, intact), paths)
    law = ensemble.circuit_law(paths)
    expected = np.stack([np.mean(psi < 0, axis=1), np.mean(psi == 0, axis=1), np.mean(psi > 0, axis=1)], axis=1)
    np.testing.assert_array_equal(law.probabilities, expected)
    np.testing.assert_array_equal(ensemble.path_weights(paths), route)
    for i, values in enumerate(psi):
        assert law.distance[i] == mirror_distance(values)


@pytest.mark.parametrize("make", [case, integers], ids=["gaussian", "integer"])
@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize("widths", NETS, ids=str)
def test_couplings_and_flips_equal_brute_force(widths: list[int], share: float, make: Any, backend: str) -> None:
    network, weights, x, intact = make(widths, 5, share)
    ensemble, paths = enumerate_signs(network, weights, x, intact, backend), paths_of(network)
    states = brute_force(network, weights, x, intact)
    psi, route = circuits(network, states, paths)
    patterns, hidden = np.arange(states["gates"].size), states["fields"].shape[1]
    bits = np.where(intact, np.cumsum(intact) - 1, -1)
    first = np.cumsum([0, *widths[1:-1]])
    for layer in range(network.depth):
        for i in np.flatnonzero(bits[route[:, layer]] >= 0):
            mirrored = patterns ^ (1 << bits[route[i, layer]])
            law = ensemble.coupling_law(paths[i], layer)
            assert law.mismatch[0] == np.mean(psi[i][mirrored] != -psi[i])
            changed = states["gates"] ^ states["gates"][mirrored]
            above = sum(1 << int(first[j] + paths[i, j + 1]) for j in range(layer, network.depth - 1))
            assert law.gate_change[0] == np.mean(changed & above != 0)
    chosen = np.flatnonzero(intact)
    flips = ensemble.flip_probability(chosen)
    for i, weight in enumerate(chosen):
        changed = states["gates"] ^ states["gates"][patterns ^ (1 << bits[weight])]
        np.testing.assert_array_equal(flips[i], [np.mean((changed >> g) & 1) for g in range(hidden)])


@settings(max_examples=25)
@given(
    hidden=st.lists(st.integers(1, 3), max_size=3),
    n_0=st.integers(1, 4),
    seed=st.integers(0, 10_000),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    whole=st.booleans(),
)
def test_kernels_agree_bit_for_bit(hidden: list[int], n_0: int, seed: int, share: float, whole: bool) -> None:
    network, weights, x, intact = (integers if whole else case)([n_0, *hidden, 1], seed, share)
    intact &= np.cumsum(intact) <= 13
    first, second = (enumerate_signs(network, weights, x, intact, name) for name in BACKENDS)
    np.testing.assert_array_equal(first.hidden_gates, second.hidden_gates)
    np.testing.assert_array_equal(first.output, second.output)
    tolerance = 0.0 if whole else 1e-12
    np.testing.assert_allclose(first.neuron_moments, second.neuron_moments, rtol=tolerance, atol=tolerance)
    paths = enumerate_paths(network)
    np.testing.assert_array_equal(first.circuit_law(paths).probabilities, second.circuit_law(paths).probabilities)


@pytest.mark.parametrize("widths", [[3, 3, 1], [2, 2, 3, 1], [1, 3, 3, 1], [9, 1, 1], [4, 3, 1]], ids=str)
def test_many_blocks_and_many_subtrees(widths: list[int]) -> None:
    """More than the 7 sign bits of a block in the first layer, and more than 14 below the last: the walk is split."""
    network, weights, x, intact = integers(widths, 1)
    intact[: max(0, int(intact.sum()) - 16)] = False
    for chosen in (intact, intact[::-1].copy()):
        first, second = (enumerate_signs(network, weights, x, chosen, name) for name in BACKENDS)
        np.testing.assert_array_equal(first.hidden_gates, second.hidden_gates)
        np.testing.assert_array_equal(first.output, second.output)
        np.testing.assert_array_equal(first.neuron_moments, second.neuron_moments)
        weight = np.flatnonzero(chosen)[:3]
        np.testing.assert_array_equal(first.flip_probability(weight), second.flip_probability(weight))


@pytest.mark.parametrize("backend", BACKENDS)
def test_exact_ties_of_equal_magnitudes_stay_ties(backend: str) -> None:
    """0.3·0.7 - 0.3·0.7 is 0, h = 0: a fused multiply-add or a running update would leave a rounding error."""
    network = mlp([2, 2, 1])
    weights = [np.full((2, 2), 0.7), np.full((2, 1), 0.7)]
    ensemble = enumerate_signs(network, weights, np.full(2, 0.3), backend=backend)
    on = (ensemble.gates[:, None] >> np.arange(2, dtype=np.uint64)) & np.uint64(1)
    np.testing.assert_array_equal(on.mean(axis=0), [0.25, 0.25])
    assert np.count_nonzero(ensemble.output == 0.0) == 64 * (9 / 16 + 1 / 16 / 2)


def test_the_largest_case_agrees_with_chosen_patterns() -> None:
    """22 signs on the default backend; a thousand patterns by the generic pass, and M1 exactly."""
    network = mlp([3, 4, 2, 1])
    weights = [np.full(shape, 1.0 + i) for i, shape in enumerate(network.weight_shapes)]
    x = np.array([1.0, 2.0, -3.0])
    intact = np.ones(network.n_weights, dtype=bool)
    ensemble = enumerate_signs(network, weights, x, intact)
    patterns = np.random.default_rng(0).integers(0, ensemble.output.size, 1000)
    signals = ensemble.signals(patterns)
    np.testing.assert_array_equal(ensemble.output[patterns], ensemble.backend.to_numpy(signals.output))
    assert ensemble.output.size == 1 << 22
    np.testing.assert_array_equal(ensemble.second_moments, 14 * np.cumprod([4 / 2, 4 * 2 / 2, 9]))
    assert ensemble.mean_output == 0.0
    law = ensemble.circuit_law(enumerate_paths(network))
    np.testing.assert_array_equal(law.distance, 0.0)


def test_gradients_and_hessian_entries_equal_independent_derivatives() -> None:
    network, weights, x, intact = case([2, 2, 2, 1], 2, 0.7)
    ensemble = enumerate_signs(network, weights, x, intact)
    gradients = ensemble.gradients()
    pairs = list(itertools.combinations(range(network.depth), 2))
    entries = {pair: pattern_hessian(ensemble.signals(), pair, ensemble.backend) for pair in pairs}
    spec = tuple(("dense", width) for width in (2, 2, 1))
    states = brute_force(network, weights, x, intact)
    for p in range(0, ensemble.output.size, 7):
        theta = states["weights"][p]
        assert_close(gradients[p], Oracle((2,), spec, x[None], np.ones(1)).jacobian(theta)[0], 1e-12)
        hessian = HessianOperator(network, network.unflatten(theta), x[None], None, c=[1.0]).dense()
        for low, high in pairs:
            block = hessian[network.slices[low], network.slices[high]]
            assert_close(entries[low, high][p].reshape(block.shape), block, 1e-12)
    for bad in ((0, 0), (1, 0), (0, 3)):
        with pytest.raises(ValueError, match="not a block"):
            pattern_hessian(ensemble.signals(), bad, ensemble.backend)


def test_an_output_layer_of_intact_weights_makes_everything_below_symmetric() -> None:
    """S1 to the last bit: T and ∇T below layer L jointly; one broken weight in W_L undoes it."""
    network, weights, x, intact = case([2, 2, 2, 1], 1)
    ensemble = enumerate_signs(network, weights, x)
    below = ensemble.gradients()[:, : network.slices[-1].start]
    assert mirror_distance(np.column_stack([ensemble.output, below])) == 0.0
    intact[-1] = False
    ensemble = enumerate_signs(network, weights, x, intact)
    assert mirror_distance(ensemble.output) > 0.0
    distance = ensemble.circuit_law([[0, 0, 0, 0], [0, 0, 1, 0]]).distance
    assert distance[0] == 0.0 < distance[1]


def test_other_namespaces_and_single_precision() -> None:
    network, weights, x, intact = case([3, 2, 2, 1], 6, 0.8)
    expected = enumerate_signs(network, weights, x, intact, "numpy")
    found = enumerate_signs(network, weights, x, intact, strict())
    np.testing.assert_array_equal(found.gates, expected.gates)
    assert_close(found.output, expected.output, 1e-14)
    assert_close(found.gradients(), expected.gradients(), 1e-14)
    low, high = 0, 2
    first, second = (
        e.backend.to_numpy(pattern_hessian(e.signals(), (low, high), e.backend)) for e in (found, expected)
    )
    assert_close(first, second, 1e-14)
    for name in BACKENDS:
        single = enumerate_signs(network, weights, x, intact, get_backend(name, "float32"))
        assert_close(single.output, expected.output, 1e-5)


def test_an_ensemble_is_frozen_and_says_what_it_is() -> None:
    network, weights, x, _ = case([2, 1, 1])
    layers = [np.array([[True], [False]]), np.array([[True]])]
    ensemble = enumerate_signs(network, weights, x, layers)
    assert isinstance(ensemble, SignEnsemble)
    assert ensemble.widths == [2, 1, 1]
    assert ensemble.sign_bits.tolist() == [0, -1, 1]
    assert "intact=[ True False True]" in repr(ensemble)
    with pytest.raises(FrozenInstanceError):
        ensemble.x = x  # type: ignore[misc]


def test_what_cannot_be_enumerated_is_refused() -> None:
    network, weights, x, _ = case([5, 5, 1])
    with pytest.raises(EnumerationError, match=r"30 intact weights make 1\.07e\+09 sign patterns, 8\.59 GB"):
        enumerate_signs(network, weights, x)
    wide, many, one, _ = case([1, 65, 1])
    with pytest.raises(EnumerationError, match="65 gates"):
        enumerate_signs(wide, many, one, np.zeros(130, dtype=bool))
    for spec in ([Conv(1), Dense(1)], [MaxPool(2), Dense(1)]):
        pooled = sequential((2, 2, 1), spec)
        with pytest.raises(ValueError, match="dense networks without pools"):
            enumerate_signs(pooled, pooled.init(0), np.ones((2, 2, 1)))
    small, weights, x, _ = case([2, 2, 1])
    for intact in (np.ones(5, dtype=bool), np.ones(6)):
        with pytest.raises(ValueError, match=r"expected \(6,\) bool"):
            enumerate_signs(small, weights, x, intact)
    with pytest.raises(ValueError, match="x has shape"):
        enumerate_signs(small, weights, np.ones(3))
    ensemble = enumerate_signs(small, weights, x, np.arange(6) > 0)
    with pytest.raises(ValueError, match="weight 0 is broken"):
        ensemble.coupling_law([0, 0, 0], 0)
    with pytest.raises(ValueError, match="weight 0 is broken"):
        ensemble.flip_probability(0)
    with pytest.raises(ValueError, match="leave the range"):
        ensemble.flip_probability(6)
    with pytest.raises(ValueError, match="layer 2 does not exist"):
        ensemble.coupling_law([0, 0, 0], 2)
    with pytest.raises(ValueError, match="paths have shape"):
        ensemble.circuit_law([0, 0])
    with pytest.raises(ValueError, match="outside the widths"):
        ensemble.circuit_law([0, 2, 0])
    large = enumerate_signs(*case([4, 3, 2, 1])[:3])
    with pytest.raises(EnumerationError, match="20 intact weights"):
        large.gradients()
