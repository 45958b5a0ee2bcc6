"""The sentences of a Markdown page, as a reader counts them: code, mathematics and pictures left out."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A full stop ends a sentence where a capital, a figure, a quotation or code begins the next one.
END = re.compile(r"(?<=[.!?])[*_)\"”]*\s+(?=[*_(\"“`$[]*[A-ZÄÖÜΣ0-9`∂µΩ])")
SHORT = re.compile(r"\b(eqs?|figs?|e\.g|i\.e|cf|vs)\.\s+", flags=re.IGNORECASE)
BLOCK = re.compile(r"^\s*(?:[-*+]|\d+\.|>|:)\s+|^#+\s+")


def longest(page: str) -> tuple[int, str]:
    """Words of the longest sentence, and the sentence."""
    return max(((words(sentence), sentence) for sentence in sentences(page)), default=(0, ""))


def words(sentence: str) -> int:
    """What stands between spaces and has a letter or a figure in it."""
    return sum(any(c.isalnum() for c in part) for part in sentence.split())


def sentences(page: str) -> Iterator[str]:
    """Sentences of paragraphs, items of lists, headings and cells of tables."""
    for block in _blocks(page):
        text = SHORT.sub(r"\1 ", " ".join(block.split()))
        yield from (part.strip() for part in END.split(text) if part and part.strip())


def _blocks(page: str) -> Iterator[str]:
    page = re.sub(r"^(```|~~~).*?^\1\s*$", "", page, flags=re.DOTALL | re.MULTILINE)
    page = re.sub(r"\$\$.*?\$\$(?: \(\w+\))?", " ", page, flags=re.DOTALL)
    page = re.sub(r"\$[^$\n]+\$", "x", page)
    page = re.sub(r"^(?: {4,}|\t).*$", "", page, flags=re.MULTILINE)  # equations and output
    page = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", page)
    page = re.sub(r"\]\([^)]*\)", "]", page)
    page = re.sub(r"`[^`\n]+`", "`code`", page)
    block: list[str] = []
    for line in [*page.splitlines(), ""]:
        cells = line.strip().startswith("|")
        if block and (not line.strip() or cells or BLOCK.match(line)):
            yield " ".join(block)
            block = []
        if cells:
            yield from re.split(r"(?<!\\)\|", line.strip().strip("|"))
        elif line.strip():
            block.append(BLOCK.sub("", line))
            if line.startswith("#"):
                yield block.pop()
