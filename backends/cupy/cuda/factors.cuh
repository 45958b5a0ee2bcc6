// Where a block reads its slabs: the first factor from the images as it is needed, the second from a matrix.
//
// Each factor has `seek` (to a slab, with divisions), `load` (what this thread brings of the slab, and on to the next
// one, counting up) and `store` (to a tile in shared memory).

struct Images {
    int m, height, width, channels, kernel;
};

template <int V>
__device__ __forceinline__ Vector<V> read_or_zero(const scalar* place, bool inside) {
    Vector<V> part;
    if (inside) {
        part = *reinterpret_cast<const Vector<V>*>(place);
    } else {
        for (int e = 0; e < V; ++e) part.v[e] = 0;
    }
    return part;
}

// How threads share a slab of N rows that stand side by side in memory, V of them each: a warp takes 128 bytes of a few
// k, so that loads come in whole lines. A thread takes `KINDS` of such rows and `LINES` successive k.
template <int N, int V>
struct Spread {
    static constexpr int ACROSS = N / V, MOST = V == 1 ? 32 : 8;
    static constexpr int BLOCK = ACROSS < MOST ? ACROSS : MOST, SLOTS = 32 / BLOCK;  // of a warp
    static constexpr int GROUPS = ACROSS / BLOCK, WARPS = THREADS / 32;
    static constexpr int KINDS = GROUPS > WARPS ? GROUPS / WARPS : 1;
    static constexpr int ALL = GROUPS > WARPS ? SLOTS : SLOTS * (WARPS / GROUPS);  // slots of a block
    static constexpr int LINES = ALL < SLAB ? SLAB / ALL : 1, PASSES = KINDS * LINES;

    static_assert(GROUPS % WARPS == 0 || WARPS % GROUPS == 0, "warps share the rows");
    static_assert(SLAB % ALL == 0 || ALL % SLAB == 0, "warps share the lines");

    static __device__ __forceinline__ int row(int kind) {
        return ((threadIdx.x / 32 + kind * WARPS) % GROUPS * BLOCK + threadIdx.x % BLOCK) * V;
    }
    static __device__ __forceinline__ int k() {
        return (threadIdx.x / 32 / GROUPS * SLOTS + threadIdx.x % 32 / BLOCK) * LINES;
    }
    static __device__ __forceinline__ bool mine() { return ALL <= SLAB || k() < SLAB; }
};

// First factor of `convolve`: rows are sites p, the summed index is (o, a). While the tap stays in its line of the
// kernel, what a thread reads moves on by SLAB numbers from slab to slab.
struct Sites {
    static constexpr int ACROSS = SLAB / VECTOR_A, TOGETHER = TENSOR ? 2 : 1;  // successive sites of one thread
    static constexpr int AT_ONCE = THREADS / ACROSS, PASSES = ROWS / AT_ONCE;
    Images images;
    int site;            // of the first pass
    int place[PASSES];   // y and x of the site in one number; -1 beyond the last, whose x is outside with every tap
    int dy, dx, a;       // the summed index of this thread
    int step_y, step_x, step_a;
    const scalar* from;  // what the first pass reads

    static_assert(PASSES % TOGETHER == 0 && PASSES * AT_ONCE == ROWS, "every thread has the same share");

    static __device__ __forceinline__ int row() { return threadIdx.x / ACROSS * TOGETHER; }
    static constexpr __device__ __forceinline__ int more(int pass) {
        return pass % TOGETHER + pass / TOGETHER * (AT_ONCE * TOGETHER);
    }

    __device__ Sites(const Images& given, int row0) : images(given) {
        const int sites = images.m * images.height * images.width, taps = SLAB / images.channels;
        site = row0 + row();
#pragma unroll
        for (int pass = 0; pass < PASSES; ++pass) {
            const int s = site + more(pass);
            const int y = s / images.width % images.height, x = s % images.width;
            place[pass] = s < sites ? y << 16 | x : -1;
        }
        step_a = SLAB - taps * images.channels;
        step_y = taps / images.kernel;
        step_x = taps - step_y * images.kernel;
    }

