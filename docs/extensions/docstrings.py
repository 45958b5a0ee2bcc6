"""The docstrings of the packages as reStructuredText.

They are written to be read as they stand, in plain text: arguments as a table of names and words, equations indented,
bars and stars as mathematics. Here tables become definition lists and equations literal blocks, what
reStructuredText would take for markup is escaped. The number of an equation links to its place in the theory, and the
key of a work, [Helton2007], to the references.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROW = re.compile(r"^(?P<names>[\w`*.]+(?:, [\w`*.]+)*)(?P<gap> {1,})(?P<words>\S.*)$")
CODE = re.compile(r"(:\w+:`[^`]*`|``[^`]*``|`[^`]*`)")
KEY = r"\[([A-Z][A-Za-z]+\d{4}[a-z]?)\]"
EMPHASIS = re.compile(r"(?<![\w*])\*(\w[\w, -]*)\*(?![\w*])")


def labels(folder: Path) -> set[str]:
    """The labels of the equations that the theory pages display."""
    pages = "\n".join(page.read_text() for page in folder.glob("theory/*.md"))
    return set(re.findall(r"\$\$ \(([A-Za-z0-9]+)\)$", pages, flags=re.MULTILINE))


def keys(folder: Path) -> set[str]:
    """The keys of the works in the bibliography."""
    return set(re.findall(r"^@\w+\{(\w+),$", (folder / "references.bib").read_text(), flags=re.MULTILINE))


def plain_text(lines: list[str], known: set[str]) -> list[str]:
    """The lines of a docstring, marked up; `known` are the labels of equations and the keys of works."""
    made: list[str] = []
    for block in _blocks(lines):
        if _is_quoted(block):
            opened = "".join(made).endswith("::")
            made += [*([] if opened else ["::", ""]), *block, ""]
        elif (table := _table(block)) is not None:
            made += ["", *(_marked(line, known) for line in table), ""]
        else:
            made += [_marked(line, known) for line in block] + [""]
    return made


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Paragraphs; a change from text to an indented equation begins another, and equations keep their blank lines."""
    block: list[str] = []
    for line in lines:
        if not line.strip():
            if block:
                yield block
            block = []
        elif block and _turns(block, line):
            yield block
            block = [line]
        else:
            block.append(line)
    if block:
        yield block


def _turns(block: list[str], line: str) -> bool:
    """Whether the line leaves the block: from text to an indented equation, or back."""
    if block[0].startswith("    "):
        return not line.startswith("    ")
    return line.startswith("    ") and not _starts_table(block)


def _starts_table(block: list[str]) -> bool:
    found = ROW.match(block[0])
    return bool(found) and (len(found["gap"]) > 1 or len(block) > 1)  # type: ignore[index]


def _is_quoted(block: list[str]) -> bool:
    return all(line.startswith("    ") for line in block)


def _table(block: list[str]) -> list[str] | None:
    """Definition list from rows "name   words", continued by indented lines; None where the block is no such table."""
    rows = [line for line in block if not line.startswith(" ")]
    found = [ROW.match(line) for line in rows]
    if not rows or not all(found) or not any(len(row["gap"]) > 1 for row in found if row):
        return None
    columns = {row.start("words") for row in found if row}
    if len(columns) > 1 or block[0].startswith(" "):
        return None
    table = []
    for line in block:
        row = None if line.startswith(" ") else ROW.match(line)
        if row is None:
            table.append(f"    {line.strip()}")
        else:
            table += [f"``{row['names'].strip('`')}``", f"    {row['words']}"]
    return table


def _marked(line: str, known: set[str]) -> str:
    """A line of prose with its mathematics escaped and its equation numbers linked; code in backquotes stays."""
    if line.lstrip().startswith(".. "):
        return line
    parts = CODE.split(line)
    return "".join(part if i % 2 else _escaped(part, known) for i, part in enumerate(parts))


def _escaped(text: str, known: set[str]) -> str:
    text = EMPHASIS.sub("\x00\\1\x01", text)
    text = re.sub(r"[|*\\]", r"\\\g<0>", text)
    text = re.sub(r"_(?=\W|$)", r"\\_", text)
    text = text.replace("\x00", "*").replace("\x01", "*")

    def linked(match: re.Match[str]) -> str:
        label = match["number"] or match["tag"]
        return f"\\ :eq:`{label}`\\ " if label in known else match[0]

    def cited(match: re.Match[str]) -> str:
        return f"\\ :cite:p:`{match[1]}`\\ " if match[1] in known else match[0]

    text = re.sub(r"(?<![\w\])(])\((?P<number>\d{1,2})\)|\b(?P<tag>[ESMR]\d)\b(?![\w*^])", linked, text)
    return re.sub(KEY, cited, text)


def plain_aliases(signature: str | None) -> str | None:
    """A signature with the names of aliases of types as they are written in the code."""
    return signature and re.sub(r"TypeAliasForwardRef\('([\w.]+)'\)", r"\1", signature)


def setup(app: Sphinx) -> dict[str, Any]:
    """Hook into autodoc."""
    known = labels(Path(app.srcdir)) | keys(Path(app.srcdir))

    def process(_: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
        if not name.startswith(("simulator", "theory", "backends", "validation")):
            return
        lines[:] = plain_text(lines, known)

    def signature(
        _: Sphinx, what: str, name: str, obj: object, options: object, given: str | None, returned: str | None
    ) -> tuple[str | None, str | None]:
        return plain_aliases(given), plain_aliases(returned)

    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
