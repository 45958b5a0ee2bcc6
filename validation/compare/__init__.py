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

    @property
    def __signature__(self) -> Any:
        """The options with their defaults, for `inspect.signature` and for what completes names."""
        from .job import compare

        return vars(compare)["__signature__"]

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        from .job import compare

        return compare.__doc__


sys.modules[__name__].__class__ = _CallablePackage
