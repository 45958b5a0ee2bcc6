"""From integer levels to inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from validation.errors import DataError

FloatArray = NDArray[np.floating[Any]]


def training_statistics(levels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float]:
    """Mean of each feature, shape (...), and overall standard deviation of the centred levels (m, ...).

    From integer sums, which are exact, so that identical images have the deviation 0 and nothing else. Raises
    `DataError` for that deviation.
    """
    m = len(levels)
    sums = levels.sum(axis=0, dtype=np.int64)
    # einsum casts in small buffers: no int64 copy of the levels.
    squares = np.einsum("i...,i...->...", levels, levels, dtype=np.int64, casting="safe")
    variance = float((m * squares - sums**2).mean()) / m**2
    if variance == 0:
        raise DataError(
            f"all {m} training examples are identical, expected a positive standard deviation; "
            "use more examples or other classes."
        )
    return sums / m, variance**0.5


def standardise(
    levels: NDArray[np.uint8], mean: NDArray[np.float64], deviation: float, dtype: np.dtype[Any]
) -> FloatArray:
    """Inputs (levels - mean) / deviation, shape (m, ...), C-contiguous in `dtype`.

    The same as scaling by 1/255 (digits: 1/16) first: that factor cancels in the quotient.
    """
    x = np.empty(levels.shape, dtype=dtype)
    np.subtract(levels, mean, out=x, casting="same_kind")
    x /= deviation
    return x


def check_finite(x: FloatArray, name: str) -> None:
    """Raise `DataError` naming the first NaN or infinite entry of `x` (any shape), called `name`."""
    # Minimum and maximum pass NaN on and need no temporary array.
    if x.size == 0 or (np.isfinite(x.min()) and np.isfinite(x.max())):
        return
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
    raise DataError(
        f"{name} has the value {x[index]} at index {index}, expected finite numbers; repair or remove that example."
    )


def principal_components(x: FloatArray, count: int) -> FloatArray:
    """The first `count` principal components of inputs x (m, ...), over their overall standard deviation: (m, count).

    The inputs are centred first. The sign of a component is that which makes its largest loading positive, so that it
    does not depend on the library. Raises `DataError` where the inputs do not have so many.
    """
    flat = x.reshape(len(x), -1).astype(np.float64)
    flat -= flat.mean(axis=0)
    covariance = flat.T @ flat / len(flat)
    values, vectors = np.linalg.eigh(covariance)
    known = int(np.sum(values > len(values) * np.finfo(np.float64).eps * values.max(initial=0.0)))
    if not 1 <= count <= known:
        raise DataError(f"principal components are {count}, but the inputs have {known}; choose 1 to {known}.")
    leading = vectors[:, ::-1][:, :count]
    leading = leading * np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(count)])
    found = flat @ leading
    made: FloatArray = (found / found.std()).astype(x.dtype)
    return made
