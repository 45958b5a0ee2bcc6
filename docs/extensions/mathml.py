"""Mathematics as MathML, made while the site is built: no script and no network is needed to read it.

Browsers set MathML themselves, given a font with a table of mathematics, which many machines lack: a part of STIX Two
Math (SIL Open Font License, from the package `ziamath`) goes with the site. A displayed equation with a label carries
the label as its number: those of the paper in brackets, (20), those of this project by their letter, S3.
"""

from __future__ import annotations

import importlib.resources
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from fontTools import subset
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


# Latin, Greek, marks, punctuation, letterlike, arrows, operators, fences, alphabets of mathematics.
GLYPHS = ((0x20, 0x250), (0x2B0, 0x400), (0x2010, 0x2070), (0x20D0, 0x2150), (0x2190, 0x2400), (0x27E6, 0x27F0),
          (0x2A00, 0x2B00), (0x1D400, 0x1D800))  # fmt: skip


def _converted(node: nodes.Element, block: bool) -> str:
    tex = node.astext().strip()
    try:
        mathml = str(convert(tex, display="block" if block else "inline"))
    except Exception as error:  # the converter's errors have no common base
        logger.warning("equation cannot be converted to MathML (%r): %s", error, tex, location=node)
        return f"<code>{escape(tex)}</code>"
    if "\\" in mathml or "<mi>&</mi>" in mathml:
        logger.warning("equation has a command that the converter lacks: %s", tex, location=node)
    # The hat as an accent, which sits on its letter, and not as the caret of the keyboard.
    return mathml.replace("<mo>&#x0005E;</mo></mover>", "<mo>&#x002C6;</mo></mover>")


def write_font(path: Path) -> None:
    """The font's part that formulas use."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = subset.Options(flavor="woff", layout_features=["*"], notdef_outline=True)
    source = importlib.resources.files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"
    with importlib.resources.as_file(source) as file:
        font = subset.load_font(str(file), options)
    chosen = subset.Subsetter(options)
    chosen.populate(unicodes=[code for first, end in GLYPHS for code in range(first, end)])
    chosen.subset(font)
    subset.save_font(font, str(path), options)


def visit_inline(translator: Any, node: nodes.Element) -> None:
    """Inline mathematics."""
    translator.body.append(_converted(node, block=False))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.Element) -> None:
    """A displayed equation, its number beside it."""
    translator.body.append(translator.starttag(node, "div", CLASS="equation"))
    translator.body.append(f'<div class="formula">{_converted(node, block=True)}</div>')
    if node["number"]:
        translator.body.append(f'<span class="eqno">{node["number"]}')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def tag(label: str) -> str:
    """How a label is printed: (20) for the paper's equations, S3 for statements of this project."""
    return f"({label})" if label.isdecimal() else label


def number_by_label(app: Sphinx, doctree: nodes.document) -> None:
    """Give every labelled equation its label for a number."""
    equations = app.env.domains.math_domain.equations
    for node in doctree.findall(nodes.math_block):
        if label := node.get("label"):
            node["number"] = tag(label)
            equations[label] = (app.env.docname, tag(label))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer."""
    font = Path(app.srcdir) / "generated" / "static" / "stix-two-math.woff"
    if not font.exists():
        write_font(font)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("doctree-read", number_by_label)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
