"""The documentation's sources: numbers of equations, reference pages, diagrams. `make docs` builds the site itself."""

from __future__ import annotations

import ast
import doctest
import importlib
import logging
import re
import runpy
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from support.places import ROOT

DOCS = ROOT / "docs"
PACKAGES = ("backends", "simulator", "theory", "validation")
TAG = r"\b([ESM][1-9]|R[0-6])\b"

sys.path.insert(0, str(DOCS / "extensions"))
from docstrings import labels, plain_text  # noqa: E402


def displayed() -> list[str]:
    """Labels of displayed equations, as often as they occur."""
    pages = [page.read_text() for page in sorted((DOCS / "theory").glob("*.md"))]
    return re.findall(r"\$\$ \(([A-Za-z0-9]+)\)$", "\n".join(pages), flags=re.MULTILINE)


def docstrings(package: str) -> str:
    """All docstrings of a package, names in backquotes left out."""
    found = []
    for module in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                found.append(ast.get_docstring(node) or "")
    return re.sub(r"`[^`]*`", "", "\n".join(found))


def table() -> list[tuple[str, str]]:
    """Number and statement of every row of the table of the paper's equations."""
    page = (DOCS / "theory" / "equations.md").read_text()
    return re.findall(r"^\| (?:\{eq\}`|\()(\d+)[`)] \|[^|]*\| ([^|]+) \|", page, flags=re.MULTILINE)


def test_the_table_has_every_number_of_the_paper() -> None:
    numbers = [number for number, _ in table()]
    assert numbers == [str(n) for n in range(1, 22)]
    assert {n for n, words in table() if "no mark" in words} == set(numbers) - set(displayed()) == {"19"}


def mentioned(path: Path) -> set[str]:
    """Numbers of equations that a page or the strings of a module mention by "eq. (n)", "eqs. (n), (m)" or {eq}`n`."""
    text = path.read_text()
    found = re.findall(r"\b[Ee]qs?\. (\(\d+\)(?:(?:, | and |-)\(\d+\))*)", text)
    return set(re.findall(r"\d+", " ".join(found))) | set(re.findall(r"\{eq\}`(\d+)`", text))


def test_mentioned_numbers_are_in_the_table() -> None:
    known = {number for number, words in table() if "no mark" not in words}
    paths = [p for package in PACKAGES for p in (ROOT / package).rglob("*.py")]
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md"), *DOCS.glob("theory/*.md")]
    found = {path: mentioned(path) - known for path in [*paths, *pages]}
    assert not {str(path): numbers for path, numbers in found.items() if numbers}
    assert len(set().union(*(mentioned(path) for path in paths))) > 3  # the pattern finds something


def test_every_number_stands_on_one_theory_page() -> None:
    paper = [str(n) for n in range(1, 22) if n != 19]  # its mark is lost
    own = [f"E{n}" for n in range(1, 9)] + ["S1", "S2", "S3", "M1", "M2", "M3", "M4"] + [f"R{n}" for n in range(8)]
    own += ["K", "R7m", "RE", "REp", "RK", *(f"F{n}" for n in range(1, 9))]
    assert sorted(displayed()) == sorted(paper + own)
    assert labels(DOCS) == set(displayed())


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_refer_to_numbers_that_exist(package: str) -> None:
    known = set(displayed())
    text = docstrings(package)
    assert set(re.findall(TAG, text)) <= known
    assert set(re.findall(r"(?<![\w\])}])\((\d{1,2})\)", text)) <= known


@pytest.mark.parametrize("module", [*PACKAGES, "validation.figures"])
def test_the_reference_has_every_public_name(module: str) -> None:
    page = (DOCS / "api" / f"{module.split('.')[0]}.md").read_text()
    named = re.findall(rf"^\.\. (?:auto\w+|py:data):: {re.escape(module)}\.(\w+)$", page, flags=re.MULTILINE)
    assert len(named) == len(set(named))
    public = set(importlib.import_module(module).__all__)
    assert public - {"FIGURES"} <= set(named)


def test_links_between_pages_lead_somewhere() -> None:
    for page in DOCS.glob("**/*.md"):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not target.startswith("generated/"):
                assert (page.parent / target).exists(), f"{page.name} links {target}"


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        (["x  (m, n) inputs", "y  (m,) labels", "   of either sign"],
         ["", "``x``", "    (m, n) inputs", "``y``", "    (m,) labels", "    of either sign", ""]),
        (["By S2 and (20), not f(5):", "", "    d ≤ ½ P(Ψ*)", "", "with |x| ≤ 1."],
         [r"By \ :eq:`S2`\  and \ :eq:`20`\ , not f(5):", "", "::", "", "    d ≤ ½ P(Ψ*)", "",
          r"with \|x\| ≤ 1.", ""]),
        (["A *broken* weight, `a|b`, W_ and S9."], [r"A *broken* weight, `a|b`, W\_ and S9.", ""]),
        (["Unique [Helton2007], not [Nobody1900]."], [r"Unique \ :cite:p:`Helton2007`\ , not [Nobody1900].", ""]),
        (["Twice::", "", "    a | b"], ["Twice::", "", "    a | b", ""]),
    ],
)  # fmt: skip
def test_plain_docstrings_are_marked_up(docstring: list[str], expected: list[str]) -> None:
    assert plain_text(docstring, {"S2", "20", "Helton2007"}) == expected


@pytest.mark.parametrize("script", sorted((DOCS / "diagrams").glob("*.py")), ids=lambda p: p.stem)
def test_diagrams_stay_on_their_canvas(script: Path) -> None:
    figure = runpy.run_path(str(script))["draw"]()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    inked = figure.get_tightbbox()
    assert min(inked.min) > -0.02
    assert (inked.max < figure.get_size_inches() + 0.02).all()


def with_examples() -> list[str]:
    """Modules whose docstrings have examples."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in paths if ">>> " in p.read_text()]


@pytest.mark.parametrize("module", with_examples())
def test_examples_of_docstrings_run(module: str, caplog: pytest.LogCaptureFixture) -> None:
    # Commands that ran in this process before say on stdout when kernels are compiled: no output of an example.
    caplog.set_level(logging.WARNING, logger="umwelt.kernels")
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0
