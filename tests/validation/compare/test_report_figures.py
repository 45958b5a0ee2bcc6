"""The figures of a report: drawn from made-up reports, checked for content and legibility."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from support.synthetic_report import CASES, EIGENVALUES, ETA, report
from validation import figures
from validation.compare.answer import standings
from validation.compare.captions.entries import ENTRY_CAPTIONS
from validation.compare.captions.run import CAPTIONS
from validation.compare.figures import laws as symmetry_figures
from validation.compare.figures import registry
from validation.compare.figures import spectrum as spectra
from validation.compare.figures.laws import COMMON
from validation.measurements.laws import WEIGHT_EDGES
from validation.predictions.rung import RUNGS
from validation.report import drawing
from validation.report.drawing import TEST, TRAIN

PNG = b"\x89PNG\r\n\x1a\n"


def lay_out(fig: Figure) -> Figure:
    FigureCanvasAgg(fig).draw()  # type: ignore[no-untyped-call]
    return fig


@cache
def built(case: str, name: str) -> Figure:
    """The figure, for what it says wherever that stands."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return figures.FIGURES[name](report(case))


@cache
def drawn(case: str, name: str) -> Figure:
    """The figure, laid out on a canvas, with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return lay_out(built(case, name))


every_figure = pytest.mark.parametrize("name", figures.figures_of(report("digits")))
LARGE = ("twelve layers", "one probe", "no live circuit")  # the first takes ten seconds a figure
REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
every_case = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] * (case in LARGE))
        for case in CASES
        if not REDUCED or case not in LARGE[1:]
    ],
)


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


def active(case: str) -> list[dict[str, Any]]:
    return [e for e in report(case)["epochs"] if e["spectrum"]["rms"] > 0]


def lines_of(ax: Axes) -> dict[str, tuple[Any, Any]]:
    return {str(line.get_label()): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in ax.lines}


@pytest.mark.parametrize(("decades", "between"), [(2, True), (5, False)])
def test_log_axes_of_many_decades_have_ticks_at_these_alone(decades: int, between: bool) -> None:
    def draw(_: Any) -> Figure:
        fig, (ax,) = drawing.figure(3, 1, 1)
        ax.set(xscale="log", yscale="log", xlim=(1, 10.0**decades), ylim=(1, 10.0**decades))
        return fig

    (ax,) = drawing.house_style(draw)({}).axes
    for axis in (ax.xaxis, ax.yaxis):
        assert len(axis.get_majorticklocs()) >= decades
        assert bool(len(axis.get_minorticklocs())) is between


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
def test_a_spectrum_has_a_panel_per_epoch_and_one_of_ratios_below(case: str) -> None:
    """The numbers in the corners of a panel stay within it, and off its curves."""
    fig, epochs = drawn(case, "spectrum"), active(case)
    assert len(fig.axes) == max(1, 2 * len(epochs))
    for ax, epoch in zip(titled(fig), epochs, strict=True):
        assert ax.get_title().startswith(f"epoch {epoch['epoch']} ")
        curves = [ax.transData.transform(np.column_stack(line.get_data())) for line in ax.lines]
        for text in ax.texts:
            box = text.get_window_extent()
            assert ax.bbox.x0 <= box.x0 < box.x1 <= ax.bbox.x1
            assert not any(box.contains(*point) for curve in curves[-1:] for point in curve)


def test_the_headline_draws_the_measurement_the_best_rung_and_the_best_baseline() -> None:
    """At the last epoch with a prediction; the last measured spectrum alone where nothing was predicted."""
    epoch = active("digits")[-1]
    best, *rest = standings(epoch)
    baseline = next(one for one in rest if one.baseline)
    (ax,) = drawn("digits", "headline").axes
    assert ax.get_title().startswith(f"epoch {epoch['epoch']}, ")
    lines = {str(line.get_label()): line for line in ax.lines}
    named = {one.rung: f"{one.rung}, {RUNGS[one.rung].title}" for one in (best, baseline)}
    assert set(lines) == {"measured", named[best.rung], f"{named[baseline.rung]} (baseline)"}
    assert lines[named[best.rung]].get_color() == drawing.RUNG_STYLES[best.rung][0]
    law, energies = epoch["spectrum"], np.asarray(lines["measured"].get_xdata(), dtype=float)
    density, _ = spectra.density_of(law, energies, ETA, report("digits")["network"]["n_weights"])
    np.testing.assert_allclose(lines["measured"].get_ydata(), density, rtol=1e-9)
    (alone,) = drawn("no predictions", "headline").axes
    assert [line.get_label() for line in alone.lines] == ["measured"]


def test_a_picture_is_pixels_and_lines_and_the_same_every_time() -> None:
    """The page's SVG keeps lines and letters as paths: sharp on paper, no pixels in it, and no fonts."""
    first, second = (drawing.both(figures.risk_accuracy, report("no predictions")) for _ in range(2))
    assert first == second
    assert first.png.startswith(PNG)
    assert b"<path" in first.svg
    assert not [tag for tag in (b"<image", b"<text", b"<dc:date") if tag in first.svg]
    coordinates = b" ".join(re.findall(rb' d="([^"]*)"', first.svg))
    assert not re.search(rb"\.\d{3}", coordinates)
    assert first.png == drawing.picture(figures.risk_accuracy, report("no predictions"))


