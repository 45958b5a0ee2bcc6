"""What the default backend changes in the process that makes one: how idle threads wait, and what malloc keeps.

Nothing is changed by an import. The environment variable UMWELT_LEAVE_PROCESS, set to anything, leaves the process as
it is; training then takes about a fifth longer, and far longer beside other busy programs.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

LEAVE = "UMWELT_LEAVE_PROCESS"
KEPT_BYTES = 1 << 30
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # of malloc.h


@cache
def prepare_process() -> None:
    """Idle OpenMP threads sleep, and glibc reuses freed arrays; once for each process."""
    if os.environ.get(LEAVE):
        return
    # Idle threads spin by default: on cores shared with anything else that costs a factor of ten and more.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # tens of microseconds: most of a step's pauses end sooner
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let glibc reuse freed arrays instead of returning them: fresh pages cost a fifth of a training step.

    Up to `KEPT_BYTES` stay with the process. Other C libraries are left as they are.
    """
    setting = getattr(ctypes.CDLL(None), "mallopt", None) if platform.libc_ver()[0] == "glibc" else None
    if setting is not None:
        for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            setting(parameter, KEPT_BYTES)
