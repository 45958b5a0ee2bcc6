"""From networks with novel examples to verdicts, table, page and figures; options; runs that go on."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.bad_input import check_refused
from support.places import ROOT
from validation.errors import OptionError, StorageError
from validation.novel import job
from validation.novel.__main__ import main, parser
from validation.novel.answer import answer
from validation.novel.cell import Record, measure_cell
from validation.novel.claims import judge
from validation.novel.figures import FIGURES, figures_of, offsets
from validation.novel.job import NovelReport, novel
from validation.novel.options import NovelOptions
from validation.novel.page import render, rows, text_table
from validation.novel.summary import absorbed_after, by_seed, from_rest, in_passes, rested, table, twin_of
from validation.statistics.claim import Claim

MOST = 1000


def moment(stage: str, updates: int, scale: float, share: float) -> Record:
    """rms `scale`, ends at -20 and 20 times that."""

    def known(value: float) -> Record:
        return {"value": value, "standard_error": 0.01 * abs(value)}

    return {
        "stage": stage, "updates": updates, "active": 5, "rms": known(scale), "minimum": known(-20 * scale),
        "maximum": known(20 * scale), "m3": None if scale == 0 else {"value": 0.0, "standard_error": 1.0},
        "aligned": {p: known(share) | {"chance": 0.1, "dead_examples": 0} for p in ("old", "novel")},
    }  # fmt: skip


def shown(number: int, risk: float, after: int | None, share: float = 0.01) -> Record:
    """A round whose risk halves on the way to 0 after so many updates; None: it stays at a tenth for ever."""
    end, times = (after, (0, 10, 20, after)) if after else (MOST, (0, 10, 20, MOST))
    values = [risk, 0.5 * risk, 0.1 * risk, 0.0 if after else 0.1 * risk]
    points = [
        {"updates": t, "risk": v, "order_parameter": 2 * v, "active": int(v > 0), "old": 0.0, "novel": 5 * v}
        for t, v in zip(times, values, strict=True)
    ]
    law = {
        "initial": risk,
        "half": 10.0,
        "tenth": 20.0,
        "zero": after,
        "tau": 12.0,
        "tau_standard_error": 1.0,
        "r2": 0.9,
    }
    stages = (("before", 0, 0.0), ("jump", 0, 0.1), ("half", 10, 0.05), ("tenth", 20, 0.02), ("end", end, 0.0))
    return {
        "round": number, "examples": {"old": 40, "novel": 10, "batch": 50},
        "direct": {"risk": risk, "order_parameter": 2 * risk},
        "decay": {"risk": dict(law), "order_parameter": dict(law)}, "outcome": "zero" if after else "above",
        "points": points,
        "moments": [moment(s, t, v, share * (1 if s == "before" else 2)) for s, t, v in stages],
    }  # fmt: skip


def still(number: int) -> Record:
    """The control."""
    zero = {"risk": 0.0, "order_parameter": 0.0}
    points = [{"updates": t, **zero, "active": 0, "old": 0.0, "novel": 0.0} for t in (0, 1)]
    return {
        "round": number, "examples": {"old": 40, "novel": 10, "batch": 50}, "direct": zero,
        "decay": {"risk": None, "order_parameter": None}, "outcome": "zero", "points": points,
        "moments": [moment("before", 0, 0.0, 0.01), moment("end", 1, 0.0, 0.01)],
    }  # fmt: skip


def made(
    width: float, seed: int, *, last: int | None = 100, twin: int | None = 100, outcome: str = "zero", new: float = 0.4
) -> Record:
    """A cell of two rounds of each kind; the last one takes `last` updates, that of a twin `twin`."""
    noise = 1.0 + 0.01 * seed
    start = {"updates": 0, "risk": 1.0, "order_parameter": 1.0, "active": 40, "old": 1.0, "novel": None}
    end = start | {"updates": 50, "risk": 0.0, "order_parameter": 0.0, "active": 0, "old": 0.0}
    first = {"outcome": outcome, "points": [start, end]}
    after = int(1600 / width) + seed
    return {
        "width": width, "seed": seed, "weights": int(width**2), "first": first,
        "kinds": {
            "same": [shown(1, 0.05 * noise, after), shown(2, 0.04 * noise, last)],
            "new": [shown(1, new * noise, after), shown(2, 0.1 * noise, last)],
            "again": [still(1), still(2)],
        },
        "twins": {k: {"first": first, **shown(2, 0.04 * noise, twin)} for k in ("same", "new")}, "cpu_seconds": 1.0,
    }  # fmt: skip


def grid(**options: Any) -> list[Record]:
    return [made(width, seed, **options) for width in (8.0, 16.0) for seed in range(4)]


def verdicts(cells: list[Record]) -> dict[str, str]:
    return {c.id: c.verdict for c in judge(cells, MOST, 64, "float64")}


# Verdicts


def test_a_run_that_supports_every_claim() -> None:
    found = verdicts(grid())
    exact = {"novel.direct", "novel.again", "novel.zero"}
    assert found == dict.fromkeys(found, "supported") | dict.fromkeys(exact, "holds")
    assert len(found) == 14


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ({"last": None}, {"novel.absorbed", "novel.wear", "novel.rounds"}),
        ({"last": 300}, {"novel.wear", "novel.rounds"}),
        ({"twin": 10}, {"novel.wear"}),
        ({"new": 0.02}, {"novel.class"}),
    ],
)
def test_what_contradicts_a_claim_is_said(change: dict[str, Any], lost: set[str]) -> None:
    found = verdicts(grid(**change))
    assert {name for name, verdict in found.items() if verdict == "not supported"} == lost


def changed(change: Callable[[Record], None]) -> list[Record]:
    """The grid with a change to every round of novel examples."""
    cells = grid()
    for cell in cells:
        for kind in ("same", "new"):
            for one in cell["kinds"][kind]:
                change(one)
    return cells


def test_claims_on_spectrum_circuits_and_rate() -> None:
    def wide(one: Record) -> None:
        next(m for m in one["moments"] if m["stage"] == "jump")["maximum"]["value"] *= 3

    def constant(one: Record) -> None:
        next(m for m in one["moments"] if m["stage"] == "tenth")["rms"]["value"] = 0.09

    def idle(one: Record) -> None:
        one["moments"][-1]["aligned"]["novel"]["value"] = 0.001

    def slow(one: Record) -> None:
        one["decay"]["order_parameter"]["tenth"] = 200.0

    def flat(one: Record) -> None:
        one["outcome"] = "flat"

    def dead(one: Record) -> None:
        one["points"][0]["order_parameter"] = 0.0

    expected = {wide: "mirror", constant: "spectrum", idle: "circuits", slow: "decay", flat: "flat", dead: "jump"}
    for change, name in expected.items():
        assert verdicts(changed(change))[f"novel.{name}"] == "not supported", name


def test_facts_that_fail_are_bugs() -> None:
    cells = grid()
    cells[0]["kinds"]["again"][0]["points"][1]["risk"] = 1e-30
    cells[1]["kinds"]["same"][0]["direct"]["risk"] *= 1 + 1e-6
    cells[2]["kinds"]["new"][0]["points"][-1]["order_parameter"] = 1e-30
    lost = [c for c in judge(cells, MOST, 64, "float64") if c.exact and c.verdict != "holds"]
    assert {c.id for c in lost} == {"novel.again", "novel.direct", "novel.zero"}
    moved = grid()
    moved[0]["kinds"]["again"][0]["moments"][1]["aligned"]["old"]["value"] = 0.02
    assert verdicts(moved)["novel.again"] == "not supported"


def test_fewer_than_three_seeds_decide_nothing() -> None:
    for seeds in (1, 2):
        found = verdicts([c for c in grid() if c["seed"] < seeds])
        assert {v for name, v in found.items() if name not in ("novel.direct", "novel.again", "novel.zero")} == {
            "not resolved"
        }


def test_networks_that_never_came_to_rest_are_in_no_mean() -> None:
    cells = [made(8.0, s, outcome="above") for s in range(4)]
    assert rested(cells) == []
    found = verdicts(cells)
    assert {found[name] for name in found if name not in ("novel.direct", "novel.zero")} == {"not applicable"}
    assert table(cells, MOST) == []


def test_a_round_counts_only_where_the_network_was_at_rest_before() -> None:
    """What one round loses is not lost again in the next; a twin that did not learn is no twin."""
    cell = made(8.0, 0)
    cell["kinds"]["same"] = [shown(1, 0.1, 50), shown(2, 0.1, None), shown(3, 0.1, 60), shown(4, 0.1, 70)]
    assert [s["round"] for s in from_rest(cell, "same")] == [1, 2, 4]
    assert [s["round"] for s in from_rest(cell, "again")] == [1, 2]
    assert from_rest(made(8.0, 0, outcome="above"), "again") == []
    twin = twin_of(cell, "same")
    assert twin is not None
    cell["twins"]["same"] = twin | {"first": twin["first"] | {"outcome": "above"}}
    assert twin_of(cell, "same") is None
    assert twin_of(cell, "again") is None
    assert [(r["round"], r["networks"]) for r in table([cell], MOST) if r["kind"] == "same"] == [(1, 1), (2, 1), (4, 1)]


def test_passes_are_visits_of_every_example() -> None:
    """100 updates of 20 of 50 examples visit each 40 times; a batch is never larger than the examples."""
    passes = in_passes(absorbed_after(MOST), 20)
    assert passes(shown(1, 0.1, 100)) == 40.0
    assert in_passes(absorbed_after(MOST), 64)(shown(1, 0.1, 100)) == 100.0
    assert passes(still(1)) is None


def test_a_factor_has_the_error_of_its_logarithm() -> None:
    """Ratios 1.2, 1.0, 1.1, 0.9 of the last round to the twin's: a geometric mean with its error."""
    cells = [made(8.0, s, last=round(100 * r)) for s, r in enumerate((1.2, 1.0, 1.1, 0.9))]
    (claim,) = (c for c in judge(cells, MOST, 64, "float64") if c.id == "novel.wear")
    logs = np.log([1.2, 1.0, 1.1, 0.9])
    value, error = np.exp(logs.mean()), np.exp(logs.mean()) * logs.std(ddof=1) / 2
    assert claim.measured is not None
    assert f"{value:.3f} ± {error:.3f}" in claim.measured
    assert claim.verdict == ("supported" if logs.mean() + 2 * logs.std(ddof=1) / 2 <= np.log(1.25) else "not resolved")


