"""Whether the spectra of several networks are symmetric: the third moment beside its standard error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from .estimate import estimate

Record = dict[str, Any]
SIGNIFICANCE = 0.05  # of an asymmetry, over all that are tested together


def asymmetry(records: Sequence[Record | None], tests: int) -> Record | None:
    """m3 = tr H³/(N rms³), mean over networks, and whether it is within its standard error of 0.

    The standard error is the larger of those over probes and over networks: each alone is too small by chance now and
    then. ``within``: |m3| below Student's point of `SIGNIFICANCE` over `tests` tests (Bonferroni).
    """
    laws = [r["symmetry"] for r in records if r is not None]
    mean = estimate([s["m3"] for s in laws])
    if mean is None:
        return None
    probes = float(np.sqrt(sum(s["m3_standard_error"] ** 2 for s in laws)) / len(laws))
    error = max(probes, mean["standard_error"] or 0.0)
    freedom = sum(r["probes"] - 1 for r in records if r is not None)
    limit = float(student.ppf(1.0 - SIGNIFICANCE / (2 * tests), freedom))
    return mean | {"standard_error": error, "limit": limit, "within": bool(abs(mean["value"]) <= limit * error)}
