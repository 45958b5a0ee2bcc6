"""The figures and the page of a report: drawn from made-up reports, checked for content and legibility."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from synthetic_report import CLAIMS, build

from validation import figures
from validation.html import CAPTIONS, RUNG_NAMES, caption, number, render_html

PAPER_EPOCHS = (0, 10, 20, 30, 40, 100, 160, 200, 260, 300)
CASES: dict[str, dict[str, Any]] = {
    "digits": {"zero_last": True},
    "twelve layers": {"layers": 12, "recorded": PAPER_EPOCHS, "zero_last": True, "rungs": tuple(RUNG_NAMES)},
    "first epoch only": {"recorded": (0,), "complete": False},
    "no predictions": {"recorded": (0, 1, 2), "complete": False, "rungs": ()},
    "nothing active": {"recorded": (7,), "zero_last": True},
}
PNG = b"\x89PNG\r\n\x1a\n"


@cache
def report(case: str) -> dict[str, Any]:
    return build(**CASES[case])


@cache
def drawn(case: str, name: str) -> Figure:
    """The figure, laid out on a canvas, with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = figures.FIGURES[name](report(case))
        FigureCanvasAgg(fig).draw()  # type: ignore[no-untyped-call]
    return fig


every_figure = pytest.mark.parametrize("name", figures.FIGURES)
every_case = pytest.mark.parametrize("case", CASES)


def overlap(a: Bbox, b: Bbox) -> bool:
    """More than a pixel in both directions."""
    return bool(np.all(np.minimum(a.max, b.max) - np.maximum(a.min, b.min) > 1))


def tick_labels(ax: Axes, axis: str) -> Iterator[Bbox]:
    """Boxes of the labels on show; matplotlib also keeps labels of ticks beyond the limits."""
    low, high = sorted(getattr(ax, f"get_{axis}lim")())
    shown = getattr(ax, f"{axis}axis")
    for tick in [*shown.get_major_ticks(), *shown.get_minor_ticks()]:
        if tick.label1.get_visible() and tick.label1.get_text() and low <= tick.get_loc() <= high:
            yield tick.label1.get_window_extent()


@every_case
@every_figure
def test_every_axis_is_labelled(case: str, name: str) -> None:
    fig = drawn(case, name)
    for direction in ("x", "y"):
        own = [getattr(ax, f"get_{direction}label")() for ax in fig.axes]
        assert any(own) or getattr(fig, f"get_sup{direction}label")(), f"no {direction} label"
    if name in ("risk_accuracy", "order_parameter"):
        assert all(ax.get_ylabel() for ax in fig.axes)


@every_case
@every_figure
def test_nothing_overlaps_or_leaves_the_canvas(case: str, name: str) -> None:
    fig = drawn(case, name)
    panels = [ax.get_tightbbox() for ax in fig.axes]
    assert not any(overlap(a, b) for a, b in combinations([p for p in panels if p is not None], 2))
    for ax in fig.axes:
        for axis in ("x", "y"):
            boxes = list(tick_labels(ax, axis))
            assert not any(overlap(a, b) for a, b in combinations(boxes, 2)), f"{axis} tick labels collide"
    inked = fig.get_tightbbox()
    assert min(inked.min) > -0.02
    assert (inked.max < fig.get_size_inches() + 0.02).all()


@every_case
def test_the_legend_of_a_spectrum_stays_clear_of_its_curves(case: str) -> None:
    for ax in drawn(case, "spectrum").axes:
        if (legend := ax.get_legend()) is not None:
            peak = max(np.max(line.get_ydata()) for line in ax.lines)
            assert legend.get_window_extent().y0 > ax.transData.transform((0, peak))[1]


def test_a_spectrum_panel_names_every_prediction_with_its_distance_and_colour() -> None:
    case = "twelve layers"
    for ax, epoch in zip(drawn(case, "spectrum").axes, report(case)["epochs"], strict=True):
        lines = {str(line.get_label()): line.get_color() for line in ax.lines}
        for rung, prediction in epoch["predictions"].items():
            assert lines[f"{rung}  {prediction['l1']:.3f}"] == figures.RUNGS[rung][0]
        if not epoch["predictions"]:
            assert "exactly 0" in ax.texts[0].get_text()


def test_colours_and_markers_of_the_rungs_are_distinct() -> None:
    assert set(figures.RUNGS) == set(RUNG_NAMES)
    for column in (0, 2):
        assert len({style[column] for style in figures.RUNGS.values()}) == len(figures.RUNGS)


@pytest.mark.parametrize("name", ["risk_accuracy", "order_parameter"])
def test_an_exact_zero_has_a_place_on_the_log_axis(name: str) -> None:
    top = drawn("digits", name).axes[0]
    assert "exactly 0" in [text.get_text() for text in top.texts]
    hollow = [np.asarray(line.get_xdata()).tolist() for line in top.lines if line.get_marker() == "v"]
    assert hollow == [[40.0]] * (1 if name == "risk_accuracy" else 2)
    assert not drawn("no predictions", name).axes[0].texts