def test_means_over_seeds_not_over_rounds() -> None:
    assert by_seed(grid(), lambda seen: float(len(seen))) == {"value": 2.0, "standard_error": 0.0, "networks": 4}
    assert absorbed_after(MOST)(shown(1, 0.1, None)) == MOST
    assert absorbed_after(MOST)(still(1)) is None


def test_the_table() -> None:
    found = {(r["width"], r["kind"], r["round"]): r for r in table(grid(), MOST)}
    assert len(found) == 2 * (3 * 2 + 2)
    row = found[8.0, "new", 1]
    assert (row["networks"], row["excited"], row["zero"]) == (4, 4, 4)
    assert row["risk"]["value"] == pytest.approx(0.4 * 1.015)
    assert row["risk"]["standard_error"] == pytest.approx(0.4 * 0.01 * np.std(range(4), ddof=1) / 2)
    assert found[16.0, "same", "twin"]["zero_after"]["value"] == 100
    assert found[16.0, "again", 1]["tau"] is None


# Page and figures


def report_of(cells: list[Record]) -> Record:
    return {
        "schema": 1, "kind": "novel", "version": "0", "dataset": "digits", "environment": {},
        "backend": {"name": "numpy", "dtype": "float64"}, "rested": len(rested(cells)),
        "options": NovelOptions().completed().kept() | {"updates": MOST},
        "table": table(cells, MOST), "checks": [c.record() for c in judge(cells, MOST, 64, "float64")], "cells": cells,
        "seconds": {"total": 1.0, "cells_cpu": 2.0},
    }  # fmt: skip


