"""Independent random streams from one seed."""

from __future__ import annotations

from typing import Any

import numpy as np

Seed = int | np.random.Generator


def uniform(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Numbers in [0, 1) drawn in the precision they are used in: rounding to 1 would switch off a sure gate."""
    return rng.random(shape, dtype=np.float32) if dtype == "float32" else rng.random(shape)


def spawn_streams(seed: Seed, count: int) -> list[np.random.Generator]:
    """`count` independent generators spawned from a seed (an integer >= 0) or from a generator's own sequence."""
    if isinstance(seed, np.random.Generator):
        return list(seed.spawn(count))
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed {seed!r} is not usable: pass an integer >= 0 or a numpy.random.Generator")
    return [np.random.default_rng(child) for child in np.random.SeedSequence(int(seed)).spawn(count)]