def titled(fig: Figure) -> list[Axes]:
    return [ax for ax in fig.axes if ax.get_title()]


@pytest.mark.parametrize("case", ["digits", "twelve layers", "nothing active"])
def test_a_spectrum_says_where_the_hessian_is_0(case: str) -> None:
    fig = built(case, "spectrum")
    said = fig.get_supxlabel() + "".join(text.get_text() for ax in fig.axes for text in ax.texts)
    assert f"At epoch {report(case)['epochs'][-1]['epoch']} no training example is active: there H is exactly 0" in said


def test_a_spectrum_panel_names_every_prediction_with_its_distance_and_colour() -> None:
    case = "twelve layers"
    for ax, epoch in zip(titled(built(case, "spectrum")), active(case), strict=True):
        said = {text.get_text(): text.get_color() for text in ax.texts}
        for rung, prediction in epoch["predictions"].items():
            assert said[f"{rung}  {prediction['l1']:.3f}"] == drawing.RUNG_STYLES[rung][0]


def test_ratios_are_those_of_the_densities() -> None:
    fig = drawn("digits", "spectrum")
    ratios = [ax for ax in fig.axes if not ax.get_title()]
    for epoch in active("digits"):
        (ax,) = [ax for ax in ratios if abs(ax.get_position().x0 - panel_of(fig, epoch).get_position().x0) < 1e-6
                 and 0 < panel_of(fig, epoch).get_position().y0 - ax.get_position().y0 < 0.3][:1]  # fmt: skip
        law = epoch["spectrum"]
        for (rung, made), line in zip(sorted(epoch["predictions"].items()), ax.lines, strict=False):
            assert line.get_color() == drawing.RUNG_STYLES[rung][0]
            np.testing.assert_allclose(line.get_ydata(), np.divide(made["density"], law["density"]), rtol=1e-9)


def panel_of(fig: Figure, epoch: dict[str, Any]) -> Axes:
    return next(ax for ax in titled(fig) if ax.get_title().startswith(f"epoch {epoch['epoch']} "))


def test_tails_count_the_weights_of_nodes_beyond() -> None:
    """Measured lines, positive then negative, and the mean of both sides of a sampled rung."""
    n = report("digits")["network"]["n_weights"]
    for ax, epoch in zip(titled(drawn("digits", "tails")), active("digits"), strict=True):
        law, sizes = epoch["spectrum"], np.asarray(epoch["spectrum"]["tail_energies"])
        for line, sign in zip(ax.lines[-2:], (-1, 1), strict=True):
            nodes, weights = np.asarray(law["nodes"]) * sign / law["rms"], np.asarray(law["weights"])
            counts = np.array([np.sum(weights[nodes > size]) for size in sizes]) * n / len(nodes)
            np.testing.assert_allclose(np.nan_to_num(line.get_ydata()), counts, rtol=1e-9)
        assert len(ax.lines) == 2 + sum("alpha" in p or "tail_counts" in p for p in epoch["predictions"].values())


