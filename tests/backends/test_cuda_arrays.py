"""What the CuPy backend does in place of CuPy: joined arrays, copies, sums, checks, losses, stacks of matrices."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest

from backends.cupy.namespace import Linear, Namespace
from backends.cupy.sweeps import collapse
from simulator.passes.losses import LOSSES
from simulator.passes.risk import _margins
from support.cases import assert_close
from support.devices import Device
from support.layers import drawn


@pytest.mark.parametrize("axis", [0, 1, -1, None], ids=str)
def test_arrays_are_joined(precise: Device, axis: int | None) -> None:
    """As `concat`, `stack` and `take` of the array API: views, several dtypes, more arrays than CuPy joins at once."""
    ops = precise[0]
    parts = [np.round(8 * drawn((3, 2, 4), 0, i)) for i in range(11)]
    put = [ops.asarray(a) for a in parts]
    turned = [ops.xp.permute_dims(a, (0, 2, 1))[:, ::-1, :] for a in put]
    views = [a.transpose(0, 2, 1)[:, ::-1, :] for a in parts]
    for given, expected in ((put, parts), (turned, views), ([put[0], ops.asarray(parts[1], "int64")], parts[:2])):
        assert np.array_equal(ops.to_numpy(ops.xp.concat(given, axis=axis)), np.concatenate(expected, axis=axis))
        if axis is not None:
            assert np.array_equal(ops.to_numpy(ops.xp.stack(given, axis=axis)), np.stack(expected, axis=axis))
    rows = ops.asarray(np.array([2, 0, 0, 1]), "int64")
    assert np.array_equal(ops.to_numpy(ops.xp.take(put[0], rows, axis=0)), parts[0][[2, 0, 0, 1]])
    assert np.array_equal(ops.to_numpy(ops.xp.take(turned[0], rows[1:], axis=2)), views[0][:, :, [0, 0, 1]])
    with pytest.raises(ValueError, match="does not fit between others"):
        ops.xp.concat([put[0], put[0][:, :, :1]], axis=0)
    with pytest.raises(ValueError, match="expected one shape"):
        ops.xp.stack([put[0], put[0][:1]])


def test_reductions_do_without_cub() -> None:
    """CuPy's setting is of the whole process: it is put back, after an error too."""
    setting: list[list[int]] = [[1]]
    core = SimpleNamespace(
        get_reduction_accelerators=lambda: setting[-1], set_reduction_accelerators=lambda names: setting.append(names)
    )
    seen: list[list[int]] = []

    def total(x: Any) -> Any:
        seen.append(setting[-1])
        return x.sum()

    library = SimpleNamespace(sum=total, max=total, linalg=SimpleNamespace(), exp=np.exp)
    namespace = Namespace(library, SimpleNamespace(_core=core), None)  # type: ignore[arg-type]
    assert namespace.sum(np.ones(3)) == 3.0
    with pytest.raises(AttributeError):
        namespace.max("no array")
    assert seen == [[], []]
    assert setting == [[1], [], [1], [], [1]]
    assert namespace.exp is np.exp


def test_views_are_copied_by_one_kernel(emulated: Device) -> None:
    """Turned and transposed kernels, slices, axes that are repeated; more axes than it has are left to CuPy."""
    ops = emulated[0]
    x = np.round(8 * drawn((3, 2, 5, 4)))
    views: list[Any] = [
        lambda a: a[..., ::-1, ::-1, :].transpose(0, 1, 3, 2), lambda a: a[1:, 1, ::2, 1:3], lambda a: a.T,
        lambda a: a[:, :1], lambda a: a[:0], lambda a: a.reshape(3, 2, 5, 2, 2).transpose(4, 2, 0, 3, 1),
    ]  # fmt: skip
    for view in views:
        assert np.array_equal(ops.to_numpy(ops._sweeps.plain(view(ops.asarray(x)))), view(x))
    assert collapse((3, 1, 2, 5), (80, 7, 40, 8)) == ((1, 1, 1, 30), (0, 0, 0, 8))
    assert collapse((3, 2), (8, 24), (16, 8)) == ((1, 1, 3, 2), (0, 0, 8, 24), (0, 0, 16, 8))
    assert collapse((2,) * 5, (1, 3, 9, 27, 81)) is None