def test_recomputed_densities_agree_with_the_stored_ones() -> None:
    law = report("digits")["epochs"][0]["spectrum"]
    energies = np.asarray(law["energies"]) * law["rms"]
    density, error = figures._smoothed(law, energies, 0.05 * law["rms"])
    np.testing.assert_allclose(density * law["rms"], law["density"], rtol=1e-10)
    np.testing.assert_allclose(error * law["rms"], law["standard_error"], rtol=1e-10)


def test_the_overlay_holds_the_whole_mass_of_every_epoch() -> None:
    """Up to the tails of the Cauchy kernel beyond the extreme nodes, a few eta/range."""
    for line in drawn("digits", "spectrum_overlay").axes[0].lines[:-1]:
        mass = np.trapezoid(np.asarray(line.get_ydata()), np.asarray(line.get_xdata()))
        assert mass == pytest.approx(1, abs=0.03)


def test_no_mirror_symmetric_prediction_beats_the_asymmetry_floor() -> None:
    rng = np.random.default_rng(5)
    law = report("digits")["epochs"][1]["spectrum"]
    energies, measured = np.asarray(law["energies"]), np.asarray(law["density"])
    floor, noise = figures._floors(law)
    assert floor > 0
    assert noise > 0
    nearest = (measured + measured[::-1]) / 2
    for prediction in [nearest, *(nearest * np.exp(0.1 * rng.normal(size=(20, 1))))]:
        distance = np.trapezoid(np.abs(prediction - measured), energies)
        assert distance >= floor * (1 - 1e-12)
    assert np.trapezoid(np.abs(nearest - measured), energies) == pytest.approx(floor)


def test_symmetry_shows_every_layer_and_marks_the_missing_gradient() -> None:
    weights, gradient, _ = drawn("twelve layers", "symmetry").axes
    assert len(weights.get_yticks()) == 12
    assert sum(text.get_text() == "n/a" for text in gradient.texts) == 12
    assert not any(text.get_text() == "n/a" for text in weights.texts)


@every_figure
def test_a_report_object_draws_like_its_data(name: str) -> None:
    assert figures.FIGURES[name](SimpleNamespace(data=report("first epoch only"))).axes


@every_figure
def test_a_report_without_epochs_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="at least one recorded epoch"):
        figures.FIGURES[name]({**report("digits"), "epochs": []})
    with pytest.raises(TypeError, match="got list"):
        figures.FIGURES[name]([])


def test_drawing_leaves_the_global_style_alone() -> None:
    before = dict(mpl.rcParams)
    figures.symmetry(report("first epoch only"))
    assert dict(mpl.rcParams) == before


def test_save_all_writes_every_figure_and_nothing_else(tmp_path: Path) -> None:
    paths = figures.save_all(report("first epoch only"), tmp_path / "figures")
    assert list(paths) == list(figures.FIGURES) == list(CAPTIONS)
    assert set((tmp_path / "figures").iterdir()) == set(paths.values())
    assert all(path.read_bytes().startswith(PNG) for path in paths.values())


