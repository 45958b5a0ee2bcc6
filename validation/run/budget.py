"""Memory: how much a process may still take, and a step refused before it begins when that is not enough."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psutil

from validation.errors import InsufficientMemoryError

SIZE = re.compile(r"(\d+(?:\.\d*)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
STATUS = Path("/proc/self/status")
GROUPS = (  # limit and use of a control group, versions 2 and 1
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def parse_size(text: str) -> int:
    """Bytes of "8GB", "500 MB", "2GiB" or a plain number; `ValueError` for anything else."""
    match = SIZE.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"size {text!r} is not usable: use a number of bytes or one such as 8GB, 500MB")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " kmgt".index(match[2].lower() or " "))


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(psutil.Process().memory_info().rss)


def peak() -> int:
    """The most that this process has held since it began, or since `forget_peak` (Linux; elsewhere 0)."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", _text(STATUS), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def forget_peak() -> None:
    """Count `peak` from here (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def available() -> int:
    """Bytes that can be had without swapping: of the machine, and of the control group where there is one."""
    free = int(psutil.virtual_memory().available)
    for limit, used in GROUPS:
        if (most := _text(limit).strip()).isdecimal() and (now := _text(used).strip()).isdecimal():
            free = min(free, max(int(most) - int(now), 0))
    return free


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


class Memory:
    """What a job may use: `limit` bytes in all, or what is available.

    `say` gets one line for every step announced. What the process holds when it begins a step counts for a limit.
    """

    def __init__(self, limit: int | None = None, say: Callable[[str], object] = print) -> None:
        self._limit, self._say = limit, say

    def announce(self, step: str, need: float, remedy: str, seconds: float | None = None) -> None:
        """Say what a step will take; `InsufficientMemoryError` where there is not as much. `remedy`: what to reduce."""
        self.check(step, need, remedy)
        about = "" if seconds is None else f"{duration(seconds)}, "
        self._say(f"next: {step}: about {about}{size(need)}")

    def check(self, step: str, need: float, remedy: str) -> None:
        """`InsufficientMemoryError` where a step takes more than there is."""
        if self._limit is None:
            there, of = available(), "are available"
        else:
            there, of = self._limit - resident(), f"are left of --memory {size(self._limit)}"
        if need > there:
            raise InsufficientMemoryError(f"{step} takes about {size(need)}, {size(max(there, 0))} {of}: {remedy}")


def size(n_bytes: float) -> str:
    """Bytes in words: 0.31 GB, 12 MB."""
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """Seconds in words: 0.4 s, 12 s, 5 min, 3.2 h."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
