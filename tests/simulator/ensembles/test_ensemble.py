"""Ensembles that share signals with a network: what is kept is kept exactly, the rest has the law asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from backends import get_backend
from simulator import Ensemble, HessianOperator, Network, mlp
from simulator.ensembles.directions import SignalGrams
from simulator.ensembles.fields import FieldFreeze, FieldPowers, draw_mixing, preactivations, unmasked_errors
from simulator.ensembles.weights import weight_law
from simulator.network.layers import Layer
from simulator.passes.propagation import backpropagate, propagate
from support.cases import DENSE, IMAGES, SMALL, Array, Case, assert_close, he_weights

OPS = get_backend("numpy")
CONVS = [IMAGES[4], IMAGES[5], IMAGES[10], IMAGES[11], IMAGES[13]]
DEPTH2 = Case("depth2-conv", (5, 6, 2), (("conv", 3, 3), ("pool", 2), ("dense", 1)))
TINY = Case("tiny-conv", (4, 4, 1), (("conv", 3, 3), ("conv", 3, 3), ("pool", 2), ("dense", 4), ("dense", 1)), seed=1)
KINDS: dict[str, dict[str, Any]] = {
    "RE": {},
    "REp": {"profile": True},
    "REp2": {"profile": True, "directions": 2},
    "RK": {"fields": True},
    "RKp": {"fields": True, "profile": True},
}


def coefficients(case: Case) -> Array:
    c: Array = np.random.default_rng([case.seed, 9]).standard_normal(case.examples)
    c[0] = 0.0
    return c


def ensemble(case: Case, backend: str = "numpy", **kind: Any) -> Ensemble:
    return Ensemble(case.network, case.weights, case.x, coefficients(case), backend=backend, **kind)


@pytest.mark.parametrize("kind", ["RE", "REp", "REp2"])
@pytest.mark.parametrize("case", [DENSE[1], DEPTH2], ids=str)
def test_two_layers_hold_no_weights(case: Case, kind: str, backend: str) -> None:
    """L = 2: H is made of signals alone, so that the ensemble is the network."""
    exact = HessianOperator(case.network, case.weights, case.x, None, c=coefficients(case), backend=backend).dense()
    assert np.any(exact)
    assert_close(ensemble(case, backend, **KINDS[kind]).draw(0, 3).dense(), exact, 1e-13)


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_all_directions_are_the_network(case: Case, backend: str) -> None:
    exact = HessianOperator(case.network, case.weights, case.x, None, c=coefficients(case), backend=backend).dense()
    drawn = ensemble(case, backend, directions=max(max(shape) ** 2 * 25 for shape in case.network.weight_shapes))
    assert_close(drawn.draw(0, 1).dense(), exact, 1e-12)


@pytest.mark.parametrize("case", [DENSE[4], TINY, IMAGES[11]], ids=str)
def test_the_gauss_newton_part_is_exact(case: Case, backend: str) -> None:
    """With ℓ'' given: G of the true weights, and the residual part of a draw."""
    curvature = np.random.default_rng(5).uniform(0.1, 1.0, case.examples)
    curvature[1] = 0.0
    c = coefficients(case)
    common = (case.network, case.weights, case.x, None)
    both = HessianOperator(*common, c=c, curvature=curvature, backend=backend)
    residual = HessianOperator(*common, c=c, backend=backend)
    exact = both.dense() - residual.dense()
    assert np.linalg.eigvalsh(exact).min() > -1e-10 * np.abs(exact).max()
    curved = Ensemble(*common[:3], c, curvature=curvature, backend=backend)
    assert_close(curved.draw(4, 2).dense() - ensemble(case, backend).draw(4, 2).dense(), exact, 1e-12)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("case", [DENSE[4], *CONVS], ids=str)
def test_backends_and_batches_agree(case: Case, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One draw on NumPy and Numba, in batches, and with signals made anew for every product."""
    expected = ensemble(case, "numpy", **KINDS[kind]).draw(1, 7)
    v = np.random.default_rng(0).standard_normal((case.network.n_weights, 3))
    assert_close(ensemble(case, "numba", **KINDS[kind]).draw(1, 7) @ v, expected @ v, 1e-11)
    monkeypatch.setattr("backends.interface.KEPT_BYTES", 8)
    monkeypatch.setattr("backends.interface.Backend.batch_size", 2)
    anew = ensemble(case, "numpy", **KINDS[kind]).draw(1, 7)
    assert_close(anew @ v, expected @ v, 1e-11)
    assert anew._kept is None