    __device__ void seek(const scalar* x, int slab) {
        const int k = slab * SLAB + threadIdx.x % ACROSS * VECTOR_A, o = k / images.channels;
        a = k - o * images.channels;
        dy = o / images.kernel - images.kernel / 2;
        dx = o - o / images.kernel * images.kernel - images.kernel / 2;
        from = x + ((long long)(site + dy * images.width + dx) * images.channels + a);
    }

    __device__ __forceinline__ void load(Vector<VECTOR_A>* parts) {
        const int half = images.kernel / 2;
        const unsigned height = dy <= half ? images.height : 0;  // beyond the last tap all is outside
#pragma unroll
        for (int pass = 0; pass < PASSES; ++pass) {
            const unsigned v = (place[pass] >> 16) + dy, u = (place[pass] & 0xffff) + dx;
            parts[pass] = read_or_zero<VECTOR_A>(
                from + (long long)more(pass) * images.channels, v < height && u < images.width);
        }
        int down = step_y;
        a += step_a;
        dx += step_x;
        if (a >= images.channels) a -= images.channels, ++dx;
        if (dx > half) dx -= images.kernel, ++down;
        dy += down;
        from += SLAB + (long long)down * ((images.width - images.kernel) * images.channels);
    }

    __device__ __forceinline__ void store(TileA& tile, const Vector<VECTOR_A>* parts) const {
        const int k = threadIdx.x % ACROSS * VECTOR_A;
#pragma unroll
        for (int pass = 0; pass < PASSES; pass += TOGETHER) {
            const scalar *one = parts[pass].v, *two = parts[pass + TOGETHER - 1].v;
#if TENSOR && VECTOR_A > 1
#pragma unroll
            for (int e = 0; e < VECTOR_A; e += 2)
                tile.put(PlaceA::of(k + e, row() + more(pass)), rounded(Vector<4>{{one[e], two[e], one[e + 1], two[e + 1]}}));
#else
#pragma unroll
            for (int e = 0; e < VECTOR_A; ++e) {
                tile.put(k + e, row() + more(pass), one[e]);
                if (TOGETHER > 1) tile.put(k + e, row() + more(pass) + 1, two[e]);
            }
#endif
        }
    }
};

// First factor of `convolve_gradient`: rows are (o, a), the summed index is the site p.
struct Taps {
    typedef Spread<ROWS, VECTOR_A> Own;
    static constexpr int PASSES = Own::PASSES, LINES = Own::LINES;
    Images images;
    int top[Own::KINDS], left[Own::KINDS];  // the tap of each kind of rows; far outside beyond the last
    int off[Own::KINDS];                    // what it reads, from what the site has first, in numbers
    int y, x;                               // the first site of this thread
    int step_y, step_x;
    int ahead;  // sites from the first one of this thread on
    const scalar* from;

    __device__ Taps(const Images& given, int row0) : images(given) {
        const int rows = images.kernel * images.kernel * images.channels;
#pragma unroll
        for (int kind = 0; kind < Own::KINDS; ++kind) {
            const int row = row0 + Own::row(kind), o = row / images.channels;
            left[kind] = o % images.kernel - images.kernel / 2;
            top[kind] = o / images.kernel - images.kernel / 2;
            off[kind] = (top[kind] * images.width + left[kind]) * images.channels + row - o * images.channels;
            if (row >= rows) top[kind] = 1 << 20;
        }
        step_y = SLAB / images.width;
        step_x = SLAB - step_y * images.width;
        step_y %= images.height;
    }

    __device__ void seek(const scalar* given, int slab) {
        const int site = slab * SLAB + Own::k();
        ahead = images.m * images.height * images.width - site;
        from = given + ((long long)site * images.channels + off[0]);
        y = site / images.width % images.height;
        x = site % images.width;
    }

