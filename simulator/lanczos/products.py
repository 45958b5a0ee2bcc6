"""Products of a symmetric operator with vectors, and how far they can be trusted.

A product is as good as the arithmetic behind it, and the vector may be kept in a better one: a Hessian product of
another library comes in single precision, a GPU multiplies with factors of 10 bits. Lanczos must know, or eigenvalues
appear that are not there (`orthogonality`). So a precision is declared, and two more products verify it
before the first step: a linear operator has H(q + r) = Hq + Hr, a symmetric one r^T Hq = q^T Hr.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse

from backends import Array, Backend, HostArray, get_backend
from simulator.hessian.operator import HessianOperator
from simulator.streams import Streams

# Relative rounding errors, the distance of 1 from the next number.
PRECISIONS = {"float64": 2.0**-52, "float32": 2.0**-23, "tf32": 2.0**-10, "float16": 2.0**-10, "bfloat16": 2.0**-7}
COARSEST = 2.0**-4  # beyond it a spectrum would say more of the rounding than of the operator
SLACK = 8.0  # measured errors up to so many times the declared one are what was declared
ASYMMETRY = 1e-6  # of the rms eigenvalue: a matrix that was computed in single precision
NORMAL = 64  # powers of 2 up or down within which products are taken as they are
SPLIT = 3.0  # powers of 2 that the numbers of the splitting vector spread over, up and down
LONG = 60  # powers of 2 by which a vector is made longer, to see whether its product is 0 or too small a number


def rounding_error(precision: Any) -> float:
    """A relative rounding error from the name of a precision, from a dtype of that name, or as it is."""
    if isinstance(precision, (float, np.floating)):
        if not 0.0 < precision <= COARSEST:
            raise ValueError(
                f"precision {precision!r} is not usable: a relative rounding error is > 0 and at most {COARSEST}"
            )
        return max(float(precision), PRECISIONS["float64"])
    name = _dtype_name(precision)
    if name not in PRECISIONS:
        raise ValueError(
            f"precision {name!r} is unknown: use one of {', '.join(PRECISIONS)}, or a relative rounding error"
        )
    return PRECISIONS[name]


class NonlinearOperatorError(ValueError):
    """Products with v1 + v2 are not the sum of those with v1 and v2: of what is no linear map, or rounding alone."""


class Products:
    """H v / unit for rows v of vectors on a backend: a `HessianOperator` on its own, all else on the host in float64.

    Attributes, after `first`: ``precision``, the rounding error of a product relative to its length or to that of a
    random vector's product, whichever is larger; ``size``, that length for a random unit vector, about the rms
    eigenvalue; ``unit``, a power of 2 that keeps products of very small or large operators, and their squares, within
    range (1 for all others).

    `precision`: what to expect of products where it is not what the operator's dtype says: see `rounding_error`.
    """

    def __init__(self, operator: Any, precision: Any = None) -> None:
        shape = tuple(getattr(operator, "shape", ()))
        if not hasattr(type(operator), "__matmul__") or not shape:
            raise ValueError(
                f"an operator of type {type(operator).__name__} was given: expected one with a shape and products @"
            )
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 1:
            raise ValueError(f"the operator has shape {shape}: expected a square one")
        self._given = None if precision is None else rounding_error(precision)
        self._operator, self.n = _unmasked(operator), int(shape[0])
        self._own = isinstance(operator, HessianOperator)
        self._declared = operator.precision if self._own else _declared(operator, self._given is not None)
        self._dtype = np.dtype(operator.backend.dtype if self._own else "float64")  # of products as they come
        self.ops: Backend = operator.backend if self._own else get_backend()
        self.tangent_bytes: int = operator.tangent_bytes if self._own else 0
        self.precision = self.size = 0.0
        self.unit = 1.0

    @property
    def verified(self) -> bool:
        """Whether the first products were made."""
        return self.precision > 0.0

    def rows(self, v: Array) -> Array:
        """H v / unit for v (K, N)."""
        found = self._operator.rows(v) if self._own else self.ops.asarray(self._host_rows(self.ops.to_numpy(v)))
        return found if self.unit == 1.0 else found * (1.0 / self.unit)

    def first(self, v: Array, together: int) -> tuple[Array, int]:
        """`rows` of the first unit vectors v of a run, and the number of products that this and verifying them took.

        At most `together` vectors at a time. Raises `ValueError` where products are not finite, not linear, not
        symmetric, or too small for their precision.
        """
        self.precision = self.size = 0.0
        self.unit = 1.0
        product = self.rows(v)
        largest = self._largest(product)
        self._check_range(largest)
        power = math.frexp(largest)[1]
        if abs(power) > NORMAL:
            self.unit = 2.0**power
            product = product * (1.0 / self.unit)
        other = self.ops.asarray(_splitting_vector(self.n)) * (self._stretch() if largest == 0.0 else 1.0)
        of_other, of_sum = self._multiplied(other, v[0, :] + other, together)
        if largest == 0.0 and self._largest(of_other) > 0.0:
            self._refuse_small(largest)
        self._check_linearity(product[0, :], of_other, of_sum)
        self.size = self.unit * max(_length(self.ops, product[k, :]) for k in range(int(v.shape[0])))
        self._check_symmetry(v, product, other, of_other)
        return product, int(v.shape[0]) + 2

    def state(self) -> HostArray:
        """What `first` found."""
        return np.array([self.precision, self.size, self.unit])

    def restore(self, state: HostArray) -> None:
        """Go on with what `first` found in another run."""
        self.precision, self.size, self.unit = (float(value) for value in state)

    def _host_rows(self, v: HostArray) -> HostArray:
        """A copy: what comes back may be what went in, and is changed in place."""
        found = _numbers(self._operator @ v.T, (self.n, v.shape[0]))
        if not self.verified and self._given is None:
            self._declared = max(self._declared, rounding_error(found.dtype))
        self._dtype = found.dtype
        return np.array(found.T, dtype=np.float64, order="C")

    def _multiplied(self, first: Array, second: Array, together: int) -> list[Array]:
        """The products with two vectors, finite: at a time or one after the other."""
        both = self.ops.xp.stack([first, second], axis=0)
        parts = [both] if together > 1 else [both[:1, :], both[1:, :]]
        found = [self.rows(part) for part in parts]
        for product in found:
            self._largest(product)
        return [found[0][0, :], found[-1][-1, :]]

    def _check_linearity(self, of_first: Array, of_other: Array, of_sum: Array) -> None:
        """H(q + r) = Hq + Hr, to the ``precision`` that is found here."""
        lengths = [_length(self.ops, w) for w in (of_first, of_other, of_sum)]
        defect = _length(self.ops, of_sum - of_first - of_other)
        measured = defect / math.hypot(*lengths) if defect > 0.0 else 0.0
        if not measured <= COARSEST:
            raise NonlinearOperatorError(
                f"products of the operator with v1 + v2 and with v1 and v2 differ by {measured:.2g} of their length: "
                "expected a linear and deterministic operator; fix the order of its data and switch dropout off"
            )
        declared = max(self._declared if self._given is None else self._given, _eps(self.ops.dtype))
        self.precision = measured if measured > SLACK * declared else declared

    def _check_symmetry(self, v: Array, product: Array, other: Array, of_other: Array) -> None:
        """r^T Hq = q^T Hr for every q; random unit vectors differ by about 2 rms(A)/sqrt(N), A = (H - H^T)/2."""
        inner, second = self.ops.inner, _length(self.ops, of_other)
        for k in range(int(v.shape[0])):
            length = max(_length(self.ops, product[k, :]), second)
            apart = abs(inner(other, product[k, :]) - inner(v[k, :], of_other))
            if apart <= 2.0 * SLACK * self.precision * length:
                continue
            asymmetry = apart / length * math.sqrt(self.n) / 2.0
            if asymmetry > ASYMMETRY:
                raise ValueError(
                    f"the operator is not symmetric: u^T H v and v^T H u differ by {apart / length:.2g} of the length "
                    "of H v for random unit vectors; give a symmetric one, such as (H + H.T) / 2"
                )
            self.precision = max(self.precision, asymmetry)

    def _largest(self, product: Array) -> float:
        """The largest number of a product; `ValueError` where one is not finite."""
        largest = float(self.ops.xp.max(self.ops.xp.abs(product)))
        if not math.isfinite(largest):
            raise ValueError(
                f"a product of the operator with finite numbers holds NaN or infinite ones (dtype {self._dtype}): "
                "expected finite products; look for NaN behind it, or use smaller weights and data"
            )
        return largest

    def _stretch(self) -> float:
        """What makes a unit vector long and leaves its product within the range of the dtype."""
        return 2.0 ** min(LONG, int(np.finfo(self._dtype).maxexp) // 2 if self._dtype.kind == "f" else LONG)

    def _check_range(self, largest: float) -> None:
        """Where the largest number of a product is no normal one, or signals behind it are none, digits are lost."""
        least = float(np.finfo(self._dtype).smallest_normal) if self._dtype.kind == "f" else 0.0
        if 0.0 < largest < least or (self._own and largest < least / _eps(self._dtype) and self._operator.underflows()):
            self._refuse_small(largest)

    def _refuse_small(self, largest: float) -> None:
        remedy = "give a multiple of the operator" + (", or use float64" if self._dtype.itemsize < 8 else "")
        raise ValueError(
            f"the product of the operator with a unit vector has {largest:.3g} as its largest number, too small for "
            f"{self._dtype}: {remedy}"
        )


def _eps(dtype: Any) -> float:
    return float(np.finfo(dtype).eps)


def _length(ops: Backend, w: Array) -> float:
    return math.sqrt(ops.inner(w, w))


def _splitting_vector(n: int) -> HostArray:
    """A unit vector (n,) of numbers of many sizes, whose roundings differ from those of any other vector's."""
    rng = Streams(0)("verification")
    vector = rng.standard_normal(n) * 2.0 ** rng.uniform(-SPLIT, SPLIT, n)
    unit: HostArray = vector / np.linalg.norm(vector)
    return unit


