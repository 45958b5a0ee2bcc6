"""Lines of `benchmarks/gpu.py` as one record, and as the table of docs/gpu.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
TARGETS = {
    "training step, vgg12:0.25": 1.0, "training step, vgg12:1.0": 1.3, "Hessian product, all active": 1.7,
    "Hessian product, a tenth active": 8.0, "spectrum": 2.0, "enumeration": 2e10,
}  # fmt: skip


def read(lines: Path) -> list[dict[str, Any]]:
    """Whole lines; the last one may have been cut when its process was."""
    found = []
    for line in lines.read_text().splitlines() if lines.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def collect(lines: list[dict[str, Any]], parity: dict[str, Any] | None, left_out: dict[str, str]) -> dict[str, Any]:
    """{machine, pieces: {name: {seconds, ratios, target, ...}}, smoke, parity, left_out}."""
    results: dict[str, Any] = {
        "machine": {},
        "smoke": {"right": 0, "wrong": {}},
        "pieces": {},
        "left_out": dict(left_out),
    }
    for line in lines:
        piece, what = line.pop("piece"), line.pop("what")
        if piece == "machine":
            results["machine"] = line
        elif piece == "smoke":
            wrong = line.get("failed") or (None if line["right"] else f"error {line['error']}" + " ".join(line["said"]))
            results["smoke"]["right"] += wrong is None
            results["smoke"]["wrong"] |= {what: wrong} if wrong else {}
        elif "failed" in line:
            results["left_out"][f"{piece} by {what}"] = line["failed"]
        elif "difference" in line:
            results["pieces"].setdefault(piece, {"seconds": {}}).setdefault("differences", {})[what] = line[
                "difference"
            ]
        else:
            row = results["pieces"].setdefault(piece, {"seconds": {}})
            row["seconds"][what] = line.pop("seconds")
            row |= {key: value for key, value in line.items() if key != "rounds"}
    for piece, row in results["pieces"].items():
        _compare(piece, row)
    if parity is not None:
        results["parity"] = parity
    return results


def _compare(piece: str, row: dict[str, Any]) -> None:
    """The ratio of the fastest peer to each of ours; rates where operations or configurations were counted."""
    seconds = row["seconds"]
    peers = [s for n, s in seconds.items() if not n.startswith("umwelt")]
    row["ratios"] = {n: min(peers) / s for n, s in seconds.items() if n.startswith("umwelt")} if peers else {}
    row["target"] = TARGETS.get(piece)
    if "operations" in row:
        row["TFLOP/s"] = {n: row["operations"] / s / 1e12 for n, s in seconds.items()}
    if "configurations" in row and "umwelt" in seconds:
        row["configurations per second"] = row["configurations"] / seconds["umwelt"]


def table(results: dict[str, Any]) -> str:
    """The figures as Markdown, with what was left out and why."""
    smoke = results["smoke"]
    lines = [
        f"{results['machine'].get('gpu', 'no GPU: a dry run on the CPU')}.", "",
        f"Smoke: {smoke['right']} checks right, {len(smoke['wrong'])} wrong.", "",
        "| piece | Umwelt | Umwelt, TF32 | fastest peer | ratio | ratio, TF32 | target |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [_row(piece, row) for piece, row in results["pieces"].items() if "TFLOP/s" not in row]
    layers = {piece: row["TFLOP/s"] for piece, row in results["pieces"].items() if "TFLOP/s" in row}
    if layers:
        lines += ["", "| layer, batches of 128 | TFLOP/s | TFLOP/s, TF32 |", "|---|---|---|"]
        for piece, rates in layers.items():
            shown = [f"{rates[n]:.3g}" if n in rates else "–" for n in ("umwelt", "umwelt, TF32")]
            lines.append(f"| {piece.removeprefix('layer of ')} | {' | '.join(shown)} |")
    lines += [f"\nParity (`pytest -m gpu`): {results['parity']['outcome']}."] if "parity" in results else []
    lines += [f"\nWrong: {name} ({said})." for name, said in smoke["wrong"].items()]
    lines += [f"\nLeft out: {name} ({said})." for name, said in results["left_out"].items()]
    return "\n".join(lines)


def _row(piece: str, row: dict[str, Any]) -> str:
    seconds, ratios = row["seconds"], row["ratios"]
    peers = {n: s for n, s in seconds.items() if not n.startswith("umwelt")}
    fastest = min(peers, key=lambda n: peers[n], default="")
    shown = [duration(seconds.get(n)) for n in ("umwelt", "umwelt, TF32")]
    shown.append(f"{fastest} {duration(peers[fastest])}" if fastest else "–")
    shown += [f"{ratios[n]:.2f}" if n in ratios else "–" for n in ("umwelt", "umwelt, TF32")]
    rate = row.get("configurations per second")
    label = piece if rate is None else f"{piece} ({rate:.2g} configurations/s)"
    return f"| {label} | {' | '.join(shown)} | {'–' if row['target'] is None else format(row['target'], 'g')} |"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def write(results: dict[str, Any], out: Path, page: Path | None) -> None:
    """gpu.json and gpu.md in a folder, and the figures between the marks of a page."""
    (out / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "gpu.md").write_text(table(results) + "\n")
    if page is not None:
        head, rest = page.read_text().split(BEGIN)
        page.write_text(f"{head}{BEGIN}\n\n{table(results)}\n\n{END}{rest.split(END)[1]}")
