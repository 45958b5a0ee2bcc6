"""What enters through the public functions of this package as real numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def real_array(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """An array as float64; `ValueError` for texts, complex or masked numbers and whatever else is not real.

    NumPy would turn a text into the number in it, drop an imaginary part, and show what a mask hides.
    """
    if np.ma.is_masked(values):
        raise ValueError(f"{name} has masked entries: fill them in")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError):
        raise ValueError(f"{name} is no array of numbers: expected rows of one length") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} (dtype {array.dtype}) holds non-real values: expected real numbers")
    return array.astype(np.float64)