def test_the_answer_is_made_from_the_numbers() -> None:
    """Rounds that are not absorbed, a new class that perturbs less, wear, too few seeds, no round: other sentences."""
    report = report_of(grid())
    text = answer(report)
    assert text == (
        "32 of 32 rounds of novel examples with errors return to risk 0 (all in a large network: supported); a new "
        "class raises the risk 8 ± 0 times as far as a known one (supported); earlier rounds multiply the updates to "
        "risk 0 by 1 ± 0 (no wear: supported)"
    )
    page = render(report, {"novel": b"png", "novel_rounds": b"png"})
    places = [text, 'id="novel"', "came to risk 0 in their first", "Verdicts</h2>", 'id="novel_rounds"']
    assert [page.index(place) for place in places] == sorted(page.index(place) for place in places)
    assert " ".join(text_table(report).split()).startswith(f"{text}.")
    assert f"{text}." in repr(NovelReport(report, Path("run")))
    lost = answer(report_of(grid(last=None)))
    assert lost.startswith(
        "16 of 32 rounds of novel examples with errors return to risk 0 (all in a large network: not"
    )
    less = answer(report_of(grid(new=0.02)))
    assert "; a new class raises the risk 0.4 ± " in less
    assert " times as far as a known one (not supported); " in less
    assert answer(report_of(grid(twin=10))).endswith("risk 0 by 10 ± 0 (no wear: not supported)")
    assert "(all in a large network: not resolved)" in answer(report_of([made(8.0, seed) for seed in (0, 1)]))
    assert answer(report_of([made(8.0, 0, outcome="above")])).startswith("No round of novel examples with errors began")