    __device__ __forceinline__ void load(Vector<VECTOR_A>* parts) {
        int own_y = y, own_x = x;
#pragma unroll
        for (int line = 0; line < LINES; ++line) {
#pragma unroll
            for (int kind = 0; kind < Own::KINDS; ++kind) {
                const unsigned v = own_y + top[kind], u = own_x + left[kind];
                const bool inside = line < ahead && v < images.height && u < images.width;
                const int away = line * images.channels + (kind ? off[kind] - off[0] : 0);
                parts[kind * LINES + line] = read_or_zero<VECTOR_A>(from + away, inside);
            }
            advance(own_y, own_x, 0, 1);
        }
        advance(y, x, step_y, step_x);
        ahead -= SLAB;
        from += (long long)SLAB * images.channels;
    }

    __device__ __forceinline__ void advance(int& y, int& x, int down, int right) const {
        x += right;
        y += down;
        if (x >= images.width) x -= images.width, ++y;
        if (y >= images.height) y -= images.height;
    }

    __device__ __forceinline__ void store(TileA& tile, const Vector<VECTOR_A>* parts) const {
#pragma unroll
        for (int pass = 0; pass < PASSES; ++pass) {
            const int k = Own::k() + pass % LINES, row = Own::row(pass / LINES);
#if !TENSOR
            tile.put(PlaceA::of(k, row), parts[pass]);  // whole groups of eight rows are turned
#elif VECTOR_A > 1 && ROWS * 4 >= THREADS
            static_assert(LINES % 2 == 0, "a thread has both k of a product");
            if (pass % 2) continue;
            const scalar *one = parts[pass].v, *two = parts[pass + 1].v;
#pragma unroll
            for (int e = 0; e < VECTOR_A; e += 2)
                tile.put(PlaceA::of(k, row + e), rounded(Vector<4>{{one[e], one[e + 1], two[e], two[e + 1]}}));
#else
            tile.put(k, row, parts[pass].v[0]);
#endif
        }
    }
};

// Second factor of both: a matrix (depth, columns).
struct Matrix {
    typedef Spread<COLUMNS, VECTOR_B> Own;
    static constexpr int PASSES = Own::PASSES;
    int depth, columns, column;
    int left;  // lines from the first pass on that are inside
    const scalar* from;

    static_assert(Own::KINDS == 1, "a thread stays in its columns");

    __device__ Matrix(int depth, int columns, int column0)
        : depth(depth), columns(columns), column(column0 + Own::row(0)) {}

    __device__ void seek(const scalar* w, int slab) {
        const int k = slab * SLAB + Own::k();
        left = Own::mine() && column < columns ? depth - k : 0;
        from = w + ((long long)k * columns + column);
    }

    __device__ __forceinline__ void load(Vector<VECTOR_B>* parts) {
#pragma unroll
        for (int pass = 0; pass < PASSES; ++pass)
            parts[pass] = read_or_zero<VECTOR_B>(from + (long long)pass * columns, pass < left);
        left -= SLAB;
        from += (long long)SLAB * columns;
    }

    __device__ __forceinline__ void store(TileB& tile, const Vector<VECTOR_B>* parts) const {
        if (!Own::mine()) return;
#pragma unroll
        for (int pass = 0; pass < PASSES; ++pass) {
            const int own = PlaceB::of(Own::k() + pass, Own::row(0));
#if !TENSOR
            tile.put(own, parts[pass]);
#else
#pragma unroll
            for (int e = 0; e < VECTOR_B; ++e) {
                const int place = PlaceB::near(own, e);
                if (PASSES == 1)
                    tile.put(place, rounded(Vector<1>{{parts[pass].v[e]}}));
                else if (pass % 2 == 0)
                    tile.put(place, rounded(Vector<2>{{parts[pass].v[e], parts[pass + 1].v[e]}}));
            }
#endif
        }
    }
};
