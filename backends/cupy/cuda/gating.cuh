// Gates of a layer where its signals z are written, in one pass: numbers that stand one behind the other, N at a time.
//
// Compiled with SCALAR: float or double. CuPy compiles with -ftz=true: in float a signal below the smallest normal number
// counts as 0, which closes its gate.

typedef SCALAR scalar;

template <int N, class T = scalar>
struct alignas(N * sizeof(T)) Vector {
    T v[N];
};

template <int N>
__device__ __forceinline__ void write_where(Vector<N, bool> open, scalar* place, Vector<N> z) {
#pragma unroll
    for (int e = 0; e < N; ++e) z.v[e] = open.v[e] ? z.v[e] : scalar(0);
    *reinterpret_cast<Vector<N>*>(place) = z;
}

// No gates: z as it is.
struct Plain {
    template <int N>
    __device__ __forceinline__ void write(scalar* out, long long place, Vector<N> z) const {
        *reinterpret_cast<Vector<N>*>(out + place) = z;
    }
};

// Frozen gates.
struct Frozen {
    const bool* mask;

    template <int N>
    __device__ __forceinline__ void write(scalar* out, long long place, Vector<N> z) const {
        write_where(*reinterpret_cast<const Vector<N, bool>*>(mask + place), out + place, z);
    }
};

// The layer's own gates, z > 0, whose mask is written too.
struct Opened {
    bool* on;

    template <int N>
    __device__ __forceinline__ void write(scalar* out, long long place, Vector<N> z) const {
        Vector<N, bool> open;
#pragma unroll
        for (int e = 0; e < N; ++e) open.v[e] = z.v[e] > 0;
        *reinterpret_cast<Vector<N, bool>*>(on + place) = open;
        write_where(open, out + place, z);
    }
};