def test_the_page_and_its_table() -> None:
    cells = [*grid(), made(4.0, 0, outcome="above")]
    report = report_of(cells)
    page = render(report, {"novel": b"png", "novel_rounds": b"png", "novel_size": b"png"})
    for text in ("8 of 9 networks came to risk 0", "Left out of the means", "novel.wear", "width 16, seed 0", "λ<sub>"):
        assert text in page
    for reference in ("http:", "https:", "src='", "<script"):
        assert reference not in page
    assert len(rows(report)) == len(report["table"])
    assert "twin" in text_table(report)
    assert render(report_of([]), {}).startswith("<!")


def test_figures_are_drawn_from_any_report_with_their_numbers() -> None:
    empty = copy.deepcopy(grid()[0])
    empty["kinds"]["new"] = [empty["kinds"]["new"][0] | {"points": [], "moments": [], "outcome": "diverged"}]
    for cells in (grid(), [empty, made(16.0, 1)]):
        for draw in FIGURES.values():
            target = io.BytesIO()
            draw(report_of(cells)).savefig(target, format="png")
            assert len(target.getvalue()) > 1000
    assert offsets([shown(1, 0.1, 30), shown(2, 0.1, 40)]) == [0, 30]
    with pytest.raises(ValueError, match="at least two widths"):
        FIGURES["novel_size"](report_of([made(8.0, 0)]))
    assert set(figures_of(report_of([made(8.0, 0)]))) == set(FIGURES) - {"novel_size"}
    assert set(figures_of(report_of([made(8.0, 0), made(16.0, 0)]))) == set(FIGURES)


# Options and the command


