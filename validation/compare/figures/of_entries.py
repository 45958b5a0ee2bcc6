"""What figures of the Hessian's entries share: their condition on a report, and what stands where nothing is known."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from validation.compare.captions.entries import with_entries
from validation.report.drawing import Draw, figure, named_after, styled
from validation.report.source import Report, Source, content


def of_entries(draw: Callable[[Report], Figure]) -> Draw:
    """`styled` for figures that need the statistics of entries at some recorded epoch."""
    in_style = styled(draw)

    def drawn(report: Source) -> Figure:
        data = content(report)
        if data.get("epochs") and not with_entries(data):
            raise ValueError("the report has no statistics of Hessian entries: run with --entries (entries=True)")
        return in_style(data)

    return named_after(draw, drawn)


def nothing(label: str, why: str) -> Figure:
    """An empty figure that says why."""
    fig, (ax,) = figure(1.6, 1, 1)
    ax.set(xticks=[], yticks=[], xlabel=label, ylabel="value")
    ax.annotate(f"Nothing to draw: {why}.", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center")
    return fig
