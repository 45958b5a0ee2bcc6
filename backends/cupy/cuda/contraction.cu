// Convolutions as matrix products whose first factor is read from the images ("implicit GEMM").
//
//     convolve:           z[p, b]    = sum_{pairs} sum_{o,a} x[p + o, a] w[o, a, b]      rows p, columns b
//     convolve_gradient:  g[o, a, b] = sum_{pairs} sum_p     x[p + o, a] d[p, b]         rows (o, a), columns b
//
// A block computes ROWS x COLUMNS numbers of one probe. Slabs of the summed index come through two buffers of shared
// memory: while one is multiplied, the next is on its way in registers. A sum of two pairs is one longer sum, so a
// tangent pass W^T x' + V^T x writes its result once. `splits` blocks share a sum where there are few rows and
// columns; each writes its part, out is (splits, probes, rows, columns). Nothing is added atomically: results repeat.
//
// Gates that follow a convolution are applied where it is written, unless `splits` blocks share its sums: `add_parts`
// does it then.
//
// Compiled behind gating.cuh, product.cuh and factors.cuh, with RESIDENT, the blocks that share a multiprocessor. The
// text also compiles for the host, where a test supplies what the first lines of a CUDA compiler would.

struct Pairs {
    const scalar *first0, *second0, *first1, *second1;
    long long first0_step, second0_step, first1_step, second1_step;  // between probes; 0: shared by all
    int count;
};

template <class First>
__device__ __forceinline__ void contract(
    const Pairs& pairs, First first, Matrix second, scalar* out, int rows, int splits,
    const bool* mask, bool* on, Tiles& tiles) {
    const int probe = blockIdx.z / splits, split = blockIdx.z % splits, probes = gridDim.z / splits;
    const int slabs = (second.depth + SLAB - 1) / SLAB;
    const int begin = (long long)pairs.count * slabs * split / splits;
    const int end = (long long)pairs.count * slabs * (split + 1) / splits;
    Vector<VECTOR_A> parts_a[First::PASSES];
    Vector<VECTOR_B> parts_b[Matrix::PASSES];
    Product product;
    for (int slab = begin, buffer = 0;; ++slab) {
        if (slab < end) {  // the first slab of a pair: from here on places are counted up
            const bool own = slab < slabs;  // of the first pair
            first.seek(
                own ? pairs.first0 + probe * pairs.first0_step : pairs.first1 + probe * pairs.first1_step,
                own ? slab : slab - slabs);
            second.seek(
                own ? pairs.second0 + probe * pairs.second0_step : pairs.second1 + probe * pairs.second1_step,
                own ? slab : slab - slabs);
            first.load(parts_a);
            second.load(parts_b);
        }
        if (slab > begin) product.add(tiles.a[buffer], tiles.b[buffer]);
        if (slab >= end) break;
        const int stop = slab < slabs && slabs < end ? slabs - 1 : end - 1;
        for (;;) {
            buffer ^= 1;
            first.store(tiles.a[buffer], parts_a);
            second.store(tiles.b[buffer], parts_b);
            __syncthreads();
            if (slab == stop) break;
            ++slab;
            first.load(parts_a);
            second.load(parts_b);
            product.add(tiles.a[buffer], tiles.b[buffer]);
        }
    }
    scalar* part = out + ((long long)split * probes + probe) * rows * second.columns;
    const int row0 = blockIdx.x * ROWS, column0 = blockIdx.y * COLUMNS;
    if (mask) {
        product.write(part, row0, column0, rows, second.columns, Frozen{mask});
    } else if (on) {
        product.write(part, row0, column0, rows, second.columns, Opened{on});
    } else {
        product.write(part, row0, column0, rows, second.columns, Plain{});
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) convolve(
    const scalar* x0, const scalar* w0, const scalar* x1, const scalar* w1, scalar* out, long long x0_step,
    long long w0_step, long long x1_step, long long w1_step, int pairs, int m, int height, int width, int ins, int outs,
    int kernel, int splits, const bool* mask, bool* on) {
    __shared__ Tiles tiles;
    const Images images = {m, height, width, ins, kernel};
    const Pairs given = {x0, w0, x1, w1, x0_step, w0_step, x1_step, w1_step, pairs};
    const Matrix second(kernel * kernel * ins, outs, blockIdx.y * COLUMNS);
    contract(given, Sites(images, blockIdx.x * ROWS), second, out, m * height * width, splits, mask, on, tiles);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) convolve_gradient(
    const scalar* x0, const scalar* d0, const scalar* x1, const scalar* d1, scalar* out, long long x0_step,
    long long d0_step, long long x1_step, long long d1_step, int pairs, int m, int height, int width, int ins, int outs,
    int kernel, int splits) {
    __shared__ Tiles tiles;
    const Images images = {m, height, width, ins, kernel};
    const Pairs given = {x0, d0, x1, d1, x0_step, d0_step, x1_step, d1_step, pairs};
    const Matrix second(m * height * width, outs, blockIdx.y * COLUMNS);
    contract(given, Taps(images, blockIdx.x * ROWS), second, out, kernel * kernel * ins, splits, nullptr, nullptr,
        tiles);
}