def test_colours_and_markers_of_the_rungs_are_distinct() -> None:
    assert set(drawing.RUNG_STYLES) == set(RUNGS)
    for column in (0, 2):
        assert len({style[column] for style in drawing.RUNG_STYLES.values()}) == len(drawing.RUNG_STYLES)


@pytest.mark.parametrize("name", ["risk_accuracy", "order_parameter"])
def test_an_exact_zero_has_a_place_on_the_log_axis(name: str) -> None:
    top = drawn("digits", name).axes[0]
    assert "exactly 0" in [text.get_text() for text in top.texts]
    hollow = [np.asarray(line.get_xdata()).tolist() for line in top.lines if line.get_marker() == "v"]
    assert hollow == [[40.0]] * (1 if name == "risk_accuracy" else 3)
    assert not drawn("no predictions", name).axes[0].texts


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_order_parameter_is_drawn_at_both_rates(momentum: float) -> None:
    """Above, times η and times η/(1 - momentum); below, the ratios of both to the risk."""
    data = deepcopy(report("no predictions"))
    data["training"]["momentum"] = momentum
    top, bottom = lay_out(figures.order_parameter(data)).axes
    order, risk = (np.array([e[key] for e in data["epochs"]]) for key in ("order_parameter", "risk"))
    rates = [0.01] if momentum == 0 else [0.01, 0.1]
    measured = [line for line in top.lines if "R7" not in str(line.get_label())]
    squares = [line.get_ydata() for line in measured if "nabla" in str(line.get_label())]
    np.testing.assert_allclose(squares, [rate * order for rate in rates])
    ratios = [
        line.get_ydata() for line in bottom.lines if len(line.get_ydata()) == len(order) and line.get_marker() in "Ds"
    ]
    np.testing.assert_allclose(ratios, [rate * order / risk for rate in rates])


def test_the_aligned_share_is_drawn_with_its_errors() -> None:
    """Two standard errors on either side, of all examples, of each class and of |T|; the band of random signs."""
    ax, epochs = drawn("digits", "aligned_share").axes[0], report("digits")["epochs"]
    rows = {
        "all examples": [e["aligned"] for e in epochs],
        "negative examples": [e["aligned"]["classes"]["negative"] for e in epochs],
        "positive examples": [e["aligned"]["classes"]["positive"] for e in epochs],
        "$|T|$ for $y\\,T$": [e["aligned"]["unsigned"] for e in epochs],
    }
    bars = {str(container.get_label()): container for container in ax.containers}
    assert set(bars) == set(rows)
    for name, shares in rows.items():
        line, _, (lengths,) = bars[name].lines
        values, errors = (np.array([s[key] for s in shares]) for key in ("value", "standard_error"))
        np.testing.assert_allclose(line.get_ydata(), values)
        np.testing.assert_allclose([np.ptp(bar[:, 1]) for bar in lengths.get_segments()], 4 * errors)
    (band,) = [c for c in ax.collections if c.get_label() == "random signs of $W_L$"]
    assert np.max(band.get_paths()[0].vertices[:, 1]) == 2 * epochs[0]["aligned"]["chance"]


def test_the_aligned_share_says_where_no_circuit_is_live() -> None:
    (text,) = drawn("no live circuit", "aligned_share").axes[0].texts
    assert text.get_text() == "no circuit is live"


