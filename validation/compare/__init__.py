"""`python -m validation.compare`: the main job trains, measures, predicts, compares. callable as `compare(...)`."""

from __future__ import annotations

import sys
import types
from typing import Any


class _CallablePackage(types.ModuleType):
    """`validation.compare(...)` is the job, although the package that holds it has the same name."""

    def __call__(self, **options: Any) -> Any:
        from .job import compare

        return compare(**options)


sys.modules[__name__].__class__ = _CallablePackage
