"""What every symmetric operator on the device offers the host, given its products with the rows of a device array."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.sparse.linalg import LinearOperator

from backends import Array, Backend, HostArray
from simulator.inputs import in_range, real_array
from simulator.passes.risk import batches

from .device import DeviceOperator

DENSE_LIMIT = 20_000


class SymmetricProducts(LinearOperator):  # type: ignore[misc]
    """A symmetric `scipy.sparse.linalg.LinearOperator` made of `rows`; ``backend`` is set before its shape."""

    backend: Backend

    def rows(self, v: Array) -> Array:
        """The operator applied to each row of a device array v (K, n) -> (K, n)."""
        raise NotImplementedError

    def product(self, v: Array) -> Array:
        """H v on the device: v (n,) or (n, k), a device array of the backend's dtype."""
        xp = self.backend.xp
        if v.ndim == 1:
            return self.rows(v[None, :])[0, :]
        return xp.matrix_transpose(self.rows(xp.matrix_transpose(v)))

    def on_device(self) -> DeviceOperator:
        """The operator on arrays of the device, for eigensolvers that work there."""
        return DeviceOperator(self)

    def dense(self) -> HostArray:
        """The n×n matrix, for small n (at most `DENSE_LIMIT`)."""
        n = self.shape[0]
        if n > DENSE_LIMIT:
            raise ValueError(
                f"a dense Hessian of {n} weights takes {8 * n * n / 1e9:.0f} GB: the limit is {DENSE_LIMIT} weights; "
                "use products, or spectral_density"
            )
        identity = np.eye(n, dtype=self.dtype)
        return np.concatenate([self._matmat(identity[:, part]) for part in batches(n, 64)], axis=1)

    def _matvec(self, v: HostArray) -> HostArray:
        return self.backend.to_numpy(self.product(self.backend.asarray(self._vectors(v).reshape(-1))))

    def _matmat(self, v: HostArray) -> HostArray:
        if v.shape[1] == 0:
            return np.zeros(v.shape, dtype=self.dtype)
        return self.backend.to_numpy(self.product(self.backend.asarray(self._vectors(v))))

    def _vectors(self, v: Any) -> Any:
        return in_range(real_array(v, "v"), "v", self.backend.dtype)

    def _adjoint(self) -> Self:
        return self

    _transpose = _adjoint
