"""The versions and the machine that a run belongs to."""

from __future__ import annotations

import importlib.metadata
import os
import platform


def environment() -> dict[str, str]:
    """Versions and machine, for the report."""
    packages = ("numpy", "scipy", "numba", "cupy")
    found = {name: package_version(name) for name in packages}
    return {
        "python": platform.python_version(),
        **{name: version for name, version in found.items() if version},
        "platform": platform.platform(),
        "cores": str(os.cpu_count()),
    }


def package_version(package: str) -> str:
    """The installed version, or nothing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
