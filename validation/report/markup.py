"""The HTML of all pages: each piece is a macro of parts.html, and jinja2 escapes all that is not markup yet."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from validation.run.console import printable_lines

HERE = Path(__file__).parent


@cache
def _parts() -> Any:
    pages = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
                        trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    return pages.get_template("parts.html").module


@cache
def style() -> Markup:
    """The style sheet of every page, for screens, phones and paper."""
    return Markup((HERE / "style.css").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Section:
    """A part of a page; those with a title stand in its contents, folded ones open by a click or a link to them."""

    title: str
    body: Sequence[str]
    folded: bool = False

    @property
    def name(self) -> str:
        """The title as the target of a link."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")

    def __html__(self) -> str:
        return str(_parts().section(self.title, self.name, together(self.body), self.folded))


def together(blocks: Iterable[str]) -> Markup:
    """Blocks one after another."""
    return Markup("\n").join(block for block in blocks if block)


def page(title: str, kicker: str, parts: Iterable[Section | str | None], contents_after: int = 1) -> str:
    """A whole page that loads nothing from outside itself and runs no script; empty parts are left out.

    The contents stand behind so many parts.
    """
    shown = [part for part in parts if part]
    listed = [part for part in shown if isinstance(part, Section) and part.title]
    if len(listed) > 1:
        shown.insert(contents_after, _parts().contents(listed))
    text = str(_parts().page(title, kicker, style(), shown))
    return printable_lines(text)  # names of files may hold what no encoding can write


def number(value: Any, digits: int = 3) -> Markup:
    """A value as HTML: a few significant digits, powers of ten written out, text escaped, null as a dash."""
    if value is None or value == "":
        return Markup("–")
    if isinstance(value, bool):
        return Markup("yes" if value else "no")
    if isinstance(value, float):
        return Markup(_powers(f"{value:z.{digits}g}").replace("-", "−"))
    if isinstance(value, Markup):
        return value
    return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def with_error(value: float, error: float | None, digits: int = 3, error_digits: int = 2) -> Markup:
    """A value ± its standard error."""
    return numbers(value, digits=digits) + " ± " + number(error, error_digits)


def numbers(*values: Any, digits: int = 3, between: str = ", ") -> Markup:
    """Several values in one cell."""
    return Markup(between).join(number(value, digits) for value in values)


def prose(value: Any) -> Markup:
    """`number` with its mathematics written out: powers of ten, indices and exponents, norms, minus signs.

    1e-10, λ_min, x_{l-1}, N^1.5, ||v||, (L-1), -W_L.
    """
    text = _powers(str(number(value, 4))).replace("||", "‖")
    text = _INDEX.sub(lambda m: f"{m[1]}<sub>{_minus(m[2] or m[3] or m[4])}</sub>", text)
    text = _EXPONENT.sub(lambda m: f"<sup>{_minus(m[1] or m[2])}</sup>", text)
    return Markup(_MINUS.sub("−", text))


_INDEX = re.compile(r"(?<![A-Za-z0-9])([^\W\d_]|∇)_(?:\{([^{}]+)\}|\(([^()]+)\)|([A-Za-z0-9]+|\+))")
_EXPONENT = re.compile(r"\^(?:\(([^()]+)\)|(\d+(?:\.\d+)?|[A-Za-z]))")
_MINUS = re.compile(
    r"(?<=\([A-Za-z])-(?=\d)"  # (L-1)
    r"|(?<= )-(?= )"  # a - b
    r"|(?:(?<=[\s(=])|^)-(?=[\dA-Za-zα-ωΑ-Ω∂∇]+\b(?!-))"  # -0.5, -W
)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _powers(text: str) -> str:
    """1.5e-16 as 1.5×10⁻¹⁶ that does not break at its sign."""

    def written(match: re.Match[str]) -> str:
        mantissa, exponent = match.groups()
        power = f"10<sup>{_minus(f'{int(exponent):d}')}</sup>"
        return "0" if float(mantissa) == 0 else power if mantissa == "1" else f"{mantissa}×{power}"

    return re.sub(r"\b(\d+(?:\.\d+)?)e([+-]\d+)\b", written, text)


