"""Sentences that a reader can take in: no page gets a longer one than it has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.places import ROOT

# A full stop ends a sentence where a capital, a figure, a quotation or code begins the next one.
END = re.compile(r"(?<=[.!?])[*_)\"”]*\s+(?=[*_(\"“`$[]*[A-ZÄÖÜΣ0-9`∂µΩ])")
SHORT = re.compile(r"\b(eqs?|figs?|e\.g|i\.e|cf|vs)\.\s+", flags=re.IGNORECASE)
BLOCK = re.compile(r"^\s*(?:[-*+]|\d+\.|>|:)\s+|^#+\s+")

# Words of the longest sentence of every page: a limit may fall and never rises.
AIM = 30
LIMITS = {"docs/paper/claims.md": 57}  # words of reports
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    if "generated" not in path.parts
}
PLAIN = ("README.md", "docs/runs.md", "docs/exact.md", "docs/predictions.md", "docs/bounds.md", "docs/start/install.md")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()


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


@pytest.mark.parametrize("name", sorted(PAGES))
def test_no_sentence_is_longer_than_the_longest_was(name: str) -> None:
    length, sentence = longest(PAGES[name].read_text())
    assert length <= LIMITS.get(name, AIM), sentence


def test_the_limits_are_above_the_aim_and_of_pages_that_exist() -> None:
    assert set(LIMITS) <= set(PAGES)
    assert min(LIMITS.values()) > AIM  # a page that came down to it loses its entry


@pytest.mark.parametrize("name", sorted(set(PAGES) - set(LIMITS)))
def test_pages_have_the_words_of_the_field(name: str) -> None:
    """Nothing is "said in advance" or "stands" somewhere, but for what stands for something else."""
    vague = r"\b(is|are|was) said\b|\bstand(s|ing)?\b(?! (in )?for\b)"
    assert not [s for s in sentences(PAGES[name].read_text()) if re.search(vague, s)]


def anchors(page: str) -> set[str]:
    """Of its headings, as the site makes them."""
    titles = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_into_pages_find_their_heading() -> None:
    known: dict[Path, set[str]] = {}
    for name, path in PAGES.items():
        for target, anchor in re.findall(r"\]\(([^)#\s]*\.md)?#([\w-]+)\)", path.read_text()):
            page = (path.parent / target).resolve() if target else path
            assert anchor in known.setdefault(page, anchors(page.read_text())), f"{name} links {target}#{anchor}"


def test_the_glossary_is_in_order_and_used() -> None:
    terms = re.findall(r"^## (.*)$", GLOSSARY, flags=re.MULTILINE)
    assert terms == sorted(terms, key=str.lower)
    pages = [path.read_text() for path in PAGES.values()]
    used = set(re.findall(r"glossary\.md#([\w-]+)", "\n".join(pages)))
    assert len(used) > 12
    assert all("glossary.md" in PAGES[name].read_text() for name in PLAIN[:-1])


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("One two. Three four five.", [2, 3]),
        ("# A title\nText, with `code that is` one word.\n\n- an item\n- another item here", [2, 5, 2, 3]),
        ("See eq. (20) of [the page](x.md#y z), and $a + b$.", [8]),
        ("```sh\nmany words of code\n```\nEnd.\n\n    an equation\n", [1]),
        ("| a cell | two words |\n|---|---|\n| x | y z |", [2, 2, 1, 2]),
    ],
)
def test_sentences_are_counted(page: str, expected: list[int]) -> None:
    assert [n for n in map(words, sentences(page)) if n] == expected