def test_the_running_risk_dips_into_the_strip_where_it_is_0() -> None:
    top = drawn("digits", "risk_accuracy").axes[0]
    strip = next(patch for patch in top.patches if isinstance(patch, mpl.patches.Rectangle))
    low, high = strip.get_y(), strip.get_y() + strip.get_height()
    _, shown = lines_of(top)["mean over the epoch's batches"]
    risk = np.asarray(report("digits")["training"]["history"]["risk"])
    assert np.isfinite(shown).all()
    np.testing.assert_array_equal((low < shown) & (shown < high), risk == 0)
    assert np.sum(risk == 0) == 2


@every_case
def test_recomputed_densities_are_the_stored_ones(case: str) -> None:
    for epoch in active(case):
        law = epoch["spectrum"]
        density, error = spectra.density_of(law, np.asarray(law["energies"]), ETA, EIGENVALUES)
        np.testing.assert_allclose(density, law["density"], rtol=1e-12)
        np.testing.assert_allclose(error, np.nan_to_num(np.array(law["standard_error"], dtype=float)), rtol=1e-12)


def test_the_drawn_spectrum_passes_through_the_stored_density_and_every_spike() -> None:
    """Between points the curve is straight: no node may lie further than half of eta from the next point."""
    for ax, epoch in zip(titled(drawn("digits", "spectrum")), active("digits"), strict=True):
        law = epoch["spectrum"]
        energies, density = (np.asarray(d) for d in ax.lines[-1].get_data())
        at_stored = np.exp(np.interp(law["energies"], energies, np.log(density)))
        np.testing.assert_allclose(at_stored, law["density"], rtol=0.08)
        nodes = np.unique(law["nodes"]) / law["rms"]
        assert energies[0] < nodes[0]
        assert energies[-1] > nodes[-1]
        behind = np.searchsorted(energies, nodes)
        assert np.max(energies[behind] - energies[behind - 1]) <= ETA / 2 * (1 + 1e-9)


@pytest.mark.parametrize("case", ["digits", "one probe"])
def test_the_overlay_holds_the_whole_mass_of_every_epoch(case: str) -> None:
    """Up to the tails of the Cauchy kernel beyond the extreme nodes, a few eta/range."""
    lines = lines_of(drawn(case, "spectrum_overlay").axes[0])
    for epoch in active(case):
        energies, density = lines[f"{epoch['epoch']}   ({epoch['risk']:.2g})"]
        assert np.trapezoid(density, energies) == pytest.approx(1, abs=0.03)


def test_the_overlay_names_the_epochs_without_a_spectrum() -> None:
    lines = lines_of(drawn("digits", "spectrum_overlay").axes[0])
    assert [label for label in lines if "H = 0" in label] == ["40\n(H = 0)"]
    assert len(lines) == len(report("digits")["epochs"])


def test_no_mirror_symmetric_prediction_beats_the_asymmetry_floor() -> None:
    rng = np.random.default_rng(5)
    law = report("digits")["epochs"][1]["spectrum"]
    energies, measured = np.asarray(law["energies"]), np.asarray(law["density"])
    floor, error = spectra._limits(law)
    assert floor > 0
    assert error == law["l1_standard_error"] > 0
    nearest = (measured + measured[::-1]) / 2
    for prediction in [nearest, *(nearest * np.exp(0.1 * rng.normal(size=(20, 1))))]:
        distance = np.trapezoid(np.abs(prediction - measured), energies)
        assert distance >= floor * (1 - 1e-12)
    assert np.trapezoid(np.abs(nearest - measured), energies) == pytest.approx(floor)


def test_prediction_errors_stand_beside_what_the_measurement_is_worth() -> None:
    ax = drawn("digits", "prediction_error").axes[0]
    lines, epochs = lines_of(ax), report("digits")["epochs"]
    for name, key in (("R1 layer blocks", "R1"), ("standard error", None)):
        at, values = lines[name]
        for x, y, epoch in zip(at, values, epochs, strict=True):
            assert x == epoch["epoch"]
            law, made = epoch["spectrum"], epoch["predictions"]
            expected = made.get(key, {}).get("l1") if key else law["l1_standard_error"]
            assert np.isnan(y) if epoch["spectrum"]["rms"] == 0 else y == expected
    assert "asymmetry floor" in lines
    assert [text.get_text() for text in ax.texts] == ["H = 0"]


