"""On one GPU: the CuPy backend beside PyTorch eager with TF32 and PyHessian, in pieces that keep to a budget.

    pip install -e '.[test,cuda13]' torch pyhessian
    python benchmarks/gpu.py [--seconds 480] [--parity] [--cases NAME,...]
    python benchmarks/gpu.py --dry-run      # tiny sizes, NumPy on the CPU: does every line run?

Synthetic images, hinge loss, float32 throughout; PyTorch in both layouts, convolutions in TF32 (its default, set here
all the same). Umwelt in float32 and in TF32. Every method is run once before it is timed; medians of what follows. A
ratio is the fastest peer's time over ours: above 1 we are quicker. A piece that the budget has no room for is left out
by name, a peer that is not installed or fails too, with the reason. Results are written after every piece.

`--parity` first runs `pytest -m gpu`, with 55 % of the budget at most.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_peers
import numpy as np
from enumeration import machine
from peers import images, problem

from backends import Backend, get_backend
from simulator import HessianOperator, exact_marginal, mlp, output, spectral_density, train_epochs, vgg12
from validation import predict_spectrum

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]
ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
TARGETS = {
    "training step, vgg12:0.25": 1.0, "training step, vgg12:1.0": 1.3, "Hessian product, all active": 1.7,
    "Hessian product, a tenth active": 8.0, "spectrum": 2.0, "enumeration": 2e10,
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """How large each piece is."""

    widths: tuple[float, ...] = (0.25, 1.0)
    steps: int = 100  # training steps of an epoch
    batch: int = 128
    images: int = 1000  # of a Hessian product
    spectrum_images: int = 5000
    probes: int = 4
    lanczos: int = 80
    rounds: int = 10
    gates: tuple[int, ...] = (6, 11, 13, 1)
    inputs: int = 64  # of the enumeration
    examples: int = 2000  # of R5
    energies: int = 41


TINY = Sizes((0.03, 0.04), 3, 2, 6, 5, 2, 3, 2, (2, 3, 4, 1), 2, 12, 2)


class Bench:
    """What all pieces share: the backends to be timed, where PyTorch runs, and what happened to its methods."""

    def __init__(self, sizes: Sizes, dry: bool) -> None:
        self.sizes, self.dry = sizes, dry
        name = "numpy" if dry else "cupy"
        self.ours: dict[str, Backend] = {"umwelt": get_backend(name, "float32")}
        if not dry:
            self.ours["umwelt, TF32"] = get_backend(name, "float32", tf32=True)
        self.torch_device = "cpu" if dry else "cuda"
        self.left_out: dict[str, str] = {}
        self.piece = ""

    def seconds(self, call: Call, rounds: int | None = None) -> float:
        """Median of a call that ends with the device's work done."""
        call()
        times = []
        for _ in range(rounds or self.sizes.rounds):
            begun = time.perf_counter()
            call()
            times.append(time.perf_counter() - begun)
        return statistics.median(times)

    def peer(self, what: str, make: Callable[[], Call], rounds: int | None = None) -> dict[str, float]:
        """A peer's seconds, or nothing and the reason why."""
        self.release()
        try:
            return {what: self.seconds(make(), rounds)}
        except Exception as error:  # a peer may fail in any way; that is its row's content
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            missing = isinstance(error, ImportError)
            self.left_out[what if missing else f"{self.piece} by {what}"] = "not installed" if missing else reason
            return {}
        finally:
            self.release()

    def release(self) -> None:
        """Each library keeps the memory that it has freed, which the other may need."""
        if self.dry:
            return
        import cupy

        cupy.get_default_memory_pool().free_all_blocks()
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()


def compared(name: str, seconds: dict[str, float]) -> dict[str, Any]:
    """Seconds, and for each of ours the ratio of the fastest peer."""
    peers = [s for n, s in seconds.items() if not n.startswith("umwelt")]
    ratios = {n: min(peers) / s for n, s in seconds.items() if n.startswith("umwelt")} if peers else {}
    return {"seconds": seconds, "ratios": ratios, "target": TARGETS.get(name)}


def training(bench: Bench, width: float, name: str) -> dict[str, Any]:
    """A step of SGD with momentum; epochs of `steps` steps, weights and velocity read at the end of each."""
    sizes, network = bench.sizes, vgg12(width)
    x = images(sizes.steps * sizes.batch)
    y = np.sign(np.random.default_rng(1).standard_normal(len(x))).astype(np.float32)
    weights = [w.astype(np.float32) for w in network.init(0)]
    seconds = {}
    for kind, ops in bench.ours.items():
        epochs = train_epochs(
            network, weights, x, y, epochs=9, batch_size=sizes.batch, learning_rate=1e-4, momentum=0.9, backend=ops
        )
        seconds[kind] = bench.seconds(lambda epochs=epochs: next(epochs), 3) / sizes.steps
    for last in (False, True):
        method = "pytorch, channels last" if last else "pytorch"
        make = lambda last=last: gpu_peers.epoch(network, weights, x, y, sizes.batch, last, bench.torch_device)  # noqa: E731
        seconds |= {n: s / sizes.steps for n, s in bench.peer(method, make, 3).items()}
    return compared(name, seconds)


