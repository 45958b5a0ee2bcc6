"""Numbers with their errors, and shapes of networks, that do not break in the cells of a table."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def join(text: str) -> str:
    """1.2 ± 0.3 and 16-24-24-1 with spaces and hyphens that do not break."""
    text = re.sub(r" ([±→×]) ", "\u00a0\\1\u00a0", text)
    return re.sub(r"(?<=\d)-(?=\d)", "\u2011", text)


def join_cells(app: Sphinx, doctree: nodes.document) -> None:
    """In every table; cells of numbers alone do not break anywhere."""
    for entry in doctree.findall(nodes.entry):
        if re.fullmatch(r"[\d\s./±→–−,()·%×∞⁰¹²³⁴⁵⁶⁷⁸⁹⁻-]+", entry.astext()):
            entry["classes"].append("number")
        for text in list(entry.findall(nodes.Text)):
            if not isinstance(text.parent, nodes.literal | nodes.math):
                text.parent.replace(text, nodes.Text(join(text.astext())))


def setup(app: Sphinx) -> dict[str, Any]:
    """After a page is read."""
    app.connect("doctree-read", join_cells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
