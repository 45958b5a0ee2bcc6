"""On one GPU: the CuPy backend checked and timed beside PyTorch eager with TF32 and PyHessian, within a budget.

    python benchmarks/gpu.py --here --out DIR     # nothing is installed: this checkout is put on the path
    python benchmarks/gpu.py [--seconds 480] [--only PIECE,...] [--page docs/gpu.md]
    python benchmarks/gpu.py --dry-run            # tiny sizes, NumPy on the CPU: does every line run?

Each piece is a process of its own with a hard limit: what one of them breaks, a device or itself, ends with it. All
share one folder of compiled kernels (CUPY_CACHE_DIR). A line is written to DIR/gpu.jsonl as each number is measured;
DIR/gpu.json and DIR/gpu.md are made anew after every piece. In order of value: `smoke` holds every kernel in three
precisions against float64; training steps; Hessian products; TFLOP/s by layer; `pytest -m gpu`; enumeration; a
spectrum; R5 and R6; RE.

Synthetic images, hinge loss, float32; PyTorch in both layouts, convolutions in TF32 (its default, set here all the
same). Umwelt in float32 and in TF32. A ratio is the fastest peer's time over ours: above 1 we are quicker. Where time
is short rounds are fewer. A peer that is not installed or fails, and a piece without room, are named with the reason.
The exit status is 0 once results are written, 1 where nothing could be measured.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gpu_page import collect, read, table, write

ROOT = Path(__file__).resolve().parents[1]
# Seconds of each piece where there are 480; more where others were done early. In order of value.
PIECES = {
    "smoke": 40.0, "training": 100.0, "products": 60.0, "layers": 45.0, "parity": 90.0, "enumeration": 15.0,
    "spectrum": 60.0, "predictions": 35.0, "draws": 30.0,
}  # fmt: skip
LEAST = 8.0  # seconds below which a piece is not begun: CUDA and the libraries take some to load
SPARE = 4.0  # for what is written at the end
TESTS = ("tests/backends/test_cuda_arrays.py", "tests/backends/test_cuda.py", "tests/backends/test_cuda_job.py")


class Runner:
    """Pieces one after another, their lines, logs and results in one folder."""

    def __init__(self, out: Path, seconds: float, dry: bool, here: bool, page: Path | None) -> None:
        self.out, self.dry, self.page = out, dry, page
        self.end = time.perf_counter() + seconds - SPARE
        self.lines, self.logs = out / "gpu.jsonl", out / "gpu-logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.lines.unlink(missing_ok=True)
        self.left_out: dict[str, str] = {}
        self.parity: dict[str, Any] | None = None
        self.environment = dict(os.environ, PYTHONUNBUFFERED="1", MPLBACKEND="Agg")
        self.environment.setdefault("CUPY_CACHE_DIR", str(Path(tempfile.gettempdir()) / "umwelt-kernels"))
        if here:
            paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
            self.environment["PYTHONPATH"] = os.pathsep.join(paths)

    def run(self, piece: str, later: list[str]) -> None:
        """One piece, for its share of the time that is left."""
        left = self.end - time.perf_counter()
        limit = left * PIECES[piece] / sum(PIECES[name] for name in (piece, *later))
        if left < LEAST:
            self.left_out[piece] = f"no room: {max(left, 0.0):.0f} s of the budget are left"
            return
        limit, log = max(limit, min(LEAST, left)), self.logs / f"{piece}.log"
        begun = time.perf_counter()
        print(f"== {piece}, {limit:.0f} s at most", flush=True)
        status = self._process(self._command(piece, limit), limit, log)
        if piece == "parity":
            self.parity = outcome(log, status)
        elif status is None:
            self.left_out[piece] = f"not finished in {limit:.0f} s"
        elif status != 0:
            self.left_out.setdefault(piece, f"status {status}: {last_line(log)}")
        print(f"== {piece}: {time.perf_counter() - begun:.0f} s", flush=True)
        write(self.results(), self.out, self.page)

    def results(self) -> dict[str, Any]:
        return collect(read(self.lines), self.parity, self.left_out)

    def _command(self, piece: str, limit: float) -> list[str]:
        if piece == "parity":
            options = ["-o", "addopts=", "--import-mode=importlib", "-p", "no:cacheprovider", "--tb=line", "-rf", "-q"]
            return [sys.executable, "-m", "pytest", *options, "-m", "gpu", *TESTS]
        script = str(ROOT / "benchmarks/gpu_pieces.py")
        command = [sys.executable, script, piece, "--lines", str(self.lines.resolve()), "--seconds", f"{limit:.1f}"]
        return command + ["--dry-run"] * self.dry

    def _process(self, command: list[str], limit: float, log: Path) -> int | None:
        """Its exit status, or None where it had to be ended; what it says goes to a file as it is said."""
        with log.open("w") as file:
            process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                return process.wait(timeout=limit)
            except subprocess.TimeoutExpired:
                return None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


def outcome(log: Path, status: int | None) -> dict[str, Any]:
    """Counts of pytest by outcome; of the dots that were written where it was not finished."""
    text = log.read_text()
    dots = "".join(re.findall(r"^([.FEsxXg]+)(?: +\[ *\d+%\])?$", text, re.MULTILINE))
    counts = {name: dots.count(mark) for name, mark in (("passed", "."), ("failed", "F"), ("errors", "E"))}
    said = ", ".join(f"{number} {name}" for name, number in counts.items())
    said = f"{said}, not finished" if status is None else f"{said}, {last_line(log).strip('= ')}"
    return {
        "outcome": said,
        "counts": counts,
        "failed": re.findall(r"^FAILED (\S+)", text, re.MULTILINE),
        "status": status,
    }


def last_line(log: Path) -> str:
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing was said"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--here", action="store_true", help="put this checkout on the path of all pieces")
    parser.add_argument("--seconds", type=float, default=480.0, help="for everything together")
    parser.add_argument("--only", help=f"pieces, comma-separated: {', '.join(PIECES)}")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results", help="a folder")
    parser.add_argument("--page", type=Path, help="a page with marks between which the figures are written")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else [p for p in PIECES if not (options.dry_run and p == "parity")]
    if unknown := set(chosen) - set(PIECES):
        parser.error(f"pieces {', '.join(sorted(unknown))} are unknown: use some of {', '.join(PIECES)}")
    chosen = [piece for piece in PIECES if piece in chosen]
    runner = Runner(options.out, options.seconds, options.dry_run, options.here, options.page)
    for index, piece in enumerate(chosen):
        runner.run(piece, chosen[index + 1 :])
    results = runner.results()
    write(results, options.out, options.page)
    print(table(results))
    return 0 if results["pieces"] or results["smoke"]["right"] or runner.parity else 1


if __name__ == "__main__":
    sys.exit(main())
