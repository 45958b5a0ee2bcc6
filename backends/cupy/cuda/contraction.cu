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
// Compiled with  SCALAR    float or double
//                ROWS, COLUMNS   128x128, 128x64, 128x32 or 256x16
//                VECTOR_A, VECTOR_B   numbers per load of the first and second factor: 1, or 16 bytes' worth
//                TENSOR    1: products of TF32 on tensor cores (SCALAR float), 0: of SCALAR
//
// The text also compiles for the host, where a test supplies what the first lines of a CUDA compiler would.

typedef SCALAR scalar;

constexpr int SLAB = sizeof(scalar) == 4 ? 16 : 8;
constexpr int TM = 8, TN = ROWS * COLUMNS == 128 * 128 ? 8 : 4;  // numbers of one thread
constexpr int THREADS = (ROWS / TM) * (COLUMNS / TN);
constexpr int STRIDE_A = ROWS + 8, STRIDE_B = COLUMNS + 8;  // 8 apart: fragments of neighbours in different banks
constexpr int PASSES_A = ROWS * SLAB / VECTOR_A / THREADS;
// Blocks that share a multiprocessor; many loads of one number each take registers.
constexpr int RESIDENT = (sizeof(scalar) == 4 ? 512 : 256) / THREADS / (PASSES_A > 16 ? 2 : 1);
constexpr int PASSES_B = (COLUMNS * SLAB / VECTOR_B + THREADS - 1) / THREADS;

static_assert(PASSES_A * VECTOR_A * THREADS == ROWS * SLAB, "every thread loads the same share of the first factor");
static_assert(THREADS % (SLAB / VECTOR_A) == 0, "a thread stays in its columns of the first factor");
static_assert(THREADS % (COLUMNS / VECTOR_B) == 0, "a thread stays in its columns of the second factor");

template <int N>
struct alignas(N * sizeof(scalar)) Vector {
    scalar v[N];
};

struct Tiles {
    alignas(16) scalar a[2][SLAB][STRIDE_A];
    alignas(16) scalar b[2][SLAB][STRIDE_B];
};

// Rows of slab line k, in an order in which neither the stores of `Sites` nor the reads of a product meet in a bank.
__device__ __forceinline__ int swizzled(int k, int row) { return row ^ (((k >> 2) & 3) << 3); }

__device__ __forceinline__ scalar rounded(scalar value) {
#if TENSOR
    return round_to_tf32(value);
#else
    return value;
#endif
}

template <int N>
__device__ __forceinline__ Vector<N> rounded(Vector<N> part) {
#pragma unroll
    for (int e = 0; e < N; ++e) part.v[e] = rounded(part.v[e]);
    return part;
}

// The product of two tiles, added up in registers.
#if TENSOR
struct Product {
    static constexpr int WN = COLUMNS == 16 ? 16 : 32, ACROSS = COLUMNS / WN;
    static constexpr int WM = ROWS / (THREADS / 32 / ACROSS);  // a warp computes WM x WN
    float sum[WM / 16][WN / 8][4];
    int group, lane, row, column;

    __device__ Product() {
        const int warp = threadIdx.x / 32;
        group = threadIdx.x % 32 / 4;
        lane = threadIdx.x % 4;
        row = warp / ACROSS * WM;
        column = warp % ACROSS * WN;
        for (int i = 0; i < WM / 16; ++i)
            for (int j = 0; j < WN / 8; ++j)
                for (int c = 0; c < 4; ++c) sum[i][j][c] = 0.0f;
    }

