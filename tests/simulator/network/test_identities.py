"""The exact facts E1-E8 about H = Σ c_i ∇²T_i, on random architectures, losses and examples.

All of them hold to rounding; a tolerance is relative to the size of what cancels.
"""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from simulator import HessianOperator, gradient, mlp, output, risk
from support.cases import BACKENDS, LOSSES, Array, Case, any_case, assert_close, dense_cases

losses = st.sampled_from(LOSSES)
backends = st.sampled_from(BACKENDS)


def residual(case: Case, loss: str = "hinge", backend: str = "numpy") -> HessianOperator:
    return HessianOperator(*case.problem, loss, "residual", backend=backend)


def single_layers(case: Case) -> Array:
    """θ_1..θ_L: the weights of one layer in its block, zero elsewhere, (N, L)."""
    columns = np.zeros((case.network.n_weights, case.network.depth))
    for index, part in enumerate(case.network.slices):
        columns[part, index] = case.theta[part]
    return columns


def flat_gradient(case: Case, loss: str, backend: str) -> Array:
    return case.network.flatten(gradient(*case.problem, loss, backend))


@given(any_case, losses, backends)
def test_e1_e2_diagonal_blocks_and_trace_vanish(case: Case, loss: str, backend: str) -> None:
    h = residual(case, loss, backend).dense()
    for part in case.network.slices:
        assert_array_equal(h[part, part], 0.0)
    assert np.trace(h) == 0.0


@given(any_case, losses, backends)
def test_e3_euler(case: Case, loss: str, backend: str) -> None:
    """H θ = (L-1) ∇R; H θ_l is ∇R without its block l."""
    operator, slope = residual(case, loss, backend), flat_gradient(case, loss, backend)
    products, scale = operator @ single_layers(case), float(np.linalg.norm(slope))
    for index, part in enumerate(case.network.slices):
        expected = slope.copy()
        expected[part] = 0.0
        assert_close(products[:, index], expected, 1e-12, scale)
    assert_close(operator @ case.theta, (case.network.depth - 1) * slope, 1e-12, case.network.depth * scale)


@given(any_case, st.sampled_from(["logistic", "squared", "squared_hinge"]), backends)
def test_e3_of_the_full_hessian(case: Case, loss: str, backend: str) -> None:
    """H_full θ = (L-1) ∇R + (L/m) Σ ℓ''_i T_i ∇T_i, its last term from autograd's Jacobian."""
    depth, oracle = case.network.depth, case.oracle(loss)
    product = HessianOperator(*case.problem, loss, backend=backend) @ case.theta
    curved = oracle.jacobian(case.theta).T @ (oracle.curvature(case.theta) * oracle.output(case.theta))
    slope = flat_gradient(case, loss, backend)
    scale = depth * float(np.linalg.norm(slope) + np.linalg.norm(curved))
    assert_close(product, (depth - 1) * slope + depth * curved, 1e-11, scale)


@given(any_case, losses, backends)
def test_e4_every_layer_has_the_same_share(case: Case, loss: str, backend: str) -> None:
    """⟨W_l, ∇_l R⟩ = s = Σ c_i T_i, and the form of H on θ_1..θ_L is s(11^T - I)."""
    operator, layers = residual(case, loss, backend), single_layers(case)
    t = output(case.network, case.weights, case.x, backend)
    s, scale = operator.c @ t, float(np.abs(operator.c) @ np.abs(t))
    slope = flat_gradient(case, loss, backend)
    depth = case.network.depth
    assert_close(layers.T @ slope, np.full(depth, s), 1e-11, depth * scale)
    form = layers.T @ (operator @ layers)
    assert_close(form, s * (1 - np.eye(depth)), 1e-11, depth**2 * scale)


@given(any_case, losses)
def test_e5_h_has_both_signs(case: Case, loss: str) -> None:
    """By E2, where H ≠ 0 its extreme eigenvalues have opposite signs: a stationary point there is a strict saddle."""
    h = residual(case, loss).dense()
    assume(np.linalg.norm(h) > 0)
    eigenvalues = np.linalg.eigvalsh(h)
    assert eigenvalues[0] < 0 < eigenvalues[-1]


def test_e5_a_strict_saddle_in_closed_form() -> None:
    """One neuron w = (1, 0), W_2 = 0, examples (1, ±1) with labels ±1: ∇R = 0, H has ±1, and a descent direction."""
    network, weights = mlp([2, 1, 1]), [np.array([[1.0], [0.0]]), np.zeros((1, 1))]
    data = (np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([1.0, -1.0]))
    assert all(np.array_equal(g, np.zeros_like(g)) for g in gradient(network, weights, *data))
    eigenvalues, vectors = np.linalg.eigh(HessianOperator(network, weights, *data).dense())
    assert_close(eigenvalues, [-1.0, 0.0, 1.0], 1e-14)
    step = 1e-2 * vectors[:, 0]
    moved = network.unflatten(network.flatten(weights) + step)
    assert np.all(data[0] @ moved[0] > 0), "a gate changed: the expansion says nothing"
    assert_close(risk(network, moved, *data) - risk(network, weights, *data), -(step @ step) / 2, 1e-10)


