// What CuPy would compile a kernel for at run time, each for half a second to ten: the step of gradient descent, sums,
// copies between strided arrays, rows of an array, comparisons, and the loss of a batch. Compiled behind gating.cuh and gates.cu, with
// THREADS, those of the kernels that add up in shared memory. Sums are added in one order: they repeat bit for bit.

#define WALK(i, count) \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count); i += (long long)gridDim.x * blockDim.x)

// v = momentum v + scale g, w = w - rate v.
extern "C" __global__ void descend(
    const scalar* w, const scalar* v, const scalar* g, scalar* new_w, scalar* new_v, long long count, scalar momentum,
    scalar scale, scalar rate) {
    WALK(i, count) {
        const scalar velocity = momentum * v[i] + scale * g[i];
        new_v[i] = velocity;
        new_w[i] = w[i] - rate * velocity;
    }
}

// out = the sum of `parts` arrays of `rows` times `each` numbers that stand one behind the other, in order; gates of
// `each` numbers, shared by the rows, are applied behind it.
extern "C" __global__ void add_parts(
    const scalar* in, scalar* out, const bool* mask, bool* on, long long rows, unsigned each, int parts) {
    for (long long row = blockIdx.y; row < rows; row += gridDim.y)
        for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < each; i += gridDim.x * blockDim.x) {
            Vector<1> sum = {{in[row * each + i]}};
            for (int part = 1; part < parts; ++part) sum.v[0] += in[(part * rows + row) * each + i];
            if (mask) {
                Frozen{mask}.write(out + row * each, i, sum);
            } else if (on) {
                Opened{on}.write(out + row * each, i, sum);
            } else {
                Plain{}.write(out + row * each, i, sum);
            }
        }
}

// Numbers of an array of four axes to their places in another: any views, turned and transposed ones too.
extern "C" __global__ void copy_strided(
    const scalar* in, scalar* out, long long count, unsigned n1, unsigned n2, unsigned n3, long long in0, long long in1,
    long long in2, long long in3, long long out0, long long out1, long long out2, long long out3) {
    const unsigned each = n1 * n2 * n3;  // numbers of one row of the first axis, which lies along the grid
    const long long rows = count / each;
    for (long long row = blockIdx.y; row < rows; row += gridDim.y)
        for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < each; i += gridDim.x * blockDim.x) {
            const unsigned a = i / n3, third = i - a * n3, first = a / n2, second = a - first * n2;
            out[row * out0 + first * out1 + second * out2 + third * out3] =
                in[row * in0 + first * in1 + second * in2 + third * in3];
        }
}

// out[r] = in[rows[r]], for rows of `width` numbers; a row beyond the last counts on from the first.
extern "C" __global__ void take_rows(
    const scalar* in, const long long* rows, scalar* out, long long available, long long count, unsigned width) {
    for (long long r = blockIdx.y; r < count; r += gridDim.y) {
        long long row = rows[r];
        if (row < 0 || row >= available) row = (row % available + available) % available;
        for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < width; i += gridDim.x * blockDim.x)
            out[r * width + i] = in[row * width + i];
    }
}

// *found = 1 where a number is infinite or NaN; it is 0 before.
extern "C" __global__ void find_infinite(const scalar* x, int* found, long long count) {
    WALK(i, count) if (!(x[i] - x[i] == 0)) *found = 1;
}

// *found = 1 where two arrays differ in a bit.
extern "C" __global__ void find_difference(const char* a, const char* b, int* found, long long count) {
    WALK(i, count) if (a[i] != b[i]) *found = 1;
}

// The sum of a number of each thread of a block, for the first thread; `room` may be used again behind a barrier.
template <class T>
__device__ __forceinline__ T block_sum(T own, T* room) {
    const int t = threadIdx.x;
    room[t] = own;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (t < half) room[t] += room[t + half];
    }
    __syncthreads();
    return room[0];
}

// parts[block] = the block's share of sum_i x_i y_i, multiplied and added in double.
extern "C" __global__ void inner(const scalar* x, const scalar* y, double* parts, long long count) {
    __shared__ double room[THREADS];
    double sum = 0;
    WALK(i, count) sum += (double)x[i] * (double)y[i];
    sum = block_sum(sum, room);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// *out = the sum of `count` numbers, by one block.
extern "C" __global__ void total(const double* parts, double* out, int count) {
    __shared__ double room[THREADS];
    double sum = 0;
    for (int i = threadIdx.x; i < count; i += THREADS) sum += parts[i];
    sum = block_sum(sum, room);
    if (threadIdx.x == 0) *out = sum;
}

// Twins of simulator/passes/losses.py, by their place in `kernels.LOSSES`: NaN stays NaN.
__device__ __forceinline__ double loss_value(int kind, double u) {
    if (kind == 0) return u >= 1 ? 0.0 : 1 - u;                                      // hinge
    if (kind == 1) return u >= 0 ? 0.0 : -u;                                         // perceptron
    if (kind == 2) return log1p(exp(u < 0 ? u : -u)) + (u < 0 ? -u : 0.0);           // logistic
    if (kind == 4 && u >= 1) return 0.0;                                             // squared hinge
    return (1 - u) * (1 - u) / 2;                                                    // squared
}

__device__ __forceinline__ scalar loss_slope(int kind, scalar u) {
    if (kind == 0) return u < 1 ? scalar(-1) : scalar(0);
    if (kind == 1) return u < 0 ? scalar(-1) : scalar(0);
    if (kind == 3) return u - 1;
    if (kind == 4) return u >= 1 ? scalar(0) : u - 1;
    const scalar decay = exp(u < 0 ? u : -u);
    return -(u > 0 ? decay : scalar(1)) / (1 + decay);
}

// Of a batch, by one block: y l'(u) of each example at its margin u = y T, sum l(u) (infinite where a margin is not
// finite), the number of u > 0 and of l' that are not 0.
extern "C" __global__ void margins(
    const scalar* t, const scalar* y, scalar* slope, double* loss, long long* counts, int m, int kind, double infinite) {
    __shared__ double room[THREADS];
    __shared__ long long number[THREADS];
    double sum = 0;
    long long correct = 0, active = 0;
    for (int i = threadIdx.x; i < m; i += THREADS) {
        const scalar u = y[i] * t[i], pull = loss_slope(kind, u) * y[i];
        slope[i] = pull;
        sum += u - u == 0 ? loss_value(kind, u) : infinite;
        correct += u > 0;
        active += pull != 0;
    }
    sum = block_sum(sum, room);
    correct = block_sum(correct, number);
    __syncthreads();
    active = block_sum(active, number);
    if (threadIdx.x == 0) {
        *loss = sum;
        counts[0] = correct;
        counts[1] = active;
    }
}
