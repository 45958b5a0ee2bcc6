"""House style of the figures, and what several of them need: axes, ticks, zeros on a logarithmic axis.

Every figure is built, laid out and saved under `RC`: matplotlib's defaults and our style over them. What a user's
matplotlibrc, style sheet or backend says has no part in it, so that the same report gives the same figures everywhere.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from validation.predictions.rung import RUNGS
from validation.run.storage import write_bytes

from .source import Report, Source, content

Array = NDArray[np.float64]
Draw = Callable[[Source], Figure]  # a figure from a report, its data or its path
Series = tuple[Array, Array, dict[str, Any]]  # x, y and the style of the line

WIDTH, INK = 8.4, "#1b1b1b"  # inches: one column of the page
DPI = 160
SPAN = 1e3  # three decades or more have labels enough without ticks between them
TRAIN, TEST, ORDER = "#0072B2", "#D55E00", "#009E73"
RUNG_STYLES = {name: rung.style for name, rung in RUNGS.items()}
UNKNOWN_RUNG = ("#777777", "-", "x")
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "lines.markersize": 5,
    "lines.linewidth": 1.1,
    "svg.hashsalt": "umwelt",  # names of an SVG's parts are hashes, and would be random without it
}
# A backend is never touched: figures are drawn on canvases of their own.
RC: Any = {name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")} | STYLE


class HouseFigure(Figure):
    """A figure that is laid out and drawn in the house style, whoever draws it, and whenever."""

    def draw(self, renderer: Any) -> None:
        with mpl.rc_context(RC):
            super().draw(renderer)


def named_after(draw: Callable[[Report], Figure], drawn: Draw) -> Draw:
    """`drawn` with the name and the words of `draw`, but a signature of its own: it takes every kind of report."""
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(drawn, name, getattr(draw, name))
    return drawn


def house_style(draw: Callable[[Report], Figure]) -> Draw:
    """Unwrap the report and draw in the house style without leaking it."""

    def drawn(report: Source) -> Figure:
        with mpl.rc_context(RC):
            fig = draw(content(report))
            _decades_alone(fig)
            return fig

    return named_after(draw, drawn)


def _decades_alone(fig: Figure) -> None:
    """No minor ticks on log axes that span `SPAN` or more: they have no labels, and take a sixth of a figure's time."""
    for ax in fig.axes:
        for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            if axis.get_scale() == "log" and high >= SPAN * low:
                axis.set_minor_locator(NullLocator())


def styled(draw: Callable[[Report], Figure]) -> Draw:
    """`house_style` for the figures of a comparison, which need a recorded epoch."""
    in_style = house_style(draw)

    def drawn(report: Source) -> Figure:
        data = content(report)
        if not data.get("epochs"):
            raise ValueError("expected a report with at least one recorded epoch, got none: nothing to draw")
        return in_style(data)

    return named_after(draw, drawn)