def test_a_failed_figure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> Figure:
        raise RuntimeError("no ink")

    (tmp_path / "symmetry.png").write_bytes(b"old")
    monkeypatch.setattr(figures, "FIGURES", {"symmetry": broken})
    with pytest.raises(RuntimeError, match="no ink"):
        figures.save_all(report("digits"), tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


class Page(HTMLParser):
    """Checks the nesting of tags while it collects their attributes and the text."""

    VOID = frozenset({"meta", "img", "br", "link", "hr", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


@every_case
def test_the_page_is_whole_and_refers_to_nothing_outside(case: str) -> None:
    html = render_html(report(case), dict.fromkeys(figures.FIGURES, PNG))
    page = Page(html)
    assert html.count("data:image/png;base64,") == len(figures.FIGURES)
    assert not [outside for outside in ("http", "url(", "@import") if outside in html]
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "a"}
    sources = [attrs[key] or "" for _, attrs in page.tags for key in ("src", "href") if key in attrs]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    assert ("Not finished." in page.text) == (not report(case)["complete"])


def test_the_page_holds_every_claim_and_its_verdict() -> None:
    page = Page(render_html(report("digits")))
    tally = "supported: 2, not supported: 1, not applicable: 1"
    facts, claims = page.text.split(tally)
    for claim in CLAIMS:
        assert claim[0] in (facts if claim[0][0] in "ESM" else claims)
        assert claim[2] in page.text
    verdicts = [attrs["class"] for tag, attrs in page.tags if tag == "span"]
    assert (verdicts.count("verdict bad"), verdicts.count("verdict good")) == (1, 6)


def test_the_page_tells_what_was_run_and_what_was_left_out() -> None:
    text = Page(render_html(report("digits"))).text
    for words in ("mlp:64x64x64", "12,352", "hinge", "numba", "float64", "seed 0", "1,437", "3.11.7",
                  "R3 (arc-cosine kernels)", "weights are no longer at initialisation"):
        assert words in text
    for prediction in report("digits")["epochs"][3]["predictions"].values():
        assert f"{prediction['l1']:.3f}" in text


def test_names_from_outside_cannot_become_markup() -> None:
    hostile = '<script>alert("1")</script>&{first}'
    data = json.loads(json.dumps(report("digits")))
    data["dataset"].update(name=hostile, source=hostile, negative=[hostile], positive=[hostile])
    data["network"]["name"] = data["loss"] = data["backend"]["name"] = data["version"] = hostile
    data["options"] = data["environment"] = {hostile: hostile}
    data["claims"] = [dict.fromkeys(("id", "source", "claim", "measured", "expected", "verdict"), hostile)]
    data["epochs"][0]["left_out"] = {hostile: hostile}
    data["epochs"][0]["predictions"][hostile] = data["epochs"][0]["predictions"]["R0"]
    page = Page(render_html(data, {"spectrum": PNG, hostile: PNG}))
    assert not any(tag == "script" for tag, _ in page.tags)
    assert page.text.count(hostile) > 15


def test_a_page_without_epochs_says_so() -> None:
    page = Page(render_html({**report("digits"), "epochs": [], "claims": [], "complete": False}))
    assert "Recorded epochs: none." in page.text
    assert "No claim has been judged yet." in page.text


def test_figures_come_from_paths_too(tmp_path: Path) -> None:
    (tmp_path / "spectrum.png").write_bytes(PNG)
    by_path = render_html(report("digits"), {"spectrum": tmp_path / "spectrum.png"})
    assert by_path == render_html(report("digits"), {"spectrum": PNG})
    with pytest.raises(FileNotFoundError):
        render_html(report("digits"), {"spectrum": tmp_path / "absent.png"})


@every_case
@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_carry_the_numbers_of_the_report(case: str, name: str) -> None:
    words = caption(name, report(case))
    assert words.endswith(".")
    assert not [stray for stray in ("{", "nan", "None", "  ") if stray in words]


def test_captions_of_the_digits_run() -> None:
    assert "from 1 to 0" in caption("risk_accuracy", report("digits"))
    assert "No example is active at epoch 40" in caption("spectrum_overlay", report("digits"))
    assert "closest on average is R5 (measured signals)" in caption("spectrum", report("digits"))
    ratios = [0.01 * e["order_parameter"] / e["risk"] for e in report("digits")["epochs"][:-1]]
    assert f"{min(ratios):.2g} to {max(ratios):.2g}" in caption("order_parameter", report("digits"))


def test_too_few_lanczos_steps_are_said_and_exact_spectra_are_not_blamed() -> None:
    data = json.loads(json.dumps(report("first epoch only")))
    law = data["epochs"][0]["spectrum"]
    assert "not converged" not in caption("spectrum", data)
    law["nodes"], law["weights"] = [[-law["rms"] / 2, law["rms"] / 2]] * 2, [[0.5, 0.5]] * 2
    assert "nodes lie up to 1 rms apart. That is wider" in caption("spectrum", data)
    assert "not converged" in caption("prediction_error", data)
    law["nodes"], law["weights"] = [[*row, 0.0] for row in law["nodes"]], [[0.5, 0.5, 0.0]] * 2
    assert "not converged" not in caption("spectrum", data) + caption("prediction_error", data)


def test_one_probe_has_no_standard_error_and_is_drawn_all_the_same() -> None:
    data = json.loads(json.dumps(report("first epoch only")))
    law = data["epochs"][0]["spectrum"]
    law["standard_error"] = [None] * len(law["energies"])
    law["nodes"], law["weights"] = law["nodes"][:1], law["weights"][:1]
    law["fraction_negative"]["standard_error"] = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("spectrum", "spectrum_overlay", "prediction_error"):
            FigureCanvasAgg(figures.FIGURES[name](data)).draw()  # type: ignore[no-untyped-call]
    assert "0.34 ± –" in Page(render_html(data)).text


@pytest.mark.parametrize(("value", "shown"), [
    (None, "–"), (True, "yes"), (12345, "12345"), (0.0, "0"), (-0.0123, "−0.0123"), (1.0, "1"),
    (1.1e-16, "1.1×10<sup>−16</sup>"), (-2.5e10, "−2.5×10<sup>10</sup>"), (1e-5, "1×10<sup>−5</sup>"),
    ("a < b", "a &lt; b"), ([1, "x"], "[1, &quot;x&quot;]"),
])
def test_numbers_read_well(value: object, shown: str) -> None:
    assert number(value) == shown


def test_the_page_needs_no_matplotlib() -> None:
    code = "import sys, validation.html; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True)
