"""Pieces of HTML that the page is made of: numbers, tables, the style sheet."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from validation.run.console import printable_lines


def number(value: Any, digits: int = 3) -> str:
    """A value as HTML: a few significant digits, powers of ten written out, text escaped, null as a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _powers(f"{value:z.{digits}g}").replace("-", "−")
    return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def prose(value: Any) -> str:
    """`number`, with powers and the indices of one-letter symbols written out: 1e-10, λ_min, x_{l-1}, N^1.5."""
    text = _powers(number(value, 4))
    text = re.sub(
        r"(?<![A-Za-z0-9])([^\W\d_]|∇)_(?:\{([^{}]+)\}|\(([^()]+)\)|([A-Za-z0-9]+))", r"\1<sub>\2\3\4</sub>", text
    )
    return re.sub(r"\^(?:\(([^()]+)\)|(\d+(?:\.\d+)?|[A-Za-z]))", r"<sup>\1\2</sup>", text)


_LEFTWARDS = "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]+"


def sentence(text: str) -> str:
    """Text as HTML, names in scripts that run leftwards each for itself: around them the order of the words stays."""
    return re.sub(f"{_LEFTWARDS}(?: {_LEFTWARDS})*", r"<bdi>\g<0></bdi>", escape(text))


def with_options(text: str) -> str:
    """Text as HTML, options of the command line (--name) as code that does not break at its hyphens."""
    return re.sub(r"--[a-z][a-z-]*", r"<code>\g<0></code>", escape(text))


def _powers(text: str) -> str:
    """1.5e-16 as 1.5×10⁻¹⁶ that does not break at its sign."""

    def written(match: re.Match[str]) -> str:
        mantissa, exponent = match.groups()
        power = f"10<sup>{int(exponent):d}</sup>".replace("-", "−")
        return "0" if float(mantissa) == 0 else power if mantissa == "1" else f"{mantissa}×{power}"

    return re.sub(r"\b(\d+(?:\.\d+)?)e([+-]\d+)\b", written, text)


def table(head: Iterable[str], rows: Iterable[Sequence[str]], kind: str, label: str) -> str:
    """A table of cells that are HTML already, in a box of its own that scrolls where the screen is narrow."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    box = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
    return f'{box}<table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def named_values(values: Mapping[str, Any], label: str) -> str:
    """A table of names and values."""
    rows = ([f"<code>{escape(str(name))}</code>", number(value)] for name, value in values.items())
    return table(("name", "value"), rows, "words", label)


def page(title: str, kicker: str, parts: Iterable[str]) -> str:
    """A whole page that refers to nothing outside itself and runs no script; `parts` are HTML, empty ones left out."""
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head>\n<body><main>\n"
        f"<header><p class='kicker'>{escape(kicker)}</p><h1>{escape(title)}</h1></header>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )
    return printable_lines(text)  # names of files may hold what no encoding can write


def captioned(name: str, words: str, png: bytes) -> str:
    """A figure inline, with its caption; the first sentence is the title ("fig." and "eq." do not end it).

    On a phone it fits the screen, and a tap enlarges it: a checkbox does that without a script.
    """
    head, _, rest = re.sub(r"(?<!fig)(?<!figs)(?<!eq)(?<!eqs)\. ", ".\n", words, count=1).partition("\n")
    return (
        f'<figure id="{escape(name)}"><div class="scroll"><label class="zoom">'
        f'<input type="checkbox" aria-label="enlarge"><img alt="{escape(head)}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}"></label></div>'
        f"<figcaption><strong>{escape(head)}</strong> {escape(rest)}</figcaption></figure>"
    )


def figures_section(shown: str, data: Mapping[str, Any], title: str = "Figures") -> str:
    """The section of the figures (HTML), with those named that could not be drawn; empty where there are neither."""
    missing = data.get("figures_missing") or {}
    items = "".join(f"<li><code>{escape(name)}</code>: {escape(reason)}</li>" for name, reason in missing.items())
    banner = (
        "<div class='banner'><strong>Figures missing.</strong> Their numbers are in the report's JSON file, and every "
        f"other part of this page is complete.<ul>{items}</ul></div>"
    )
    if not shown and not missing:
        return ""
    return f"<section><h2>{title}</h2>{banner if missing else ''}{shown}</section>"


def verdicts(claims: Sequence[Mapping[str, Any]], name: str) -> str:
    """A titled table of claims with a badge for each verdict; empty without claims."""
    if not claims:
        return ""
    tally = ", ".join(f"{verdict}: {count}" for verdict, count in Counter(c["verdict"] for c in claims).items())
    head = ("id", "verdict", "claim", "measured", "expected", "source")
    return f"<h3>{escape(name)} <small>{escape(tally)}</small></h3>" + table(
        head, map(_claim_row, claims), "words claims", name
    )


BADGES = {"holds": "good", "supported": "good", "not supported": "bad", "not resolved": "open"}


def _claim_row(claim: Mapping[str, Any]) -> list[str]:
    kind = BADGES.get(claim["verdict"], "none")
    verdict = f'<span class="verdict {kind}">{escape(claim["verdict"])}</span>'
    rest = (prose(claim.get(key)) for key in ("claim", "measured", "expected", "source"))
    return [f"<code>{escape(claim['id'])}</code>", verdict, *rest]


def settings(data: Mapping[str, Any]) -> str:
    """The section of a report's options and environment, side by side."""
    tables = [
        f"<div><h3>{name}</h3>{named_values(data[name.lower()], name)}</div>"
        for name in ("Options", "Environment")
        if data.get(name.lower())
    ]
    return f"<section><h2>Settings</h2><div class='pair'>{''.join(tables)}</div></section>" if tables else ""