_LEFTWARDS = "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]+"


def sentence(text: str) -> Markup:
    """Text as HTML, names in scripts that run leftwards each for itself: around them the order of the words stays."""
    return Markup(re.sub(f"{_LEFTWARDS}(?: {_LEFTWARDS})*", r"<bdi>\g<0></bdi>", str(escape(text))))


def with_options(text: str) -> Markup:
    """Text as HTML, options of the command line (--name) as code that does not break at its hyphens."""
    return Markup(re.sub(r"--[a-z][a-z-]*", r"<code>\g<0></code>", str(escape(text))))


def code(text: object) -> Markup:
    """A name as code."""
    return Markup("<code>{}</code>").format(text)


def note(text: str, kind: str = "note") -> Markup:
    """A paragraph; mathematics in plain text is written out."""
    return Markup(_parts().note(text if isinstance(text, Markup) else prose(text), kind))


def items(texts: Iterable[str]) -> Markup:
    """A list, as `note`."""
    return Markup(_parts().items([text if isinstance(text, Markup) else prose(text) for text in texts]))


def banner(head: str, text: str) -> Markup:
    """What must not be missed."""
    return Markup(_parts().banner(head, text))


def titled(title: str, small: str = "") -> Markup:
    """A title within a section, something said beside it."""
    return Markup(_parts().titled(title, small))


def fold(summary: str, *blocks: str) -> Markup:
    """Blocks that a click shows."""
    return Markup(_parts().fold(summary, together(blocks)))


def beside(*blocks: str) -> Markup:
    """Blocks beside each other, below each other where the screen is narrow."""
    return Markup(_parts().beside(blocks))


def link(text: str, href: str) -> Markup:
    """A link."""
    return Markup(_parts().link(text, href))


def badge(verdict: str) -> Markup:
    """A verdict in its colours."""
    return Markup(_parts().badge(verdict, BADGES.get(verdict, "none")))


BADGES = {"holds": "good", "supported": "good", "not supported": "bad", "not resolved": "open"}


def table(head: Iterable[str], rows: Iterable[Sequence[str]], kind: str, label: str) -> Markup:
    """A table in a box of its own that scrolls where the screen is narrow."""
    return Markup(_parts().table(list(head), list(rows), kind, label))


def named_values(values: Mapping[str, Any], label: str) -> Markup:
    """A table of names and values."""
    return table(("name", "value"), ([code(name), number(value)] for name, value in values.items()), "words", label)


def captioned(name: str, words: str, picture: bytes) -> Markup:
    """A figure inline, SVG or PNG; the caption's first sentence is its title ("fig." and "eq." do not end it)."""
    head, _, rest = re.sub(r"(?<!fig)(?<!figs)(?<!eq)(?<!eqs)\. ", ".\n", words, count=1).partition("\n")
    kind = "svg+xml" if b"<svg" in picture[:1000] else "png"
    return Markup(
        _parts().captioned(name, prose(head), prose(rest) if rest else "", kind, base64.b64encode(picture).decode())
    )


def figures_section(shown: Sequence[Markup], data: Mapping[str, Any], title: str = "Figures") -> Section | None:
    """The section of the figures, with those named that could not be drawn; None where there are neither."""
    missing = data.get("figures_missing") or {}
    if not shown and not missing:
        return None
    said = Markup(
        "Their numbers are in the report's JSON file, and every other part of this page is complete.{}"
    ).format(items(Markup("{}: {}").format(code(name), reason) for name, reason in missing.items()))
    return Section(title, [banner("Figures missing.", said) if missing else "", *shown])


def settings(data: Mapping[str, Any]) -> Section | None:
    """The section of a report's options and environment, side by side, folded."""
    tables = [
        titled(name) + named_values(data[name.lower()], name)
        for name in ("Options", "Environment")
        if data.get(name.lower())
    ]
    return Section("Settings", [beside(*tables)], folded=True) if tables else None
