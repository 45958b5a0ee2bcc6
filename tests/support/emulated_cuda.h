// What a CUDA compiler gives a kernel, for the host: blocks one after another, the threads of a block as fibers.
//
// A fiber runs until it meets __syncthreads(); when all have, they go on. A thread that ends while others wait is an
// error. The order of the fibers can be turned round (`emulated_order`): a result that changes with it misses a barrier.
// __shared__ variables are static: they hold what the block before left in them.

#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
using std::exp;
using std::log1p;
template <typename T>
static T max(T a, T b) {
    return a < b ? b : a;
}
template <typename T>
static T min(T a, T b) {
    return b < a ? b : a;
}

struct Dim3 {
    unsigned x, y, z;
};
static Dim3 blockIdx, threadIdx, blockDim, gridDim;

namespace emulated {
struct Fiber {
    ucontext_t context;
    char stack[1 << 16];
    Dim3 index;
    bool done;
};
static Fiber fibers[1024];
static ucontext_t scheduler;
static Fiber* running;
static void (*body)(void**);
static void** arguments;
static int reversed;
static float deposit[1024][6];

static void enter() {
    body(arguments);
    running->done = true;
    swapcontext(&running->context, &scheduler);
}

static void yield() {
    Fiber* own = running;
    swapcontext(&own->context, &scheduler);
}

// Runs a block to its end; false where some threads ended and others waited.
static bool run_block(unsigned threads) {
    for (unsigned t = 0; t < threads; ++t) {
        Fiber& f = fibers[t];
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack;
        f.context.uc_stack.ss_size = sizeof f.stack;
        f.context.uc_link = nullptr;
        f.index = {t, 0, 0};
        f.done = false;
        makecontext(&f.context, enter, 0);
    }
    for (;;) {
        unsigned done = 0;
        for (unsigned i = 0; i < threads; ++i) {
            running = &fibers[reversed ? threads - 1 - i : i];
            threadIdx = running->index;
            swapcontext(&scheduler, &running->context);
            done += running->done;
        }
        if (done == threads) return true;
        if (done) return false;
    }
}

static int launch(void (*kernel)(void**), void** args, const unsigned* grid, unsigned threads) {
    body = kernel;
    arguments = args;
    blockDim = {threads, 1, 1};
    gridDim = {grid[0], grid[1], grid[2]};
    for (unsigned z = 0; z < grid[2]; ++z)
        for (unsigned y = 0; y < grid[1]; ++y)
            for (unsigned x = 0; x < grid[0]; ++x) {
                blockIdx = {x, y, z};
                if (!run_block(threads)) return 1;
            }
    return 0;
}

// A kernel's parameters from pointers to them, as cuLaunchKernel takes them.
template <typename... P, size_t... I>
static void call(void (*kernel)(P...), void** args, std::index_sequence<I...>) {
    kernel(*static_cast<P*>(args[I])...);
}
template <typename... P>
static void call(void (*kernel)(P...), void** args) {
    call(kernel, args, std::index_sequence_for<P...>());
}
}  // namespace emulated

inline void __syncthreads() { emulated::yield(); }

// Rounded to 10 bits of mantissa, ties to even (cvt.rn.tf32.f32).
inline float round_to_tf32(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    bits = (bits + 0xfffu + (bits >> 13 & 1)) & ~0x1fffu;
    std::memcpy(&value, &bits, 4);
    return value;
}

// mma.sync.m16n8k8 of a warp: every lane lays down its fragments, all wait, each computes its own sums.
inline void multiply_tf32(float* sum, const float* left, const float* right) {
    const unsigned thread = threadIdx.x, warp = thread / 32 * 32, group = thread % 32 / 4, lane = thread % 4;
    for (int e = 0; e < 4; ++e) emulated::deposit[thread][e] = left[e];
    for (int e = 0; e < 2; ++e) emulated::deposit[thread][4 + e] = right[e];
    emulated::yield();
    for (int c = 0; c < 4; ++c) {
        const unsigned row = group + 8 * (c / 2), column = 2 * lane + c % 2;
        for (unsigned k = 0; k < 8; ++k) {
            const float a = emulated::deposit[warp + row % 8 * 4 + k % 4][row / 8 + 2 * (k / 4)];
            const float b = emulated::deposit[warp + column * 4 + k % 4][4 + k / 4];
            sum[c] += a * b;
        }
    }
    emulated::yield();
}

// With -ftz=true numbers of float that are not normal are 0, read and written. Doubles come along here.
static int flushing;
extern "C" void emulated_flush(int on) { flushing = on; }

namespace emulated {
struct Flush {
#if defined(__SSE__)
    unsigned before = _mm_getcsr();
    Flush() {
        if (flushing) _mm_setcsr(before | 0x8040);
    }
    ~Flush() { _mm_setcsr(before); }
#elif defined(__aarch64__)
    uint64_t before;
    Flush() {
        asm volatile("mrs %0, fpcr" : "=r"(before));
        if (flushing) asm volatile("msr fpcr, %0" : : "r"(before | 1u << 24));
    }
    ~Flush() { asm volatile("msr fpcr, %0" : : "r"(before)); }
#endif
};
}  // namespace emulated

extern "C" void emulated_order(int turned) { emulated::reversed = turned; }

// EMULATED(kernel) makes launch_kernel(arguments, grid, threads) for ctypes; 0, or 1 where threads diverged at a barrier.
#define EMULATED(kernel)                                                                         \
    extern "C" int launch_##kernel(void** args, const unsigned* grid, unsigned threads) {        \
        emulated::Flush flush;                                                                   \
        return emulated::launch([](void** a) { emulated::call(kernel, a); }, args, grid, threads); \
    }
