"""The CuPy backend against the reference: its kernels on the host without a GPU, everything on one where there is.

A device is a CuPy backend of one precision. "emulated" runs the same Python and the same kernel texts on the host (see
`emulated_cuda`); those marked `gpu` run on the CUDA device.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import warnings
import weakref
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest

from backends import Backend, BackendUnavailableError, get_backend, reference
from backends.cupy.backend import CupyBackend
from backends.cupy.kernels import Kernels, Variant, check_counted, choose_splits, choose_variant
from simulator import (
    Ensemble,
    HessianOperator,
    TrainingDivergedError,
    evaluate,
    exact_marginal,
    gradient,
    mlp,
    output,
    spectral_density,
    tangent_kernel,
    train,
)
from support.cases import DENSE, IMAGES, SMALL, VGG12, Case, assert_close
from support.devices import KINDS, TOLERANCE, Device
from support.emulated_cuda import COMPILER, NO_COMPILER, DeviceArray, EmulatedBackend, FakeCupy, Namespace, RawModule
from support.layers import GATES, PROBES, SHAPES, drawn, values
from validation import predict_spectrum

# Few enough for a host: tiles of 16, 32, 64 and 128 columns, loads of one and of several numbers, ragged borders.
FEW = {
    "float64": [(5, 7, 5, 3, 4, 3), (2, 3, 5, 8, 34, 3)],
    "float32": [(3, 1, 2, 6, 130, 3)],
    "float32-tf32": [
        (3, 2, 2, 3, 4, 5), (2, 8, 6, 32, 80, 3), (1, 7, 3, 20, 41, 1), (1, 3, 2, 1, 130, 3), (1, 3, 2, 34, 132, 3),
    ],
}  # fmt: skip


def compare_convolutions(chosen: Device, shape: tuple[int, ...], probes: list[tuple[int, int]]) -> None:
    ops, tolerance = chosen
    m, height, width, a, b, k = shape
    kinds: list[Any] = [
        ((m, height, width, a), (k, k, a, b), reference.convolve, ops.convolve, ()),
        ((m, height, width, b), (k, k, a, b), reference.convolve_adjoint, ops.convolve_adjoint, ()),
        ((m, height, width, a), (m, height, width, b), reference.convolve_gradient, ops.convolve_gradient, (k,)),
    ]
    for first, second, by_definition, method, size in kinds:
        pairs = [(drawn(first, p, i), drawn(second, q, i, 1)) for i, (p, q) in enumerate(probes)]
        found = method(*size, *((ops.asarray(one), ops.asarray(two)) for one, two in pairs))
        assert_close(ops.to_numpy(found), by_definition(xp, *size, *pairs), tolerance)


@pytest.mark.parametrize("kind", FEW)
def test_convolutions(kind: str) -> None:
    if not COMPILER:
        pytest.skip(NO_COMPILER)
    dtype, tf32 = kind.removesuffix("-tf32"), kind.endswith("-tf32")
    for shape in FEW[kind]:
        compare_convolutions((EmulatedBackend(dtype, tf32), TOLERANCE[dtype, tf32]), shape, [(0, 0)])


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES[::4] if os.environ.get("UMWELT_REDUCED") else SHAPES, ids=str)
def test_convolutions_of_the_whole_table(emulated: Device, shape: tuple[int, ...]) -> None:
    compare_convolutions(emulated, shape, [(0, 0)])


@pytest.mark.parametrize("probes", PROBES, ids=str)
def test_pairs_and_probes(emulated: Device, probes: list[tuple[int, int]]) -> None:
    compare_convolutions(emulated, (3, 5, 4, 4, 12, 3), probes)
    compare_convolutions(emulated, (2, 3, 2, 3, 2, 1), probes)


@pytest.mark.parametrize("splits", [1, 2, 3, 5], ids=str)
def test_two_pairs_are_one_sum_however_it_is_split(
    emulated: Device, splits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second pair begins inside a block's share, at its beginning, or beyond it."""
    monkeypatch.setattr("backends.cupy.kernels.choose_splits", lambda *_, **__: splits)
    compare_convolutions(emulated, (2, 3, 5, 4, 6, 3), [(0, 0), (1, 0)])
    compare_convolutions(emulated, (1, 4, 5, 20, 18, 3), [(0, 1), (0, 0)])