def save_figures(figures: Mapping[str, Draw], report: Source, folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Draw every figure to `folder`/<name>.png (created if missing) and return the paths by name.

    A file is either the old or the new picture, never half of one. Where a figure cannot be drawn its error is raised,
    after all others were saved.
    """
    data, target = content(report), Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths, failed = {}, []
    for name, draw in figures.items():
        try:
            png = picture(draw, data)
        except Exception as error:
            error.add_note(f"in the figure {name!r}")
            failed.append(error)
            continue
        paths[name] = target / f"{name}.png"
        write_bytes(paths[name], png)
    if failed:
        raise failed[0]
    return paths


@dataclass(frozen=True)
class Picture:
    """One figure, as pixels for a file and as lines for a page, where they stay sharp at any size and on paper."""

    png: bytes
    svg: bytes


def picture(draw: Draw, report: Source) -> bytes:
    """A figure as PNG. Without matplotlib's version line the same report gives the same bytes."""
    with mpl.rc_context(RC):
        return _png(draw(report))


def both(draw: Draw, report: Source) -> Picture:
    """A figure as PNG and as SVG, laid out once; the same report gives the same bytes."""
    with mpl.rc_context(RC):
        fig = draw(report)
        png = _png(fig)
        fig.set_layout_engine("none")
        return Picture(png, _svg(fig))


def _png(fig: Figure) -> bytes:
    """Drawn once: `Figure.savefig` draws twice, first to lay out, and drawing itself lays out."""
    stream = io.BytesIO()
    fig.set_dpi(DPI)
    FigureCanvasAgg(fig).print_png(stream, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return stream.getvalue()


def _svg(fig: Figure) -> bytes:
    """Without a date, and with coordinates to a hundredth of a point."""
    stream = io.BytesIO()
    fig.set_dpi(RC["figure.dpi"])  # of the pixels that stay pixels
    FigureCanvasSVG(fig).print_svg(stream, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return re.sub(rb'(?<= d=")[^"]*', lambda path: re.sub(rb"(?<=\.\d\d)\d+", b"", path[0]), stream.getvalue())


def figure(height: float, rows: int, columns: int, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of the page's width with its axes, row by row."""
    fig = HouseFigure(figsize=(WIDTH, height), layout="constrained")
    return fig, list(fig.subplots(rows, columns, squeeze=False, **options).flat)


def column(epochs: Sequence[Report], key: str) -> Array:
    """One number per epoch; NaN where the report has null."""
    return np.array([np.nan if e.get(key) is None else e[key] for e in epochs], dtype=float)


def epoch_axis(ax: Axes, at: Array) -> None:
    """Label and limits of an axis of epochs, ticks at whole ones."""
    pad = 0.03 * max(np.ptp(at), 1)
    ax.set_xlim(at.min() - pad, at.max() + pad)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel("epoch")


def plot_with_zeros(ax: Axes, series: Sequence[Series], other: Array | None = None) -> None:
    """Plot on a log axis with a strip at the bottom that says what is exactly 0.

    Markers at 0 become hollow triangles in the strip; a line without markers runs through it. `other` holds
    further values on the same axes, for the limits.
    """
    values = np.concatenate([np.empty(0) if other is None else other, *(y for _, y, _ in series)])
    positive = values[np.isfinite(values) & (values > 0)]
    high = float(np.max(positive, initial=0.0)) or 1.0
    low = float(np.min(positive, initial=high / 10))  # at least a decade
    unit = (high / low) ** 0.05  # a twentieth of the data's range
    middle = low / unit**2.75
    for x, y, style in series:
        _plot_one(ax, x, y, middle, style)
    ax.set(yscale="log", ylim=(low / unit, high * unit))
    if high / low < 100:
        plain_log_ticks(ax, fine=3)
    if any(np.any(y == 0) for _, y, _ in series):
        _zero_strip(ax, middle, low / unit, high * unit, (low / unit**4, low / unit**1.5))


def _plot_one(ax: Axes, x: Array, y: Array, zero: float, style: dict[str, Any]) -> None:
    if "marker" not in style:
        ax.plot(x, np.where(y == 0, zero, y), **style)
        return
    ax.plot(x, np.where(y > 0, y, np.nan), **style)
    size = style.get("ms", 5) + 2
    here = np.full(int(np.sum(y == 0)), zero)
    ax.plot(x[y == 0], here, marker="v", ms=size, mfc="none", color=style["color"], ls="none")


def _zero_strip(ax: Axes, middle: float, low: float, high: float, strip: tuple[float, float]) -> None:
    ax.axhspan(*strip, color="#ececec", lw=0, zorder=0)
    ax.annotate("exactly 0", (0.01, middle), xycoords=("axes fraction", "data"), va="center")
    for minor in (False, True):
        ax.set_yticks([t for t in ax.get_yticks(minor=minor) if low <= t <= high], minor=minor)
    ax.set_ylim(strip[0], high)


def plain_log_ticks(ax: Axes, fine: float, horizontal: bool = False) -> None:
    """Label a log axis in plain decimals: 1, 2 and 5 of each decade, beyond `fine` decades only the decades."""
    axis = ax.xaxis if horizontal else ax.yaxis
    low, high = ax.get_xlim() if horizontal else ax.get_ylim()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 10**fine else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def decades(low: float, high: float) -> list[float]:
    """At most four powers of ten up to `high`, none so near `low` that its label would touch the one at 0."""
    last, span = int(np.floor(np.log10(high))), np.log10(high / low)
    step = max(1, int(np.ceil(span / 4)))
    powers = range(last, last - 4 * step, -step)
    return [10.0**p for p in powers if p - np.log10(low) > span / 8][::-1]


def symmetric_ticks(ax: Axes, positive: Sequence[float], reach: float) -> None:
    """Ticks at 0 and at plus and minus the given values only, and limits at plus and minus `reach`."""
    ax.xaxis.set_major_locator(FixedLocator([*(-t for t in positive[::-1]), 0.0, *positive]))
    ax.xaxis.set_major_formatter(FuncFormatter(_tick))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(-reach, reach)


def _tick(value: float, _: object) -> str:
    if value == 0 or 1e-3 < abs(value) < 1e4:
        return f"{value:g}".replace("-", "−")
    return rf"${'-' if value < 0 else ''}10^{{{round(np.log10(abs(value)))}}}$"