@pytest.mark.parametrize("kind", list(KINDS))
def test_draws_follow_seed_and_number(kind: str) -> None:
    case = TINY
    drawn = ensemble(case, **KINDS[kind])
    first, again, other, third = (drawn.draw(*at).dense() for at in ((0, 1), (0, 1), (1, 1), (0, 2)))
    assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, third)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("case", [DENSE[4], TINY], ids=str)
def test_only_the_layers_named_are_drawn(case: Case, kind: str) -> None:
    """Blocks that a layer's weights and fields have no part in stay as they are."""
    network, c = case.network, coefficients(case)
    exact = HessianOperator(network, case.weights, case.x, None, c=c, backend="numpy")
    whole, last = ensemble(case, **KINDS[kind]).draw(0, 1), range(network.depth)
    assert_close(ensemble(case, layers=last, **KINDS[kind]).draw(0, 1).dense(), whole.dense(), 1e-13)
    if "fields" not in KINDS[kind]:
        for silent in (0, network.depth - 1):
            assert_close(ensemble(case, layers=[silent], **KINDS[kind]).draw(0, 1).dense(), exact.dense(), 1e-12)
    drawn = ensemble(case, layers=[2], **KINDS[kind]).draw(0, 1).dense()
    low, high = network.slices[0], network.slices[1]  # ẋ_1 δ̂_2: neither W_3 nor the fields of layer 3
    assert_close(drawn[low, high], exact.dense()[low, high], 1e-12) if "fields" not in KINDS[kind] else None
    assert not np.allclose(drawn, exact.dense())