def test_a_probe_axis_of_one_is_shared(everywhere: Device) -> None:
    """As in `matmul`: beside K it is read K times over, not beyond its end, which NaN behind it would show."""
    ops, tolerance = everywhere
    x, w, d = drawn((2, 3, 4, 4), 1), drawn((3, 3, 4, 5), 1), drawn((2, 3, 4, 5), 1)
    for one, two, k in ((x[:1], w, 3), (x, w[:1], 3), (x[:1], w[:1], 1)):
        behind = [np.concatenate([a, np.full_like(a, np.nan)]) for a in (one, two)]
        first, second = (ops.asarray(a)[: len(given)] for a, given in zip(behind, (one, two), strict=True))
        found = ops.to_numpy(ops.convolve((first, second), (ops.asarray(x[:k]), ops.asarray(w[:k]))))
        assert_close(found, reference.convolve(xp, (one, two), (x[:k], w[:k])), tolerance)
    found = ops.to_numpy(ops.convolve_gradient(3, (ops.asarray(x[:1]), ops.asarray(d))))
    assert_close(found, reference.convolve_gradient(xp, 3, (x[:1], d)), tolerance)


def test_arrays_that_do_not_fit_are_refused(host: EmulatedBackend) -> None:
    """A kernel would read beyond their end."""
    x, w, d = (host.asarray(drawn(s, 1)) for s in ((2, 3, 4, 4), (3, 3, 4, 5), (2, 3, 4, 5)))
    refused: list[Any] = [
        lambda: host.convolve((x[:2], w)),
        lambda: host.convolve((x, w[:, :, :, :3])),
        lambda: host.convolve((x, w), (x, w[..., :4])),
        lambda: host.convolve((x, w), (x[:, :1], w)),
        lambda: host.convolve_gradient(3, (x, d[:, :1])),
        lambda: host.convolve_gradient(3, (x[:2], d)),
    ]
    for call in refused:
        with pytest.raises(ValueError, match="do not fit: expected images"):
            call()
    with pytest.raises(ValueError, match="expected one shape"):
        host.descend(x, x, x[:1], 0.9, 1.0, 0.1)


def test_gates_of_other_sizes_are_the_reference(host: EmulatedBackend) -> None:
    """Signals of too few sites, which the kernel would read beyond their end."""
    mask = np.ones((2, 4, 4, 3), dtype=bool)
    for d in (drawn((2, 1, 2, 3)), drawn((3, 2, 1, 2, 3))):
        found = host.to_numpy(host.spread_gates(host.asarray(mask, "bool"), host.asarray(d), 2))
        assert np.array_equal(found, reference.spread_gates(xp, mask, d, 2))