    // A lane reads lines `lane` and `lane + 4` of every eight; rows of a warp begin at multiples of 32. So the swizzled
    // places differ from the first by constants.
    __device__ __forceinline__ void add(const scalar (*a)[STRIDE_A], const scalar (*b)[STRIDE_B]) {
        static_assert(WM % 32 == 0, "swizzling moves rows within groups of 32");
        const scalar *own_a = &a[lane][row + group], *own_b = &b[lane][column + group];
#pragma unroll
        for (int k = 0; k < SLAB; k += 8) {
            float left[WM / 16][4], right[WN / 8][2];
#pragma unroll
            for (int i = 0; i < WM / 16; ++i)
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const int line = k + e / 2 * 4;
                    left[i][e] = own_a[line * STRIDE_A + swizzled(line, 16 * i + e % 2 * 8)];
                }
#pragma unroll
            for (int j = 0; j < WN / 8; ++j)
#pragma unroll
                for (int e = 0; e < 2; ++e) right[j][e] = own_b[(k + 4 * e) * STRIDE_B + 8 * j];
#pragma unroll
            for (int i = 0; i < WM / 16; ++i)
#pragma unroll
                for (int j = 0; j < WN / 8; ++j) multiply_tf32(sum[i][j], left[i], right[j]);
        }
    }

    __device__ void write(scalar* out, int row0, int column0, int rows, int columns) const {
        for (int i = 0; i < WM / 16; ++i)
            for (int half = 0; half < 2; ++half) {
                const int r = row0 + row + 16 * i + group + 8 * half;
                if (r >= rows) continue;
                for (int j = 0; j < WN / 8; ++j) {
                    const int c = column0 + column + 8 * j + 2 * lane;
                    scalar* place = out + (long long)r * columns + c;
                    if (VECTOR_B > 1) {  // columns come in fours: both are inside, and their place is even
                        if (c < columns)
                            *reinterpret_cast<Vector<2>*>(place) = {{sum[i][j][2 * half], sum[i][j][2 * half + 1]}};
                    } else {
                        if (c < columns) place[0] = sum[i][j][2 * half];
                        if (c + 1 < columns) place[1] = sum[i][j][2 * half + 1];
                    }
                }
            }
    }
};
#else
struct Product {
    static constexpr int WIDE = 16 / sizeof(scalar);  // numbers of one read from shared memory
    static constexpr int GROUPS = TN / 4, APART = COLUMNS / GROUPS;  // columns of a thread: groups of four
    scalar sum[TM][TN];
    int row, column;

    __device__ Product() {
        row = threadIdx.x / (COLUMNS / TN) * TM;
        column = threadIdx.x % (COLUMNS / TN) * 4;
        for (int i = 0; i < TM; ++i)
            for (int j = 0; j < TN; ++j) sum[i][j] = 0;
    }

    __device__ __forceinline__ void add(const scalar (*a)[STRIDE_A], const scalar (*b)[STRIDE_B]) {
#pragma unroll
        for (int k = 0; k < SLAB; ++k) {
            scalar left[TM], right[TN];
#pragma unroll
            for (int i = 0; i < TM; i += WIDE) {
                const auto part = *reinterpret_cast<const Vector<WIDE>*>(&a[k][swizzled(k, row) + i]);
#pragma unroll
                for (int e = 0; e < WIDE; ++e) left[i + e] = part.v[e];
            }
#pragma unroll
            for (int j = 0; j < TN; j += WIDE) {
                const auto part = *reinterpret_cast<const Vector<WIDE>*>(&b[k][j / 4 * APART + column + j % 4]);
#pragma unroll
                for (int e = 0; e < WIDE; ++e) right[j + e] = part.v[e];
            }
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j) sum[i][j] += left[i] * right[j];
        }
    }

    __device__ void write(scalar* out, int row0, int column0, int rows, int columns) const {
        for (int i = 0; i < TM; ++i) {
            const int r = row0 + row + i;
            if (r >= rows) continue;
#pragma unroll
            for (int j = 0; j < TN; j += VECTOR_B) {
                const int c = column0 + j / 4 * APART + column + j % 4;
                if (c >= columns) continue;
                Vector<VECTOR_B> part;
                for (int e = 0; e < VECTOR_B; ++e) part.v[e] = sum[i][j + e];
                *reinterpret_cast<Vector<VECTOR_B>*>(out + (long long)r * columns + c) = part;
            }
        }
    }
};
#endif

