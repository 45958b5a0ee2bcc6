// One warp's product on tensor cores, in TF32: sum (16 x 8) += left (16 x 8) right (8 x 8).
//
// Source: the PTX manual, "Matrix fragments for mma.m16n8k8": of lane 4g + t, left holds rows g and g + 8 of columns t
// and t + 4, right rows t and t + 4 of column g, sum columns 2t and 2t + 1 of rows g and g + 8.

__device__ __forceinline__ float round_to_tf32(float value) {
    unsigned bits;
#if __CUDA_ARCH__ >= 900
    asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));  // one instruction; the other has to be put together
#else
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
#endif
    return __uint_as_float(bits);
}

__device__ __forceinline__ void multiply_tf32(float* sum, const float* left, const float* right) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(__float_as_uint(left[0])), "r"(__float_as_uint(left[1])), "r"(__float_as_uint(left[2])),
          "r"(__float_as_uint(left[3])), "r"(__float_as_uint(right[0])), "r"(__float_as_uint(right[1])));
}