@pytest.mark.parametrize("probes", PROBES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_convolutions_on_the_device(on_cuda: Device, shape: tuple[int, ...], probes: list[tuple[int, int]]) -> None:
    compare_convolutions(on_cuda, shape, probes)


@pytest.mark.parametrize("shape", [(64, 32, 32, 3, 16, 3), (64, 16, 16, 64, 128, 3), (128, 2, 2, 512, 512, 3)], ids=str)
def test_layers_of_vgg12_on_the_device(on_cuda: Device, shape: tuple[int, ...]) -> None:
    """Many blocks, and sums split over them."""
    compare_convolutions(on_cuda, shape, [(1, 0), (0, 1)])


def test_three_pairs_are_the_reference(everywhere: Device) -> None:
    compare_convolutions(everywhere, (2, 3, 3, 2, 3, 3), [(0, 0)] * 3)


def test_the_order_of_threads_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared memory is read behind the barrier that it was written before: fibers turned round agree."""
    if not COMPILER:
        pytest.skip(NO_COMPILER)
    found = []
    for turned in (False, True):
        monkeypatch.setattr(RawModule, "turned", turned)
        for dtype, tf32 in KINDS:
            ops = EmulatedBackend(dtype, tf32)
            x, w, d = (ops.asarray(drawn(s)) for s in ((5, 6, 7, 8), (3, 3, 8, 20), (5, 6, 7, 20)))
            found.append([ops.convolve((x, w)), ops.convolve_gradient(3, (x, d))])
        weights = [ops.asarray(drawn(s)) for s in ((3, 4), (4, 11), (11, 1))]
        found[-1].append(ops.log_marginals(weights, ops.asarray(drawn((2, 3))), 0.5))
    for one, two in zip(found[: len(KINDS)], found[len(KINDS) :], strict=True):
        assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(one, two, strict=True))


def test_tf32_rounds_the_factors_and_nothing_else() -> None:
    """Factors that TF32 holds exactly give the products of float32."""
    if not COMPILER:
        pytest.skip(NO_COMPILER)
    ops = EmulatedBackend("float32", True)
    x, w, d = (np.round(drawn(s) * 64) / 64 for s in ((3, 5, 4, 8), (3, 3, 8, 40), (3, 5, 4, 40)))
    assert np.abs(x).max() < 8  # 9 bits and the sign
    back = ops.to_numpy(ops.convolve_adjoint((ops.asarray(d), ops.asarray(w))))
    assert_close(back, reference.convolve_adjoint(xp, (d, w)), 1e-7)
    found = ops.to_numpy(ops.convolve_gradient(3, (ops.asarray(x), ops.asarray(d))))
    assert_close(found, reference.convolve_gradient(xp, 3, (x, d)), 1e-7)


@pytest.mark.parametrize("pools", [(), (2,)], ids=str)
def test_gates_are_never_decided_in_tf32(everywhere: Device, pools: tuple[int, ...]) -> None:
    """Integers beyond the 11 bits of TF32: z = 0 closes its gate, and ties go to the first site, in every precision."""
    ops, rng = everywhere[0], np.random.default_rng(0)
    x, w = rng.integers(-1, 2, (2, 4, 4, 4)) * 4099.0, rng.choice([-1.0, 1.0], (3, 3, 4, 8))
    z = reference.convolve(xp, (x, w))
    assert (z == 0).any()
    expected, on = reference.gate(xp, z, pools)
    for made, mask in (
        ops.convolve_and_gate(ops.asarray(x), ops.asarray(w), pools),
        ops.gate(ops.convolve((ops.asarray(x), ops.asarray(w))), pools),
    ):
        assert np.array_equal(ops.to_numpy(made), expected)
        assert np.array_equal(ops.to_numpy(mask), on)


@pytest.mark.parametrize("splits", [1, 3], ids=str)
@pytest.mark.parametrize(
    "shape", [(2, 5, 3, 3, 17, 3), (1, 3, 4, 8, 132, 3), (4, 3, 2, 20, 6, 5), (2, 3, 3, 1, 4, 1)], ids=str
)
def test_gates_where_a_convolution_is_written(
    everywhere: Device, shape: tuple[int, ...], splits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small integers, which every precision multiplies exactly: zeros close their gate, masks are shared by probes."""
    monkeypatch.setattr("backends.cupy.kernels.choose_splits", lambda *_, **__: splits)
    ops, rng = everywhere[0], np.random.default_rng(shape)
    monkeypatch.setattr(ops, "apply_gates", None)  # nothing is gated in a pass of its own
    monkeypatch.setattr(ops, "spread_gates", None)
    monkeypatch.setattr(ops, "gate", None)
    m, height, width, a, b, k = shape
    x, w, d = (
        rng.integers(-1, 2, s).astype(float) for s in ((m, height, width, a), (k, k, a, b), (m, height, width, b))
    )
    z = reference.convolve(xp, (x, w))
    assert (z == 0).any()
    made, on = ops.convolve_and_gate(ops.asarray(x), ops.asarray(w), ())
    assert on.dtype == bool
    assert np.array_equal(ops.to_numpy(on), z > 0)
    assert np.array_equal(ops.to_numpy(made), np.where(z > 0, z, 0.0))
    masks = [ops.asarray(np.concatenate([~mask, mask]), "bool")[m:] for mask in (z > 0, x > 0)]
    turned, more = rng.integers(-1, 2, (3, *x.shape)).astype(float), rng.integers(-1, 2, (3, *d.shape)).astype(float)
    put = [ops.asarray(v) for v in (x, w, turned, d, more)]
    down = ops.to_numpy(ops.convolve_gated(masks[0], 1, (put[2], put[1]), (put[0], put[1])))
    assert np.array_equal(down, np.where(z > 0, reference.convolve(xp, (turned, w), (x, w)), 0.0))
    up = ops.to_numpy(ops.convolve_adjoint_gated(masks[1], 1, (put[4], put[1]), (put[3], put[1])))
    assert np.array_equal(up, np.where(x > 0, reference.convolve_adjoint(xp, (more, w), (d, w)), 0.0))


def test_signals_too_small_close_their_gate_where_they_are_written(host: EmulatedBackend) -> None:
    """In float32 alone, whose smallest numbers CuPy's compiler makes 0; NaN closes it in both."""
    x, w = np.array([1e-20, 1e-20, 0.0, np.nan]).reshape(4, 1, 1, 1), np.full((1, 1, 1, 1), 1e-20)
    for ops, expected in ((host, [True, True, False, False]), (EmulatedBackend("float32"), [False] * 4)):
        made, on = ops.convolve_and_gate(ops.asarray(x), ops.asarray(w), ())
        assert np.array_equal(ops.to_numpy(on).ravel(), expected)
        assert np.array_equal(ops.to_numpy(made).ravel() > 0, expected)


def test_masks_of_other_shapes_are_the_reference(host: EmulatedBackend) -> None:
    x, w, mask = drawn((2, 3, 4, 4)), drawn((3, 3, 4, 5)), drawn((2, 3, 4, 1)) > 0
    with pytest.raises(ValueError, match=r"."):
        host.convolve_gated(host.asarray(mask[:1, :2], "bool"), 1, (host.asarray(x), host.asarray(w)))
    found = host.to_numpy(host.convolve_gated(host.asarray(mask, "bool"), 1, (host.asarray(x), host.asarray(w))))
    assert_close(found, np.where(mask, reference.convolve(xp, (x, w)), 0.0), 1e-11)


@pytest.mark.parametrize(("shape", "pools"), GATES, ids=str)
def test_gates(precise: Device, shape: tuple[int, ...], pools: tuple[int, ...]) -> None:
    """Bit for bit, ties, zeros and ragged edges included."""
    ops, z, window = precise[0], values(shape), int(np.prod(pools, dtype=int))
    z[-1, ..., 0] = np.nan
    with np.errstate(invalid="ignore"):
        expected, on = reference.gate(xp, z, pools)
    x, mask = ops.gate(ops.asarray(z), pools)
    assert mask.dtype == bool
    assert np.array_equal(ops.to_numpy(x), expected)
    assert np.array_equal(ops.to_numpy(mask), on)
    everywhere = np.ones(shape, dtype=bool)  # as average pools have it
    for probes, selected in itertools.product((0, 1), (on, everywhere)):
        whole, pooled = (np.round(8 * drawn(s, probes)) for s in (shape, expected.shape))
        put = ops.asarray(selected, "bool")
        down, up = ops.apply_gates(put, ops.asarray(whole), window), ops.spread_gates(put, ops.asarray(pooled), window)
        assert np.array_equal(ops.to_numpy(down), reference.apply_gates(xp, selected, whole, window))
        assert np.array_equal(ops.to_numpy(up), reference.spread_gates(xp, selected, pooled, window))


WIDTHS = [(3, 1), (3, 4, 1), (2, 3, 10, 1), (4, 2, 3, 2, 1), (3, 2, 17, 1)]


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_enumeration(precise: Device, widths: tuple[int, ...]) -> None:
    """The kernel's sums over all configurations equal the generic ones."""
    ops, dtype = precise[0], precise[0].dtype
    network, x = mlp(widths), drawn((3, widths[0]))
    weights = [w.astype(dtype).astype(float) for w in network.init(1)]
    x = x.astype(dtype).astype(float)
    for temperature in (0.3, 2.0):
        expected = exact_marginal(network, weights, x, temperature, "numpy")
        # Without a hidden layer there is nothing to sum, and the output is the backend's.
        tolerance = 1e-11 if len(widths) > 2 else precise[1]
        assert_close(exact_marginal(network, weights, x, temperature, ops), expected, tolerance)
    if len(widths) > 2:
        matrices = [ops.asarray(w) for w in weights]
        assert ops.log_marginals(matrices, ops.asarray(x), 0.5) is not None
        assert ops.log_marginals([1e4 * w for w in matrices], ops.asarray(x), 0.5) is None  # beyond a double's range


def compare_calls(chosen: Device, case: Case) -> None:
    """Outputs, gradients, Hessian products and training of a network."""
    ops, tolerance = chosen
    network, weights, x, _ = case.problem
    assert_close(output(network, weights, x, ops), output(network, weights, x, "numpy"), 10 * tolerance)
    for loss in ("hinge", "logistic"):
        found, expected = (network.flatten(gradient(*case.problem, loss, b)) for b in (ops, "numpy"))
        assert_close(found, expected, 10 * tolerance)
    found, expected = (tangent_kernel(network, weights, x, x[:3], b, 2) for b in (ops, "numpy"))
    assert_close(found, expected, 10 * tolerance)
    v = np.random.default_rng(0).standard_normal((network.n_weights, 2))
    for loss, part in (("hinge", "full"), ("logistic", "full"), ("squared", "gauss_newton")):
        found, expected = (
            HessianOperator(*case.problem, loss, part, backend=b, batch_size=4) @ v for b in (ops, "numpy")
        )
        assert_close(found, expected, 10 * tolerance)
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 2, "learning_rate": 0.003, "momentum": 0.9}
    found, expected = (network.flatten(train(*case.problem, **settings, backend=b).weights) for b in (ops, "numpy"))
    assert_close(found, expected, 10 * tolerance)


