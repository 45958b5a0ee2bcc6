"""Linear maps and gates of a layer, written once over the array namespace.

These functions are what a reader checks against the equations and what every specialised kernel is tested
against. They use the array-API subset only, so the same text runs on NumPy, CuPy and array-api-strict.

Shapes: images are channels-last. ``m`` counts examples. Any array may carry one leading *probe* axis ``K``
besides; probe axes broadcast as in ``matmul``: a shared input meets K weights, K inputs meet shared weights.
"""

from __future__ import annotations

from typing import Any

Array = Any


def _offset_slices(xp: Any, x: Array, kernel: int) -> list[Array]:
    """The k² shifted views of the zero-padded images x (..., H, W, C), in row-major order of the kernel."""
    height, width, channels = x.shape[-3:]
    lead, r = x.shape[:-3], kernel // 2
    rows = xp.zeros((*lead, r, width, channels), dtype=x.dtype, device=x.device)
    columns = xp.zeros((*lead, height + 2 * r, r, channels), dtype=x.dtype, device=x.device)
    padded = xp.concat([columns, xp.concat([rows, x, rows], axis=-3), columns], axis=-2)
    return [padded[..., i : i + height, j : j + width, :] for i in range(kernel) for j in range(kernel)]


def convolve(xp: Any, *pairs: tuple[Array, Array]) -> Array:
    """Sum over the pairs (x, w) of the "same" cross-correlations z[p, b] = Σ_{o,a} x[p + o, a] w[o, a, b].

    x ([K,] m, H, W, A), zero outside the image, w ([K,] k, k, A, B) with k odd -> z ([K,] m, H, W, B). A sum of
    two is what a tangent pass needs: W^T ẋ + V^T x.
    """
    return _total([_convolve(xp, x, w) for x, w in pairs])


def _total(terms: list[Array]) -> Array:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _convolve(xp: Any, x: Array, w: Array) -> Array:
    kernel = w.shape[-4]
    taps = xp.reshape(w, (*w.shape[:-4], kernel * kernel, 1, 1, *w.shape[-2:]))
    views = _offset_slices(xp, x, kernel)
    return _total([xp.matmul(view, taps[..., i, :, :, :, :]) for i, view in enumerate(views)])


def turn(xp: Any, w: Array) -> Array:
    """The kernel of the adjoint: turned by 180 degrees, its channels exchanged."""
    return xp.matrix_transpose(xp.flip(w, axis=(-4, -3)))


def convolve_adjoint(xp: Any, *pairs: tuple[Array, Array]) -> Array:
    """Sum over the pairs (d, w) of the adjoints of `convolve` in x: (W d)[p, a] = Σ_{o,b} d[p - o, b] w[o, a, b].

    d ([K,] m, H, W, B), w ([K,] k, k, A, B) -> ([K,] m, H, W, A). A convolution again, by `turn(w)`.
    """
    return convolve(xp, *((d, turn(xp, w)) for d, w in pairs))


def convolve_gradient(xp: Any, kernel: int, *pairs: tuple[Array, Array]) -> Array:
    """Sum over the pairs (x, d) of the adjoints of `convolve` in w: g[o, a, b] = Σ_{i,p} x_i[p + o, a] d_i[p, b].

    Summed over the m examples. x ([K,] m, H, W, A), d ([K,] m, H, W, B) -> ([K,] k, k, A, B).
    """
    return _total([_convolve_gradient(xp, kernel, x, d) for x, d in pairs])


def _convolve_gradient(xp: Any, kernel: int, x: Array, d: Array) -> Array:
    sites = d.shape[-4] * d.shape[-3] * d.shape[-2]
    d_rows = xp.reshape(d, (*d.shape[:-4], sites, d.shape[-1]))
    taps = []
    for view in _offset_slices(xp, x, kernel):
        rows = xp.reshape(view, (*x.shape[:-4], sites, x.shape[-1]))
        taps.append(xp.matmul(xp.matrix_transpose(rows), d_rows))
    stacked = xp.stack(taps, axis=-3)
    return xp.reshape(stacked, (*stacked.shape[:-3], kernel, kernel, x.shape[-1], d.shape[-1]))


def patches(xp: Any, x: Array, kernel: int) -> Array:
    """What every site of a convolution reads: images x (..., H, W, A) -> (..., H, W, k² A), in the order of w."""
    return xp.concat(_offset_slices(xp, x, kernel), axis=-1)


def orthogonalise(xp: Any, basis: Array, w: Array) -> Array:
    """w - Q^T Q w for orthonormal rows Q = basis (k, n), w (n,)."""
    return w - xp.matmul(xp.matmul(basis, w), basis)


def add_block(xp: Any, total: Array, rows: Array, block: Array) -> Array:
    """total (..., n, n) plus block (..., k, k) in rows and columns `rows` (k,), all different: total + P block P^T."""
    sites = xp.arange(total.shape[-1], dtype=rows.dtype, device=rows.device)
    spread = xp.astype(sites[:, None] == rows, block.dtype)
    return total + xp.matmul(xp.matmul(spread, block), xp.matrix_transpose(spread))


