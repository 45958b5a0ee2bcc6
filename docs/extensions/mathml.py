"""Mathematics as MathML, made while the site is built: no script, no font and no network is needed to read it.

The converter is docutils' own. A displayed equation with a label carries the label as its number: those of the
paper in brackets, (20), those of this project by their letter, S3.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def _converted(node: nodes.Element, block: bool) -> str:
    tex = node.astext()
    try:
        return str(tex2mathml(tex, as_block=block))
    except MathError as error:
        logger.warning("equation cannot be converted to MathML (%s): %s", error, tex, location=node)
        return f"<code>{nodes.unescape(tex)}</code>"


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
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("doctree-read", number_by_label)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