@pytest.mark.parametrize("case", [DENSE[3], DENSE[5], IMAGES[1], IMAGES[5], IMAGES[9], IMAGES[12]], ids=str)
def test_networks(case: Case) -> None:
    if not COMPILER:
        pytest.skip(NO_COMPILER)
    compare_calls((EmulatedBackend(), 1e-11), case)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", [*SMALL, VGG12], ids=str)
def test_networks_on_the_device(dtype: str, case: Case) -> None:
    compare_calls((get_backend("cupy", dtype), TOLERANCE[dtype, False]), case)


@pytest.mark.parametrize("case", IMAGES[:3], ids=str)
def test_outputs(everywhere: Device, case: Case) -> None:
    """In TF32 too, where a gradient is no comparison: it jumps with every gate that rounding flips."""
    ops, tolerance = everywhere
    found, expected = (output(case.network, case.weights, case.x, b) for b in (ops, "numpy"))
    assert_close(found, expected, 10 * tolerance)


def test_spectrum(everywhere: Device) -> None:
    """The same probes, the same recurrence."""
    ops, tolerance = everywhere
    found, expected = (spectral_density(HessianOperator(*IMAGES[1].problem, backend=b), 2, 6) for b in (ops, "numpy"))
    assert_close(found.alpha, expected.alpha, 1e3 * tolerance)
    assert_close(found.beta, expected.beta, 1e3 * tolerance)


