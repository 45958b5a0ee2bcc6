"""`import umwelt_dnn` and the command `umwelt`: one name for the four packages and their commands."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import umwelt_dnn
from support.places import ROOT
from umwelt_dnn.__main__ import commands, main

PACKAGES = ("backends", "simulator", "theory", "validation")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def python(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_packages_under_one_name() -> None:
    assert dir(umwelt_dnn) == sorted(umwelt_dnn.__all__)
    for name in PACKAGES:
        assert getattr(umwelt_dnn, name) is importlib.import_module(name)
    with pytest.raises(AttributeError, match="'umwelt_dnn' has no attribute 'network'"):
        umwelt_dnn.network  # noqa: B018


def test_nothing_is_imported_before_it_is_used() -> None:
    code = f"import sys, umwelt_dnn; print([n for n in {PACKAGES!r} if n in sys.modules]); umwelt_dnn.theory.semicircle"
    done = python("-c", code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_packages_do_not_need_it() -> None:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            assert "import umwelt_dnn" not in file.read_text(), file


def test_one_version() -> None:
    """pyproject.toml takes it from the package; CITATION.cff and the changelog follow."""
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "umwelt_dnn.__version__"}
    assert f"\nversion: {umwelt_dnn.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_command_is_installed_with_the_package() -> None:
    module, _, function = PROJECT["project"]["scripts"]["umwelt"].partition(":")
    assert getattr(importlib.import_module(module), function) is main
    included = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {f"{name}*" for name in (*PACKAGES, "umwelt_dnn")} == set(included)
    assert PROJECT["project"]["urls"]


def test_the_commands_are_those_of_validation(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(commands()) >= {"compare", "exact", "bounds", "ladder", "phase", "stationary", "chaos"}
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"umwelt {umwelt_dnn.__version__}\n"
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: umwelt {{{','.join(commands())}}}")
    for words, said in (([], "no command was given"), (["train"], "command 'train' is unknown")):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"umwelt: {said}: usage: umwelt {{")
        assert err.count("\n") == 1


def test_a_command_is_the_module_itself(tmp_path: Path) -> None:
    """Same words, same exit status, from any folder, and whatever stands in that folder."""
    (tmp_path / "theory.py").write_text("raise SystemExit('the wrong one')")
    asked = python("-m", "umwelt_dnn", "exact", "--help", folder=ROOT)
    assert asked.stdout == python("-m", "validation.exact", "--help").stdout != ""
    code = "import sys; from umwelt_dnn.__main__ import main; sys.exit(main(sys.argv[1:]))"
    refused = python("-P", "-c", code, "exact", "--seed", "-1", "--out", str(tmp_path / "run"), folder=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("validation.exact: ")


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_conda_recipe_follows_pyproject() -> None:
    """Version, command and dependencies; one of them has another name there."""
    recipe = text_of("conda/meta.yaml")
    assert f'version = "{umwelt_dnn.__version__}"' in recipe
    assert f"- umwelt = {PROJECT['project']['scripts']['umwelt']}" in recipe
    run = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    wanted = {f"    - {d.replace('>=', ' >=').replace('matplotlib', 'matplotlib-base')}" for d in DEPENDENCIES}
    assert set(run.splitlines()) == wanted | {f"    - python {PROJECT['project']['requires-python']}"}


DEPENDENCIES = PROJECT["project"]["dependencies"]


def test_the_source_distribution_has_every_folder_of_the_checkout() -> None:
    known = {w for w in text_of("MANIFEST.in").split() if (ROOT / w).exists() and not w.startswith("docs/")}
    if (ROOT / ".git").exists():
        found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert {path.split("/")[0] for path in found.stdout.splitlines()} - {"MANIFEST.in"} <= known
    folders = {line.split()[1] for line in text_of("MANIFEST.in").splitlines() if line.startswith("graft")}
    assert folders <= known


def test_a_release_builds_and_tests_before_it_publishes() -> None:
    """No host is named: the publishing action knows its own."""
    steps = text_of(".github/workflows/release.yml")
    places = [steps.index(words) for words in ("python -m build", "dist/*.whl", "make test", "gh-action-pypi-publish")]
    assert places == sorted(places)
    for name in (".github/workflows/release.yml", "conda/meta.yaml", "MANIFEST.in", "pyproject.toml"):
        assert "pypi.org" not in text_of(name)
        assert "anaconda.org" not in text_of(name)
