// A block's share of a matrix product: tiles of both factors in shared memory, and their product added up in registers.
//
// Compiled with  SCALAR    float or double
//                ROWS, COLUMNS   128x128, 128x64, 128x32 or 256x16: what a block computes
//                VECTOR_A, VECTOR_B   numbers per load of the first and second factor: 1, or 16 bytes' worth
//                TENSOR    1: products of TF32 on tensor cores (SCALAR float), 0: of SCALAR
// behind gating.cuh.

constexpr int SLAB = sizeof(scalar) == 4 ? 16 : 8;  // summed indices in shared memory at a time
constexpr int TM = 8, TN = ROWS * COLUMNS == 128 * 128 ? 8 : 4;  // numbers of one thread
constexpr int THREADS = (ROWS / TM) * (COLUMNS / TN);

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

// Rows of the first factor, or columns of the second, of one slab: where a number of line k stands.
//
// For tensor cores it is where a lane needs it: in 16 bytes of the first factor stand two rows of two k, as one product
// takes them, and of the second one column of four k. Which 16 bytes is turned by the row: stores of both kinds of
// factors and reads do not meet in a bank. Otherwise rows of one k are neighbours; those of the first factor are
// turned in groups of eight, so that stores of neighbouring k do not meet.
#if TENSOR
struct PlaceA {
    static constexpr int SIZE = ROWS * SLAB;
    static __device__ __forceinline__ int of(int k, int row) {
        const int pair = row / 2;
        return pair * 2 * SLAB + (k / 2 ^ (pair >> 1 & 7) ^ (pair & 1)) * 4 + k % 2 * 2 + row % 2;
    }
};

struct PlaceB {
    static constexpr int SIZE = COLUMNS * SLAB;
    static __device__ __forceinline__ int of(int k, int column) {
        return (column ^ (column >> 4 & 1)) * SLAB + (k / 4 ^ (column >> 2 & 3)) * 4 + k % 4;
    }

    // Of a column up to three behind one that divides by 4.
    static __device__ __forceinline__ int near(int own, int more) { return (own ^ more % 2 * SLAB) + more / 2 * 2 * SLAB; }
};
#else
struct PlaceA {
    static constexpr int SIZE = SLAB * (ROWS + 8);
    static __device__ __forceinline__ int of(int k, int row) { return k * (ROWS + 8) + (row ^ (((k >> 2) & 3) << 3)); }
};

struct PlaceB {
    static constexpr int SIZE = SLAB * (COLUMNS + 8);
    static __device__ __forceinline__ int of(int k, int column) { return k * (COLUMNS + 8) + column; }
};
#endif

template <class Place>
struct alignas(16) Tile {
    scalar v[Place::SIZE];

    template <int V>
    __device__ __forceinline__ const Vector<V>& read(int place) const {
        return *reinterpret_cast<const Vector<V>*>(&v[place]);
    }

    template <int V>
    __device__ __forceinline__ void put(int place, const Vector<V>& part) {
        *reinterpret_cast<Vector<V>*>(&v[place]) = part;
    }

    __device__ __forceinline__ void put(int k, int row, scalar value) { v[Place::of(k, row)] = rounded(value); }
};

typedef Tile<PlaceA> TileA;
typedef Tile<PlaceB> TileB;

struct Tiles {
    TileA a[2];
    TileB b[2];
};

#if TENSOR
struct Product {
    static constexpr int WN = COLUMNS == 16 ? 16 : 32, ACROSS = COLUMNS / WN;
    static constexpr int WM = ROWS / (THREADS / 32 / ACROSS);  // a warp computes WM x WN
    float sum[WM / 16][WN / 8][4];
    int group, lane, row, column;
    int own_a, own_b;  // what this lane reads first

    __device__ Product() {
        const int warp = threadIdx.x / 32;
        group = threadIdx.x % 32 / 4;
        lane = threadIdx.x % 4;
        row = warp / ACROSS * WM;
        column = warp % ACROSS * WN;
        own_a = PlaceA::of(4 * lane, row + 2 * group);
        own_b = PlaceB::of(4 * lane, column + group);
        for (int i = 0; i < WM / 16; ++i)
            for (int j = 0; j < WN / 8; ++j)
                for (int c = 0; c < 4; ++c) sum[i][j][c] = 0.0f;
    }

