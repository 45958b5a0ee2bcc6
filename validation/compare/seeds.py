"""The main job over several seeds, on Dask: ``compare(seeds=...)``, and its joint report.

Every seed is a comparison of its own in OUT/seed-K, resumed from its checkpoints wherever it is run again; OUT has to
be within reach of the workers. What the joint report needs of a finished one is a cell on disk (`run.cells`).
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from simulator import TrainingDivergedError
from validation.errors import OptionError
from validation.report.write import finish
from validation.run.cells import CellStore, finished_cells
from validation.run.cluster import check_cluster
from validation.run.console import say
from validation.run.environment import environment, package_version
from validation.run.folder import locked
from validation.run.plain_options import plain
from validation.run.storage import REPORT_SCHEMA
from validation.statistics.estimate import estimate

from .options import Options
from .report import Report
from .single import compare_one, prepare

Record = dict[str, Any]
SCALARS: dict[str, Callable[[Record], float | None]] = {
    "risk": lambda r: r["risk"],
    "accuracy": lambda r: r["accuracy"],
    "test_accuracy": lambda r: r["test_accuracy"],
    "order_parameter": lambda r: r["order_parameter"],
    "active_fraction": lambda r: r["active_fraction"],
    "rms": lambda r: r["spectrum"]["rms"],
}
OF_A_SPECTRUM: dict[str, Callable[[Record], float]] = {  # where H ≠ 0
    "smallest": lambda s: s["minimum"] / s["rms"],
    "largest": lambda s: s["maximum"] / s["rms"],
    "fraction_negative": lambda s: s["fraction_negative"]["value"],
    "fraction_positive": lambda s: s["fraction_positive"]["value"],
    "mirror": lambda s: s["symmetry"]["value"],
    "m3": lambda s: s["symmetry"]["m3"],
    "l1_standard_error": lambda s: s["l1_standard_error"],
}


def compare_seeds(
    seeds: Sequence[int], workers: int | None = None, scheduler: str | None = None, **options: Any
) -> Report:
    """The same comparison for every seed; means and standard errors over seeds in seeds.json and seeds.html.

    Options as `validation.compare`, `seed` aside. Raises what it raises before any work is done, and `ClusterError`. A
    seed whose training diverges is named in ``data["diverged"]`` and left out.
    """
    numbers: tuple[int, ...] = plain("seeds", seeds, Sequence[int])
    workers, scheduler = plain("workers", workers, int | None), plain("scheduler", scheduler, str | None)
    chosen = Options(**options).completed()
    if chosen.seed:
        raise OptionError(f"--seed {chosen.seed} with --seeds: give one of both")
    if not numbers or len(set(numbers)) < len(numbers) or any(s < 0 for s in numbers):
        raise OptionError(f"--seeds {','.join(map(str, numbers))}: expected different integers >= 0, at least one")
    check_cluster(workers, scheduler)
    say(f"data: {prepare(chosen)[0].dataset.source}")
    identity = {k: v for k, v in chosen.identity().items() if k != "seed"}
    # What was in memory as it was read the first time: parameters of a module can be listed only once.
    options |= {name: getattr(chosen, name) for name in ("data", "network", "weights")}
    root = Path(chosen.folder() + ("-seeds" if options.get("out") is None else "")).absolute()
    store = CellStore(str(root), identity)
    store.open(chosen.resume)
    with locked(root):
        tasks = {f"seed-{seed}": (options | {"out": str(root)}, seed) for seed in numbers}
        cells = finished_cells(store, tasks, run_seed, _line, workers=workers, scheduler=scheduler, unit="seeds")
        data = joint(list(cells.values())) | {"options": identity | {"seeds": list(numbers)}}
        _write(root, data)
    return Report(data, root)


def run_seed(options: Mapping[str, Any], seed: int) -> Record:
    """One comparison, in OUT/seed-K, quietly; what the joint report needs of it."""
    given = dict(options) | {"seed": seed, "out": str(Path(options["out"]) / f"seed-{seed}"), "resume": True}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return digest(compare_one(**given).data)
        except TrainingDivergedError as error:
            return {"seed": seed, "diverged": str(error)}


def digest(report: Mapping[str, Any]) -> Record:
    """Plain numbers of every epoch, the claims, and what was looked at."""
    kept: Record = {key: report[key] for key in ("seed", "dataset", "network", "backend", "loss", "eta", "claims")}
    kept["epochs"] = sorted(
        [*map(_epoch, report["epochs"]), *map(_silent, report.get("silent", []))], key=itemgetter("epoch")
    )
    return kept | {"diverged": None}


def _epoch(record: Record) -> Record:
    law = record["spectrum"]
    values = {name: value(record) for name, value in SCALARS.items()}
    values |= {name: value(law) if law["rms"] > 0 else None for name, value in OF_A_SPECTRUM.items()}
    errors = {rung: {key: made[key] for key in ("l1", "w1")} for rung, made in record["predictions"].items()}
    return {"epoch": record["epoch"], **values, "predictions": errors}


def _silent(record: Record) -> Record:
    """An epoch at H = 0 that was not measured again: what it has in common with a record there."""
    values = {name: record.get(name) for name in SCALARS} | dict.fromkeys(OF_A_SPECTRUM)
    return {"epoch": record["epoch"], **values, "rms": 0.0, "predictions": {}}


def _line(cell: Record) -> str:
    said = cell["diverged"] or "risk {risk:.4g}  accuracy {accuracy:.4f}".format_map(cell["epochs"][-1])
    return f"seed {cell['seed']:>3}  {said}"


def joint(cells: Sequence[Record]) -> Record:
    """Means over seeds with standard errors, epoch by epoch, and how many seeds each claim has on its side."""
    used = [cell for cell in cells if cell["diverged"] is None]
    if not used:
        raise OptionError(f"training diverged with every seed ({cells[0]['diverged']})")
    diverged = ", ".join(f"seed {c['seed']} ({c['diverged']})" for c in cells if c["diverged"] is not None)
    return {
        "schema": REPORT_SCHEMA,
        "kind": "seeds",
        "version": package_version("umwelt-dnn"),
        "environment": environment() | {"dask": package_version("distributed")},
        **{key: used[0][key] for key in ("network", "backend", "loss", "eta")},
        "dataset": {"name": used[0]["dataset"]["name"], "source": used[0]["dataset"]["source"]},
        "seeds": [cell["seed"] for cell in used],
        "diverged": diverged,
        "risks": [[e["risk"] for e in cell["epochs"]] for cell in used],
        "epochs": [_mean(records) for records in zip(*(cell["epochs"] for cell in used), strict=True)],
        "claims": [
            _claim(claims, [cell["seed"] for cell in used])
            for claims in zip(*_aligned([c["claims"] for c in used]), strict=True)
        ],
    }


def _mean(records: Sequence[Record]) -> Record:
    means: Record = {"epoch": records[0]["epoch"]}
    for name in (*SCALARS, *OF_A_SPECTRUM):
        means[name] = estimate([r[name] for r in records if r[name] is not None])
    rungs = sorted({rung for r in records for rung in r["predictions"]})
    means["predictions"] = {
        rung: {
            key: estimate([r["predictions"][rung][key] for r in records if rung in r["predictions"]])
            for key in ("l1", "w1")
        }
        for rung in rungs
    }
    return means


def _aligned(lists: Sequence[Sequence[Record]]) -> list[list[Record | None]]:
    """Claims of every seed in one order; None where a seed has none of that name (a rung left out)."""
    names = list(dict.fromkeys(claim["id"] for claims in lists for claim in claims))
    return [[next((c for c in claims if c["id"] == name), None) for name in names] for claims in lists]


def _claim(claims: Sequence[Record | None], seeds: Sequence[int]) -> Record:
    """One claim over all seeds: on its side only where every seed that it applies to is."""
    made = [c for c in claims if c is not None]
    counts = Counter(c["verdict"] for c in made)
    total = len(made) - counts["not applicable"]
    best = "holds" if counts["holds"] else "supported"
    if total == 0:
        verdict = "not applicable"
    else:
        verdict = "not supported" if counts["not supported"] else "not resolved" if counts["not resolved"] else best
    failing = list(zip(seeds, claims, strict=True))
    examples = [f"seed {seed}: {c['measured']}" for seed, c in failing if c and c["verdict"] == "not supported"]
    kept = {key: made[0][key] for key in ("id", "source", "claim", "expected", "exact")}
    return kept | {
        "measured": _counted(counts, best, total), "verdict": verdict, "verdicts": dict(counts), "against": examples,
    }  # fmt: skip


def _counted(counts: Counter[str], best: str, total: int) -> str | None:
    """supported for 3 of 5 seeds, not resolved for 2."""
    if not total:
        return None
    undecided = counts["not resolved"]
    return f"{best} for {counts[best]} of {total} seeds" + (f", not resolved for {undecided}" if undecided else "")


def _write(folder: Path, data: Record) -> None:
    from .pages.seeds import render_seeds

    finish(folder, "seeds", data, _figures, render_seeds)


def _figures() -> Mapping[str, Callable[[Any], Any]]:
    from validation.compare.figures.seeds import FIGURES

    return FIGURES
