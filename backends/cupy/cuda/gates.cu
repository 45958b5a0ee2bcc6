// Gates of a layer and the max-pool behind them: one pass over memory each.
//
// Images are channels last. A thread takes one window of one channel, or of as many neighbouring channels as 16 bytes
// hold (`wide`); the ragged edge behind the last whole window belongs to windows that are cut short, in which no gate
// is on. Images lie along the second side of the grid, so that places within one are counted in 32 bits, and few
// divisions are made. Compiled behind gating.cuh.

constexpr int WIDE = 16 / sizeof(scalar);

struct Window {
    int y, x, channel;  // of the window, and its first channel
};

template <int V>
__device__ __forceinline__ Window window_of(unsigned index, unsigned columns, unsigned channels) {
    const unsigned groups = channels / V, site = index / groups, row = site / columns;
    return {(int)row, (int)(site - row * columns), (int)(index - site * groups) * V};
}

struct Images {
    int m, height, width, channels;

    __device__ __forceinline__ long long size() const { return (long long)height * width * channels; }
    __device__ __forceinline__ int place(int y, int x, int channel) const { return (y * width + x) * channels + channel; }
};

template <int V>
__device__ __forceinline__ void gate_images(const scalar* z, scalar* x, bool* mask, const Images& images, int s) {
    const Images pooled = {images.m, images.height / s, images.width / s, images.channels};
    const unsigned rows = (images.height + s - 1) / s, columns = (images.width + s - 1) / s;
    const unsigned count = rows * columns * (images.channels / V);
    for (int image = blockIdx.y; image < images.m; image += gridDim.y) {
        const scalar* own = z + image * images.size();
        bool* own_mask = mask + image * images.size();
        for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
            const Window w = window_of<V>(i, columns, images.channels);
            const bool whole = w.y < pooled.height && w.x < pooled.width;
            Vector<V> best;
            int first[V];
            for (int e = 0; e < V; ++e) best.v[e] = 0, first[e] = -1;
            for (int v = w.y * s; v < min(w.y * s + s, images.height); ++v)
                for (int u = w.x * s; u < min(w.x * s + s, images.width); ++u) {
                    const int place = images.place(v, u, w.channel);
                    const auto value = *reinterpret_cast<const Vector<V>*>(own + place);
                    for (int e = 0; e < V; ++e)
                        if (whole && value.v[e] > best.v[e]) {
                            best.v[e] = value.v[e];
                            first[e] = place;
                        }
                }
            for (int v = w.y * s; v < min(w.y * s + s, images.height); ++v)
                for (int u = w.x * s; u < min(w.x * s + s, images.width); ++u) {
                    const int place = images.place(v, u, w.channel);
                    Vector<V, bool> on;
                    for (int e = 0; e < V; ++e) on.v[e] = first[e] == place;
                    *reinterpret_cast<Vector<V, bool>*>(own_mask + place) = on;
                }
            if (whole)
                *reinterpret_cast<Vector<V>*>(x + image * pooled.size() + pooled.place(w.y, w.x, w.channel)) = best;
        }
    }
}

template <int V>
__device__ __forceinline__ void apply_images(
    const bool* mask, const scalar* z, scalar* x, const Images& images, int probes, int s) {
    const Images pooled = {images.m, images.height / s, images.width / s, images.channels};
    const unsigned count = pooled.height * pooled.width * (images.channels / V);
    for (int image = blockIdx.y; image < images.m * probes; image += gridDim.y) {
        const bool* own_mask = mask + image % images.m * images.size();
        const scalar* own = z + image * images.size();
        for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
            const Window w = window_of<V>(i, pooled.width, images.channels);
            Vector<V> sum;
            for (int e = 0; e < V; ++e) sum.v[e] = 0;
            for (int v = w.y * s; v < w.y * s + s; ++v)
                for (int u = w.x * s; u < w.x * s + s; ++u) {
                    const int place = images.place(v, u, w.channel);
                    const auto on = *reinterpret_cast<const Vector<V, bool>*>(own_mask + place);
                    const auto value = *reinterpret_cast<const Vector<V>*>(own + place);
                    for (int e = 0; e < V; ++e)
                        if (on.v[e]) sum.v[e] += value.v[e];
                }
            *reinterpret_cast<Vector<V>*>(x + image * pooled.size() + pooled.place(w.y, w.x, w.channel)) = sum;
        }
    }
}

template <int V>
__device__ __forceinline__ void spread_images(
    const bool* mask, const scalar* d, scalar* z, const Images& images, int probes, int s) {
    const Images pooled = {images.m, images.height / s, images.width / s, images.channels};
    const unsigned columns = (images.width + s - 1) / s;
    const unsigned count = (images.height + s - 1) / s * columns * (images.channels / V);
    for (int image = blockIdx.y; image < images.m * probes; image += gridDim.y) {
        const bool* own_mask = mask + image % images.m * images.size();
        scalar* own = z + image * images.size();
        for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
            const Window w = window_of<V>(i, columns, images.channels);
            const bool whole = w.y < pooled.height && w.x < pooled.width;  // a ragged edge is in no window
            Vector<V> given;
            for (int e = 0; e < V; ++e) given.v[e] = 0;
            if (whole)
                given = *reinterpret_cast<const Vector<V>*>(
                    d + image * pooled.size() + pooled.place(w.y, w.x, w.channel));
            for (int v = w.y * s; v < min(w.y * s + s, images.height); ++v)
                for (int u = w.x * s; u < min(w.x * s + s, images.width); ++u) {
                    const int place = images.place(v, u, w.channel);
                    const auto on = *reinterpret_cast<const Vector<V, bool>*>(own_mask + place);
                    Vector<V> made;
                    for (int e = 0; e < V; ++e) made.v[e] = whole && on.v[e] ? given.v[e] : scalar(0);
                    *reinterpret_cast<Vector<V>*>(own + place) = made;
                }
        }
    }
}

// x = D z pooled by s x s windows, and the mask of D: z > 0 at the first maximum of its window in row-major order.
extern "C" __global__ void gate(
    const scalar* z, scalar* x, bool* mask, int m, int height, int width, int channels, int s, int wide) {
    const Images images = {m, height, width, channels};
    if (wide) {
        gate_images<WIDE>(z, x, mask, images, s);
    } else {
        gate_images<1>(z, x, mask, images, s);
    }
}

// x = D z summed over each window, for a mask of m images and z of probes times m.
extern "C" __global__ void apply_gates(
    const bool* mask, const scalar* z, scalar* x, int m, int height, int width, int channels, int probes, int s, int wide) {
    const Images images = {m, height, width, channels};
    if (wide) {
        apply_images<WIDE>(mask, z, x, images, probes, s);
    } else {
        apply_images<1>(mask, z, x, images, probes, s);
    }
}

// The adjoint: z = D (d repeated over each window).
extern "C" __global__ void spread_gates(
    const bool* mask, const scalar* d, scalar* z, int m, int height, int width, int channels, int probes, int s, int wide) {
    const Images images = {m, height, width, channels};
    if (wide) {
        spread_images<WIDE>(mask, d, z, images, probes, s);
    } else {
        spread_images<1>(mask, d, z, images, probes, s);
    }
}