CSS = """
*{box-sizing:border-box}
html{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;color:#1b1b1b;
background:#fff;-webkit-text-size-adjust:100%}
body{margin:0}
main{max-width:60rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 1rem;overflow-wrap:anywhere}
h2{font-size:1.35rem;line-height:1.3;margin:3rem 0 .75rem;padding-bottom:.3rem;
border-bottom:1px solid #d5d5d5}
h3{font-size:1.05rem;margin:1.75rem 0 .5rem}
h3 small{font-weight:400;color:#555;margin-left:.5rem}
p{margin:0 0 1rem;max-width:46rem;overflow-wrap:anywhere}
.kicker{margin:0;color:#555;font-size:.85rem;letter-spacing:.04em}
.lead{overflow-wrap:anywhere}
.note,figcaption{font-size:.9rem;color:#444}
.banner{border-left:4px solid #b35c00;background:#fff4e5;padding:.6rem .9rem;overflow-wrap:anywhere}
.banner ul{margin:.4rem 0 0;padding-left:1.2rem}.banner code{white-space:normal}
/* White covers that move with the content hide a shadow at either end: it shows where there is more to scroll to. */
.scroll{overflow-x:auto;background:linear-gradient(to right,#fff 40%,#fff0) 0 0/2.5rem 100% local no-repeat,
linear-gradient(to left,#fff 40%,#fff0) 100% 0/2.5rem 100% local no-repeat,
linear-gradient(to right,#0003,#0000) 0 0/.8rem 100% scroll no-repeat,
linear-gradient(to left,#0003,#0000) 100% 0/.8rem 100% scroll no-repeat}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.4rem .75rem .4rem 0;border-bottom:1px solid #e4e4e4}
th{font-weight:600;border-bottom:1.5px solid #888;vertical-align:bottom}
.numbers th,.numbers td{text-align:right;white-space:nowrap;padding-left:.35rem}
.words td{min-width:5rem}
.claims{table-layout:fixed;min-width:54rem}
.claims th:nth-child(1){width:9.4rem}.claims th:nth-child(2){width:8.2rem}.claims th:nth-child(4){width:28%}
.claims th:nth-child(5){width:14%}.claims th:nth-child(6){width:5.4rem}.claims td{overflow-wrap:break-word}
.claims code{font-size:.86em;white-space:normal}
sup,sub{line-height:0;font-size:.72em}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:nowrap}
.verdict{display:inline-block;white-space:nowrap;padding:0 .5rem;border-radius:.2rem;border:1px solid}
.good{color:#0b5a34;background:#e7f5ec;border-color:#9ccfb0}
.open{color:#7a4a00;background:#fff4e0;border-color:#d9a441}
.bad{color:#8c1d18;background:#fdecea;border-color:#8c1d18;font-weight:700}
.none{color:#555;background:#f5f5f5;border-color:#ccc;font-style:italic}
figure{margin:2rem 0 3rem}
figure img{display:block;width:100%;height:auto}
.zoom input{position:absolute;opacity:0;pointer-events:none}
figcaption{margin-top:.6rem;max-width:46rem}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:0 2.5rem}
.pair td{overflow-wrap:anywhere}
@media screen and (max-width:40rem){main{padding:1.25rem 1rem 3rem}h1{font-size:1.5rem}
.zoom{display:block}.zoom::after{content:"tap to enlarge";font-size:.75rem;color:#555}
.zoom input:checked+img{width:52rem;max-width:none}.zoom:has(:checked)::after{content:"tap to fit"}
.zoom input:focus-visible+img{outline:2px solid #0072b2}
.claims{min-width:0}.claims thead{display:none}.claims tr{display:grid;grid-template-columns:1fr auto;
padding:.6rem 0;border-bottom:1px solid #e4e4e4}.claims td{grid-column:1/-1;min-width:0;padding:.1rem 0;border:0}
.claims td:nth-child(1){grid-column:1}.claims td:nth-child(2){grid-column:2}
.claims td:nth-child(n+4)::before{color:#555}.claims td:nth-child(4)::before{content:"measured: "}
.claims td:nth-child(5)::before{content:"expected: "}.claims td:nth-child(6)::before{content:"source: "}}
@media print{@page{margin:16mm 14mm}html{font-size:10.5pt}main{max-width:none;padding:0}
figure,tr,.banner{break-inside:avoid}h2,h3{break-after:avoid}thead{display:table-header-group}
.scroll{overflow:visible;background:none}table{font-size:8pt}th,td{padding-top:.2rem;padding-right:.4rem;padding-bottom:.2rem}
figure{margin:.8rem 0 1.2rem}figure img{width:auto;max-width:80%;max-height:19cm;margin:0 auto}
figcaption,p{max-width:none}*{print-color-adjust:exact}.claims{min-width:0}.words td{min-width:0}
.claims th:nth-child(1){width:8.4rem}.claims th:nth-child(2){width:7.8rem}}
"""
