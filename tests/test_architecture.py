"""The layering of the packages, read from their syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("backends", "simulator", "theory", "validation")
MAY_IMPORT = {
    "backends": set[str](),
    "simulator": {"backends"},
    "theory": set[str](),
    "validation": {"backends", "simulator", "theory"},
}
ONLY_IN = {  # libraries that must not be needed by importing a package, and the modules that may
    "cupy": "backends/cupy/",
    "numba": "backends/numba/",
    "llvmlite": "backends/numba/",
}


def imported(source: str) -> set[str]:
    """Top-level names of everything that a module imports, anywhere in it; relative imports stay inside."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in DYNAMIC:
            found |= {str(a.value).split(".")[0] for a in node.args if isinstance(a, ast.Constant)}
    return found


DYNAMIC = {"import_module", "__import__"}


def strings(source: str) -> set[str]:
    return {n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"no module of {package} was found"
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_layers(package: str) -> None:
    forbidden = set(PACKAGES) - MAY_IMPORT[package] - {package}
    for module in modules(package):
        assert not imported(module.read_text()) & forbidden, module


def test_only_validation_joins_simulator_and_theory() -> None:
    everything = {p: set[str]().union(*(imported(m.read_text()) for m in modules(p))) for p in PACKAGES}
    assert [p for p in PACKAGES if {"simulator", "theory"} <= everything[p]] == ["validation"]


def test_the_simulator_never_names_a_backend() -> None:
    for module in modules("simulator"):
        assert not strings(module.read_text()) & {"numpy", "numba", "cupy"}, module


def test_accelerators_are_imported_by_their_own_modules() -> None:
    for package in PACKAGES:
        for module in modules(package):
            name = module.relative_to(ROOT).as_posix()
            for library in imported(module.read_text()) & set(ONLY_IN):
                assert name.startswith(ONLY_IN[library]), f"{name} imports {library}"


def test_theory_takes_arrays_never_a_backend() -> None:
    for module in modules("theory"):
        assert not strings(module.read_text()) & {"numba", "cupy"}, module


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import theory.solvers.vector_dyson as d, os", {"theory", "os"}),
        ("from validation.data import x", {"validation"}),
        ("def f():\n    from simulator import risk", {"simulator"}),
        ("from . import risk\nfrom .theory import x", set()),
        ("import importlib\nimportlib.import_module('theory.semicircle')", {"importlib", "theory"}),
    ],
)
def test_the_reader_of_imports(source: str, expected: set[str]) -> None:
    assert imported(source) == expected
