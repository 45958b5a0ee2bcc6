"""The bibliography: every work that is named is in docs/references.bib, and every one there is named somewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from support.places import ROOT

DOCS = ROOT / "docs"
PACKAGES = ("backends", "simulator", "theory", "validation")

sys.path.insert(0, str(DOCS / "extensions"))
from docstrings import KEY, keys  # noqa: E402


def entries() -> dict[str, dict[str, str]]:
    """The fields of every entry by its key, as they stand between braces."""
    text = (DOCS / "references.bib").read_text()
    found = re.findall(r"^@\w+\{(\w+),\n(.*?)^\}$", text, flags=re.MULTILINE | re.DOTALL)
    return {key: dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, flags=re.MULTILINE)) for key, body in found}


def cited(path: Path) -> set[str]:
    """Keys in square brackets in a module, in roles on a page."""
    text = path.read_text()
    if path.suffix == ".py":
        return set(re.findall(KEY, text))
    return {key for group in re.findall(r"\{cite:[pt]\}`([^`]+)`", text) for key in group.split(",")}


def sources() -> list[Path]:
    modules = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return modules + sorted(DOCS.glob("*.md")) + sorted(DOCS.glob("theory/*.md"))


def test_works_that_are_named_are_in_the_bibliography() -> None:
    unknown = {str(path): cited(path) - keys(DOCS) for path in sources()}
    assert not {path: missing for path, missing in unknown.items() if missing}


def test_works_in_the_bibliography_are_named() -> None:
    assert keys(DOCS) == set().union(*map(cited, sources()))


def test_entries_say_who_what_when_and_where() -> None:
    found = entries()
    assert set(found) == keys(DOCS)
    assert list(found) == list(dict.fromkeys(re.findall(r"^@\w+\{(\w+),", (DOCS / "references.bib").read_text(), re.M)))
    for key, fields in found.items():
        assert {"author", "title", "year"} <= set(fields), key
        assert set(fields) & {"journal", "booktitle", "publisher", "eprint"}, key
        assert fields["year"] in key


def test_no_work_is_named_by_its_journal_alone() -> None:
    """Names with a year in round brackets are citations that went round the bibliography."""
    loose = re.compile(r"\b[A-Z][a-zé]+(?: and [A-Z][a-zé-]+| et al\.)?,? \(?(?:NIPS |NeurIPS |ICML )?(?:19|20)\d\d\)")
    named = {str(path): loose.findall(path.read_text()) for path in sources()}
    assert not {path: words for path, words in named.items() if words}
