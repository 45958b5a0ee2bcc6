"""Training, Hessian products, spectra and exact enumeration beside PyTorch, its Hessian libraries, JAX and pgmpy.

    pip install -e '.[bench]'
    python benchmarks/peers.py [--cases train,products,spectrum,enumeration] [--quick] [--out FILE]

All in float32 (but the enumeration, in float64) on as many threads as there are cores, with the same weights, data,
loss (hinge) and batches. Methods take turns with a pause between them, so that a busy moment falls on all of them;
medians and ratios (a peer's time over ours: above 1 we are quicker). Products of all methods must agree to 1e-3
(rounding flips single gates). A spectrum is timed end to end in a process of its own, whose peak memory is read when it
ends. The enumeration is that of `enumeration.py`.

A share of the examples is made inactive (hinge loss 0) by scaling the last layer until all margins exceed 1 in size and
choosing labels. Libraries that know nothing of it work on all examples; "active only" hands them the active ones.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peer_networks as peers
from enumeration import compare, machine

from simulator import HessianOperator, Network, mlp, output, spectral_density, train, vgg12

Array = np.ndarray[Any, Any]
Calls = dict[str, Callable[[], Any]]
PACKAGES = ("numpy", "numba", "torch", "curvlinops-for-pytorch", "pyhessian", "hessian-eigenthings", "jax", "matfree",
            "pgmpy")  # fmt: skip
PAUSE = 0.1  # seconds in which the threads of the method before go to sleep
LIMIT = 200  # seconds for a spectrum of 128 images, in proportion for others
SPECTRA: dict[str, Callable[..., Any]] = {
    "pyhessian": peers.pyhessian_spectrum,
    "hessian-eigenthings": peers.eigenthings_spectrum,
    "matfree": peers.matfree_spectrum,
}
SHARES = {"all": 1.0, "half": 0.5, "tenth": 0.1}


def images(m: int) -> Array:
    """Smooth random images, mean 0, deviation 1: (m, 32, 32, 3)."""
    coarse = np.random.default_rng(0).standard_normal((m, 8, 8, 3))
    x = np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2)
    return ((x - x.mean()) / x.std()).astype(np.float32)


def problem(network: Network, x: Array, share: float) -> tuple[list[Array], Array]:
    """(weights, labels) with that share of the examples active, their losses above 0."""
    weights = [w.astype(np.float32) for w in network.init(1)]
    t = output(network, weights, x)
    weights[-1] = weights[-1] * np.float32(2.0 / np.abs(t).min())
    wrong = np.arange(len(x)) < round(share * len(x))
    return weights, (np.where(wrong, -1.0, 1.0) * np.sign(t)).astype(np.float32)


def in_turns(calls: Calls, rounds: int) -> dict[str, float]:
    """Median seconds of each, one after the other in every round; the first call of each is not timed."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(PAUSE)
            begun = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in times.items()}


def compared(seconds: dict[str, float]) -> dict[str, Any]:
    """Seconds and ratios to ours, and the ratio of the fastest peer."""
    ratios = {name: value / seconds["umwelt"] for name, value in seconds.items() if name != "umwelt"}
    return {"seconds": seconds, "ratios": ratios, "fastest peer": min(ratios.values())}


