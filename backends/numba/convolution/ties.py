"""Where direct sums take the place of Winograd's: exact numbers, decisions within its rounding, and uneven tiles.

The rounding of a transformed tile scales with the whole tile and not with what one site sees. So tiles alone would
decide by rounding what is exact: z = 0 would open gates, and ties in max-pools would go to any site. Four rules keep
gates and pools those of the direct sum, whatever batch an image is in and however many threads there are:

1. *Exact numbers.* An image and a kernel are multiples of powers of two, x = k 2^e and w = k' 2^e'. Where all products
   k k' are exact, direct sums are taken for the whole image. Integer networks are exact so, in every layer.
2. *Decisions.* The error of a tile is at most b = K u ||x|| ||w_b||, u the unit of rounding, ||x|| the norm of the
   tile's window, ||w_b|| that of an output's kernel. Where two of the numbers that a gate or a pool compares are closer
   than their errors, those numbers are summed directly before they are compared.
3. *Uneven tiles.* Sites whose own 3×3 patch is `UNEVEN` times smaller than the tile's window are summed directly: a
   bright pixel spoils no site that does not see it, and a patch of zeros gives 0.
4. *Equal patches.* Sites of equal, neighbouring patches are summed directly, so that equal patches give equal numbers
   in every tile, and the next layer finds its ties again.

K: rounding errors of sums whose terms have random signs do not grow with their number A of channels in the units of b.
The largest seen is 3.2 (over Gaussian, rectified, sparse, smooth and bright inputs of 16 to 512 channels). The errors
of sums of equal terms grow with A: the largest seen is 0.28 A (constant and chequered images under kernels that are
equal over all channels). K = 8 + 0.35 A is above both.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from backends.numba.jit import njit
from backends.numba.tiles import INT, Lanes

UNEVEN = 16.0
INCOHERENT, COHERENT = 8.0, 0.35
"""K = INCOHERENT + COHERENT · A."""
DIGITS = {"float64": 53, "float32": 24}
SMALLEST, SMALLEST_SINGLE = 1e-280, 1e-30
"""Sums of squares below it, in double and single precision, may have lost terms to underflow."""


def largest_error(dtype: str, channels: int) -> float:
    """K u: what an error is at most, over ||x|| ||w_b||."""
    return (INCOHERENT + COHERENT * channels) * float(np.finfo(dtype).eps) / 2


@njit(cache=True)
def digits(x, most):  # type: ignore[no-untyped-def]
    """Binary digits of the largest |x| in units of the largest power of two that divides all of x; `most` + 1 if more.

    x is flat; numbers that are infinite or below 1e-300 count as more.
    """
    unit, inverse, largest, span = 0.0, 0.0, 0.0, 0
    for i in range(x.size):
        value = abs(np.float64(x[i]))
        if value == 0:
            continue
        scaled = value * inverse
        if value <= largest and scaled == math.floor(scaled):
            continue
        if not 1e-300 < value < np.inf:
            return most + 1
        mantissa, exponent = math.frexp(value)
        whole = np.int64(math.ldexp(mantissa, 53))
        own = math.ldexp(np.float64(whole & -whole), exponent - 53)
        unit, largest = own if unit == 0 else min(unit, own), max(largest, value)
        span = math.frexp(largest)[1] - math.frexp(unit)[1] + 1
        if span > most or unit < 1e-300:
            return most + 1
        inverse = 1 / unit
    return span


@njit(cache=True)
def exact_images(x, w, most):  # type: ignore[no-untyped-def]
    """Of which images x (m, ...) all products with w are exact in `most` binary digits: (m,)."""
    exact = np.zeros(x.shape[0], np.bool_)
    left = most - digits(w.reshape(-1), most)
    if left >= 0:
        for i in range(x.shape[0]):
            exact[i] = digits(x[i].reshape(-1), left) <= left
    return exact


@njit(cache=True)
def column_norms(w):  # type: ignore[no-untyped-def]
    """||w_b|| of a kernel (k, k, A, B) -> (B,)."""
    rows = w.reshape(-1, w.shape[3])
    sums = np.zeros(w.shape[3])
    for row in range(rows.shape[0]):
        for c in range(sums.size):
            sums[c] += np.float64(rows[row, c]) * np.float64(rows[row, c])
    return np.sqrt(sums).astype(w.dtype)


@intrinsic
def _squares(context, like, x, sites, channels, sums):  # type: ignore[no-untyped-def]
    """sums[i] = Σ_a x[i, a]² of a row of `sites` at address x."""
    signature = types.void(like, *[types.intp] * 4)

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        _, x, sites, channels, sums = values
        t = Lanes(builder, signature.args[0])
        steps, slot = builder.sdiv(channels, INT(t.lanes)), cgutils.alloca_once(builder, t.vector)
        with cgutils.for_range(builder, sites) as site:
            start = t.shifted(x, builder.mul(site.index, channels))
            builder.store(ir.Constant(t.vector, None), slot)
            with cgutils.for_range(builder, steps) as step:
                part = t.load(t.shifted(start, builder.mul(step.index, INT(t.lanes))), 0)
                builder.store(t.fused(part, part, builder.load(slot)), slot)
            at = t.pointer(t.shifted(sums, site.index), t.real)
            builder.store(t.folded(builder.load(slot)), at)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _add_columns(context, like, x, w, stride, run, z):  # type: ignore[no-untyped-def]
    """z[l] += Σ_{a < run} x[a] w[a, l] for a vector of outputs; rows of w lie `stride` entries apart."""
    signature = types.void(like, *[types.intp] * 5)

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        _, x, w, stride, run, z = values
        t = Lanes(builder, signature.args[0])
        slots = t.clear()
        with cgutils.for_range(builder, builder.sdiv(run, INT(t.lanes))) as step:
            first = builder.mul(step.index, INT(t.lanes))
            numbers, rows = t.shifted(x, first), t.shifted(w, builder.mul(first, stride))
            for i, slot in enumerate(slots):
                row = t.load(t.shifted(rows, builder.mul(stride, INT(i))), 0)
                builder.store(t.fused(t.spread(t.shifted(numbers, INT(i))), row, builder.load(slot)), slot)
        t.store(builder.fadd(t.load(z, 0), t.tree([builder.load(slot) for slot in slots])), z, 0)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _add_rows(context, like, x, w, stride, run, z):  # type: ignore[no-untyped-def]
    """z[l] += Σ_{b < run} x[b] w[l, b] for a vector of outputs; rows of w lie `stride` entries apart."""
    signature = types.void(like, *[types.intp] * 5)

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        _, x, w, stride, run, z = values
        t = Lanes(builder, signature.args[0])
        slots = t.clear()
        with cgutils.for_range(builder, builder.sdiv(run, INT(t.lanes))) as step:
            first = builder.mul(step.index, INT(t.lanes))
            numbers = t.load(t.shifted(x, first), 0)
            for i, slot in enumerate(slots):
                row = t.load(t.shifted(w, builder.add(first, builder.mul(stride, INT(i)))), 0)
                builder.store(t.fused(numbers, row, builder.load(slot)), slot)
        for i, slot in enumerate(slots):
            at = t.pointer(t.shifted(z, INT(i)), t.real)
            builder.store(builder.fadd(builder.load(at), t.folded(builder.load(slot))), at)
        return context.get_dummy_value()

    return signature, generate


@njit(cache=True)
def squares_of_row(x, start, sites, channels, sums, at):  # type: ignore[no-untyped-def]
    """Sums of squares over the channels of `sites` from address `start` on, into the flat `sums` from `at` on."""
    _squares(x, start, sites, channels, sums.ctypes.data + at * sums.itemsize)  # type: ignore[call-arg]


@njit(cache=True)
def _add_site(x, w, turned, y, q, c, place):  # type: ignore[no-untyped-def]
    """A vector of outputs from c on at site (y, q) of the image x (H, W, A), added to what is at address `place`."""
    height, width, ins = x.shape
    item, stride = x.itemsize, w.shape[3]
    for i in range(3):
        for j in range(3):
            v, u = y + i - 1, q + j - 1
            if v < 0 or v >= height or u < 0 or u >= width:
                continue
            numbers = x.ctypes.data + (v * width + u) * ins * item
            if turned:
                rows = w.ctypes.data + (((2 - i) * 3 + 2 - j) * w.shape[2] + c) * stride * item
                _add_rows(x, numbers, rows, stride, ins, place)  # type: ignore[call-arg]
            else:
                rows = w.ctypes.data + ((i * 3 + j) * ins * stride + c) * item
                _add_columns(x, numbers, rows, stride, ins, place)  # type: ignore[call-arg]


@njit(cache=True)
def _sum_site(own, w, shared, v, turned, y, q, c, lanes, z):  # type: ignore[no-untyped-def]
    """z[y, q, c..c+lanes] = the direct sum of both parts, either of which may be empty."""
    for lane in range(lanes):
        z[y, q, c + lane] = 0
    place = z.ctypes.data + ((y * z.shape[1] + q) * z.shape[2] + c) * z.itemsize
    if own.shape[0]:
        _add_site(own, w, turned, y, q, c, place)
    if shared.shape[0]:
        _add_site(shared, v, turned, y, q, c, place)


@njit(cache=True)
def _any_number(x, y, q, side):  # type: ignore[no-untyped-def]
    """Whether the image x has a number other than 0 in the window of `side` × `side` sites from (y, q) on."""
    for v in range(max(y, 0), min(y + side, x.shape[0])):
        for u in range(max(q, 0), min(q + side, x.shape[1])):
            for c in range(x.shape[2]):
                if x[v, u, c] != 0:
                    return True
    return False


@njit(cache=True)
def _patches(sums, rows, patches):  # type: ignore[no-untyped-def]
    """Sums over 3×3 sites: sums (H+2, W+2) -> patches (H, W), added in the same order everywhere."""
    height, width = patches.shape
    for y in range(height + 2):
        for x in range(width):
            rows[y, x] = (sums[y, x] + sums[y, x + 1]) + sums[y, x + 2]
    for y in range(height):
        for x in range(width):
            patches[y, x] = (rows[y, x] + rows[y + 1, x]) + rows[y + 2, x]


@njit(cache=True)
def windows_of_tiles(x, sums, tile, patches, norms, rows, marks):  # type: ignore[no-untyped-def]
    """||x|| of every tile's window, at most; marks sites of uneven tiles and says how many tiles are.

    x (H, W, A), sums (tile·down + 2, tile·across + 2) of squares with a border, patches (tile·down, tile·across), norms
    (down, across), marks (H, W) gets 1.
    """
    _patches(sums, rows, patches)
    height, width = marks.shape
    ratio, smallest = sums.dtype.type(UNEVEN * UNEVEN), SMALLEST if sums.itemsize == 8 else SMALLEST_SINGLE
    found = 0
    far = tile - 1  # patches at the corners of a tile cover its window
    for ty in range(norms.shape[0]):
        for tx in range(norms.shape[1]):
            y, q = tile * ty, tile * tx
            total = (patches[y, q] + patches[y, q + far]) + (patches[y + far, q] + patches[y + far, q + far])
            norms[ty, tx] = np.sqrt(total)
            least = total
            for v in range(y, min(y + tile, height)):
                for u in range(q, min(q + tile, width)):
                    least = min(least, patches[v, u])
            lost = total < smallest and _any_number(x, y - 1, q - 1, tile + 2)
            if least * ratio >= total and not lost:
                continue
            found += 1
            for v in range(y, min(y + tile, height)):
                for u in range(q, min(q + tile, width)):
                    if lost or not patches[v, u] * ratio >= total:
                        marks[v, u] = 1
    return found


@njit(cache=True)
def equal_patches(patches, marks):  # type: ignore[no-untyped-def]
    """Marks neighbours, diagonal ones too, whose patches have equal sums other than 0; says how many pairs there are.

    Equal patches have equal sums. Others rarely do, and a direct sum does them no harm.
    """
    height, width = marks.shape
    found = 0
    for y in range(height):
        hits = 0
        for x in range(width - 1):
            hits += patches[y, x] == patches[y, x + 1]
        if y + 1 < height:
            hits += patches[y, width - 1] == patches[y + 1, width - 1]
            for x in range(width - 1):
                here, under = patches[y, x], patches[y + 1, x]
                hits += (here == under) | (here == patches[y + 1, x + 1]) | (patches[y, x + 1] == under)
        if hits == 0:
            continue
        for x in range(width):
            for v, u in ((y, x + 1), (y + 1, x - 1), (y + 1, x), (y + 1, x + 1)):
                if 0 <= u < width and v < height and patches[y, x] == patches[v, u] and patches[y, x] > 0:
                    marks[y, x] = 1
                    marks[v, u] = 1
                    found += 1
    return found


@njit(cache=True)
def sum_marked(own, w, shared, v, turned, marks, lanes, z):  # type: ignore[no-untyped-def]
    """All outputs of marked sites of an image by direct sums; clears the marks."""
    for y in range(marks.shape[0]):
        for x in range(marks.shape[1]):
            if marks[y, x]:
                marks[y, x] = 0
                for c in range(0, z.shape[2], lanes):
                    _sum_site(own, w, shared, v, turned, y, x, c, lanes, z)


@njit(cache=True)
def _decide_window(z, y, x, s, c, lanes, reach, norms, own, w, shared, v, picked):  # type: ignore[no-untyped-def]
    """Direct sums at those sites of a window that may have its largest z or 0, where these are too close to tell.

    A vector of outputs from c on; z (H, W, B); an error of z is at most reach · norms.
    """
    found = False
    picked[: s * s] = False
    for lane in range(c, c + lanes):
        top, next_to_it = z.dtype.type(0), z.dtype.type(-np.inf)
        for o in range(s * s):
            value = z[y + o // s, x + o % s, lane]
            if value > top:
                top, next_to_it = value, top
            else:
                next_to_it = max(next_to_it, value)
        apart = reach * norms[lane] * (1 if s == 1 else 2)
        if top - next_to_it > apart:
            continue
        for o in range(s * s):
            if not z[y + o // s, x + o % s, lane] < top - apart:
                picked[o] = True
                found = True
    if found:
        for o in range(s * s):
            if picked[o]:
                _sum_site(own, w, shared, v, False, y + o // s, x + o % s, c, lanes, z)


@njit(cache=True)
def _decide_tiles(z, tile, s, lanes, reaches, norms, doubts, own, w, shared, v, picked):  # type: ignore[no-untyped-def]
    """`_decide_window` of all windows of side 1 or 2 in those tiles that `doubts` (down, across, B/lanes) names."""
    height, width, _ = z.shape
    rows, columns = height // s * s, width // s * s
    for ty in range(doubts.shape[0]):
        for tx in range(doubts.shape[1]):
            for vector in range(doubts.shape[2]):
                if not doubts[ty, tx, vector]:
                    continue
                for y in range(tile * ty, min(tile * ty + tile, rows), s):
                    for x in range(tile * tx, min(tile * tx + tile, columns), s):
                        _decide_window(
                            z, y, x, s, vector * lanes, lanes, reaches[ty, tx], norms, own, w, shared, v, picked
                        )


@njit(cache=True)
def _decide_windows(z, tile, s, lanes, reaches, norms, own, w, shared, v, picked):  # type: ignore[no-untyped-def]
    """The same of all windows of an image, of any side: they may lie in several tiles."""
    height, width, outs = z.shape
    for y in range(0, height // s * s, s):
        for x in range(0, width // s * s, s):
            reach = reaches[y // tile, x // tile]
            for ty in range(y // tile, (y + s - 1) // tile + 1):
                for tx in range(x // tile, (x + s - 1) // tile + 1):
                    reach = max(reach, reaches[ty, tx])
            for c in range(0, outs, lanes):
                _decide_window(z, y, x, s, c, lanes, reach, norms, own, w, shared, v, picked)


@njit(cache=True)
def decide(z, tile, s, lanes, reaches, norms, doubts, own, w, shared, v, picked):  # type: ignore[no-untyped-def]
    """Direct sums where gates (s = 1) or max-pools of side s would be decided by rounding, in an image z (H, W, B)."""
    if s <= 2:
        _decide_tiles(z, tile, s, lanes, reaches, norms, doubts, own, w, shared, v, picked)
    else:
        _decide_windows(z, tile, s, lanes, reaches, norms, own, w, shared, v, picked)