def rescaled(network: Network, weights: list[Array], rng: np.random.Generator) -> tuple[list[Array], list[Array]]:
    """E8: weights whose hidden neurons are rescaled, and what each weight was multiplied by."""
    factors, lower = [], np.ones(1)
    for index, layer in enumerate(network.layers):
        upper = np.exp(rng.uniform(-1, 1, layer.weight_shape[-1])) if index < network.depth - 1 else np.ones(1)
        rows = np.broadcast_to(1.0 / lower, (layer.fan_in // lower.size, lower.size)).reshape(-1)
        factors.append(np.reshape(rows[:, None] * upper, layer.weight_shape))
        lower = upper
    return [w * f for w, f in zip(weights, factors, strict=True)], factors


def magnitudes(layer: Layer, rng: np.random.Generator) -> Array:
    """|W| with a factor for every input neuron and one for every output neuron."""
    rows, columns = (np.exp(rng.uniform(-1, 1, n)) for n in layer.weight_shape[-2:])
    return np.broadcast_to(rows[:, None] * columns, layer.weight_shape) / np.sqrt(layer.fan_in)


@pytest.mark.parametrize("kind", ["REp", "RKp"])
@pytest.mark.parametrize("case", [DENSE[3], DENSE[4], Case("narrow-conv", (4, 5, 1), (
    ("conv", 3, 1), ("conv", 4, 1), ("pool", 2), ("dense", 3), ("dense", 1)), seed=3)], ids=str)  # fmt: skip
def test_a_profile_is_rescaled_with_its_neurons(case: Case, kind: str) -> None:
    """E8 is a change of coordinates of the Hessian, F^{-1} H F^{-1}; with the profile it is one of every draw.

    The variance is a product r_i² k_j². It is the square of the weights, and follows them exactly, where that is one.
    """
    network, rng = case.network, np.random.default_rng(1)
    product = [np.sign(w) * magnitudes(layer, rng) for layer, w in zip(network.layers, case.weights, strict=True)]
    scaled, factors = rescaled(network, product, rng)
    flat = np.concatenate([f.ravel() for f in factors])
    c = coefficients(case)
    before, after = (
        Ensemble(network, w, case.x, c, backend="numpy", **KINDS[kind]).draw(2, 5).dense() for w in (product, scaled)
    )
    assert_close(after, before / np.multiply.outer(flat, flat), 1e-11)


@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize("case", [DENSE[4], IMAGES[1]], ids=str)
def test_weights_keep_their_mean_square(case: Case, profile: bool) -> None:
    rng = np.random.default_rng(0)
    for layer, w in zip(case.network.layers, case.weights, strict=True):
        u = np.linalg.qr(rng.standard_normal((layer.fan_in, min(2, layer.fan_in))))[0]
        v = np.linalg.qr(rng.standard_normal((layer.weight_shape[-1], 1)))[0]
        for given in ((None, None), (u, None), (None, v), (u, v)):
            law = weight_law(layer, w, profile, *given)
            draws = np.stack([law.draw(rng) for _ in range(1500)])
            powers = np.mean(draws**2, axis=tuple(range(1, draws.ndim)))
            error = powers.std() / np.sqrt(len(powers))
            assert abs(powers.mean() - np.mean(w**2)) <= 5 * error + 1e-12 * np.mean(w**2)
            matrix = draws[7].reshape(layer.fan_in, -1)
            for basis, sides in ((given[0], (matrix, w.reshape(layer.fan_in, -1))),
                                 (given[1], (matrix.T, w.reshape(layer.fan_in, -1).T))):  # fmt: skip
                if basis is not None:
                    assert_allclose(basis.T @ sides[0], basis.T @ sides[1], atol=1e-12 * np.abs(w).max())


def test_a_profile_has_the_mean_squares_of_neurons() -> None:
    """Row and column means of the variance are those of W², for a channel of a convolution over its taps."""
    network = IMAGES[1].network
    w = IMAGES[1].weights[0] * np.linspace(0.2, 2, 2)[:, None] * np.linspace(0.5, 3, 3)
    law = weight_law(network.layers[0], w, profile=True)
    variance = np.square(law.scale * law.rows[:, None] * law.columns).reshape(w.shape)
    assert_allclose(variance.mean(axis=(0, 1, 3)), np.mean(w**2, axis=(0, 1, 3)), rtol=1e-12)
    assert_allclose(variance.mean(axis=(0, 1, 2)), np.mean(w**2, axis=(0, 1, 2)), rtol=1e-12)
    assert np.ptp(variance, axis=(0, 1)).max() == 0.0


@pytest.mark.parametrize("case", [DENSE[4], DENSE[5], IMAGES[1], IMAGES[4], IMAGES[11]], ids=str)
def test_directions_are_the_leading_ones_of_the_signals(case: Case, backend: str) -> None:
    """Singular vectors of the patches, gathered site by site here, and of δ̂."""
    network, c = case.network, coefficients(case)
    operator = HessianOperator(network, case.weights, case.x, None, c=c, backend=backend, batch_size=2)
    grams = SignalGrams(network, range(network.depth), operator.backend)
    for chunk, part in operator.frozen():
        grams.add(chunk, part)
    signals = propagate(network, case.weights, case.x, OPS)
    errors = backpropagate(network, case.weights, signals, c, OPS)
    for index, layer in enumerate(network.layers):
        patches = gathered(
            layer.weight_shape, signals.inputs[index] * c.reshape(-1, *(1,) * (signals.inputs[index].ndim - 1))
        )
        delta = errors[index].reshape(-1, layer.weight_shape[-1])
        for found, rows in zip(grams.leading(index, 2, 2), (patches, delta), strict=True):
            _, values, vectors = np.linalg.svd(rows, full_matrices=False)
            rank = min(2, int(np.sum(values > 1e-6 * values[0])) if values[0] > 0 else 0)
            assert found.shape == (rows.shape[1], rank)
            if rank == 2 and (len(values) == 2 or values[2] < 0.999 * values[1]):
                assert_allclose(found @ found.T, vectors[:2].T @ vectors[:2], atol=1e-7)


def gathered(shape: tuple[int, ...], x: Array) -> Array:
    """Patches by loops over sites and offsets, zero outside the image."""
    if len(shape) == 2:
        return x.reshape(len(x), -1)
    reach, rows = shape[0] // 2, []
    for image in x:
        height, width = image.shape[:2]
        for p in range(height):
            for q in range(width):
                row = [
                    image[p + i, q + j] if 0 <= p + i < height and 0 <= q + j < width else np.zeros(image.shape[2])
                    for i in range(-reach, reach + 1)
                    for j in range(-reach, reach + 1)
                ]
                rows.append(np.concatenate(row))
    return np.array(rows)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("case", [DENSE[4], IMAGES[5], IMAGES[13]], ids=str)
def test_drawn_fields_have_the_gram_matrices_asked_for(case: Case, joint: bool) -> None:
    """Mean over neurons, and Gram matrices over sites, of z and of ω = W δ, behind pools; and between both."""
    network, draws = case.network, 3000
    truth = dict(true_fields(network, case.weights, case.x))
    rng = np.random.default_rng(3)
    for index, (z, field) in truth.items():
        n = z.shape[-1]
        mixings = [draw_mixing(n, rng, joint=joint) for _ in range(draws)]
        for name, one in (("z", z), ("ω", field)):
            rows = one.reshape(-1, n)[:40]
            mean = rows.mean(axis=1, keepdims=True) if name == "z" else np.zeros((1, 1))
            new = [m.preactivations(OPS, rows) if name == "z" else m.errors(OPS, rows) for m in mixings]
            grams = np.stack([(a - mean) @ (a - mean).T for a in new])
            within(grams, (rows - mean) @ (rows - mean).T)
            within(np.stack([a.mean(axis=1) for a in new]), mean.ravel() * np.ones(len(rows)))
        if z.shape == field.shape:
            a, b = z.reshape(-1, n)[:20], field.reshape(-1, n)[:20]
            between = np.stack([(m.preactivations(OPS, a) - a.mean(axis=1, keepdims=True)) @ m.errors(OPS, b).T
                                for m in mixings])  # fmt: skip
            within(between, (a - a.mean(axis=1, keepdims=True)) @ b.T if joint else np.zeros((len(a), len(b))))
        assert index < network.depth - 1


def within(samples: Array, expected: Array) -> None:
    """The mean of samples is what was expected, within five standard errors of every entry."""
    error = samples.std(axis=0) / np.sqrt(len(samples))
    assert np.all(np.abs(samples.mean(axis=0) - expected) <= 5.5 * error + 1e-12 * np.abs(expected).max())


def true_fields(network: Network, weights: list[Array], x: Array) -> Any:
    gates, fields = [], {}
    for index, z, _, mask in preactivations(network, weights, x, OPS):
        gates.append(mask)
        fields[index] = z
    for index, field in unmasked_errors(network, weights, gates, np.ones(len(x)), OPS):
        yield index, (fields[index], field)


@pytest.mark.parametrize("case", [DENSE[4], IMAGES[5], IMAGES[13]], ids=str)
def test_fields_not_drawn_are_the_signals_of_the_network(case: Case, backend: str) -> None:
    ops = get_backend(backend)
    weights = [ops.asarray(w) for w in case.weights]
    x, c = ops.asarray(case.x), ops.asarray(coefficients(case))
    signals, errors = FieldFreeze(case.network, weights, {}, ops)(x, c, np.arange(len(x)))
    expected = propagate(case.network, weights, x, ops)
    for a, b in zip((*signals.inputs, *signals.gates), (*expected.inputs, *expected.gates), strict=True):
        assert_close(ops.to_numpy(a).astype(float), ops.to_numpy(b).astype(float), 1e-12)
    for a, b in zip(errors, backpropagate(case.network, weights, expected, c, ops), strict=True):
        assert_close(ops.to_numpy(a), ops.to_numpy(b), 1e-12)


def test_scales_are_the_norms_of_fields_and_dead_neurons_stay_dead() -> None:
    network = mlp([5, 6, 4, 1])
    weights = he_weights(network, 0)
    weights[0][:, 2] = 0.0
    x, c = np.random.default_rng(0).standard_normal((7, 5)), np.linspace(0.5, 2, 7)
    powers = FieldPowers(network, weights, OPS)
    powers.add(x[:3], c[:3], np.arange(3))
    powers.add(x[3:], c[3:], np.arange(3, len(x)))
    scales, z = powers.scales(0), x @ weights[0]
    assert_allclose(scales.forward, np.sqrt(np.sum((c[:, None] * z) ** 2, axis=0)), rtol=1e-12)
    mixing = draw_mixing(6, np.random.default_rng(1), scales)
    drawn = mixing.preactivations(OPS, z)
    assert not drawn[:, 2].any()
    assert np.isfinite(drawn).all()
    live = np.array([0, 1, 3, 4, 5])
    sample = [
        draw_mixing(6, rng, scales).preactivations(OPS, z)[:, live] for rng in np.random.default_rng(2).spawn(4000)
    ]
    squares = np.stack([np.sum((c[:, None] * s) ** 2, axis=0) / scales.forward[live] ** 2 for s in sample])
    assert_allclose(squares.mean(), 1.0, atol=0.05)


def draws_of_moment(operator: HessianOperator, drawn: Ensemble, count: int) -> tuple[float, Array]:
    """tr H² of an operator, and of draws."""
    return float(np.sum(operator.dense() ** 2)), np.array(
        [np.sum(drawn.draw(k, 11).dense() ** 2) for k in range(count)]
    )


@pytest.mark.parametrize(("factor", "caught"), [(1.0, False), (1.25, True)])
def test_gaussian_weights_are_a_draw_and_a_wrong_variance_is_caught(factor: float, caught: bool) -> None:
    """Tangent weights that *are* Gaussian: tr H² is unbiased over networks; a planted scale shows."""
    network, rng = mlp([6, 12, 10, 8, 1]), np.random.default_rng(4)
    scores = []
    for seed in range(30):
        weights = he_weights(network, seed)
        x, c = rng.standard_normal((9, 6)), rng.standard_normal(9)
        operator = HessianOperator(network, weights, x, None, c=c, backend="numpy")
        planted = operator.with_weights([factor * w for w in he_weights(network, 1000 + seed)])
        own, drawn = draws_of_moment(planted, Ensemble(network, weights, x, c, backend="numpy"), 12)
        scores.append((own - drawn.mean()) / drawn.mean())
    score = np.mean(scores) / (np.std(scores, ddof=1) / np.sqrt(len(scores)))
    assert (abs(score) > 4.0) == caught


def test_what_no_ensemble_is() -> None:
    case = DENSE[4]
    with pytest.raises(ValueError, match="weights do not carry drawn signals"):
        ensemble(case, fields=True, directions=3)
    for layers in ([], [5], [-1], [1.5]):
        with pytest.raises(ValueError, match="layer"):
            ensemble(case, layers=layers)
    for directions in (-1, (1, 2, 3), 1.5, True):
        with pytest.raises(ValueError, match="directions"):
            ensemble(case, directions=directions)


def test_pairs_give_directions_of_inputs_or_of_errors() -> None:
    case = DENSE[4]
    by_inputs, by_errors = (ensemble(case, directions=pair) for pair in ((2, 0), (0, 2)))
    for index, law in by_inputs.laws.items():
        assert law.left.shape[1] == min(2, case.network.layers[index].fan_in)
        assert law.right.shape[1] == 0
    assert by_errors.laws[1].left.shape[1] == 0
    assert by_errors.laws[1].right.shape[1] == 2


def test_numbers_known_are_counted() -> None:
    """U, V, W on them, the profile and the mean square of every layer between the first and the last."""
    case = DENSE[4]  # 6, 6, 5, 6, 5, 1
    inner = case.network.weight_shapes[1:-1]
    assert ensemble(case).n_known == 3
    assert ensemble(case, profile=True).n_known == sum(1 + a + b for a, b in inner)
    given = ensemble(case, directions=(1, 0))
    assert given.n_known == sum(1 + a + b for a, b in inner)  # one direction, and what W makes of it


@pytest.mark.parametrize("case", [DENSE[4], TINY], ids=str)
def test_the_law_without_given_directions_is_symmetric(case: Case) -> None:
    """Negating every fresh W turns the spectrum into its negative: a change of sign of every second layer."""
    operator = HessianOperator(case.network, case.weights, case.x, None, c=coefficients(case), backend="numpy")
    fresh = he_weights(case.network, 3)
    values, turned = (
        np.linalg.eigvalsh(operator.with_weights([sign * w for w in fresh]).dense()) for sign in (1.0, -1.0)
    )
    assert_close(turned, -values[::-1], 1e-12)