def test_defaults_of_the_command_line_are_those_of_the_options() -> None:
    assert NovelOptions(**vars(parser().parse_args([]))) == NovelOptions()
    done = NovelOptions().completed()
    assert (done.rounds, done.examples, done.novel, done.out) == (6, 200, 40, "runs/novel")
    quick = NovelOptions(quick=True, rounds=3).completed()
    assert (quick.rounds, quick.examples, quick.out) == (3, 100, "runs/novel-rounds-3-quick")
    json.dumps([quick.kept(), quick.cell_options])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": ()}, "--widths : expected different numbers > 0"),
        ({"widths": (0.0,)}, "--widths 0"),
        ({"widths": (float("nan"),)}, "--widths nan"),
        ({"seeds": (1, 1)}, "--seeds 1,1: expected different integers >= 0"),
        ({"kinds": ("old",)}, "--kinds old"),
        ({"kinds": ("again",)}, "--kinds again: expected same or new beside it"),
        ({"batch": "old"}, "--batch old: expected old"),
        ({"network": "mlp:8"}, "--network mlp:8: expected {} where"),
        ({"rounds": 0}, "--rounds 0"),
        ({"probes": 1}, "--probes 1"),
        ({"learning_rate": 0.0}, "--learning-rate 0.0: expected a number > 0"),
        ({"momentum": 1.0}, "momentum 1.0"),
    ],
)
def test_values_that_no_run_could_use(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        NovelOptions(**options).completed()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--examples", "100000"], "examples asks for 100000"),
        (["--held-out", "x"], "unknown class 'x'"),
        (["--network", "mlp:{}x0"], "--network mlp:{}x0 --widths 16"),
        (["--widths", "0.5"], "--widths 0.5"),
        (["--backend", "abacus"], "abacus"),
        (["--workers", "0"], "--workers 0"),
        (["--kinds", "same,same"], "--kinds same,same"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    check_refused(main, [*arguments, "--out", str(tmp_path / "run")], message)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cells are computed in this process; the names of those that were."""
    computed: list[str] = []

    def completed(client: Any, function: Any, tasks: Any) -> Iterator[tuple[str, Any]]:
        for name, arguments in tasks.items():
            computed.append(name)
            yield name, function(*arguments)

    monkeypatch.setattr("validation.run.cells.cluster", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr("validation.run.cells.completed", completed)
    return computed


SMALL: dict[str, Any] = {
    "network": "mlp:{}x{}", "examples": 30, "novel": 8, "rounds": 2, "kinds": ("same", "new", "again"), "updates": 400,
    "probes": 2, "steps": 8, "backend": "numpy",
}  # fmt: skip


def test_a_run_goes_on_where_it_was_and_grows(here: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = str(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("validation.report.write.draw", lambda figures, data: ({}, {}))
        first = novel(widths=(8,), seeds=(0, 1), out=out, **SMALL)
    assert here == ["width-8-seed-0", "width-8-seed-1"]
    assert isinstance(first, NovelReport)
    assert first.failed_facts == []
    files = {p: p.read_bytes() for p in (tmp_path / "run" / "cells").iterdir()}
    (tmp_path / "run" / "cells" / "width-8-seed-1.json").write_text("damaged")
    grown = novel(widths=(8, 16), seeds=(0, 1), out=out, resume=True, **SMALL)
    assert here[2:] == ["width-16-seed-0", "width-16-seed-1", "width-8-seed-1"]
    assert [(c["width"], c["seed"]) for c in grown.data["cells"]] == [(8.0, 0), (8.0, 1), (16.0, 0), (16.0, 1)]
    assert grown.data["cells"][0] == first.data["cells"][0]
    again, before = (dict(c) for c in (grown.data["cells"][1], first.data["cells"][1]))
    assert again.pop("cpu_seconds") >= 0
    before.pop("cpu_seconds")
    assert again == before
    assert {p: p.read_bytes() for p in files if "seed-0" in p.name} == {
        p: text for p, text in files.items() if "seed-0" in p.name
    }
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"cells", "figures", "novel.html", "novel.json"}
    json.loads((tmp_path / "run" / "novel.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    with pytest.raises(StorageError, match="holds another run"):
        novel(widths=(8,), seeds=(0,), out=out, resume=True, **SMALL | {"novel": 9})
    with pytest.raises(StorageError, match="add --resume"):
        novel(widths=(8,), seeds=(0,), out=out, **SMALL)


def test_a_failed_fact_is_the_exit_status(
    here: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = Claim("novel.again", "x", "y", "1", "0", held=False, exact=True)
    monkeypatch.setattr(job, "judge", lambda *_: [wrong])
    monkeypatch.setattr(job, "measure_cell", lambda options, width, seed: made(width, seed))
    assert main(["--quick", "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err == "validation.novel: exact facts failed, which is a bug: novel.again\n"


@pytest.mark.slow
def test_a_quick_run_on_workers(tmp_path: Path) -> None:
    """The command itself, on processes; its cells are those computed here."""
    import subprocess
    import sys

    out = tmp_path / "run"
    line = [
        sys.executable,
        "-m",
        "validation.novel",
        "--quick",
        "--workers",
        "2",
        "--backend",
        "numpy",
        "--out",
        str(out),
    ]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "exact facts: holds: 3" in done.stdout
    report = json.loads((out / "novel.json").read_text())
    options = NovelOptions(quick=True, backend="numpy").completed().cell_options
    here = json.loads(json.dumps(measure_cell(options, 16.0, 1)))
    (there,) = (c for c in report["cells"] if (c["width"], c["seed"]) == (16.0, 1))
    for cell in (here, there):
        cell.pop("cpu_seconds")
    assert here == there
