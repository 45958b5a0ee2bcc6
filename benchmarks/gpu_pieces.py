"""One piece of `benchmarks/gpu.py`, in a process of its own: a line of results as each number is measured.

    python benchmarks/gpu_pieces.py PIECE --lines FILE --seconds S [--dry-run]

Nothing here uses Numba, whose cold compilation would take longer than all of it.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gpu_peers
import numpy as np
from gpu_measure import Array, Bench, Call, device, reason
from gpu_smoke import smoke
from peers import images

from backends import Backend
from simulator import HessianOperator, Network, exact_marginal, mlp, output, spectral_density, train_epochs, vgg12

UNCOUNTED = 3.0  # seconds before the limit at which a piece wants to be done


def problem(network: Network, x: Array, share: float, ops: Backend) -> tuple[list[Array], Array]:
    """(weights, labels) with that share of the examples active, their losses above 0: as in `peers`, on the device."""
    weights = [w.astype(np.float32) for w in network.init(1)]
    t = output(network, weights, x, ops)
    weights[-1] = weights[-1] * np.float32(2.0 / max(np.abs(t).min(), 1e-30))
    wrong = np.arange(len(x)) < round(share * len(x))
    return weights, (np.where(wrong, -1.0, 1.0) * np.where(t < 0, -1.0, 1.0)).astype(np.float32)


def training(bench: Bench) -> None:
    """A step of SGD with momentum, in epochs of `steps` steps; weights and velocity are read at the end of each."""
    for (width, label), share in zip(_widths(bench), (0.45, 1.0), strict=True):
        _training(bench, f"training step, vgg12:{label}", vgg12(width), share)


def _widths(bench: Bench) -> list[tuple[float, str]]:
    return list(zip(bench.sizes.widths, ("0.25", "1.0"), strict=True))


def _training(bench: Bench, piece: str, network: Network, share: float) -> None:
    """One network by all methods, which have a `share` of the time that is left together."""
    sizes, end = bench.sizes, bench.left() * (1 - share)
    x = images(sizes.steps * sizes.batch)
    y = np.sign(np.random.default_rng(1).standard_normal(len(x))).astype(np.float32)
    weights = [w.astype(np.float32) for w in network.init(0)]

    def ours(ops: Backend) -> Call:
        settings: dict[str, Any] = {"batch_size": sizes.batch, "learning_rate": 1e-4, "momentum": 0.9}
        epochs = train_epochs(network, weights, x, y, epochs=sizes.rounds + 1, **settings, backend=ops)
        return lambda: next(epochs)

    def theirs(last: bool) -> Call:
        return gpu_peers.epoch(network, weights, x, y, sizes.batch, last, bench.torch_device)

    makers: dict[str, Callable[[], Call]] = {what: partial(ours, ops) for what, ops in bench.ours.items()}
    makers |= {"pytorch": partial(theirs, False), "pytorch, channels last": partial(theirs, True)}
    for index, (what, make) in enumerate(makers.items()):
        part = (bench.left() - end) / (len(makers) - index) / max(bench.left(), 1e-9)
        bench.measure(piece, what, make, part, per=sizes.steps)


def products(bench: Bench) -> None:
    """A Hessian product with one vector, on the device; PyHessian keeps the graph of the gradient."""
    network = vgg12(bench.sizes.widths[0])
    x = images(bench.sizes.images)
    v = np.random.default_rng(2).standard_normal(network.n_weights).astype(np.float32)
    methods = 2 * (len(bench.ours) + 1)
    for active, label in ((1.0, "all"), (0.1, "a tenth")):
        piece = f"Hessian product, {label} active"
        weights, y = problem(network, x, active, bench.ours["umwelt"])
        found: dict[str, Array] = {}
        for what, ops in bench.ours.items():

            def ours(ops: Backend = ops, weights: list[Array] = weights, y: Array = y) -> Call:
                operator, vector = HessianOperator(network, weights, x, y, backend=ops), ops.asarray(v)

                def product() -> Any:
                    made = operator.product(vector)
                    ops.synchronize()
                    return made

                for _ in range(2):  # the second one is recorded
                    product()
                return product

            made = bench.measure(piece, what, ours, 1 / methods)
            methods -= 1
            if made is not None:
                found[what] = ops.to_numpy(made)
        read: list[Callable[[], Array]] = []

        def theirs(weights: list[Array] = weights, y: Array = y, read: list[Any] = read) -> Call:
            product, reader = gpu_peers.hessian_product(network, weights, x, y, v, bench.torch_device)
            read.append(reader)
            return product

        if bench.measure(piece, "pyhessian", theirs, 1 / methods) is not None:
            other = read[0]()
            for what, ours_found in found.items():
                difference = float(np.linalg.norm(ours_found - other) / np.linalg.norm(other))
                bench.emit(piece, f"{what}: difference from pyhessian", difference=difference)
        methods -= 1


def layers(bench: Bench) -> None:
    """TFLOP/s of every convolution of vgg12, forward, backward and of the gradient; those with gates in TF32 too."""
    shapes = []
    for width, label in _widths(bench):
        for layer in vgg12(width).layers:
            if layer.convolutional and (entry := (label, layer.input_shape, layer.weight_shape)) not in shapes:
                shapes.append(entry)
    calls = len(shapes) * 3 * len(bench.ours)
    for label, (height, wide, ins), shape in shapes:
        for what, ops in bench.ours.items():
            piece = f"layer of vgg12:{label}, {height}×{wide}, {ins} to {shape[-1]}"
            operations = 2.0 * bench.sizes.batch * height * wide * math.prod(shape)
            for kind, call in _kinds(bench, ops, height, wide, shape).items():
                make = partial(_repeated, call, ops, bench.sizes.repeats)
                bench.measure(
                    f"{piece}, {kind}", what, lambda m=make: m, 1 / calls, bench.sizes.repeats, operations=operations
                )
                calls -= 1


def _kinds(bench: Bench, ops: Backend, height: int, wide: int, shape: tuple[int, ...]) -> dict[str, Call]:
    kernel, _, ins, outs = shape
    sites = (bench.sizes.batch, height, wide)
    a, b = (ops.asarray(np.ones((*sites, channels), np.float32)) for channels in (ins, outs))
    w = ops.asarray(np.ones(shape, np.float32))
    return {
        "forward": lambda: ops.convolve((a, w)),
        "backward": lambda: ops.convolve_adjoint((b, w)),
        "gradient": lambda: ops.convolve_gradient(kernel, (a, b)),
    }


def _repeated(call: Call, ops: Backend, repeats: int) -> None:
    for _ in range(repeats):
        call()
    ops.synchronize()


def spectrum(bench: Bench) -> None:
    """From arrays to nodes; as many images as the time allows, a round each."""
    sizes, network = bench.sizes, vgg12(bench.sizes.widths[0])
    x = images(sizes.spectrum_images)
    weights, y = problem(network, x, 1.0, bench.ours["umwelt"])
    methods = len(bench.ours) + 1
    for what, ops in bench.ours.items():

        def ours(ops: Backend = ops) -> Call:
            operator = HessianOperator(network, weights, x, y, backend=ops)
            spectral_density(operator, sizes.probes, 2)
            return lambda: spectral_density(operator, sizes.probes, sizes.lanczos).rms

        bench.measure("spectrum", what, lambda ours=ours: once(ours()), 1 / methods)
        methods -= 1
    arguments = (network, weights, x, y, sizes.lanczos, sizes.probes, bench.torch_device)
    bench.measure("spectrum", "pyhessian", lambda: once(gpu_peers.spectrum(*arguments)), 0.0)


def once(call: Call) -> Call:
    """A call whose first time, the one that is not counted, is left out: it is too long to be done twice."""
    calls = iter((lambda: None,))
    return lambda: next(calls, call)()


def enumeration(bench: Bench) -> None:
    """Gate configurations a second in exact marginals, float64."""
    sizes, network = bench.sizes, mlp(bench.sizes.gates)
    weights, x = network.init(0), np.random.default_rng(0).standard_normal((sizes.inputs, sizes.gates[0]))
    states = sizes.inputs * 2.0 ** sum(sizes.gates[1:-1])
    call = lambda: exact_marginal(network, weights, x, 0.5, bench.precise)  # noqa: E731
    bench.measure("enumeration", "umwelt", lambda: call, 0.9, configurations=states)


def predictions(bench: Bench) -> None:
    """R5 and R6 of a perceptron, float64: from weights and data to g(z) at a few energies."""
    from validation import predict_spectrum

    sizes, ops = bench.sizes, bench.precise
    network = mlp(sizes.perceptron)
    weights = network.init(0)
    x = np.random.default_rng(0).standard_normal((sizes.examples, sizes.perceptron[0]))
    t = output(network, weights, x, ops)
    c = np.where(t < 0, -1.0, 1.0) / len(x)
    rms = spectral_density(HessianOperator(network, weights, x, None, c=c, backend=ops), 2, 10).rms
    z = (np.linspace(-3, 3, sizes.energies) + 0.05j) * rms
    for rung in ("R5", "R6"):

        def solve(rung: str = rung) -> Any:
            return predict_spectrum(network, x, c, z, rung, weights, backend=ops)

        bench.measure(rung, "umwelt", lambda solve=solve: once(solve), 0.0, energies=sizes.energies)


def draws(bench: Bench) -> None:
    """The sampled rung RE of vgg12: fresh weights between frozen signals."""
    from validation import ensemble_density

    sizes, network = bench.sizes, vgg12(bench.sizes.widths[0])
    x = images(sizes.images)
    weights = [w.astype(np.float32) for w in network.init(1)]
    c = np.where(np.arange(len(x)) % 2, -1.0, 1.0) / len(x)
    for what, ops in bench.ours.items():

        def draw(ops: Backend = ops) -> float:
            settings: dict[str, Any] = {"draws": sizes.draws, "n_probes": 2, "n_steps": sizes.lanczos // 2}
            return float(ensemble_density(network, weights, x, c, **settings, backend=ops).rms)

        bench.measure("RE", what, lambda draw=draw: once(draw), 0.0, draws=sizes.draws)


PIECES: dict[str, Callable[[Bench], None]] = {
    "smoke": smoke, "training": training, "products": products, "layers": layers, "enumeration": enumeration,
    "spectrum": spectrum, "predictions": predictions, "draws": draws,
}  # fmt: skip


def main() -> int:
    begun = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("piece", choices=PIECES)
    parser.add_argument("--lines", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    bench = Bench(options.lines, begun + options.seconds - UNCOUNTED, options.dry_run)
    try:
        if options.piece == "smoke":
            bench.emit("machine", "machine", **device(options.dry_run))
        PIECES[options.piece](bench)
    except Exception as error:
        bench.emit(options.piece, "piece", failed=reason(error))
        raise
    if "numba" in sys.modules and not options.dry_run:
        bench.emit(options.piece, "numba", failed="Numba was loaded: nothing of this piece should need it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
