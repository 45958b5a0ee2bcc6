"""The layering of the packages, read from their syntax trees."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from support.places import ROOT

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


MOST_FILES = 14  # of code, in one folder
FLOORS = (  # of validation: a room imports from those above it
    "errors", "run", "data", "interchange", "statistics", "measurements", "predictions", "report",
    ("compare", "exact", "bounds", "ladder", "phase", "stationary", "chaos"), "figures",
)  # fmt: skip


def names() -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for path in [path for package in PACKAGES for path in modules(package)]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def our_imports(name: str, known: dict[str, Path]) -> set[str]:
    """The modules of these packages that a module imports anywhere in it, but for those that only types need."""
    tree, package = ast.parse(known[name].read_text()), name.split(".")
    if known[name].name != "__init__.py":
        package.pop()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            places = [f"{source}.{alias.name}" for alias in node.names]
            found |= {place if place in known else source for place in places}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & set(known)) - {name}


def test_no_circle_of_imports_even_inside_functions() -> None:
    known = names()
    sorter = TopologicalSorter({name: our_imports(name, known) for name in known})
    sorter.prepare()  # CycleError names the circle


def room(name: str) -> str:
    return ".".join(name.split(".")[:2])


def test_no_circle_of_rooms() -> None:
    known = names()
    rooms: dict[str, set[str]] = {}
    for name in known:
        rooms.setdefault(room(name), set()).update(room(other) for other in our_imports(name, known))
    TopologicalSorter({here: others - {here} for here, others in rooms.items()}).prepare()


def test_rooms_of_validation_import_from_the_floors_above_and_commands_never_each_other() -> None:
    known = names()
    floor = {name: i for i, rooms in enumerate(FLOORS) for name in ([rooms] if isinstance(rooms, str) else rooms)}
    for name in known:
        here = name.split(".")[1:2]
        if name.startswith("validation.") and here:
            others = {o.split(".")[1] for o in our_imports(name, known) if o.startswith("validation.")} - set(here)
            assert all(floor[other] < floor[here[0]] for other in others), f"{name} imports {sorted(others)}"


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_no_folder_has_more_files_than_a_newcomer_can_survey(package: str) -> None:
    for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
        code = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(code) <= MOST_FILES, f"{folder}: {len(code)} files"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_says_what_it_is_for(package: str) -> None:
    for path in (ROOT / package).rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
    for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
        assert (folder / "__init__.py").exists(), folder


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
