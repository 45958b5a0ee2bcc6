"""Shapes of layers and numbers for them: convolutions with and without a probe axis, gates, max-pools."""

from __future__ import annotations

import numpy as np

from support.cases import Array

# (m, H, W, A, B, kernel): single pixels, ragged sides, kernels wider than the image, blocks with a remainder.
SHAPES = [
    (1, 1, 1, 1, 1, 1), (2, 1, 1, 3, 2, 3), (3, 1, 1, 2, 2, 5), (3, 2, 2, 2, 3, 3), (4, 2, 2, 1, 4, 5),
    (5, 7, 5, 3, 4, 3), (7, 5, 7, 2, 3, 5), (3, 1, 6, 2, 2, 3), (3, 6, 1, 4, 1, 3), (11, 4, 3, 1, 5, 1),
    (6, 8, 8, 5, 2, 1), (33, 3, 3, 2, 2, 3), (2, 32, 32, 3, 4, 3), (2, 9, 9, 2, 2, 7),
    # Whole panels of columns, the last narrow, wide or ragged, for vectors of 2 to 16 lanes; whole and ragged tiles.
    (3, 4, 4, 16, 32, 3), (2, 6, 4, 8, 48, 3), (2, 5, 5, 3, 16, 3), (1, 7, 8, 20, 41, 3), (4, 2, 2, 5, 33, 3),
    (2, 3, 4, 24, 8, 1), (1, 20, 20, 12, 24, 3),
    # Tiles of 2×2 and 4×4 sites, whole and ragged, one or several blocks of them, in every precision.
    (3, 5, 7, 16, 32, 3), (70, 2, 2, 32, 16, 3), (5, 1, 3, 32, 48, 3), (2, 8, 6, 32, 80, 3),
    # Images smaller than the kernel, whole and ragged; images of three colours.
    (30, 2, 2, 16, 48, 3), (13, 2, 1, 3, 5, 3), (29, 1, 1, 16, 16, 3), (5, 4, 3, 6, 17, 5), (2, 20, 19, 3, 32, 3),
]  # fmt: skip


# Which of (first, second) of each pair carries the probe axis.
PROBES = [
    [(0, 0)], [(1, 0)], [(0, 1)], [(1, 1)],
    [(0, 0), (0, 0)], [(1, 0), (0, 1)], [(0, 1), (1, 1)], [(1, 1), (0, 0)],
]  # fmt: skip


K = 3


def drawn(shape: tuple[int, ...], probes: int = 0, *seed: int) -> Array:
    lead = (K,) if probes else ()
    return np.random.default_rng([len(seed), *seed, *shape]).standard_normal((*lead, *shape))


# (m, H, W, C) and pools; small integers make ties, zeros and windows that are all off.
GATES = [
    ((3, 1, 1, 2), ()), ((2, 5, 4, 3), ()), ((2, 2, 2, 1), (2,)), ((4, 7, 5, 3), (2,)), ((3, 7, 8, 2), (3,)),
    ((2, 6, 6, 2), (1,)), ((3, 9, 10, 2), (2, 2)), ((2, 13, 12, 3), (2, 3)), ((2, 8, 9, 1), (2, 2, 2)), ((5, 4), ()),
    ((2, 4, 6, 16), (2,)), ((3, 5, 7, 20), (2,)), ((2, 3, 4, 37), (2,)),
]  # fmt: skip


def values(shape: tuple[int, ...]) -> Array:
    z = np.random.default_rng([9, *shape]).integers(-3, 3, shape).astype(float)
    z[0] = -np.abs(z[0])
    return np.where(z == -3, -0.0, z)


def blas_threads() -> list[int]:
    from threadpoolctl import threadpool_info

    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
