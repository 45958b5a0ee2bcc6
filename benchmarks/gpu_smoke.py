"""Every kernel in every precision against NumPy in float64, for `benchmarks/gpu.py`: a line for each, in seconds."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
from gpu_measure import Array, Bench, reason

from backends import Backend, reference
from simulator import HessianOperator, exact_marginal, mlp, sequential, train_epochs, vgg12
from simulator.network.layers import Conv, Dense, MaxPool
from simulator.passes.losses import LOSSES

TOLERANCE = {("float64", False): 1e-11, ("float32", False): 2e-6, ("float32", True): 2e-3}
# (m, H, W, A, B, kernel): every tile, loads of one number and of several, padded images, sums split over blocks.
SHAPES = [
    (3, 5, 7, 3, 16, 3), (2, 8, 6, 32, 24, 3), (4, 4, 4, 64, 48, 3), (2, 5, 3, 20, 130, 3), (5, 3, 3, 5, 7, 5),
    (3, 4, 5, 1, 6, 3), (3, 2, 2, 6, 9, 1), (128, 2, 2, 512, 512, 3),
]  # fmt: skip
Pair = tuple[Any, Any]  # what the device gives, what NumPy gives
Checks = Iterator[tuple[str, Callable[[], Pair]]]


def drawn(*shape: int) -> Array:
    return np.random.default_rng([7, *shape]).standard_normal(shape)


def convolutions(ops: Backend) -> Checks:
    for shape in SHAPES if ops.asynchronous else SHAPES[:-1]:  # the last is for devices
        m, height, width, a, b, k = shape
        x, w, d = drawn(m, height, width, a), drawn(k, k, a, b), drawn(m, height, width, b)
        put = [ops.asarray(v) for v in (x, w, d)]
        yield f"convolve {shape}", lambda p=put, x=x, w=w: (ops.convolve((p[0], p[1])), reference.convolve(xp, (x, w)))
        yield (
            f"adjoint {shape}",
            lambda p=put, w=w, d=d: (ops.convolve_adjoint((p[2], p[1])), reference.convolve_adjoint(xp, (d, w))),
        )
        yield (
            f"gradient {shape}",
            lambda p=put, x=x, d=d, k=k: (
                ops.convolve_gradient(k, (p[0], p[2])),
                reference.convolve_gradient(xp, k, (x, d)),
            ),
        )
        if shape == SHAPES[-1]:  # smaller ones split their sums too
            continue
        x, w, d = np.round(x), np.round(w), np.round(d)  # small integers: gates are the same in every precision
        put, z = [ops.asarray(v) for v in (x, w, d)], reference.convolve(xp, (x, w))
        yield f"convolve and gate {shape}", lambda p=put, z=z: (ops.convolve_and_gate(p[0], p[1], ())[0], z * (z > 0))
        yield f"mask of {shape}", lambda p=put, z=z: (ops.convolve_and_gate(p[0], p[1], ())[1], z > 0)
        yield (
            f"gated adjoint {shape}",
            lambda p=put, x=x, w=w, d=d: (
                ops.convolve_adjoint_gated(p[0] > 0, 1, (p[2], p[1])),
                reference.convolve_adjoint(xp, (d, w)) * (x > 0),
            ),
        )
    x, w = drawn(3, 2, 6, 5, 8), drawn(1, 3, 3, 8, 12)
    pairs = [(x, w[0]), (x[0], np.repeat(w, 3, axis=0))]
    put = [tuple(map(ops.asarray, pair)) for pair in pairs]
    yield "two pairs with probes", lambda: (ops.convolve(*put), reference.convolve(xp, *pairs))
    z, v = drawn(37, 50), drawn(50, 9)
    yield "product of a recorded step", lambda: (_recordable(ops, ops.asarray(z), ops.asarray(v)), z @ v)


def _recordable(ops: Any, a: Any, b: Any) -> Any:
    return ops._recordable(lambda: ops.matmul(a, b)) if hasattr(ops, "_recordable") else ops.matmul(a, b)


def gates(ops: Backend) -> Checks:
    for shape, window in (((3, 7, 5, 20), 2), ((2, 9, 6, 3), 3), ((4, 6, 6, 16), 1), ((70, 33), 1)):
        z = np.round(2 * drawn(*shape))
        pools = () if window == 1 else (window,)
        x, mask = reference.gate(xp, z, pools)
        put = ops.asarray(mask, "bool")
        yield f"gate {shape}", lambda z=z, x=x, pools=pools: (ops.gate(ops.asarray(z), pools)[0], x)
        yield f"mask {shape}", lambda z=z, mask=mask, pools=pools: (ops.gate(ops.asarray(z), pools)[1], mask)
        whole, pooled = drawn(2, *shape), drawn(2, *x.shape)
        yield (
            f"apply gates {shape}",
            lambda put=put, v=whole, mask=mask, s=window: (
                ops.apply_gates(put, ops.asarray(v), s),
                reference.apply_gates(xp, mask, v, s),
            ),
        )
        yield (
            f"spread gates {shape}",
            lambda put=put, v=pooled, mask=mask, s=window: (
                ops.spread_gates(put, ops.asarray(v), s),
                reference.spread_gates(xp, mask, v, s),
            ),
        )


def arrays(ops: Backend) -> Checks:
    x, y = drawn(70_001), drawn(1, 70_001)[0]
    one, two = ops.asarray(x), ops.asarray(y)
    parts = [drawn(3, 4, 5) + i for i in range(11)]
    put = [ops.asarray(p) for p in parts]
    rows = ops.asarray(np.array([2, 0, 1, 1]), "int64")
    yield "descend", lambda: (ops.descend(one, two, one, 0.9, 0.5, 0.1)[0], x - 0.1 * (0.9 * y + 0.5 * x))
    yield "inner", lambda: (np.array(ops.inner(one, two)), np.array(x @ y))
    yield "all finite", lambda: (np.array(ops.all_finite(one)), np.array(True))
    yield "a number that is not finite", lambda: (np.array(ops.all_finite(ops.asarray([1.0, np.inf]))), np.array(False))
    yield "concat", lambda: (ops.xp.concat(put, axis=1), np.concatenate(parts, axis=1))
    yield "stack", lambda: (ops.xp.stack(put, axis=-1), np.stack(parts, axis=-1))
    yield "take", lambda: (ops.xp.take(put[0], rows, axis=0), parts[0][[2, 0, 1, 1]])
    for name, loss in LOSSES.items():
        t, labels = drawn(300), np.sign(drawn(1, 300)[0])
        u = t * labels

        def margins(t: Array = t, y: Array = labels, name: str = name) -> Any:
            made = ops.margins(ops.asarray(t), ops.asarray(y), name)
            assert made is not None, "no kernel for this loss"
            return made[0]

        if ops.margins(one, one, name) is not None:
            yield f"margins, {name}", lambda f=margins, s=loss.slope, u=u, y=labels: (f(), s(xp, u) * y)


def wholes(ops: Backend) -> Checks:
    """Networks, with steps and products recorded, and what has float64 alone."""
    network = sequential((8, 8, 3), [Conv(8), MaxPool(2), Conv(12), Dense(9), Dense(7), Dense(5), Dense(4), Dense(1)])
    deep = mlp((6, *(5,) * 9, 1))
    for name, net in (("images", network), ("10 layers", deep)):
        weights, x = net.init(0), drawn(24, *net.input_shape)
        y = np.sign(drawn(1, 24)[0])
        v = drawn(net.n_weights)
        reduced = HessianOperator(net, weights, x, None, c=y / 24, backend="numpy")
        device = HessianOperator(net, weights, x, None, c=y / 24, backend=ops)
        yield f"Hessian product, {name}", lambda o=device, r=reduced, v=v: ([o @ v for _ in range(4)][-1], r @ v)

        def trained(backend: Any, net: Any = net, weights: Any = weights, x: Array = x, y: Array = y) -> Array:
            epochs = train_epochs(net, weights, x, y, epochs=3, batch_size=6, learning_rate=1e-3, backend=backend)
            flat: Array = net.flatten(list(epochs)[-1].weights)
            return flat

        if not ops.tf32:  # gates flip with rounding to TF32
            yield f"training, {name}", lambda f=trained: (f(ops), f("numpy"))
    if ops.dtype == "float64":
        small, x = mlp((3, 5, 9, 1)), drawn(4, 3)
        yield (
            "enumeration",
            lambda: (
                exact_marginal(small, small.init(1), x, 0.5, ops),
                exact_marginal(small, small.init(1), x, 0.5, "numpy"),
            ),
        )
        for n, count in ((5, 40), (64, 40), (300, 2)):
            a = drawn(count, n, n) + 1j * drawn(n, count, n).reshape(count, n, n) + n * np.eye(n)
            yield f"inverse {n}", lambda a=a: (ops.xp.linalg.inv(ops.asarray(a, "complex128")), np.linalg.inv(a))


def compile_ahead(bench: Bench) -> None:
    """The products that all pieces need, side by side: the compiler is on the host, which has nothing else to do."""
    from backends.cupy.kernels import choose_variant

    pairs = {(s[3], s[4]) for s in SHAPES}
    for width in bench.sizes.widths:
        pairs |= {(layer.weight_shape[-2], layer.weight_shape[-1]) for layer in vgg12(width).layers}
    wanted: dict[Any, Backend] = {}
    for ops in (*bench.ours.values(), bench.precise):
        wide = 4 if ops.dtype == "float32" else 2
        for ins, outs in sorted(pairs | {(outs, ins) for ins, outs in pairs}):
            padded = ins + -ins % wide if ins > 1 else ins
            for tensor in (False, ops.tf32):
                wanted.setdefault(choose_variant(ops.dtype, padded, outs, tensor), ops)

    def made(variant: Any) -> None:
        modules = wanted[variant]._kernels._modules  # type: ignore[attr-defined]
        modules.get(variant.names, **variant.values).get_function("convolve")

    begun, threads = time.perf_counter(), ThreadPoolExecutor(os.cpu_count())
    done, rest = wait([threads.submit(made, variant) for variant in wanted], timeout=0.4 * bench.left())
    threads.shutdown(wait=False, cancel_futures=True)  # those that are left are compiled when they are needed
    bench.emit("compilation ahead", "umwelt", seconds=time.perf_counter() - begun, kernels=len(done), later=len(rest))


def smoke(bench: Bench) -> None:
    """A line for every check: its relative error, its bound, and whether CUDA refused to record something."""
    if not bench.dry:
        try:
            compile_ahead(bench)
        except Exception as error:  # each check tries again, and says which
            bench.emit("compilation", "umwelt", failed=reason(error))
    kinds = {f"{ops.dtype}{', TF32' * ops.tf32}": ops for ops in (*bench.ours.values(), bench.precise)}
    for group in (convolutions, gates, arrays, wholes):
        for kind, ops in kinds.items():
            tolerance = TOLERANCE[ops.dtype, ops.tf32]
            try:
                for name, check in group(ops):
                    if bench.left() < 0:
                        bench.emit("smoke", f"{group.__name__}, {kind}", failed="no time left")
                        break
                    _check(bench, ops, f"{name}, {kind}", check, 100 * tolerance if group is wholes else tolerance)
            except Exception as error:  # what a group prepares can fail too
                bench.emit("smoke", f"{group.__name__}, {kind}", failed=reason(error))


def _check(bench: Bench, ops: Backend, name: str, check: Callable[[], Pair], tolerance: float) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found, expected = check()
            found = np.asarray(found) if isinstance(found, np.ndarray) else ops.to_numpy(found)
            scale = float(np.abs(expected).max()) or 1.0
            same = found.shape == np.shape(expected)
            error = float(np.abs(found.astype(complex) - expected).max()) / scale if same else float("inf")
        except Exception as failure:
            bench.emit("smoke", name, failed=reason(failure))
            return
    refused = [str(w.message) for w in said if "CUDA graph" in str(w.message)]
    right = bool(error <= tolerance) and not refused
    bench.emit(
        "smoke", name, error=error if np.isfinite(error) else str(error), bound=tolerance, right=right, said=refused
    )