def test_float32_spectrum_by_its_moments(everywhere: Device) -> None:
    """tr H²/N of one set of probes, which rounding of single coefficients cannot hide behind."""
    ops, tolerance = everywhere
    found, expected = (
        spectral_density(HessianOperator(*DENSE[3].problem, backend=b), 3, 10).rms for b in (ops, "numpy")
    )
    assert found == pytest.approx(expected, rel=100 * tolerance)


# What happens on the host


def test_host_and_device_arrays_do_not_meet(host: EmulatedBackend) -> None:
    """The emulation would not notice a transfer otherwise."""
    x = host.asarray([1.0, 2.0])
    assert isinstance(x, DeviceArray)
    with pytest.raises(TypeError, match="host array"):
        x + np.ones(2)
    with pytest.raises(TypeError, match="host array"):
        host.xp.concat([x, np.ones(2)])
    assert float((x + 1.0)[0]) == 2.0


def transfers_of_training(ops: Backend, m: int, epochs: int) -> tuple[int, int]:
    case = IMAGES[1]
    network, weights, x, y = case.problem
    x, y = np.concatenate([x] * 4)[:m], np.concatenate([y] * 4)[:m]
    before = (ops.transfers.to_device, ops.transfers.to_host)
    train(network, weights, x, y, epochs=epochs, batch_size=2, learning_rate=1e-3, backend=ops)
    return ops.transfers.to_device - before[0], ops.transfers.to_host - before[1]