struct Images {
    int m, height, width, channels, kernel;
};

__device__ __forceinline__ Vector<VECTOR_A> read_or_zero(const scalar* place, bool inside) {
    Vector<VECTOR_A> part;
    if (inside) {
        part = *reinterpret_cast<const Vector<VECTOR_A>*>(place);
    } else {
        for (int e = 0; e < VECTOR_A; ++e) part.v[e] = 0;
    }
    return part;
}

// First factor of `convolve`: rows are sites p, the summed index is (o, a).
struct Sites {
    Images images;
    static constexpr int APART = THREADS / (SLAB / VECTOR_A);  // sites between passes
    int site;               // of the first pass
    int place[PASSES_A];  // y and x of the site in one number; -1 beyond the last, whose x is outside with every tap
    int dy, dx, a;        // the summed index of this thread, counted up from slab to slab without divisions
    int step_y, step_x, step_a;

    __device__ Sites(const Images& given, int row0) : images(given) {
        const int sites = images.m * images.height * images.width, taps = SLAB / images.channels;
        site = row0 + threadIdx.x / (SLAB / VECTOR_A);
#pragma unroll
        for (int pass = 0; pass < PASSES_A; ++pass) {
            const int s = site + pass * APART;
            const int y = s / images.width % images.height, x = s % images.width;
            place[pass] = s < sites ? y << 16 | x : -1;
        }
        step_a = SLAB - taps * images.channels;
        step_y = taps / images.kernel;
        step_x = taps - step_y * images.kernel;
    }

    __device__ void seek(int slab) {
        const int k = slab * SLAB + threadIdx.x % (SLAB / VECTOR_A) * VECTOR_A, o = k / images.channels;
        a = k - o * images.channels;
        dy = o / images.kernel;
        dx = o - dy * images.kernel;
    }

    // What this thread brings of the slab, and on to the next.
    __device__ __forceinline__ void load(const scalar* x, Vector<VECTOR_A>* parts) {
        const int half = images.kernel / 2, off = (dy - half) * images.width + dx - half;
        const bool some = dy < images.kernel;
#pragma unroll
        for (int pass = 0; pass < PASSES_A; ++pass) {
            const unsigned v = (place[pass] >> 16) + dy - half, u = (place[pass] & 0xffff) + dx - half;
            const bool inside = some && v < images.height && u < images.width;
            parts[pass] = read_or_zero(x + ((long long)(site + off + pass * APART) * images.channels + a), inside);
        }
        a += step_a;
        dx += step_x;
        dy += step_y;
        if (a >= images.channels) a -= images.channels, ++dx;
        if (dx >= images.kernel) dx -= images.kernel, ++dy;
    }

    __device__ __forceinline__ void store(scalar (*a)[STRIDE_A], const Vector<VECTOR_A>* parts) const {
        const int k = threadIdx.x % (SLAB / VECTOR_A) * VECTOR_A;
#pragma unroll
        for (int pass = 0; pass < PASSES_A; ++pass) {
            const int row = (threadIdx.x + pass * THREADS) / (SLAB / VECTOR_A);
#pragma unroll
            for (int e = 0; e < VECTOR_A; ++e) a[k + e][swizzled(k + e, row)] = rounded(parts[pass].v[e]);
        }
    }
};

// First factor of `convolve_gradient`: rows are (o, a), the summed index is the site p.
struct Taps {
    static constexpr int ACROSS = ROWS / VECTOR_A;                       // threads along the rows
    static constexpr int KINDS = ACROSS > THREADS ? ACROSS / THREADS : 1;  // rows of one thread
    Images images;
    int dy[KINDS], dx[KINDS], off[KINDS];  // of the rows, dy far outside beyond the last; off: in numbers, from the site
    int site, place[PASSES_A];  // the site of the first pass, and y and x of every pass
    int step_y, step_x;