@pytest.mark.parametrize("error", [0.0, 1e-15, 1.3, None])
def test_the_axis_of_errors_stays_readable_at_any_standard_error(error: float | None) -> None:
    data = deepcopy(report("first epoch only"))
    data["epochs"][0]["spectrum"]["l1_standard_error"] = error
    low, high = lay_out(figures.prediction_error(data)).axes[0].get_ylim()
    assert 1e-3 <= low < 0.5 * min(p["l1"] for p in data["epochs"][0]["predictions"].values())
    assert high > 2


def test_symmetry_shows_every_layer_and_marks_the_missing_gradient() -> None:
    weights, gradient, _ = drawn("twelve layers", "symmetry").axes
    assert len(weights.get_yticks()) == 12
    assert sum(text.get_text() == "n/a" for text in gradient.texts) == 12
    assert not any(text.get_text() == "n/a" for text in weights.texts)


def areas(ax: Axes, colour: str) -> float:
    """The area that an axis shows in a colour, in its data's units."""
    found = 0.0
    for patch in ax.patches:
        if isinstance(patch, mpl.patches.StepPatch) and patch.get_fill() and patch.get_facecolor() == to_rgba(colour):
            values, edges, baseline = patch.get_data()
            found += float(np.sum((values - baseline) * np.diff(edges)))
    return found


@pytest.mark.parametrize("case", ["twelve layers", "one layer"])
def test_the_coloured_share_of_a_ridge_is_what_is_broken(case: str) -> None:
    """½ Σ |p(w) - p(-w)| on the drawn bins, of all epochs of a layer together."""
    data = report(case)
    panels = drawn(case, "weight_histograms").axes
    assert len(panels) == len(data["network"]["weight_shapes"])
    for layer, ax in enumerate(panels):
        laws = [e["weight_histograms"]["layers"][layer] for e in data["epochs"]]
        whole, surplus = (sum(areas(ax, c) for c in colours) for colours in ((TRAIN, TEST), (TRAIN, TEST, COMMON)))
        # Full histograms in blue and orange, then the common part in grey over them.
        common = surplus - whole
        shares = []
        for law in laws:
            halves = symmetry_figures._halves(law, np.asarray(WEIGHT_EDGES), np.asarray(WEIGHT_EDGES))[1:]
            width = np.diff(WEIGHT_EDGES)[0] * (len(law["positive"]) // len(halves[0]))
            shares.append([width * np.abs(halves[0] - halves[1]).sum(), width * (halves[0] + halves[1]).sum()])
        broken, total = np.sum(shares, axis=0)
        assert 1 - common / whole == pytest.approx(broken / total, abs=1e-9)
        texts = [text.get_text() for text in ax.texts]
        assert len(texts) == len(laws)
        for text, epoch in zip(texts, data["epochs"], strict=True):
            law = epoch["weight_symmetry"][layer]
            assert float(text.replace("−", "-")) == pytest.approx(law["value"] - law["null"], abs=0.005 + 1e-9)


def test_gradients_that_are_0_are_said_to_be() -> None:
    top, *panels = drawn("digits", "gradient_histograms").axes
    assert all(ax.texts[-1].get_text() == "all 0" for ax in panels)
    assert [text.get_text() for text in drawn("nothing active", "gradient_histograms").axes[0].texts] == [
        "every entry is 0"
    ]
    assert not top.texts
    for epoch, line in zip(report("digits")["epochs"], top.lines[::2], strict=False):
        law = epoch["gradient_histograms"]["all"]
        counted = sum(sum(law[key]) for key in ("positive", "negative", "below", "above")) + law["zeros"]
        assert line.get_label() == f"{epoch['epoch']}   ({100 * law['zeros'] / counted:.3g} %)"


def test_circuits_have_a_panel_per_order_and_epoch() -> None:
    """Shares per decade: the two signs add up to the circuits drawn, less the few that lie off the bins."""
    for case, orders, rows in (("digits", 3, 2), ("one layer", 2, 1)):
        axes = drawn(case, "circuits").axes
        assert [ax.get_title() for ax in axes] == [f"order {k}" for k in range(orders)] * rows
        for ax in axes:
            outlines = [p for p in ax.patches if isinstance(p, mpl.patches.StepPatch) and not p.get_fill()]
            total = sum(float(np.sum(p.get_data().values * np.diff(p.get_data().edges))) for p in outlines)
            assert len(outlines) == 2
            assert total == pytest.approx(1, abs=0.01)
    (text,) = drawn("no live circuit", "circuits").axes[0].texts
    assert text.get_text() == "Circuits: every one is 0 (epoch 0 and 1)."


@every_figure
def test_a_report_object_draws_like_its_data(name: str) -> None:
    assert figures.FIGURES[name](SimpleNamespace(data=report("first epoch only"))).axes


def test_a_path_draws_like_the_data_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "FIGURES", {"spectrum": figures.spectrum})  # all of them take long
    data = report("first epoch only")
    (tmp_path / "report.json").write_text(json.dumps(data))
    expected, *by_path = (
        figures.save_all(source, tmp_path / f"figures{i}")["spectrum"].read_bytes()
        for i, source in enumerate((data, tmp_path, str(tmp_path / "report.json")))
    )
    assert by_path == [expected, expected]


