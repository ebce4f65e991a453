// Element types on the device, and the type that arithmetic on them uses (float for 16-bit types).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace pylstm::cuda {

using Half = __half;
using BFloat16 = __nv_bfloat16;

template <class T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

__device__ inline float to_compute(Half x) { return __half2float(x); }
__device__ inline float to_compute(BFloat16 x) { return __bfloat162float(x); }
__device__ inline float to_compute(float x) { return x; }
__device__ inline double to_compute(double x) { return x; }

template <class T>
__device__ inline T from_compute(Compute<T> x) {
  if constexpr (std::is_same_v<T, Half>) {
    return __float2half_rn(x);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return __float2bfloat16_rn(x);
  } else {
    return x;
  }
}

// Elements from row to row of arrays that blocks exchange: every row starts on 16 bytes.
__host__ __device__ constexpr int64_t padded_units(int64_t units) { return (units + 7) / 8 * 8; }

// The four gates of one unit, read and written as one vector.
template <class V>
struct alignas(4 * sizeof(V)) Gates {
  V value[4];
};

}  // namespace pylstm::cuda