def test_sums_and_checks_of_long_vectors(precise: Device) -> None:
    """Products added in float64, infinite numbers found wherever they are, bits compared."""
    ops = precise[0]
    x, y = (drawn((70_001,), 0, i).astype(ops.dtype) for i in range(2))
    one, two = ops.asarray(x), ops.asarray(y)
    expected = float(np.sum(x.astype(np.float64) * y))
    assert ops.inner(one, two) == pytest.approx(expected, rel=1e-12)
    assert ops.inner(one, two) == ops.inner(one, two)
    assert ops.inner(one, ops.asarray(y, "float64")) == pytest.approx(expected, rel=1e-12)
    assert ops.all_finite(one)
    for bad in (np.nan, np.inf, -np.inf):
        for place in (0, 70_000):
            x[place], before = bad, x[place]
            assert not ops.all_finite(ops.asarray(x))
            x[place] = before
    same = ops._sweeps.same_bits
    assert same(one, ops.asarray(x))
    other = x.copy()
    other[-1] = np.nextafter(x[-1], 9)
    assert not same(one, ops.asarray(other))
    assert not same(ops.asarray([0.0]), ops.asarray([-0.0]))
    assert same(ops.asarray([np.nan]), ops.asarray([np.nan]))


@pytest.mark.parametrize("loss", LOSSES)
def test_margins(precise: Device, loss: str) -> None:
    """The losses at large, zero and infinite margins, more examples than threads; each twin of `LOSSES` is there."""
    ops, tolerance = precise
    t = np.concatenate([drawn((300,)), [0.0, 1.0, -1.0, 40.0, -40.0, 1e30]])
    y = np.sign(drawn((t.size,), 0, 1))
    for shown in (t, np.append(t, np.inf), np.append(t, np.nan)):
        labels = np.append(y, 1.0)[: shown.size]
        found = ops.margins(ops.asarray(shown), ops.asarray(labels), loss)
        assert found is not None
        with np.errstate(all="ignore"):
            expected = _margins(shown.astype(ops.dtype), labels.astype(ops.dtype), LOSSES[loss], xp)
        slope = ops.to_numpy(found[0])
        assert np.array_equal(np.isnan(slope), np.isnan(expected[0]))
        ordered = np.isfinite(expected[0])
        assert_close(slope[ordered][:-1], expected[0][ordered][:-1], max(tolerance, 1e-15))
        assert float(found[1]) == pytest.approx(float(expected[1]), rel=1e-12)
        assert [int(n) for n in found[2:]] == [int(n) for n in expected[2:]]
    assert ops.margins(ops.asarray(t), ops.asarray(y), "other") is None


def test_what_is_no_normal_number_is_zero_in_single_precision(precise: Device) -> None:
    """CuPy compiles with -ftz=true: a signal below 1.2e-38 closes its gate and stays out of sums; double keeps it."""
    ops = precise[0]
    z = np.array([[1e-39, -1e-39, 1.2e-38, 2e-38]])
    x, mask = ops.gate(ops.asarray(z), ())
    kept = ops.dtype == "float64"
    assert np.array_equal(ops.to_numpy(mask), [[kept, False, True, True]])
    assert np.array_equal(ops.to_numpy(x) > 0, ops.to_numpy(mask))
    images = ops.asarray(np.full((1, 2, 2, 2), 1e-39))
    assert bool((ops.to_numpy(ops.gate(images, (2,))[1])).any()) == kept
    assert bool((ops.to_numpy(ops.convolve((images, ops.asarray(np.ones((1, 1, 2, 2)))))) != 0).all()) == kept


def test_descent(precise: Device) -> None:
    ops, tolerance = precise
    w, v, g = (drawn((3, 5), 0, i) for i in range(3))
    found = ops.descend(*(ops.asarray(a) for a in (w, v, g)), 0.9, 0.25, 0.01)
    velocity = 0.9 * v + 0.25 * g
    assert_close(ops.to_numpy(found[1]), velocity, tolerance)
    assert_close(ops.to_numpy(found[0]), w - 0.01 * velocity, tolerance)


def test_large_matrices_are_inverted_one_by_one(precise: Device) -> None:
    """Those beyond 256 rows, and a few beyond 64: cuBLAS has kernels for stacks of many."""
    ops = precise[0]
    rng = np.random.default_rng(0)
    for n, counts in ((5, (2, 3)), (70, (2, 1)), (70, (2, 3))):
        stack = rng.standard_normal((*counts, n, n)) + 1j * rng.standard_normal((*counts, n, n)) + n * np.eye(n)
        other = rng.standard_normal((*counts, n, 4)) + 0j
        a, b = ops.asarray(stack, "complex128"), ops.asarray(other, "complex128")
        inverse, solved = ops.to_numpy(ops.xp.linalg.inv(a)), ops.to_numpy(ops.xp.linalg.solve(a, b))
        assert np.abs(inverse - np.linalg.inv(stack)).max() < 1e-13
        assert np.abs(solved - np.linalg.solve(stack, other)).max() < 1e-13
    for shape, calls in (((2, 2, 70, 70), [2] * 4), ((5, 70, 70), [3]), ((4, 63, 63), [3]), ((5, 257, 257), [2] * 5)):
        made: list[int] = []
        alone = Linear(SimpleNamespace(inv=lambda x, made=made: (made.append(x.ndim), x)[1]), np.stack)
        assert alone.inv(np.zeros(shape)).shape == shape
        assert made == calls
