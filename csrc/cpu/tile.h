// A tile of the matrix product in vector registers: rows × vectors of sums stay there while k runs
// over the packed panel.
#pragma once

#include "cpu/left.h"

namespace pylstm::cpu::PYLSTM_ISA {

template <class O, int kRows, int kVectors, int kShared>
PYLSTM_FN void multiply_add(Vec<Sum<O>> (&acc)[kRows][kVectors], const O* const (&a)[kRows],
                            int64_t run, int64_t copy_stride, const O* b, const O* ahead) {
  using V = Vec<O>;
  for (int64_t k = 0; k < run; ++k) {
    if (ahead) __builtin_prefetch(ahead + k * kLine<O>, 0, 2);
    V left[kRows];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      if (v % kShared == 0) {
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) {
          left[r] = V::broadcast(a[r] + k + v / kShared * copy_stride);
        }
      }
      // One row reads the panel faster than the hardware foresees.
      if (kRows == 1 && v * kVectorBytes % 64 == 0) {
        __builtin_prefetch(b + (16 * kVectors + v) * V::kWidth);
      }
      const V right = V::load(b + v * V::kWidth);
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) accumulate(left[r], right, &acc[r][v]);
    }
    b += kVectors * V::kWidth;
  }
}

// to[row] = from[row] + left · panel for rows `begin` to `end`, kRows at a time; the panel is
// [k][kVectors][width], `run_skip` elements are left out after each run. from null: zeros. The
// first left side says whether they are summed apart. Each tile fetches a cache line at each k, if
// any.
template <class O, int kRows, int kVectors, int kShared>
void multiply_tiles(int64_t begin, int64_t end, const Left<O>* lefts, int n_lefts, int64_t k,
                    const O* panel, int64_t run_skip, const Sum<O>* const* from, Sum<O>* const* to,
                    Fetch<O>* fetch) {
  using V = Vec<Sum<O>>;
  const bool apart = lefts->apart || !from;
  const bool in_place = from == to;
  for (int64_t row = begin; row < end; row += kRows) {
    V acc[kRows][kVectors];
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        acc[r][v] = apart ? V(0.0) : V::load(from[row + r] + v * V::kWidth);
        // It may have left the cache.
        if (in_place) __builtin_prefetch(from[row + r] + v * V::kWidth);
      }
    }
    const O* b = panel;
    const O* ahead = fetch->take(k * kLine<O>);
    for (const Left<O>* left = lefts; left != lefts + n_lefts; ++left) {
      const O* a[kRows];
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        a[r] = reinterpret_cast<const O*>(left->rows[row + r]) + left->offset;
      }
      for (int64_t run = 0; run < left->runs; ++run) {
        multiply_add<O, kRows, kVectors, kShared>(acc, a, left->run, left->copy_stride, b, ahead);
        b += left->run * kVectors * V::kWidth + run_skip;
        if (ahead) ahead += left->run * kLine<O>;
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) a[r] += left->run_stride;
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        if (apart && from) acc[r][v] += V::load(from[row + r] + v * V::kWidth);
        acc[r][v].store(to[row + r] + v * V::kWidth);
      }
    }
  }
}

template <class O>
using TilesFunction = void (*)(int64_t, int64_t, const Left<O>*, int, int64_t, const O*, int64_t,
                               const Sum<O>* const*, Sum<O>* const*, Fetch<O>*);

template <class O, int kVectors, int kShared>
TilesFunction<O> tiles_of_rows(int64_t rows) {
  if constexpr (kTileRows > 3) {
    switch (rows) {
      case 4:
        return multiply_tiles<O, 4, kVectors, kShared>;
      case 5:
        return multiply_tiles<O, 5, kVectors, kShared>;
      case 6:
        return multiply_tiles<O, 6, kVectors, kShared>;
    }
  }
  switch (rows) {
    case 1:
      return multiply_tiles<O, 1, kVectors, kShared>;
    case 2:
      return multiply_tiles<O, 2, kVectors, kShared>;
    default:
      return multiply_tiles<O, 3, kVectors, kShared>;
  }
}

// The same for any number of rows and vectors: in as few tiles as possible, of sizes that differ by
// at most one.
template <class O>
void multiply_rows(int64_t n, int vectors, int shared, const Left<O>* lefts, int n_lefts, int64_t k,
                   const O* panel, int64_t run_skip, const Sum<O>* const* from, Sum<O>* const* to,
                   Fetch<O> fetch) {
  const auto multiply_tiles = [&](int64_t begin, int64_t end, int64_t rows) {
    if (begin == end) return;
    const TilesFunction<O> function = with_tile_shape(
        vectors, shared,
        [&](auto vectors, auto shared) { return tiles_of_rows<O, vectors, shared>(rows); });
    function(begin, end, lefts, n_lefts, k, panel, run_skip, from, to, &fetch);
  };
  const int64_t tiles = ceil_div(n, kTileRows), rows = n / max(1, tiles);
  const int64_t larger = (n - tiles * rows) * (rows + 1);  // rows of the tiles with one more
  multiply_tiles(0, larger, rows + 1);
  multiply_tiles(larger, n, rows);
}

// What a thread holds while it multiplies.
struct TileRegisters {
  TileRegisters() {}  // always there
};

}  // namespace pylstm::cpu::PYLSTM_ISA
