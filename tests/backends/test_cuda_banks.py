"""Shared memory of the products on tensor cores: threads that read or store at once meet in no bank."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from backends.cupy.kernels import Variant
from backends.cupy.modules import source
from support.emulated_cuda import COMPILER, NO_COMPILER, compiled

BANKS = 32  # of four bytes each
TILES = [(128, 128), (128, 64), (128, 32), (256, 16)]
PROBE = """
struct Log {
    int *out, count = 0;
    void put(int place, int width) { out[2 * count] = place, out[2 * count + 1] = width, ++count; }
};

// Of every thread: the numbers that each of its instructions reads or stores, and how many.
extern "C" __global__ void places(int* out, int each) {
    Log log = {out + 2 * each * threadIdx.x};
    Product product;
    for (int i = 0; i < Product::WM / 16; ++i)
        for (int k = 0; k < 4; k += 2) log.put(product.place_a(i, k), 4);
    for (int j = 0; j < Product::WN / 8; ++j) log.put(product.place_b(j), 4);
    for (int pass = 0; pass < Sites::PASSES; pass += 2)
        for (int e = 0; e < 4; e += 2)
            log.put(PlaceA::of(threadIdx.x % Sites::ACROSS * 4 + e, Sites::row() + Sites::more(pass)), 4);
    for (int pass = 0; pass < Taps::PASSES; pass += 2)
        for (int e = 0; e < 4; e += 2)
            log.put(PlaceA::of(Taps::Own::k() + pass % Taps::LINES, Taps::Own::row(pass / Taps::LINES) + e), 4);
    const int width = Matrix::PASSES > 1 ? 2 : 1;
    for (int pass = 0; pass < Matrix::PASSES; pass += width)
        for (int e = 0; e < 4; ++e)
            log.put(PlaceB::near(PlaceB::of(Matrix::Own::k() + pass, Matrix::Own::row(0)), e), width);
    for (; log.count < each;) log.put(-1, 0);
}
"""


def accesses(rows: int, columns: int) -> tuple[np.ndarray, int]:
    """(place, width) of every thread and instruction, and the number of threads."""
    variant, each = Variant("float", rows, columns, 4, 4, True), 64
    library = compiled(source(*variant.names[:-1], **variant.values) + PROBE)
    out = np.zeros((variant.threads, each, 2), np.int32)
    boxes = [ctypes.c_void_p(out.ctypes.data), ctypes.c_int(each)]
    pointers = (ctypes.c_void_p * 2)(*(ctypes.addressof(b) for b in boxes))
    assert library.launch_places(pointers, (ctypes.c_uint * 3)(1, 1, 1), variant.threads) == 0
    return out, variant.threads


def most_in_a_bank(places: np.ndarray, width: int) -> int:
    """Different words that threads want of one bank at a time: a multiprocessor serves 128 bytes at once."""
    at_once = BANKS // width
    worst = 0
    for begin in range(0, len(places), at_once):
        words = np.unique(places[begin : begin + at_once, None] + np.arange(width))
        worst = max(worst, int(np.bincount(words % BANKS).max()))
    return worst


@pytest.mark.skipif(not COMPILER, reason=NO_COMPILER)
@pytest.mark.parametrize(("rows", "columns"), TILES, ids=str)
def test_nobody_meets_in_a_bank(rows: int, columns: int) -> None:
    """But in stores of the second factor of the narrowest tile, where two do."""
    made, threads = accesses(rows, columns)
    used = [index for index in range(made.shape[1]) if made[0, index, 1]]
    assert len(used) > 12
    for index in used:
        places, width = made[:, index, 0], int(made[0, index, 1])
        assert (places % width == 0).all()
        allowed = 2 if columns == 16 and width == 1 else 1
        assert most_in_a_bank(places[: threads if width > 1 else min(threads, 16 * columns // 4)], width) <= allowed