@pytest.mark.parametrize("where", ["emulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_no_transfers_inside_steps_and_recurrences(where: str) -> None:
    """Transfers do not depend on the number of training steps, of Lanczos steps, or of batches of a product."""
    if where == "emulated" and not COMPILER:
        pytest.skip(NO_COMPILER)
    ops: Any = EmulatedBackend() if where == "emulated" else get_backend("cupy")
    assert transfers_of_training(ops, 4, 1) == transfers_of_training(ops, 24, 1)
    operator = HessianOperator(*IMAGES[1].problem, backend=ops, batch_size=2)
    counts = []
    for steps in (2, 7):
        before = (ops.transfers.to_device, ops.transfers.to_host)
        spectral_density(operator, 2, steps)
        counts.append((ops.transfers.to_device - before[0], ops.transfers.to_host - before[1]))
    assert counts[0] == counts[1]
    before = (ops.transfers.to_device, ops.transfers.to_host)
    operator.product(ops.asarray(np.ones(operator.shape[0])))
    assert (ops.transfers.to_device, ops.transfers.to_host) == (before[0] + 1, before[1])


def test_what_cuda_does_not_record_is_refused(host: EmulatedBackend) -> None:
    """The emulation would not notice otherwise: nothing is done while a step is recorded, nor read, nor uploaded."""
    x = host.asarray([1.0, 2.0])
    refused: list[Any] = [
        lambda: float(x[0]), lambda: host.asarray(1j, "complex128"), lambda: host.to_numpy(x),
        lambda: Namespace().concat([x] * 9), lambda: host.inner(x, x),
    ]  # fmt: skip
    for call in refused:
        with pytest.raises(RuntimeError, match="disallowed"):
            host._record(call)
        call()
    host._record(lambda: x.__setitem__(0, 5.0))
    assert float(x[0]) == 1.0


def test_products_of_deep_networks_are_replayed(host: EmulatedBackend) -> None:
    """More layers than CuPy joins without a table of pointers."""
    network = mlp((4, *(3,) * 9, 1))
    x, y = drawn((5, 4)), np.sign(drawn((5,), 0, 1))
    operator = HessianOperator(network, network.init(0), x, y, "logistic", backend=host)
    expected = HessianOperator(network, network.init(0), x, y, "logistic", backend="numpy")
    v = drawn((network.n_weights, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [operator @ v for _ in range(4)]
    assert host.recorded == 1
    for one in found:
        assert_close(one, expected @ v, 1e-12)


def test_training_steps_are_replayed(host: EmulatedBackend) -> None:
    """One record for all epochs, partial batches beside it, and the numbers of the reference."""
    network, weights, x, y = DENSE[3].problem
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 4, "learning_rate": 0.01, "momentum": 0.9}
    found = train(network, weights, x, y, **settings, backend=host)
    expected = train(network, weights, x, y, **settings, backend="numpy")
    assert host.recorded == 1
    assert_close(network.flatten(found.weights), network.flatten(expected.weights), 1e-12)
    assert_close(found.history["risk"], expected.history["risk"], 1e-12)
    assert np.array_equal(found.history["accuracy"], expected.history["accuracy"])


@pytest.mark.parametrize("case", [DENSE[3], IMAGES[1]], ids=str)
def test_products_are_replayed(host: EmulatedBackend, case: Case) -> None:
    """A record for every number of vectors; what was returned before stays as it was."""
    operator = HessianOperator(*case.problem, "logistic", backend=host, batch_size=4)
    expected = HessianOperator(*case.problem, "logistic", backend="numpy")
    found = []
    for count in (2, 1):
        for seed in range(4):
            v = np.random.default_rng([count, seed]).standard_normal((case.network.n_weights, count))
            found.append((operator.product(host.asarray(v)), expected @ v))
    assert host.recorded == 2
    for one, two in found:
        assert_close(host.to_numpy(one), two, 1e-12)
    fresh = [0.5 * w for w in case.weights]
    other = operator.with_weights(fresh)
    assert_close(other @ v, expected.with_weights(fresh) @ v, 1e-12)
    assert_close(operator @ v, two, 1e-12)


@pytest.mark.parametrize("kind", [{}, {"profile": True, "directions": 2}, {"fields": True, "profile": True}], ids=str)
@pytest.mark.parametrize("case", [DENSE[3], IMAGES[1]], ids=str)
def test_draws_of_ensembles_are_those_of_numpy(host: EmulatedBackend, case: Case, kind: dict[str, Any]) -> None:
    """Weights and mixing numbers are drawn on the host; the Gauss-Newton part comes from signals on the device."""
    rng = np.random.default_rng(case.seed)
    c, curvature = rng.standard_normal(case.examples), rng.uniform(0.1, 1.0, case.examples)
    v = rng.standard_normal((case.network.n_weights, 2))
    draws = [
        Ensemble(case.network, case.weights, case.x, c, curvature=curvature, backend=backend, **kind).draw(1, 5)
        for backend in (host, "numpy")
    ]
    first, expected = (draw @ v for draw in draws)
    assert_close(first, expected, 1e-11)
    assert_close(draws[0] @ v, expected, 1e-11)  # replayed


def test_records_do_not_keep_their_operator(host: EmulatedBackend) -> None:
    operator = HessianOperator(*DENSE[3].problem, backend=host)
    for _ in range(3):
        operator @ np.ones(operator.shape[0])
    alive = weakref.ref(operator)
    del operator
    assert alive() is None


@pytest.mark.parametrize("fault", ["recorded (no capture here)", "other numbers"])
def test_a_step_that_cannot_be_replayed_runs_as_it_is(
    host: EmulatedBackend, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(work: Any) -> Any:
        if fault == "other numbers":
            return lambda: None
        raise RuntimeError("no capture here\nand more")

    monkeypatch.setattr(host, "_record", record)
    network, weights, x, y = DENSE[3].problem
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 3, "learning_rate": 0.01}
    with pytest.warns(
        UserWarning,
        match="correct but slower: .*" + re.escape(fault),
    ):
        found = train(network, weights, x, y, **settings, backend=host)
    expected = train(network, weights, x, y, **settings, backend="numpy")
    assert_close(network.flatten(found.weights), network.flatten(expected.weights), 1e-12)


def test_capture_ends_and_uses_its_own_memory() -> None:
    """The order of calls that CUDA asks for, also where the work fails."""
    cupy = FakeCupy()
    backend = CupyBackend(cupy, Namespace(), "float64")
    backend._record(lambda: cupy.events.append("work"))()
    assert cupy.events == ["begin", "pool", "work", "end", "launch"]
    cupy.events.clear()
    with pytest.raises(ZeroDivisionError):
        backend._record(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    assert cupy.events == ["begin", "pool", "end"]


def test_divergence_is_seen_at_the_end_of_an_epoch(host: EmulatedBackend) -> None:
    with pytest.raises(TrainingDivergedError, match="epoch"), np.errstate(all="ignore"):
        train(*DENSE[0].problem, epochs=30, batch_size=3, learning_rate=1e160, loss="squared", backend=host)


def test_out_of_memory_names_a_batch_size_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    ops = EmulatedBackend(memory=100_000)
    network, weights, x, y = IMAGES[0].problem
    x, y = np.concatenate([x] * 50), np.concatenate([y] * 50)

    def full(*_: Any, **__: Any) -> Any:
        raise MemoryError("out of memory allocating 512 bytes")

    monkeypatch.setattr(ops._kernels, "contract", full)
    c, v = np.ones(300), np.ones((network.n_weights, 3))
    operator = HessianOperator(network, weights, x, y, c=c, backend=ops, batch_size=200)
    calls: list[Any] = [
        lambda: train(network, weights, x, y, epochs=1, batch_size=200, learning_rate=0.1, backend=ops),
        lambda: evaluate(network, weights, x, y, backend=ops, batch_size=200),
        lambda: operator @ v,
    ]
    for call, fits in zip(calls, (8, 8, 2), strict=True):
        with pytest.raises(MemoryError) as caught:
            call()
        sentence = str(caught.value)
        assert sentence.startswith("200 examples at a time take about ")
        assert sentence.endswith(f"GB that the device has free: use a batch size of at most {fits}")
        assert "\n" not in sentence


def test_memory_errors_of_the_host_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    ops = get_backend("numpy")
    monkeypatch.setattr(ops, "convolve", lambda *_: (_ for _ in ()).throw(MemoryError("host")))
    with pytest.raises(MemoryError, match=r"^host$"):
        output(*IMAGES[0].problem[:3], ops)


def test_plans() -> None:
    """The narrowest tile that takes all columns, 16-byte loads where channels allow, splits where blocks are few."""
    assert choose_variant("float32", 3, 16, False) == Variant("float", 256, 16, 1, 4, False)
    assert choose_variant("float32", 64, 64, True) == Variant("float", 128, 64, 4, 4, True)
    assert choose_variant("float64", 6, 129, True) == Variant("double", 128, 128, 2, 1, False)
    assert [choose_variant("float32", 4, n, False).threads for n in (16, 32, 64, 512)] == [128, 128, 256, 256]
    assert choose_splits(blocks=1024, slabs=36, places=264) == 1
    assert choose_splits(blocks=16, slabs=288, places=264) == 16
    assert choose_splits(blocks=1, slabs=2, places=264) == 1
    assert choose_splits(blocks=16, slabs=288, places=528) == 32  # twice as many blocks fit
    assert choose_splits(blocks=132, slabs=36, places=264) == 2
    assert choose_splits(blocks=132, slabs=8, places=264) == 1  # 4 slabs less, and as many to write and add up parts
    assert choose_splits(blocks=88, slabs=200, places=264) == 3


@pytest.mark.parametrize(
    ("dtype", "outs", "tensor", "shared", "places"),
    [
        ("float32", 128, True, 228, 2), ("float32", 64, True, 228, 2), ("float32", 32, True, 228, 4),
        ("float32", 16, True, 228, 4), ("float32", 16, True, 100, 2), ("float64", 128, False, 228, 1),
        ("float64", 16, False, 228, 2), ("float64", 128, False, 32, 1),
    ],
)  # fmt: skip
def test_blocks_that_a_multiprocessor_holds(dtype: str, outs: int, tensor: bool, shared: int, places: int) -> None:
    """By registers, which the launch bounds see to, and by shared memory in KiB."""
    kernels = Kernels(FakeCupy(), dtype)
    kernels._modules.shared_bytes = shared << 10
    assert kernels._places(choose_variant(dtype, 4, outs, tensor)) == 3 * places


def test_results_are_refused_beyond_what_is_counted() -> None:
    """Sites of the last tile are numbers of 32 bits too, also those of a tap behind the border."""
    check_counted((2**31 - 1 - 256, 1, 1, 3, 1), 8, 65_535, 16)
    check_counted((2**31 - 1 - 256 - 2, 1, 1, 3, 3), 8, 1, 16)
    for shape, columns, probes in (
        ((1 << 20, 64, 64, 3, 3), 8, 1),
        ((2**31 - 256, 1, 1, 3, 1), 8, 1),
        ((2**31 - 1 - 256, 1, 1, 3, 3), 8, 1),
        ((2, 1 << 15, 1, 3, 3), 8, 1),
        ((2, 1, 1, 3, 3), 8, 65_536),
        ((2, 1, 1, 3, 3), 65_536 * 128, 1),
    ):
        with pytest.raises(ValueError, match="use a smaller batch size"):
            check_counted(shape, columns, probes, 128)


@pytest.mark.parametrize(("name", "dtype"), [("numba", "float32"), ("cupy", "float64"), (None, "float32")])
def test_tf32_is_for_float32_on_a_gpu(name: str | None, dtype: str) -> None:
    with pytest.raises(ValueError, match="TF32 is not for backend"):
        get_backend(name, dtype, tf32=True)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("Failed to find CUDA headers. Please install them.\nand more"), "Failed to find CUDA headers"),
        (OSError("\n=====\nOriginal error:\n  ImportError: libnvrtc.so.13\n====="), "ImportError: libnvrtc.so.13"),
        (ValueError(), "ValueError"),
    ],
    ids=str,
)
def test_a_missing_compiler_is_said_at_once(error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence when the backend is asked for, not an error of CuPy's in the first epoch."""

    def refuse(**_: Any) -> Any:
        raise error

    cupy = FakeCupy()
    monkeypatch.setattr(cupy, "RawModule", refuse, raising=False)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", Namespace())
    with pytest.raises(BackendUnavailableError) as caught:
        get_backend("cupy")
    said = str(caught.value)
    assert said.startswith(
        "backend 'cupy' needs the compiler NVRTC and CUDA's headers, and compiling failed (" + reason
    )
    assert said.endswith("which brings both, or use --backend numba (or get_backend('numba')) on this machine")
    assert "\n" not in said


def test_a_backend_compiles_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    if not COMPILER:
        pytest.skip(NO_COMPILER)
    cupy, made = FakeCupy(), []
    monkeypatch.setattr(cupy, "RawModule", lambda **text: made.append(text) or RawModule(**text), raising=False)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", Namespace())
    ops = get_backend("cupy", "float32")
    assert len(made) == 1
    ops.gate(ops.asarray([[1.0]]), ())
    assert len(made) == 1


def test_memory_for_what_is_kept(host: EmulatedBackend) -> None:
    assert host.kept_bytes == 1 << 32
    assert get_backend("numpy").kept_bytes == 1 << 30


@pytest.mark.gpu
def test_the_driver_records_training_steps() -> None:
    """On a device: recorded steps give the numbers of those that are not, bit for bit, without a warning."""
    network, weights, x, y = VGG12.problem
    x, y = np.concatenate([x] * 8), np.concatenate([y] * 8)
    ops = get_backend("cupy", "float32")
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-3, "momentum": 0.9, "backend": ops}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorded = train(network, weights, x, y, **settings)
    ops.replay = lambda step: lambda *a: ops._recordable(lambda: step(*a))  # type: ignore[method-assign]
    plain = train(network, weights, x, y, **settings)
    assert all(np.array_equal(a, b) for a, b in zip(recorded.weights, plain.weights, strict=True))


# Predictions


def test_predictions_are_made_on_the_device(precise: Device) -> None:
    """R5 and R6 of a perceptron and of an image network, swept where the backend's arrays are."""
    ops, tolerance = precise
    for case in (DENSE[3], IMAGES[1]):
        c = HessianOperator(*case.problem, backend="numpy").c
        z = np.array([0.3 + 0.2j, -1.0 + 0.1j]) * 0.1
        for rung in ("R5", "R6"):
            found, expected = (
                predict_spectrum(case.network, case.x, c, z, rung, case.weights, backend=b) for b in (ops, "numpy")
            )
            assert_close(abs(found - expected), 0 * z.real, 1e3 * max(tolerance, 1e-9), float(np.linalg.norm(expected)))
