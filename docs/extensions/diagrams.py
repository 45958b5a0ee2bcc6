"""Draws the diagrams of the theory pages, docs/diagrams/*.py, into docs/generated/diagrams before pages are read."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import matplotlib as mpl
from sphinx.application import Sphinx

# Text as paths: the same on every screen. Without a date and with one salt the same script gives the same file.
STYLE = {"svg.fonttype": "path", "svg.hashsalt": "umwelt", "font.size": 10, "mathtext.fontset": "cm"}


def draw_all(app: Sphinx) -> None:
    """Run every script's `draw() -> Figure` that is newer than its picture."""
    target = Path(app.srcdir) / "generated" / "diagrams"
    target.mkdir(parents=True, exist_ok=True)
    for script in sorted((Path(app.srcdir) / "diagrams").glob("*.py")):
        picture = target / f"{script.stem}.svg"
        if picture.exists() and picture.stat().st_mtime > script.stat().st_mtime:
            continue
        with mpl.rc_context(STYLE):
            runpy.run_path(str(script))["draw"]().savefig(picture, metadata={"Date": None})


def setup(app: Sphinx) -> dict[str, Any]:
    """Before anything is read."""
    app.connect("builder-inited", draw_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
