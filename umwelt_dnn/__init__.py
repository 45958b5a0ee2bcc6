"""One name for the four packages: ``umwelt_dnn.simulator`` is ``simulator``, each imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import backends
    import simulator
    import theory
    import validation

__version__ = "0.1.0"
__all__ = ["__version__", "backends", "simulator", "theory", "validation"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