def products(bench: Bench, share: float, name: str) -> dict[str, Any]:
    """A Hessian product with one vector, on the device; PyHessian keeps the graph of the gradient."""
    network = vgg12(bench.sizes.widths[0])
    x = images(bench.sizes.images)
    weights, y = problem(network, x, share)
    v = np.random.default_rng(2).standard_normal(network.n_weights).astype(np.float32)
    seconds, found = {}, {}
    for kind, ops in bench.ours.items():
        operator = HessianOperator(network, weights, x, y, backend=ops)
        vector = ops.asarray(v)

        def product(operator: HessianOperator = operator, vector: Any = vector, ops: Backend = ops) -> Any:
            made = operator.product(vector)
            ops.synchronize()
            return made

        found[kind] = ops.to_numpy(product())
        seconds[kind] = bench.seconds(product)
    made: list[Any] = []

    def peer() -> Call:
        product, read = gpu_peers.hessian_product(network, weights, x, y, v, bench.torch_device)
        made.append(read)
        return product

    seconds |= bench.peer("pyhessian", peer)
    row = compared(name, seconds)
    if "pyhessian" in seconds:
        other = made[0]()
        row["differences"] = {k: float(np.linalg.norm(p - other) / np.linalg.norm(other)) for k, p in found.items()}
    return row


def spectrum(bench: Bench, name: str) -> dict[str, Any]:
    """From arrays to nodes, once each, after a spectrum of two steps that compiles what is to be compiled."""
    sizes, network = bench.sizes, vgg12(bench.sizes.widths[0])
    x = images(sizes.spectrum_images)
    weights, y = problem(network, x, 1.0)
    seconds, rms = {}, {}
    for kind, ops in bench.ours.items():

        def run(steps: int, ops: Backend = ops) -> float:
            operator = HessianOperator(network, weights, x, y, backend=ops)
            return spectral_density(operator, sizes.probes, steps).rms

        run(2)
        begun = time.perf_counter()
        rms[kind] = run(sizes.lanczos)
        seconds[kind] = time.perf_counter() - begun

    def peer() -> Call:
        return gpu_peers.spectrum(network, weights, x, y, sizes.lanczos, sizes.probes, bench.torch_device)

    seconds |= bench.peer("pyhessian", lambda: once(peer()), 1)
    return compared(name, seconds) | {"rms": rms}


def once(call: Call) -> Call:
    """A call whose first time, the one that is not counted, is left out: it is too long to be done twice."""
    calls = iter((lambda: None, call))
    return lambda: next(calls)()


def enumeration(bench: Bench, name: str) -> dict[str, Any]:
    """Gate configurations a second in exact marginals, float64."""
    sizes, network = bench.sizes, mlp(bench.sizes.gates)
    weights, x = network.init(0), np.random.default_rng(0).standard_normal((sizes.inputs, sizes.gates[0]))
    ops = get_backend("numpy" if bench.dry else "cupy")
    expected = exact_marginal(network, weights, x[:1], 0.5, "numba")
    error = float(np.abs(exact_marginal(network, weights, x, 0.5, ops)[:1] - expected).max())
    seconds = bench.seconds(lambda: exact_marginal(network, weights, x, 0.5, ops))
    rate = sizes.inputs * 2.0 ** sum(sizes.gates[1:-1]) / seconds
    return {"seconds": {"umwelt": seconds}, "configurations per second": rate, "error": error, "target": TARGETS[name]}


def prediction(bench: Bench, name: str) -> dict[str, Any]:
    """R5 of mlp:64x64x64, float64: from weights and data to g(z) at all energies."""
    sizes = bench.sizes
    network = mlp([64, 64, 64, 64, 1]) if not bench.dry else mlp([4, 4, 4, 4, 1])
    weights = network.init(0)
    x = np.random.default_rng(0).standard_normal((sizes.examples, network.layers[0].fan_in))
    c = np.sign(output(network, weights, x)) / len(x)
    operator = HessianOperator(network, weights, x, None, c=c)
    rms = spectral_density(operator, 2, 10).rms
    z = (np.linspace(-3, 3, sizes.energies) + 0.05j) * rms
    ops = get_backend("numpy" if bench.dry else "cupy")
    begun = time.perf_counter()
    predict_spectrum(network, x, c, z, "R5", weights, backend=ops)
    return {"seconds": {"umwelt": time.perf_counter() - begun}, "energies": sizes.energies, "target": None}


