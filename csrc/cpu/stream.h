// Products with weights as they lie in memory, for calls too small to repay their packing: each
// weight is read once, in order.
#pragma once

#include "cpu/storage.h"
#include "cpu/tile.h"

namespace pylstm::cpu::PYLSTM_ISA {

// out[column] += Σ_k left[k] matrix[k][column] for kRows rows of the matrix, `stride` apart.
template <int kRows, class S>
PYLSTM_FN void stream_rows(const Compute<S>* left, const S* matrix, int64_t stride, int64_t columns,
                           Compute<S>* out) {
  using V = Vec<Compute<S>>;
  V factor[kRows];
#pragma GCC unroll 8
  for (int k = 0; k < kRows; ++k) factor[k] = V::broadcast(left + k);
  for (int64_t column = 0; column < columns; column += V::kWidth) {
    const int64_t lanes = min(V::kWidth, columns - column);
    V sum = V::load(out + column);
#pragma GCC unroll 8
    for (int k = 0; k < kRows; ++k) {
      const S* weights = matrix + k * stride + column;
      __builtin_prefetch(weights + kRows * stride);
      sum += factor[k] * load_lanes(weights, lanes);
    }
    sum.store(out + column);
  }
}

// out[row] += left[row] · matrix (k, columns); out is padded to whole vectors.
template <class S>
void stream_product(const Compute<S>* const* left, int64_t left_offset, int64_t rows, int64_t k,
                    const S* matrix, int64_t stride, int64_t columns, Compute<S>* const* out,
                    int64_t out_offset) {
  constexpr int kBlock = 8;
  int64_t i = 0;
  for (; i + kBlock <= k; i += kBlock) {
    for (int64_t row = 0; row < rows; ++row) {
      stream_rows<kBlock>(left[row] + left_offset + i, matrix + i * stride, stride, columns,
                          out[row] + out_offset);
    }
  }
  for (; i < k; ++i) {
    for (int64_t row = 0; row < rows; ++row) {
      stream_rows<1>(left[row] + left_offset + i, matrix + i * stride, stride, columns,
                     out[row] + out_offset);
    }
  }
}

}  // namespace pylstm::cpu::PYLSTM_ISA