def training(network: Network, x: Array, rounds: int) -> dict[str, Any]:
    """An epoch of SGD with momentum in batches of 128."""
    weights = [w.astype(np.float32) for w in network.init(0)]
    y = np.sign(np.random.default_rng(1).standard_normal(len(x))).astype(np.float32)
    from backends import get_backend

    ops = get_backend("numba", "float32")
    calls: Calls = {
        "umwelt": lambda: train(
            network, weights, x, y, epochs=1, batch_size=128, learning_rate=1e-3, momentum=0.9, backend=ops
        ),
        "pytorch": peers.torch_epoch(network, weights, x, y, channels_last=False),
        "jax": peers.jax_epoch(network, weights, x, y),
    }
    if x.ndim == 4:
        calls["pytorch, channels last"] = peers.torch_epoch(network, weights, x, y, channels_last=True)
    steps = -(-len(x) // 128)
    return compared({name: value / steps for name, value in in_turns(calls, rounds).items()})


def products(network: Network, m: int, share: float, rounds: int) -> dict[str, Any]:
    """A Hessian product, and one of a block of 8 per vector where all examples are active."""
    from backends import get_backend

    x = images(m)
    weights, y = problem(network, x, share)
    rng = np.random.default_rng(2)
    v, block = (rng.standard_normal((network.n_weights, *k)).astype(np.float32) for k in ((), (8,)))
    few = slice(0, round(share * m))
    operator = HessianOperator(network, weights, x, y, backend=get_backend("numba", "float32"))
    makers = {
        "pyhessian": peers.pyhessian_product, "curvlinops": peers.curvlinops_product,
        "hessian-eigenthings": peers.eigenthings_product, "jax": peers.jax_product,
    }  # fmt: skip
    whole = {name: make(network, weights, x, y) for name, make in makers.items()}
    _agree(operator @ v, {name: product(v) for name, product in whole.items()})
    calls: Calls = {"umwelt": lambda: operator @ v}
    calls |= {name: (lambda p=p: p(v)) for name, p in whole.items()}
    found = {"single": compared(in_turns(calls, rounds))}
    if share == 1.0:
        eight: Calls = {"umwelt": lambda: operator @ block}
        eight |= {name: (lambda p=p: p(block)) for name, p in whole.items()}
        found["block of 8, per product"] = compared({n: s / 8 for n, s in in_turns(eight, -(-rounds // 3)).items()})
    else:
        del whole
        told = {name: make(network, weights, x[few], y[few]) for name, make in makers.items()}
        calls = {"umwelt": lambda: operator @ v} | {name: (lambda p=p: p(v)) for name, p in told.items()}
        found["peers given the active only"] = compared(in_turns(calls, rounds))
    return found


def _agree(own: Array, others: dict[str, Array]) -> None:
    for name, other in others.items():
        error = float(np.linalg.norm(own - other) / np.linalg.norm(own))
        if not error < 1e-3:
            raise SystemExit(f"products of {name} differ by {error:.2g} of their size, expected less than 1e-3")


def spectrum(method: str, m: int, share: float, steps: int, probes: int) -> None:
    """In a process of its own: prints seconds from arrays to nodes, peak memory, and for ours the share of products."""
    if method != "umwelt":
        # Before a backend of ours says how threads wait: PyTorch's OpenMP would hear it too.
        import torch

        torch.set_num_threads(os.cpu_count() or 1)
    network = vgg12(0.25)
    x = images(m)
    weights, y = problem(network, x, share)
    begun, inside = time.perf_counter(), 0.0
    if method == "umwelt":
        from backends import get_backend

        operator = HessianOperator(network, weights, x, y, backend=get_backend("numba", "float32"))
        rows = operator.rows

        def timed(v: Any) -> Any:
            nonlocal inside
            start = time.perf_counter()
            product = rows(v)
            inside += time.perf_counter() - start
            return product

        operator.rows = timed  # type: ignore[method-assign]
        spectral_density(operator, probes, steps)
    else:
        SPECTRA[method](network, weights, x, y, steps, probes)
    seconds = time.perf_counter() - begun
    # Not ru_maxrss, which a process inherits from the one that started it.
    peak = 1024 * int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])
    print(json.dumps({"seconds": seconds, "peak bytes": peak, "products": inside}))


def spectra(m: int, share: float, steps: int, probes: int, methods: Sequence[str]) -> dict[str, Any]:
    """End to end, each method in a fresh process; kernels of ours that none has needed yet are compiled before."""
    found, limit = {}, LIMIT * max(1.0, m / 128)
    first = [sys.executable, __file__, "--spectrum-of", "umwelt", "16", "1.0", "40", "1"]
    subprocess.run(first, capture_output=True, check=True)
    for method in ("umwelt", *methods):
        arguments = ["--spectrum-of", method, str(m), str(share), str(steps), str(probes)]
        command = [sys.executable, __file__, *arguments]
        try:
            run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=limit)
        except subprocess.TimeoutExpired:
            print(f"    {method}: not at its end after {limit:.0f} s, left out", flush=True)
            continue
        found[method] = json.loads(run.stdout.splitlines()[-1])
        print(f"    {method}: {found[method]}", flush=True)
    result = compared({name: value["seconds"] for name, value in found.items()})
    result["peak bytes"] = {name: value["peak bytes"] for name, value in found.items()}
    result["leanest peer's memory"] = min(v for n, v in result["peak bytes"].items() if n != "umwelt")
    result["lanczos overhead"] = 1.0 - found["umwelt"]["products"] / found["umwelt"]["seconds"]
    return result


def enumeration(rounds: int) -> dict[str, Any]:
    """The marginal of mlp [6, 11, 13, 1], 2^24 states: see `benchmarks/enumeration.py`."""
    found = {name: statistics.median(times) for name, times in compare(rounds)["seconds"].items()}
    return compared({"umwelt" if name == "numba" else name: seconds for name, seconds in found.items()})


def spectrum_cases(quick: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    """Of few images beside all libraries, and of as many as a product is measured on beside the quickest of them."""
    steps, probes, few, many = (4, 1, 20, 30) if quick else (80, 4, 128, 1000)
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for m, others in ((few, tuple(SPECTRA)), (many, ("pyhessian",))):
        for name, share in (("all", 1.0), ("a tenth", 0.1)):
            call = functools.partial(spectra, m, share, steps, probes, others)
            made[f"spectrum, {m} images, {name} active"] = call
    return made


def cases(wanted: list[str], quick: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    """Everything measured, by name."""
    digits = np.random.default_rng(0).standard_normal((11_264, 64)).astype(np.float32)
    m, rounds = (100, 1) if quick else (1000, 3)
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    if "train" in wanted:
        made["training step, vgg12:0.25"] = lambda: training(vgg12(0.25), images(128 if quick else 512), rounds)
        made["training step, vgg12:1.0"] = lambda: training(vgg12(1.0), images(128), rounds)
        made["training step, mlp:64x64x64"] = lambda: training(mlp([64, 64, 64, 64, 1]), digits, 4 * rounds)
    for name, share in SHARES.items() if "products" in wanted else ():
        made[f"Hessian product, {name} active"] = lambda s=share: products(vgg12(0.25), m, s, rounds)
    if "spectrum" in wanted:
        made |= spectrum_cases(quick)
    if "enumeration" in wanted:
        made["exact enumeration, 2^24 states"] = lambda: enumeration(rounds)
    return made


def main() -> None:
    if len(sys.argv) == 7 and sys.argv[1] == "--spectrum-of":
        method, m, share, steps, probes = sys.argv[2:]
        spectrum(method, int(m), float(share), int(steps), int(probes))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="train,products,spectrum,enumeration")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: does it run?")
    parser.add_argument("--out", default="benchmarks/results/peers.json")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    path = Path(options.out)
    results = json.loads(path.read_text()) if path.exists() else {"cases": {}}
    results["machine"] = machine()
    results["versions"] = {name: importlib.metadata.version(name) for name in PACKAGES}
    for name, run in cases(options.cases.split(","), options.quick).items():
        results["cases"][name] = run()
        print(name, json.dumps(results["cases"][name]), flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
