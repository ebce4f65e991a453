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

// to[row] = from[row] + left · panel; the panel is [k][kVectors][width], `run_skip` elements are
// left out after each run. from null: zeros. The first left side says whether they are summed
// apart. At each k it fetches a cache line of `ahead`, if any.
template <class O, int kRows, int kVectors, int kShared>
void tile(const Left<O>* lefts, int n_lefts, const O* panel, int64_t run_skip,
          const Sum<O>* const* from, Sum<O>* const* to, const O* ahead) {
  using V = Vec<Sum<O>>;
  V acc[kRows][kVectors];
  const bool apart = lefts->apart || !from;
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      acc[r][v] = apart ? V(0.0) : V::load(from[r] + v * V::kWidth);
      if (from == to) __builtin_prefetch(from[r] + v * V::kWidth);  // it may have left the cache
    }
  }
  for (const Left<O>* left = lefts; left != lefts + n_lefts; ++left) {
    const O* a[kRows];
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      a[r] = reinterpret_cast<const O*>(left->rows[r]) + left->offset;
    }
    for (int64_t run = 0; run < left->runs; ++run) {
      multiply_add<O, kRows, kVectors, kShared>(acc, a, left->run, left->copy_stride, panel, ahead);
      panel += left->run * kVectors * V::kWidth + run_skip;
      if (ahead) ahead += left->run * kLine<O>;
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) a[r] += left->run_stride;
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      if (apart && from) acc[r][v] += V::load(from[r] + v * V::kWidth);
      acc[r][v].store(to[r] + v * V::kWidth);
    }
  }
}

template <class O>
using TileFunction = void (*)(const Left<O>*, int, const O*, int64_t, const Sum<O>* const*,
                              Sum<O>* const*, const O*);

template <class O, int kVectors, int kShared>
TileFunction<O> tile_of_rows(int rows) {
  if constexpr (kTileRows > 3) {
    switch (rows) {
      case 4:
        return tile<O, 4, kVectors, kShared>;
      case 5:
        return tile<O, 5, kVectors, kShared>;
      case 6:
        return tile<O, 6, kVectors, kShared>;
    }
  }
  switch (rows) {
    case 1:
      return tile<O, 1, kVectors, kShared>;
    case 2:
      return tile<O, 2, kVectors, kShared>;
    default:
      return tile<O, 3, kVectors, kShared>;
  }
}

// The same for any number of rows and vectors of a tile.
template <class O>
void multiply_tile(int rows, int vectors, int shared, const Left<O>* lefts, int n_lefts,
                   const O* panel, int64_t run_skip, const Sum<O>* const* from, Sum<O>* const* to,
                   const O* ahead) {
  const TileFunction<O> function = with_tile_shape(vectors, shared, [&](auto vectors, auto shared) {
    return tile_of_rows<O, vectors, shared>(rows);
  });
  function(lefts, n_lefts, panel, run_skip, from, to, ahead);
}

// What a thread holds while it multiplies.
struct TileRegisters {
  TileRegisters() {}  // always there
};

// Cuts n rows into as few tiles as possible, of sizes that differ by at most one.
struct Tiles {
  int64_t n;
  int64_t count;

  PYLSTM_FN explicit Tiles(int64_t rows) : n(rows), count(ceil_div(rows, kTileRows)) {}
  PYLSTM_FN int64_t begin(int64_t i) const { return n * i / count; }
};

}  // namespace pylstm::cpu::PYLSTM_ISA
