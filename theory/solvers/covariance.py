"""Covariance operators of random Hermitian matrices: S[R] = E[X R X*], X centred.

S is what a matrix Dyson equation knows of X. It maps positive matrices to positive ones, which is what makes
the solution unique [Helton2007]. Each class is one way to write S down; all act on batches (..., n, n) and give the
adjoint with respect to ⟨Q, R⟩ = tr(Q* R), so that tr(Q* S[R]) = tr(S'[Q]* R). S of a Hermitian X is its own adjoint;
that of a reduced equation, whose rows stand for blocks of different sizes, need not be.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.shown import shown

from .vector_dyson import nonnegative

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]
Function = Callable[[Complex], ArrayLike]

ROUNDING = 1e-10
"""Violation of symmetry or positivity, relative to the largest entry, that is put down to rounding."""
LARGEST_GUESS = 512
"""Sizes up to this one are tried on a function whose size was not given."""


def adjoint(a: Complex) -> Complex:
    """A* of each matrix of a batch."""
    return a.swapaxes(-1, -2).conj()


class Covariance(ABC):
    """A positive linear map S on n × n matrices; `size` is n."""

    @property
    @abstractmethod
    def size(self) -> int: ...

    @abstractmethod
    def __call__(self, r: Complex) -> Complex:
        """S[R] for each matrix of a batch (..., n, n)."""

    @abstractmethod
    def adjoint(self, q: Complex) -> Complex:
        """S'[Q] for each matrix of a batch (..., n, n): tr(Q* S[R]) = tr(S'[Q]* R)."""

    def second_moment(self) -> float:
        """tr S[I]/n, the mean square eigenvalue of X, exactly."""
        return float(np.trace(self(np.eye(self.size, dtype=np.complex128))).real) / self.size


def hermitian(name: str, values: ArrayLike, n: int | None = None) -> Complex:
    """`values` as a stack of Hermitian matrices (..., n, n), symmetrised to the last bit; ValueError otherwise."""
    array = np.asarray(values, dtype=np.complex128)
    expected = "(..., n, n)" if n is None else f"(..., {n}, {n})"
    if array.ndim < 2 or array.shape[-1] != array.shape[-2] or array.size == 0 or n not in (None, array.shape[-1]):
        raise ValueError(f"{name} has shape {array.shape}, expected {expected}, not empty; pass square matrices")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity, expected finite numbers; check how it was estimated")
    mirror = array.swapaxes(-1, -2).conj()
    gap = float(np.abs(array - mirror).max())
    if gap > ROUNDING * np.abs(array).max():
        raise ValueError(f"{name} differs from its adjoint by {gap:.3g}, expected a Hermitian matrix; symmetrise it")
    return np.asarray(0.5 * (array + mirror))


def positive(name: str, values: ArrayLike, n: int | None = None) -> Complex:
    """`values` as a stack of positive semidefinite matrices (..., n, n); ValueError otherwise."""
    array = hermitian(name, values, n)
    least = float(np.linalg.eigvalsh(array).min())
    if least < -ROUNDING * np.abs(array).max():
        raise ValueError(f"{name} has the eigenvalue {least:.3g}, expected >= 0; a covariance cannot be negative")
    return array


@shown
@dataclass(frozen=True, eq=False)
class DenseCovariance(Covariance):
    """S[R]_il = Σ_jk κ_ijkl R_jk with κ_ijkl = E[X_ij X_kl], every covariance of two entries.

    tensor  (n, n, n, n) κ; E[X_ij conj X_lk] as a matrix of (i, j) and (l, k) is checked to be positive, which
            takes the eigenvalues of an n² × n² matrix: for small n
    """

    tensor: ArrayLike
    _matrix: Complex = field(init=False, repr=False)

    def __post_init__(self) -> None:
        tensor = np.asarray(self.tensor, dtype=np.complex128)
        if tensor.ndim != 4 or len(set(tensor.shape)) != 1:
            raise ValueError(f"tensor has shape {tensor.shape}, expected (n, n, n, n); pass E[X_ij X_kl]")
        n = tensor.shape[0]
        positive("tensor", tensor.transpose(0, 1, 3, 2).reshape(n * n, n * n))
        object.__setattr__(self, "tensor", tensor)
        # From (j, k) to (i, l), so that S is one product with the raveled R.
        object.__setattr__(self, "_matrix", tensor.transpose(1, 2, 0, 3).reshape(n * n, n * n))

    @property
    def size(self) -> int:
        return int(np.shape(self.tensor)[0])

    def __call__(self, r: Complex) -> Complex:
        return self._apply(r, self._matrix)

    def adjoint(self, q: Complex) -> Complex:
        return self._apply(q, adjoint(self._matrix))

    def _apply(self, r: Complex, matrix: Complex) -> Complex:
        return np.asarray(r.reshape(*r.shape[:-2], -1) @ matrix).reshape(r.shape)


@shown
@dataclass(frozen=True, eq=False)
class KrausCovariance(Covariance):
    """S[R] = Σ_k A_k R A_k*.

    For X = Σ_k ξ_k A_k with independent standard normal ξ_k and Hermitian A_k, and for the block matrix
    X = Σ_k A_k ⊗ W_k with independent Wigner matrices W_k of variance 1/N, N → ∞, R then being the n × n blocks.
    A block A_k ⊗ B_k + A_k* ⊗ B_k* with a square B_k of independent entries has both A_k and A_k* in the list.

    coefficients  (k, n, n) real or complex; any such S is positive
    """

    coefficients: ArrayLike

    def __post_init__(self) -> None:
        a = np.asarray(self.coefficients)
        if a.ndim != 3 or a.shape[1] != a.shape[2] or a.size == 0:
            raise ValueError(f"coefficients have shape {a.shape}, expected (k, n, n), not empty; stack the matrices")
        if not np.isfinite(a).all():
            raise ValueError("coefficients hold NaN or infinity, expected finite numbers; check the matrices")
        object.__setattr__(self, "coefficients", a.astype(np.complex128 if np.iscomplexobj(a) else np.float64))

    @property
    def size(self) -> int:
        return int(np.shape(self.coefficients)[-1])

    def __call__(self, r: Complex) -> Complex:
        return self._sandwich(np.asarray(self.coefficients), r)

    def adjoint(self, q: Complex) -> Complex:
        return self._sandwich(adjoint(np.asarray(self.coefficients)), q)

    @staticmethod
    def _sandwich(a: Complex, r: Complex) -> Complex:
        """Σ_k a_k R a_k*; real coefficients act on Re R and Im R, which halves the work."""
        if np.iscomplexobj(a):
            return _sum_of_products(a, r)
        real, imag = _sum_of_products(a, np.stack([r.real, r.imag]))
        return np.asarray(real + 1j * imag)


def _sum_of_products(a: Complex, r: Complex) -> Complex:
    """Σ_k a_k R a_k*, as one product (n, k n) with (k n, n) for each matrix of the batch."""
    k, n, _ = a.shape
    wide = (a.reshape(k * n, n) @ r).reshape(*r.shape[:-2], k, n, n)
    wide = np.moveaxis(wide, -3, -2).reshape(*r.shape[:-2], n, k * n)
    return np.asarray(wide @ adjoint(a).reshape(k * n, n))


@shown
@dataclass(frozen=True, eq=False)
class KroneckerCovariance(Covariance):
    """S[R] = Σ_k P_k tr(Q_k R): the covariance of the entries of X is a sum of Kronecker products P_k ⊗ Q_k.

    A block B = P^{1/2} Ξ Q^{1/2} of X and its transpose, Ξ with independent entries of variance 1, give the two
    terms P tr(Q R) + Q tr(P R), P and Q supported on the block's rows and columns. A row of the reduced equation
    that stands for N equal rows of X has its weight N in Q_k.

    left, right  (k, n, n) positive semidefinite P_k, Q_k
    """

    left: ArrayLike
    right: ArrayLike

    def __post_init__(self) -> None:
        left, right = np.asarray(self.left), np.asarray(self.right)
        if left.ndim != 3 or left.shape != right.shape:
            raise ValueError(
                f"left {left.shape} and right {right.shape} are not usable, expected equal shapes (k, n, n); "
                "pass one pair of factors for each term"
            )
        object.__setattr__(self, "left", positive("left", left))
        object.__setattr__(self, "right", positive("right", right))

    @property
    def size(self) -> int:
        return int(np.shape(self.left)[-1])

    def __call__(self, r: Complex) -> Complex:
        return self._separable(np.asarray(self.left), np.asarray(self.right), r)

    def adjoint(self, q: Complex) -> Complex:
        return self._separable(np.asarray(self.right), np.asarray(self.left), q)

    @staticmethod
    def _separable(left: Complex, right: Complex, r: Complex) -> Complex:
        k = left.shape[0]
        traces = r.reshape(*r.shape[:-2], -1) @ right.swapaxes(-1, -2).reshape(k, -1).T
        return np.asarray(traces @ left.reshape(k, -1)).reshape(r.shape)


@shown
@dataclass(frozen=True, eq=False)
class ProfileCovariance(Covariance):
    """S[R] = diag(profile @ diag R): independent entries of variances profile_ij (up to symmetry), n → ∞.

    profile  (n, n) real, nonnegative, symmetric or not. Without a mean the equation is the vector Dyson
             equation, and is solved as that.
    """

    profile: ArrayLike

    def __post_init__(self) -> None:
        profile = nonnegative("profile", self.profile, "(n, n)")
        if profile.shape[0] != profile.shape[1]:
            raise ValueError(f"profile has shape {profile.shape}, expected (n, n); pass a square array")
        object.__setattr__(self, "profile", profile)

    @property
    def size(self) -> int:
        return int(np.shape(self.profile)[0])

    def __call__(self, r: Complex) -> Complex:
        return self._diagonal(np.asarray(self.profile), r)

    def adjoint(self, q: Complex) -> Complex:
        return self._diagonal(np.asarray(self.profile).T, q)

    @staticmethod
    def _diagonal(profile: Real, r: Complex) -> Complex:
        out = np.zeros(r.shape, dtype=np.complex128)
        place = np.arange(len(profile))
        out[..., place, place] = np.diagonal(r, axis1=-2, axis2=-1) @ profile.T
        return out


@shown
@dataclass(frozen=True, eq=False)
class FunctionCovariance(Covariance):
    """S given as a function of one (n, n) matrix; called once for each matrix of a batch.

    The function must be linear, keep Hermitian matrices Hermitian and positive ones positive. `adjoint` applies
    it to all n² unit matrices.
    """

    function: Function
    n: int

    @property
    def size(self) -> int:
        return self.n

    def __call__(self, r: Complex) -> Complex:
        n = self.size
        flat = np.asarray(r, dtype=np.complex128).reshape(-1, n, n)
        out = np.empty_like(flat)
        for index, matrix in enumerate(flat):
            image = np.asarray(self.function(matrix))
            if image.shape != (n, n):
                raise ValueError(
                    f"covariance returned shape {image.shape} for a matrix ({n}, {n}), expected the same shape; "
                    "pass a function on (n, n) matrices"
                )
            out[index] = image
        return out.reshape(r.shape)

    def adjoint(self, q: Complex) -> Complex:
        n = self.size
        images = self(np.eye(n * n, dtype=np.complex128).reshape(n * n, n, n)).reshape(n * n, n * n)
        return np.asarray(q.reshape(*q.shape[:-2], -1) @ images.conj().T).reshape(q.shape)


def _image_size(function: Function, k: int) -> int | None:
    """n if the function turns a k × k matrix into an n × n one, None if it refuses."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            shape = np.shape(function(np.eye(k, dtype=np.complex128)))
    except Exception:  # whatever a function raises on a matrix of the wrong size
        return None
    return shape[0] if len(shape) == 2 and shape[0] == shape[1] else None