def pieces(bench: Bench) -> dict[str, tuple[float, Callable[[], dict[str, Any]]]]:
    """Every piece with the seconds it may take; the estimate decides whether it still fits."""
    made: dict[str, tuple[float, Callable[[], dict[str, Any]]]] = {}
    for width, label in zip(bench.sizes.widths, ("0.25", "1.0"), strict=True):
        name = f"training step, vgg12:{label}"
        made[name] = (45.0, lambda width=width, name=name: training(bench, width, name))
    for share, label in ((1.0, "all"), (0.1, "a tenth")):
        name = f"Hessian product, {label} active"
        made[name] = (30.0, lambda share=share, name=name: products(bench, share, name))
    made["enumeration"] = (15.0, lambda: enumeration(bench, "enumeration"))
    made["spectrum"] = (120.0, lambda: spectrum(bench, "spectrum"))
    made["R5"] = (60.0, lambda: prediction(bench, "R5"))
    return made


def parity(seconds: float) -> dict[str, Any]:
    """`pytest -m gpu` for at most so long: counts by outcome, and the last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--no-header"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"outcome": f"not finished in {seconds:.0f} s"}
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()[-200:]
    counts = {kind: int(count) for count, kind in re.findall(r"(\d+) (passed|failed|errors?|without_gpu)", last)}
    failed = re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    return {"outcome": last, "counts": counts, "failed": failed[:20], "status": done.returncode}


def device(bench: Bench) -> dict[str, Any]:
    """The machine, the card and the versions."""
    found = machine()
    for package in ("cupy-cuda13x", "cupy-cuda12x", "torch", "pyhessian"):
        try:
            found["packages"][package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if not bench.dry:
        import cupy

        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        found["gpu"] = properties["name"].decode()
        found["gpu_memory"] = int(properties["totalGlobalMem"])
    return found


def table(results: dict[str, Any]) -> str:
    """The figures as Markdown, with what was left out and why."""
    lines = [
        f"{results['machine'].get('gpu', 'no GPU: a dry run on the CPU')}.", "",
        "| piece | Umwelt | Umwelt, TF32 | fastest peer | ratio | ratio, TF32 | target |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, row in results["pieces"].items():
        seconds, ratios = row["seconds"], row.get("ratios", {})
        peers = {n: s for n, s in seconds.items() if not n.startswith("umwelt")}
        fastest = min(peers, key=lambda n: peers[n], default="")
        shown = [duration(seconds.get(n)) for n in ("umwelt", "umwelt, TF32")]
        shown.append(f"{fastest} {duration(peers[fastest])}" if fastest else "–")
        shown += [f"{ratios[n]:.2f}" if n in ratios else "–" for n in ("umwelt", "umwelt, TF32")]
        rate = row.get("configurations per second")
        label = name if rate is None else f"{name} ({rate:.2g} configurations/s)"
        lines.append(
            f"| {label} | {' | '.join(shown)} | {'–' if row['target'] is None else format(row['target'], 'g')} |"
        )
    lines += [f"\nParity (`pytest -m gpu`): {results['parity']['outcome']}."] if "parity" in results else []
    lines += [f"\nLeft out: {name} ({reason})." for name, reason in results["left_out"].items()]
    return "\n".join(lines)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def write(results: dict[str, Any], out: Path, page: Path | None) -> None:
    """The figures as JSON, and between the marks of the page."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")
    if page is not None:
        head, rest = page.read_text().split(BEGIN)
        page.write_text(f"{head}{BEGIN}\n\n{table(results)}\n\n{END}{rest.split(END)[1]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--seconds", type=float, default=480.0, help="for everything together")
    parser.add_argument("--parity", action="store_true", help="run pytest -m gpu first")
    parser.add_argument("--cases", help="pieces whose name contains one of these words, comma-separated")
    parser.add_argument("--out", type=Path, help="default benchmarks/results/gpu.json, none for a dry run")
    parser.add_argument("--page", type=Path, help="default docs/gpu.md, none for a dry run")
    options = parser.parse_args()
    begun = time.perf_counter()
    out = options.out or (None if options.dry_run else ROOT / "benchmarks/results/gpu.json")
    page = options.page or (None if options.dry_run else ROOT / "docs/gpu.md")
    warnings.filterwarnings("default", message=".*CUDA graph.*")  # each once, and not as an error
    bench = Bench(TINY if options.dry_run else Sizes(), options.dry_run)
    results: dict[str, Any] = {"machine": device(bench), "pieces": {}, "left_out": bench.left_out}
    if options.parity:
        results["parity"] = parity(0.55 * options.seconds)
        print("parity", json.dumps(results["parity"]), flush=True)
    words = options.cases.split(",") if options.cases else [""]
    for name, (estimate, run) in pieces(bench).items():
        if not any(word in name for word in words):
            continue
        if time.perf_counter() - begun + estimate > options.seconds:
            bench.left_out[name] = f"no room for {estimate:.0f} s in the budget"
            continue
        start, bench.piece = time.perf_counter(), name
        results["pieces"][name] = run()
        print(f"{name} ({time.perf_counter() - start:.0f} s)", json.dumps(results["pieces"][name]), flush=True)
        if out is not None:
            write(results, out, page)
    print(table(results))
    return 1 if results.get("parity", {}).get("status") else 0


if __name__ == "__main__":
    sys.exit(main())