@given(dense_cases(min_depth=3))
def test_e5_the_flat_minimum(case: Case) -> None:
    """W_2 < 0 elementwise: T ≡ 0 nearby, so R = 1 and ∇R = 0, H = 0: stationary, and no saddle."""
    network, weights, x, y = case.problem
    weights = [weights[0], -np.abs(weights[1]), *weights[2:]]
    nearby = [w + 1e-9 * np.random.default_rng(0).standard_normal(w.shape) for w in weights]
    assume(all(np.abs(w).min() > 1e-6 for w in weights))
    for point in (weights, nearby):
        assert risk(network, point, x, y) == 1.0
        assert not network.flatten(gradient(network, point, x, y)).any()
        assert not HessianOperator(network, point, x, y).dense().any()


@given(any_case)
def test_e6_negating_the_last_layer_mirrors_the_spectrum(case: Case) -> None:
    """With c fixed, W_L → -W_L turns H into -S H S, S = -1 on layer L and +1 below: the spectrum is negated.

    With (W_L, y) → (-W_L, -y) every loss's own Hessian turns into S H S: the spectrum stays.
    """
    network, weights, x, y = case.problem
    flipped, sign = [*weights[:-1], -weights[-1]], np.ones(network.n_weights)
    sign[network.slices[-1]] = -1.0
    s = np.outer(sign, sign)
    c = np.random.default_rng([case.seed, 5]).standard_normal(case.examples)
    before = HessianOperator(network, weights, x, None, c=c).dense()
    after = HessianOperator(network, flipped, x, None, c=c).dense()
    assert_close(after, -s * before, 1e-13)
    assert_close(np.linalg.eigvalsh(after), -np.linalg.eigvalsh(before)[::-1], 1e-12)
    for loss in LOSSES:
        own = HessianOperator(network, weights, x, y, loss).dense()
        assert_close(HessianOperator(network, flipped, x, -y, loss).dense(), s * own, 1e-13)


@given(any_case)
def test_e6_small_outputs_keep_the_hinge_coefficients(case: Case) -> None:
    """|T_i| < 1 for all i: every example stays active under W_L → -W_L, so the mirror holds with the hinge's own c."""
    network, weights, x, y = case.problem
    largest = np.abs(output(network, weights, x)).max()
    small = [*weights[:-1], weights[-1] / (1 + 2 * largest)]
    before = spectrum(HessianOperator(network, small, x, y))
    after = spectrum(HessianOperator(network, [*small[:-1], -small[-1]], x, y))
    assert_close(after, -before[::-1], 1e-12)


def spectrum(operator: HessianOperator) -> Array:
    return np.linalg.eigvalsh(operator.dense())


@given(dense_cases(min_depth=2, max_depth=2), losses, backends)
def test_e7_two_layers_in_closed_form(case: Case, loss: str, backend: str) -> None:
    """L = 2: H = 0 except for eigenvalues ±||v_b||, v_b = Σ_i c_i h_i^b x_i, one pair per hidden neuron."""
    operator = residual(case, loss, backend)
    gates = case.x @ case.weights[0] > 0
    v = np.linalg.norm(gates.T @ (operator.c[:, None] * case.x), axis=1)
    rest = np.zeros(case.network.n_weights - 2 * len(v))
    assert_close(spectrum(operator), np.sort(np.concatenate([-v, v, rest])), 1e-12)


@given(any_case, st.data())
def test_e8_rescaling_a_neuron(case: Case, data: st.DataObject) -> None:
    """Column j of W_l by r, row j of W_{l+1} by 1/r: T unchanged, and its generator g = up - down orthogonal to ∇R.

    To second order in log r, R constant along the orbit also says g^T H_full g + ⟨up + down, ∇R⟩ = 0.
    """
    assume(case.network.depth > 1)
    layer = data.draw(st.integers(0, case.network.depth - 2))
    neuron = data.draw(st.integers(0, case.weights[layer].shape[-1] - 1))
    ratio = data.draw(st.floats(0.25, 4.0))
    t = output(case.network, case.weights, case.x)
    assert_close(output(case.network, scaled(case, layer, neuron, ratio), case.x), t, 1e-12)
    up, down = parts(case, layer, neuron)
    slope = flat_gradient(case, "logistic", "numpy")
    scale = float(np.abs(up) @ np.abs(slope) + np.abs(down) @ np.abs(slope))
    assert abs((up - down) @ slope) <= 1e-12 * scale
    h = HessianOperator(*case.problem, "logistic")
    curvature, bend = (up - down) @ (h @ (up - down)), (up + down) @ slope
    bound = float(np.abs(up - down) @ np.abs(h.dense()) @ np.abs(up - down))
    assert abs(curvature + bend) <= 1e-12 * (scale + bound)


def scaled(case: Case, layer: int, neuron: int, ratio: float) -> list[Array]:
    weights = [w.copy() for w in case.weights]
    into, out_of = neuron_views(weights, layer)
    into[:, neuron] *= ratio
    out_of[:, neuron] /= ratio
    return weights


def parts(case: Case, layer: int, neuron: int) -> tuple[Array, Array]:
    """The weights that enter the neuron (channel), and those that leave it, as flat vectors."""
    found = []
    for side in (0, 1):
        weights = [np.zeros_like(w) for w in case.weights]
        neuron_views(weights, layer)[side][:, neuron] = neuron_views(case.weights, layer)[side][:, neuron]
        found.append(case.network.flatten(weights))
    return found[0], found[1]


def neuron_views(weights: list[Array], layer: int) -> tuple[Array, Array]:
    """Views (·, n_l) and (·, n_l, ·) of W_l and W_{l+1} by the channel of layer l; maps are flattened channels last."""
    channels = weights[layer].shape[-1]
    below, above = weights[layer], weights[layer + 1]
    return below.reshape(-1, channels), above.reshape(-1, channels, above.shape[-1])