def find_size(function: Function) -> int:
    """The n for which `function` maps n × n matrices to n × n matrices, by trying sizes.

    A function that closes over arrays either refuses other sizes or returns its own whatever it is given; both
    tell n. Raises ValueError when no size up to 512 fits, or when every size does.
    """
    remedy = "pass size=n or a mean (n, n)"
    for k in range(1, LARGEST_GUESS + 1):
        n = _image_size(function, k)
        if n is None or _image_size(function, n) != n:
            continue
        if _image_size(function, n + 1) == n + 1:
            raise ValueError(f"covariance accepts matrices of any size, expected one of a definite size; {remedy}")
        return n
    raise ValueError(f"covariance maps no matrix of size up to {LARGEST_GUESS} to its own size; {remedy}")


def as_covariance(covariance: Covariance | Function, size: int | None = None) -> Covariance:
    """A covariance operator as it is, a function as a FunctionCovariance of `size` (found if not given)."""
    if isinstance(covariance, Covariance):
        found = covariance.size
        if size not in (None, found):
            raise ValueError(
                f"size {size} was asked for, but the covariance acts on ({found}, {found}); make them agree"
            )
        return covariance
    if size is not None and (size < 1 or int(size) != size):
        raise ValueError(f"size is {size}, expected a whole number >= 1; pass n of the (n, n) matrices")
    if not callable(covariance):
        raise ValueError(
            f"covariance is a {type(covariance).__name__}, expected a function R -> S[R] or a covariance operator; "
            "wrap a variance profile in ProfileCovariance"
        )
    return FunctionCovariance(covariance, find_size(covariance) if size is None else size)
