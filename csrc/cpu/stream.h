// Products with weights as they lie in memory, for calls too small to repay their packing: each
// weight is read once, in order.
#pragma once

#include <type_traits>

#include "cpu/left.h"
#include "cpu/storage.h"

namespace pylstm::cpu::PYLSTM_ISA {

// How many rows of the matrix are read together.
inline constexpr int kStreamBlock = 8;

// Σ_k factor[row][k] matrix[k][column] is added to out[row][column] for kVectors vectors of
// columns, `lanes` of each.
template <int kRows, int kK, int kVectors, class S, class V = Vec<Compute<S>>>
PYLSTM_FN void stream_tile(const V (&factor)[kRows][kK], const S* matrix, int64_t stride,
                           int64_t lanes, Compute<S>* const (&out)[kRows], int64_t column) {
  V sum[kRows][kVectors];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[r][v] = V(0.0);
  }
#pragma GCC unroll 8
  for (int k = 0; k < kK; ++k) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const V weights = load_lanes(matrix + k * stride + column + v * V::kWidth, lanes);
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) sum[r][v] = multiply_add(factor[r][k], weights, sum[r][v]);
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      Compute<S>* to = out[r] + column + v * V::kWidth;
      (V::load_n(to, lanes) + sum[r][v]).store_n(to, lanes);
    }
  }
}

// out[row] += left[row] · kK rows of the matrix, `stride` apart.
template <int kRows, int kK, class E, class S>
void stream_rows(const E* const* left, int64_t left_offset, const S* matrix, int64_t stride,
                 int64_t columns, Compute<S>* const* to, int64_t to_offset) {
  using V = Vec<Compute<S>>;
  constexpr int64_t kWidth = V::kWidth, kBytes = kWidth * sizeof(S);
  V factor[kRows][kK];
  Compute<S>* out[kRows];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
    out[r] = to[r] + to_offset;
#pragma GCC unroll 8
    for (int k = 0; k < kK; ++k) factor[r][k] = broadcast(left[r] + left_offset + k);
  }
  // Loads that cross cache lines take twice as long, so the first vector ends where one does.
  const auto misalignment = static_cast<int64_t>(reinterpret_cast<uintptr_t>(matrix) % kBytes);
  int64_t column = min(columns, (kBytes - misalignment) % kBytes / int64_t(sizeof(S)));
  if (column > 0) stream_tile<kRows, kK, 1>(factor, matrix, stride, column, out, 0);
  for (; column + 2 * kWidth <= columns; column += 2 * kWidth) {
    stream_tile<kRows, kK, 2>(factor, matrix, stride, kWidth, out, column);
  }
  for (; column < columns; column += kWidth) {
    stream_tile<kRows, kK, 1>(factor, matrix, stride, min(kWidth, columns - column), out, column);
  }
}

// out[row] += left[row] · matrix (k, columns), for n rows.
template <class E, class S>
void stream_product(const E* const* left, int64_t left_offset, int64_t n, int64_t k,
                    const S* matrix, int64_t stride, int64_t columns, Compute<S>* const* out,
                    int64_t out_offset) {
  // Several pairs of rows find the weights in the first-level cache; a single pair reads on.
  constexpr int64_t kCached = 512;
  const int64_t at_once = n > 2 ? kCached : columns;
  const auto add = [&](auto block, int64_t i) {
    for (int64_t column = 0; column < columns; column += at_once) {
      const S* from = matrix + i * stride + column;
      const int64_t some = min(at_once, columns - column);
      int64_t row = 0;
      for (; row + 2 <= n; row += 2) {
        stream_rows<2, block>(left + row, left_offset + i, from, stride, some, out + row,
                              out_offset + column);
      }
      if (row < n) {
        stream_rows<1, block>(left + row, left_offset + i, from, stride, some, out + row,
                              out_offset + column);
      }
    }
  };
  int64_t i = 0;
  for (; i + kStreamBlock <= k; i += kStreamBlock) {
    add(std::integral_constant<int, kStreamBlock>{}, i);
  }
  for (; i < k; ++i) add(std::integral_constant<int, 1>{}, i);
}

}  // namespace pylstm::cpu::PYLSTM_ISA
