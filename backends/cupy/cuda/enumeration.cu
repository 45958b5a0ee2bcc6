// Sums over all gate configurations of a small network: the twin of backends/numba/gate_sums.py.
//
// Given the gates below, those of the last hidden layer are independent, so its 2^n states are products of two tables,
// P = P_hi P_lo and u = e^{-T} = u_hi u_lo, and a leaf costs a division and three multiply-adds:
//
//     plus += P / (1 + u),   minus += P u / (1 + u).
//
// A block walks states of the gates below (the prefixes); its threads share the states of the last layer: the low bits
// are a table in shared memory, every thread makes its own entries of the high bits. Compiled with THREADS.

constexpr int LOW = 8, MOST = 64;  // bits of the table; units of a layer
constexpr double LIMIT = 300.0;    // as in the twin

struct Scratch {
    double signal[2][MOST], on[MOST], off[MOST], step[MOST];
    double p[1 << LOW], u[1 << LOW];
    double sums[3][THREADS];
};

__device__ __forceinline__ double probability_on(double field) {
    return field > -700.0 ? 1.0 / (1.0 + exp(-field)) : 0.0;
}

// weights: all layers but the last hidden to output, row-major, one after another, then the output weights.
// sums (gridDim.y inputs, gridDim.x, 3): minus, plus, and the largest |T| that a table entry stands for.
extern "C" __global__ void __launch_bounds__(THREADS) marginal_sums(
    const double* x, const double* weights, const int* widths, int hidden, double temperature, long long prefixes,
    double* sums) {
    __shared__ Scratch s;
    const int t = threadIdx.x, n = widths[hidden];
    const int low = min(LOW, max(0, n - LOW)), high = n - low;
    double plus = 0.0, minus = 0.0, reach = 0.0;
    for (long long prefix = blockIdx.x; prefix < prefixes; prefix += gridDim.x) {
        const double* w = weights;
        const double* signal = x + (long long)blockIdx.y * widths[0];
        long long bits = prefix;
        double prior = 1.0;
        for (int layer = 0; layer < hidden; ++layer) {
            const int ins = widths[layer], outs = widths[layer + 1];
            double* z = s.signal[layer & 1];
            if (t < outs) {
                double sum = 0.0;
                for (int a = 0; a < ins; ++a) sum += signal[a] * w[a * outs + t];
                s.on[t] = probability_on(sum / temperature);
                s.off[t] = probability_on(-sum / temperature);
                z[t] = layer < hidden - 1 && !(bits >> t & 1) ? 0.0 : sum;
            }
            __syncthreads();
            if (layer < hidden - 1) {
                for (int b = 0; b < outs; ++b) prior *= bits >> b & 1 ? s.on[b] : s.off[b];
                bits >>= outs;
                __syncthreads();  // on and off are written again by the next layer
            }
            signal = z;
            w += ins * outs;
        }
        if (t < n) s.step[t] = exp(-min(max(signal[t] * w[t], -LIMIT), LIMIT));
        __syncthreads();
        for (int state = t; state < 1 << low; state += THREADS) {
            double p = 1.0, u = 1.0;
            for (int j = 0; j < low; ++j) {
                p *= state >> j & 1 ? s.on[j] : s.off[j];
                if (state >> j & 1) u *= s.step[j];
            }
            s.p[state] = p;
            s.u[state] = u;
        }
        if (t < 2) {  // one of the two tables each
            double above = 0.0, below = 0.0;
            for (int j = t == 0 ? 0 : low; j < (t == 0 ? low : n); ++j) {
                const double part = signal[j] * w[j];
                above += max(part, 0.0);
                below -= min(part, 0.0);
            }
            reach = max(reach, max(above, below));
        }
        __syncthreads();
        for (int state = t; state < 1 << high; state += THREADS) {
            double p = prior, u = 1.0;
            for (int j = 0; j < high; ++j) {
                p *= state >> j & 1 ? s.on[low + j] : s.off[low + j];
                if (state >> j & 1) u *= s.step[low + j];
            }
            double a = 0.0, b = 0.0;
            for (int j = 0; j < 1 << low; ++j) {
                const double v = u * s.u[j], q = s.p[j] / (1.0 + v);
                a += q;
                b += q * v;
            }
            plus += p * a;
            minus += p * b;
        }
        __syncthreads();  // before the next prefix writes over the tables
    }
    s.sums[0][t] = minus;
    s.sums[1][t] = plus;
    s.sums[2][t] = reach;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (t < half) {
            s.sums[0][t] += s.sums[0][t + half];
            s.sums[1][t] += s.sums[1][t + half];
            s.sums[2][t] = max(s.sums[2][t], s.sums[2][t + half]);
        }
    }
    __syncthreads();
    if (t < 3) sums[((long long)blockIdx.y * gridDim.x + blockIdx.x) * 3 + t] = s.sums[t][0];
}