    __device__ Taps(const Images& given, int row0) : images(given) {
        const int rows = images.kernel * images.kernel * images.channels;
#pragma unroll
        for (int kind = 0; kind < KINDS; ++kind) {
            const int row = row0 + (threadIdx.x + kind * THREADS) % ACROSS * VECTOR_A;
            const int o = row / images.channels, a = row - o * images.channels;
            dx[kind] = o % images.kernel - images.kernel / 2;
            dy[kind] = o / images.kernel - images.kernel / 2;
            off[kind] = (dy[kind] * images.width + dx[kind]) * images.channels + a;
            if (row >= rows) dy[kind] = 1 << 20;
        }
        step_y = SLAB / images.width;
        step_x = SLAB - step_y * images.width;
        step_y %= images.height;
    }

    __device__ static __forceinline__ int line(int pass) { return (threadIdx.x + pass * THREADS) / ACROSS; }

    __device__ void seek(int slab) {
        site = slab * SLAB;
#pragma unroll
        for (int pass = 0; pass < PASSES_A; ++pass) {
            const int s = site + line(pass);
            place[pass] = s / images.width % images.height << 16 | s % images.width;
        }
    }

    __device__ __forceinline__ void load(const scalar* x, Vector<VECTOR_A>* parts) {
        const int sites = images.m * images.height * images.width;
#pragma unroll
        for (int pass = 0; pass < PASSES_A; ++pass) {
            const int kind = pass % KINDS, s = site + line(pass);
            int y = place[pass] >> 16, x0 = place[pass] & 0xffff;
            const unsigned v = y + dy[kind], u = x0 + dx[kind];
            const bool inside = s < sites && v < images.height && u < images.width;
            parts[pass] = read_or_zero(x + ((long long)s * images.channels + off[kind]), inside);
            x0 += step_x;
            y += step_y;
            if (x0 >= images.width) x0 -= images.width, ++y;
            if (y >= images.height) y -= images.height;
            place[pass] = y << 16 | x0;
        }
        site += SLAB;
    }

    __device__ __forceinline__ void store(scalar (*a)[STRIDE_A], const Vector<VECTOR_A>* parts) const {
#pragma unroll
        for (int pass = 0; pass < PASSES_A; ++pass) {
            const int index = threadIdx.x + pass * THREADS;
            const int row = index % ACROSS * VECTOR_A, k = index / ACROSS;
            // Swizzling moves whole groups of eight rows.
            *reinterpret_cast<Vector<VECTOR_A>*>(&a[k][swizzled(k, row)]) = rounded(parts[pass]);
        }
    }
};

// Second factor of both: a matrix (depth, columns).
struct Matrix {
    static constexpr int ACROSS = COLUMNS / VECTOR_B;  // threads along the columns
    int depth, columns, column0;
    int k;  // of the first pass

    __device__ void seek(int slab) { k = slab * SLAB + threadIdx.x / ACROSS; }

    __device__ __forceinline__ void load(const scalar* w, Vector<VECTOR_B>* parts) {
        const int column = column0 + threadIdx.x % ACROSS * VECTOR_B;
        const scalar* place = w + ((long long)k * columns + column);
#pragma unroll
        for (int pass = 0; pass < PASSES_B; ++pass) {
            const int more = pass * (THREADS / ACROSS);
            const bool mine = PASSES_B * THREADS == ACROSS * SLAB || threadIdx.x + pass * THREADS < ACROSS * SLAB;
            if (mine && k + more < depth && column < columns) {
                parts[pass] = *reinterpret_cast<const Vector<VECTOR_B>*>(place + (long long)more * columns);
            } else {
                for (int e = 0; e < VECTOR_B; ++e) parts[pass].v[e] = 0;
            }
        }
        k += SLAB;
    }

