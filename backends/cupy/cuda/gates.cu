// Gates of a layer and the max-pool behind them, the step of gradient descent, and sums of parts: one pass over memory
// each.
//
// Images are channels last. A thread takes one window of one channel; the ragged edge behind the last whole window
// belongs to windows that are cut short, in which no gate is on. Compiled with SCALAR: float or double.

typedef SCALAR scalar;

struct Window {
    long long image;
    int y, x, channel;  // of the window, and its channel
};

__device__ __forceinline__ Window window_of(long long index, int rows, int columns, int channels) {
    Window w;
    w.channel = index % channels;
    index /= channels;
    w.x = index % columns;
    index /= columns;
    w.y = index % rows;
    w.image = index / rows;
    return w;
}

// x = D z pooled by s x s windows, and the mask of D: z > 0 at the first maximum of its window in row-major order.
extern "C" __global__ void gate(
    const scalar* z, scalar* x, bool* mask, long long count, int height, int width, int channels, int s) {
    const int whole_rows = height / s, whole_columns = width / s;
    const int rows = (height + s - 1) / s, columns = (width + s - 1) / s;
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < count; i += (long long)gridDim.x * blockDim.x) {
        const Window w = window_of(i, rows, columns, channels);
        const bool whole = w.y < whole_rows && w.x < whole_columns;
        scalar best = 0;
        long long first = -1;
        for (int v = w.y * s; v < min(w.y * s + s, height); ++v)
            for (int u = w.x * s; u < min(w.x * s + s, width); ++u) {
                const long long place = ((w.image * height + v) * width + u) * channels + w.channel;
                const scalar value = z[place];
                mask[place] = false;
                if (whole && value > best) {
                    best = value;
                    first = place;
                }
            }
        if (!whole) continue;
        if (first >= 0) mask[first] = true;
        x[((w.image * whole_rows + w.y) * whole_columns + w.x) * channels + w.channel] = best;
    }
}

// x = D z summed over each window, for a mask of m images and z of probes times m.
extern "C" __global__ void apply_gates(
    const bool* mask, const scalar* z, scalar* x, long long count, int m, int height, int width, int channels, int s) {
    const int rows = height / s, columns = width / s;
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < count; i += (long long)gridDim.x * blockDim.x) {
        const Window w = window_of(i, rows, columns, channels);
        scalar sum = 0;
        for (int v = w.y * s; v < w.y * s + s; ++v)
            for (int u = w.x * s; u < w.x * s + s; ++u) {
                if (mask[((w.image % m * height + v) * width + u) * channels + w.channel])
                    sum += z[((w.image * height + v) * width + u) * channels + w.channel];
            }
        x[i] = sum;
    }
}

// The adjoint: z = D (d repeated over each window).
extern "C" __global__ void spread_gates(
    const bool* mask, const scalar* d, scalar* z, long long count, int m, int height, int width, int channels, int s) {
    const int rows = height / s, columns = width / s;
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < count; i += (long long)gridDim.x * blockDim.x) {
        const Window w = window_of(i, height, width, channels);  // of one site
        const bool whole = w.y / s < rows && w.x / s < columns;  // sites at a ragged edge are in no window
        const bool on = whole && mask[((w.image % m * height + w.y) * width + w.x) * channels + w.channel];
        z[i] = on ? d[((w.image * rows + w.y / s) * columns + w.x / s) * channels + w.channel] : scalar(0);
    }
}

// v = momentum v + scale g, w = w - rate v.
extern "C" __global__ void descend(
    const scalar* w, const scalar* v, const scalar* g, scalar* new_w, scalar* new_v, long long count, scalar momentum,
    scalar scale, scalar rate) {
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < count; i += (long long)gridDim.x * blockDim.x) {
        const scalar velocity = momentum * v[i] + scale * g[i];
        new_v[i] = velocity;
        new_w[i] = w[i] - rate * velocity;
    }
}

// out = the sum of `parts` arrays of `count` numbers that stand one behind the other.
extern "C" __global__ void add_parts(const scalar* in, scalar* out, long long count, int parts) {
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < count; i += (long long)gridDim.x * blockDim.x) {
        scalar sum = in[i];
        for (int part = 1; part < parts; ++part) sum += in[part * count + i];
        out[i] = sum;
    }
}
