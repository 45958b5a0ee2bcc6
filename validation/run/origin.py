"""Whether the four packages that are imported are those of one installation: a folder or file may stand in the way."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HOME = Path(__file__).absolute().parents[2]
KNOWN = {"backends": "get_backend", "simulator": "HessianOperator", "theory": "solve_vector_dyson"}  # names in each


def check_packages() -> None:
    """Raise `ImportError` where `backends`, `simulator` or `theory` would come from elsewhere than this package.

    The message names what is in the way and what to do.
    """
    for name, known in KNOWN.items():
        ours, found = HOME / name / "__init__.py", _found(name)
        if found is None:
            raise ImportError(f"package {name!r} is missing in '{HOME}': install umwelt-dnn again")
        if not _same(found, ours):
            raise ImportError(_in_the_way(name, found))
        if not _holds(ours, known):
            raise ImportError(
                f"'{ours}' is not Umwelt's, another distribution has put its file there: install umwelt-dnn in an "
                "environment of its own"
            )


def _found(name: str) -> Path | None:
    """The file or folder that ``import name`` takes or has taken; None where there is none."""
    module = sys.modules.get(name)
    spec = importlib.util.find_spec(name) if module is None else module.__spec__
    if spec is None:
        return None
    if spec.origin is not None and spec.has_location:
        return Path(spec.origin).absolute()
    return next((Path(place).absolute() for place in spec.submodule_search_locations or ()), None)


def _same(found: Path, ours: Path) -> bool:
    try:
        return found == ours or found.samefile(ours)
    except OSError:
        return False


def _holds(file: Path, name: str) -> bool:
    try:
        return name in file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # an archive, or compiled files alone
        return True


def _in_the_way(name: str, found: Path) -> str:
    place = found.parent if found.name == "__init__.py" else found
    remedy = "rename it, or start in another folder"
    if place.parent == Path.cwd():
        remedy += ", or set PYTHONSAFEPATH=1"
    return f"'{place}' is in the way of Umwelt's package {name!r} in '{HOME}': {remedy}"
