// How a warp multiplies: one struct per arithmetic, all with the accumulator layout of mma.sync, so
// that every kernel is written once. A warp's tile is (16·kRows) × 32: four 8-wide column tiles.
//   accumulator[m][n][0..3] of lane l: rows 16m + l/4 (+8 for 2, 3), columns 8n + 2(l%4) (+1 for
//   1, 3)
#pragma once

#include "core/problem.h"
#include "cuda/ptx.h"

namespace pylstm::cuda {

template <class V, int kRows>
using Accumulator = V[kRows][4][4];

// An operand tile in shared memory; element (i, k) of A, or (k, i) of B, is at
// data[i * pitch + k] when the depth k is contiguous, else at data[k * pitch + i].
enum class Contiguous { kDepth, kOuter };

template <Contiguous contiguous, class T>
__device__ inline const T* element(const T* data, int pitch, int outer, int k) {
  return contiguous == Contiguous::kDepth ? data + outer * pitch + k : data + k * pitch + outer;
}

// float16 and bfloat16 on tensor cores, accumulated in float.
template <class T>
struct TensorCore {
  using Element = T;
  static constexpr int kDepth = 16;

  // The 16 × kDepth fragment of A at `a`.
  template <Contiguous contiguous>
  __device__ static void load_fragment(uint32_t (&fragment)[4], const T* a, int pitch) {
    const int lane = threadIdx.x % 32;
    const int row = lane % 8;
    const int second = lane / 8 % 2 * 8;
    const int third = lane / 16 * 8;
    if constexpr (contiguous == Contiguous::kDepth) {
      load_matrices(fragment, a + (row + second) * pitch + third);
    } else {
      load_matrices_transposed(fragment, a + (row + third) * pitch + second);
    }
  }

  // Register `r` of the fragment of B whose element at depth k in this lane's column is weight(k).
  template <class Weight>
  __device__ static uint32_t weight_fragment(int r, const Weight& weight) {
    const int k = threadIdx.x % 4 * 2 + 8 * r;
    const T pair[2] = {weight(k), weight(k + 1)};
    return reinterpret_cast<const uint16_t&>(pair[0]) |
           static_cast<uint32_t>(reinterpret_cast<const uint16_t&>(pair[1])) << 16;
  }

  __device__ static void multiply_fragments(float (&accumulator)[4], const uint32_t (&a)[4],
                                            uint32_t b0, uint32_t b1) {
    mma(accumulator, a, b0, b1, T());
  }

  // Only the column tiles in the bit set `columns` are computed.
  template <Contiguous contiguous_a, Contiguous contiguous_b, int kRows>
  __device__ static void multiply(Accumulator<float, kRows>& accumulator, const T* a, int pitch_a,
                                  const T* b, int pitch_b, unsigned columns) {
    const int lane = threadIdx.x % 32;
    const int row = lane % 8;
    const int second = lane / 8 % 2 * 8;
    const int third = lane / 16 * 8;
    uint32_t fragment_b[2][4];
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      if (!(columns >> (2 * n) & 3)) continue;
      if constexpr (contiguous_b == Contiguous::kDepth) {
        load_matrices(fragment_b[n], b + (16 * n + row + third) * pitch_b + second);
      } else {
        load_matrices_transposed(fragment_b[n], b + (row + second) * pitch_b + 16 * n + third);
      }
    }
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      uint32_t fragment_a[4];
      load_fragment<contiguous_a>(fragment_a, element<contiguous_a>(a, pitch_a, 16 * m, 0),
                                  pitch_a);
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        if (columns >> n & 1) {
          multiply_fragments(accumulator[m][n], fragment_a, fragment_b[n / 2][n % 2 * 2],
                             fragment_b[n / 2][n % 2 * 2 + 1]);
        }
      }
    }
  }
};

// float on tensor cores, operands rounded to TF32.
struct TensorCoreTf32 {
  using Element = float;
  static constexpr int kDepth = 8;

  template <Contiguous contiguous>
  __device__ static void load_fragment(uint32_t (&fragment)[4], const float* a, int pitch) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      fragment[i] =
          round_to_tf32(*element<contiguous>(a, pitch, lane / 4 + i % 2 * 8, lane % 4 + i / 2 * 4));
    }
  }

  template <class Weight>
  __device__ static uint32_t weight_fragment(int r, const Weight& weight) {
    return round_to_tf32(weight(static_cast<int>(threadIdx.x % 4) + 4 * r));
  }

  __device__ static void multiply_fragments(float (&accumulator)[4], const uint32_t (&a)[4],
                                            uint32_t b0, uint32_t b1) {
    mma_tf32(accumulator, a, b0, b1);
  }

  template <Contiguous contiguous_a, Contiguous contiguous_b, int kRows>
  __device__ static void multiply(Accumulator<float, kRows>& accumulator, const float* a,
                                  int pitch_a, const float* b, int pitch_b, unsigned columns) {
    const int lane = threadIdx.x % 32;
    const int outer = lane / 4;
    const int k = lane % 4;
    uint32_t fragment_b[4][2];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        fragment_b[n][i] =
            round_to_tf32(*element<contiguous_b>(b, pitch_b, 8 * n + outer, k + 4 * i));
      }
    }
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      uint32_t fragment_a[4];
      load_fragment<contiguous_a>(fragment_a, element<contiguous_a>(a, pitch_a, 16 * m, 0),
                                  pitch_a);
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        if (columns >> n & 1) {
          multiply_fragments(accumulator[m][n], fragment_a, fragment_b[n][0], fragment_b[n][1]);
        }
      }
    }
  }
};

// True float and double, on the ordinary arithmetic units.
template <class T>
struct FusedMultiplyAdd {
  using Element = T;
  static constexpr int kDepth = 32 / sizeof(T);

  template <Contiguous contiguous_a, Contiguous contiguous_b, int kRows>
  __device__ static void multiply(Accumulator<T, kRows>& accumulator, const T* a, int pitch_a,
                                  const T* b, int pitch_b, unsigned columns) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      T column[4][2];
#pragma unroll
      for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          column[n][i] = *element<contiguous_b>(b, pitch_b, 8 * n + lane % 4 * 2 + i, k);
        }
      }
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        T row[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          row[i] = *element<contiguous_a>(a, pitch_a, 16 * m + lane / 4 + 8 * i, k);
        }
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          if (!(columns >> n & 1)) continue;
#pragma unroll
          for (int i = 0; i < 4; ++i) accumulator[m][n][i] += row[i / 2] * column[n][i % 2];
        }
      }
    }
  }
};

// Calls f with the arithmetic of a problem.
template <class F>
void visit_math(const Problem& problem, F&& f) {
  switch (problem.dtype) {
    case DType::kFloat16:
      return f(TensorCore<Half>());
    case DType::kBFloat16:
      return f(TensorCore<BFloat16>());
    case DType::kFloat32:
      return problem.allow_tf32 ? f(TensorCoreTf32()) : f(FusedMultiplyAdd<float>());
    case DType::kFloat64:
      return f(FusedMultiplyAdd<double>());
  }
}

}  // namespace pylstm::cuda