    __device__ __forceinline__ void store(scalar (*b)[STRIDE_B], const Vector<VECTOR_B>* parts) const {
#pragma unroll
        for (int pass = 0; pass < PASSES_B; ++pass) {
            const int index = threadIdx.x + pass * THREADS;
            const int k = index / (COLUMNS / VECTOR_B), column = index % (COLUMNS / VECTOR_B) * VECTOR_B;
            if (index < COLUMNS * SLAB / VECTOR_B)
                *reinterpret_cast<Vector<VECTOR_B>*>(&b[k][column]) = rounded(parts[pass]);
        }
    }
};

struct Pairs {
    const scalar *first0, *second0, *first1, *second1;
    long long first0_step, second0_step, first1_step, second1_step;  // between probes; 0: shared by all
    int count;
};

template <class First>
__device__ __forceinline__ void contract(
    const Pairs& pairs, First first, Matrix second, scalar* out, int rows, int splits, Tiles& tiles) {
    const int probe = blockIdx.z / splits, split = blockIdx.z % splits, probes = gridDim.z / splits;
    const int slabs = (second.depth + SLAB - 1) / SLAB;
    const int begin = (long long)pairs.count * slabs * split / splits;
    const int end = (long long)pairs.count * slabs * (split + 1) / splits;
    const scalar *a = nullptr, *b = nullptr;
    Vector<VECTOR_A> parts_a[PASSES_A];
    Vector<VECTOR_B> parts_b[PASSES_B];
    Product product;
    for (int slab = begin - 1, buffer = 1; slab < end; ++slab, buffer ^= 1) {
        const int next = slab + 1;
        if (next < end) {
            if (next == begin || next == slabs) {  // from here on places are counted up
                const bool own = next < slabs;  // of the first pair
                a = own ? pairs.first0 + probe * pairs.first0_step : pairs.first1 + probe * pairs.first1_step;
                b = own ? pairs.second0 + probe * pairs.second0_step : pairs.second1 + probe * pairs.second1_step;
                first.seek(own ? next : next - slabs);
                second.seek(own ? next : next - slabs);
            }
            first.load(a, parts_a);
            second.load(b, parts_b);
        }
        if (slab >= begin) product.add(tiles.a[buffer], tiles.b[buffer]);
        if (next < end) {
            first.store(tiles.a[buffer ^ 1], parts_a);
            second.store(tiles.b[buffer ^ 1], parts_b);
        }
        __syncthreads();
    }
    scalar* part = out + ((long long)split * probes + probe) * rows * second.columns;
    product.write(part, blockIdx.x * ROWS, second.column0, rows, second.columns);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) convolve(
    const scalar* x0, const scalar* w0, const scalar* x1, const scalar* w1, scalar* out, long long x0_step,
    long long w0_step, long long x1_step, long long w1_step, int pairs, int m, int height, int width, int ins, int outs,
    int kernel, int splits) {
    __shared__ Tiles tiles;
    const Images images = {m, height, width, ins, kernel};
    const Pairs given = {x0, w0, x1, w1, x0_step, w0_step, x1_step, w1_step, pairs};
    const Matrix second = {kernel * kernel * ins, outs, (int)blockIdx.y * COLUMNS, 0};
    contract(given, Sites(images, blockIdx.x * ROWS), second, out, m * height * width, splits, tiles);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) convolve_gradient(
    const scalar* x0, const scalar* d0, const scalar* x1, const scalar* d1, scalar* out, long long x0_step,
    long long d0_step, long long x1_step, long long d1_step, int pairs, int m, int height, int width, int ins, int outs,
    int kernel, int splits) {
    __shared__ Tiles tiles;
    const Images images = {m, height, width, ins, kernel};
    const Pairs given = {x0, d0, x1, d1, x0_step, d0_step, x1_step, d1_step, pairs};
    const Matrix second = {m * height * width, outs, (int)blockIdx.y * COLUMNS, 0};
    contract(given, Taps(images, blockIdx.x * ROWS), second, out, kernel * kernel * ins, splits, tiles);
}