    // Rows of a warp begin at multiples of 32, so that what is turned differs by constants between reads.
    __device__ __forceinline__ int place_a(int i, int k) const {
        return (own_a ^ ((k / 2 | (i & 1) << 2) * 4)) + 16 * i * SLAB;
    }

    __device__ __forceinline__ int place_b(int j) const {
        return (own_b ^ ((j >> 1 & 1) * SLAB | (j & 1) * 8)) + 8 * j * SLAB;
    }

    // A lane's four k are those of two products, each of eight k: sums do not care which.
    __device__ __forceinline__ void add(const TileA& a, const TileB& b) {
        static_assert(WM % 32 == 0 && (WN % 32 == 0 || ACROSS == 1), "a warp's rows begin at multiples of 32");
        Vector<4> right[WN / 8];
#pragma unroll
        for (int j = 0; j < WN / 8; ++j) right[j] = b.template read<4>(place_b(j));
#pragma unroll
        for (int i = 0; i < WM / 16; ++i)
#pragma unroll
            for (int k = 0; k < 4; k += 2) {
                const auto left = a.template read<4>(place_a(i, k));
#pragma unroll
                for (int j = 0; j < WN / 8; ++j) multiply_tf32(sum[i][j], left.v, right[j].v + k);
            }
    }

    template <class Gating>
    __device__ __forceinline__ void write(scalar* out, int row0, int column0, int rows, int columns, Gating gating) const {
        constexpr int N = VECTOR_B > 1 ? 2 : 1;  // where columns come in fours both are inside, and their place is even
#pragma unroll
        for (int i = 0; i < WM / 16; ++i)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int r = row0 + row + 16 * i + 2 * group + half;
                if (r >= rows) continue;
#pragma unroll
                for (int j = 0; j < WN / 8; ++j)
#pragma unroll
                    for (int e = 0; e < 2; e += N) {
                        const int c = column0 + column + 8 * j + 2 * lane + e;
                        if (c >= columns) continue;
                        Vector<N> part;
#pragma unroll
                        for (int n = 0; n < N; ++n) part.v[n] = sum[i][j][2 * half + e + n];
                        gating.write(out, (long long)r * columns + c, part);
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

    __device__ __forceinline__ void add(const TileA& a, const TileB& b) {
#pragma unroll
        for (int k = 0; k < SLAB; ++k) {
            scalar left[TM], right[TN];
#pragma unroll
            for (int i = 0; i < TM; i += WIDE) {
                const auto part = a.template read<WIDE>(PlaceA::of(k, row) + i);
#pragma unroll
                for (int e = 0; e < WIDE; ++e) left[i + e] = part.v[e];
            }
#pragma unroll
            for (int j = 0; j < TN; j += WIDE) {
                const auto part = b.template read<WIDE>(PlaceB::of(k, j / 4 * APART + column + j % 4));
#pragma unroll
                for (int e = 0; e < WIDE; ++e) right[j + e] = part.v[e];
            }
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j) sum[i][j] += left[i] * right[j];
        }
    }

    template <class Gating>
    __device__ __forceinline__ void write(scalar* out, int row0, int column0, int rows, int columns, Gating gating) const {
#pragma unroll
        for (int i = 0; i < TM; ++i) {
            const int r = row0 + row + i;
            if (r >= rows) continue;
#pragma unroll
            for (int j = 0; j < TN; j += VECTOR_B) {
                const int c = column0 + j / 4 * APART + column + j % 4;
                if (c >= columns) continue;
                Vector<VECTOR_B> part;
#pragma unroll
                for (int e = 0; e < VECTOR_B; ++e) part.v[e] = sum[i][j + e];
                gating.write(out, (long long)r * columns + c, part);
            }
        }
    }
};
#endif