def block(xp: Any, matrix: Array, rows: Array) -> Array:
    """The rows and columns `rows` (k,) of matrices (..., n, n): (..., k, k)."""
    return xp.take(xp.take(matrix, rows, axis=-2), rows, axis=-1)


def real_times(xp: Any, real: Array, matrix: Array) -> Array:
    """Real (..., m, n) @ complex (..., n, r) of the same precision, without promoting the real factor."""
    parts = [xp.matmul(real, part(matrix)) for part in (xp.real, xp.imag)]
    return parts[0] + parts[1] * xp.asarray(1j, dtype=matrix.dtype, device=matrix.device)


def _windows(xp: Any, x: Array, s: int) -> Array:
    """Split images (..., H, W, C) into s×s windows: (..., H//s, W//s, s², C); the ragged edge is cropped."""
    height, width, channels = x.shape[-3] // s, x.shape[-2] // s, x.shape[-1]
    cropped = x[..., : height * s, : width * s, :]
    split = xp.reshape(cropped, (*x.shape[:-3], height, s, width, s, channels))
    n = split.ndim
    axes = (*range(n - 5), n - 5, n - 3, n - 4, n - 2, n - 1)
    return xp.reshape(xp.permute_dims(split, axes), (*x.shape[:-3], height, width, s * s, channels))


def _unwindows(xp: Any, blocks: Array, s: int, height: int, width: int) -> Array:
    """Inverse of `_windows`; the cropped edge comes back as zeros (False)."""
    *lead, rows, columns, _, channels = blocks.shape
    n = len(lead)
    split = xp.reshape(blocks, (*lead, rows, columns, s, s, channels))
    axes = (*range(n), n, n + 2, n + 1, n + 3, n + 4)
    whole = xp.reshape(xp.permute_dims(split, axes), (*lead, rows * s, columns * s, channels))
    below = xp.zeros((*lead, height - rows * s, columns * s, channels), dtype=whole.dtype, device=whole.device)
    whole = xp.concat([whole, below], axis=-3)
    right = xp.zeros((*lead, height, width - columns * s, channels), dtype=whole.dtype, device=whole.device)
    return xp.concat([whole, right], axis=-2)


def select_maximum(xp: Any, x: Array, s: int) -> tuple[Array, Array]:
    """Max-pooling by s×s windows as one more 0/1 gate: (pooled values, selection mask of x's shape).

    x (m, H, W, C). Exactly one site of every whole window is selected: the first maximum in row-major order.
    """
    blocks = _windows(xp, x, s)
    first = xp.argmax(blocks, axis=-2, keepdims=True)
    sites = xp.reshape(xp.arange(s * s, dtype=first.dtype, device=x.device), (s * s, 1))
    mask = _unwindows(xp, sites == first, s, x.shape[-3], x.shape[-2])
    return xp.max(blocks, axis=-2), mask


def gate(xp: Any, z: Array, pools: tuple[int, ...]) -> tuple[Array, Array]:
    """Zero-temperature gates h = 1[z > 0] (7), and the max-pools behind them: (x = D z pooled, mask).

    z (m, n) or (m, H, W, C). The mask has z's shape: on, and selected by every pool.
    """
    mask = z > 0
    x = apply_gates(xp, mask, z, 1)
    if not pools:
        return x, mask
    reach = 1
    for s in pools:
        x, selected = select_maximum(xp, x, s)
        mask = xp.logical_and(mask, repeat(xp, selected, reach, z.shape))
        reach *= s
    return x, mask


def apply_gates(xp: Any, mask: Array, z: Array, window: int) -> Array:
    """D z for a frozen mask, then the sum over each window: at most one site of a window is on.

    mask (m, ...), z ([K,] m, ...) -> z's shape with its image sides divided by `window`.
    """
    gated = xp.where(mask, z, xp.zeros((), dtype=z.dtype, device=z.device))
    return gated if window == 1 else xp.sum(_windows(xp, gated, window), axis=-2)


def spread_gates(xp: Any, mask: Array, d: Array, window: int) -> Array:
    """Adjoint of `apply_gates`: each signal d goes to the one site of its window that is on."""
    whole = d if window == 1 else repeat(xp, d, window, (*d.shape[:-3], *mask.shape[-3:]))
    return xp.where(mask, whole, xp.zeros((), dtype=d.dtype, device=d.device))


def repeat(xp: Any, x: Array, s: int, shape: tuple[int, ...]) -> Array:
    """Every site of the images x repeated s×s times, zero-filled to the image sides of `shape`."""
    if s == 1 and x.shape[-3:] == shape[-3:]:
        return x
    *lead, height, width, channels = x.shape
    blocks = xp.broadcast_to(
        xp.reshape(x, (*lead, height, width, 1, channels)), (*lead, height, width, s * s, channels)
    )
    return _unwindows(xp, blocks, s, shape[-3], shape[-2])