def test_what_holds_no_report_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"report\.json does not exist: name a report\.json or the folder of a"):
        figures.spectrum(tmp_path)
    for text, said in (("not JSON", "is not JSON"), ("[1]", "holds a list, expected the mapping")):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(ValueError, match=said):
            figures.spectrum(tmp_path)


def test_every_figure_is_a_public_function_of_its_name() -> None:
    """One call from Python and the job's picture are the same function."""
    assert {name: getattr(figures, name) for name in figures.FIGURES} == figures.FIGURES
    assert set(figures.FIGURES) | {"FIGURES", "figures_of", "save_all"} == set(figures.__all__)


@pytest.mark.parametrize("name", figures.FIGURES)
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
    absent = ("structure_", "whole_", "gram_")
    assert list(paths) == [name for name in figures.FIGURES if name in CAPTIONS and not name.startswith(absent)]
    assert set(figures.FIGURES) == {*CAPTIONS, *ENTRY_CAPTIONS}
    assert set((tmp_path / "figures").iterdir()) == set(paths.values())
    assert all(path.read_bytes().startswith(PNG) for path in paths.values())


def test_a_failed_figure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> Figure:
        raise RuntimeError("no ink")

    (tmp_path / "symmetry.png").write_bytes(b"old")
    monkeypatch.setattr("validation.compare.figures.registry.FIGURES", {"symmetry": broken})
    with pytest.raises(RuntimeError, match="no ink"):
        figures.save_all(report("digits"), tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_what_was_foretold_is_drawn_beside_what_was_measured() -> None:
    """The mean of the fresh networks by both rungs, in the risk, the accuracy and η ||∇R||²."""
    data = report("digits")
    at = [e["epoch"] for e in data["epochs"]]
    top, bottom = drawn("digits", "risk_accuracy").axes
    for ax, name in ((top, "risk"), (bottom, "accuracy")):
        for rung in ("R7", "R7m"):
            line = next(line for line in ax.lines if str(line.get_label()).startswith(f"{rung}:"))
            means = [np.mean(e["forecast"][rung][name]) for e in data["epochs"]]
            assert list(line.get_xdata()) == at
            np.testing.assert_allclose(np.asarray(line.get_ydata())[:-1], means[:-1])  # the last may be 0
    order = drawn("digits", "order_parameter").axes[0]
    line = next(line for line in order.lines if "R7m:" in str(line.get_label()))
    assert line.get_ydata()[0] == pytest.approx(0.01 * np.mean(data["epochs"][0]["forecast"]["R7m"]["order_parameter"]))