def _dtype_name(dtype: Any) -> str:
    """The name of a dtype of any library: that of ``torch.float32`` is "float32"."""
    try:
        name = str(np.dtype(dtype))
    except TypeError:
        name = str(dtype)
    name = name.rsplit(".", 1)[-1]
    return "float64" if name in ("float128", "float96", "longdouble") else name


def _unmasked(operator: Any) -> Any:
    """A masked array that hides nothing as the array that it is."""
    if np.ma.is_masked(operator):
        raise ValueError("the operator has masked entries: fill them in")
    return np.asarray(operator) if isinstance(operator, np.ma.MaskedArray) else operator


def _declared(operator: Any, given: bool) -> float:
    """The rounding error that an operator's dtype stands for; `ValueError` for one of no real numbers.

    NumPy multiplies arrays in the dtype that it promotes to, so that the dtype of their products counts, not their own.
    Whole numbers are exact.
    """
    dtype = getattr(operator, "dtype", None)
    name = "float64" if dtype is None else _dtype_name(dtype)
    if name.startswith("complex"):
        raise ValueError(
            f"the operator has dtype {name}: expected a real symmetric one; "
            "where all imaginary parts are 0 give its real part"
        )
    if name in ("object", "O"):
        raise ValueError("the operator has dtype object: expected one of numbers; convert it to float64")
    if given or isinstance(operator, np.ndarray) or sparse.issparse(operator) or name not in PRECISIONS:
        whole = name == "bool" or "int" in name
        if not (given or whole or name in PRECISIONS):
            raise ValueError(f"the operator has dtype {name}, whose rounding is unknown: give precision=")
        return PRECISIONS["float64"]
    return PRECISIONS[name]


def _numbers(product: Any, shape: tuple[int, int]) -> HostArray:
    """A product as an array of real numbers; `ValueError` for anything else."""
    if np.ma.is_masked(product):
        raise ValueError("a product of the operator has masked entries: fill them in")
    try:
        found = np.asarray(product)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"a product of the operator is of type {type(product).__name__}: expected an array on the host"
        ) from None
    if found.dtype.kind != "f" and str(found.dtype) not in PRECISIONS:
        raise ValueError(
            f"a product of the operator has dtype {found.dtype}: expected real floating-point numbers; "
            "give a real symmetric operator that does not round to whole numbers"
        )
    if found.shape != shape:
        raise ValueError(f"a product of the operator with a block {shape} has shape {found.shape}: expected {shape}")
    return found
