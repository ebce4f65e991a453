// A tile of the matrix product in vector registers: rows × vectors of sums stay there while k runs
// over the packed panel.
#pragma once

#include "cpu/left.h"

namespace pylstm::cpu::PYLSTM_ISA {

constexpr bool kFewRegisters = kGroupVectors < kTileVectors;
// Rows of a tile of one group.
constexpr int kGroupRows = kTileRows * kTileVectors / kGroupVectors;

// For the compiler alone, which would load operands before there are registers for them.
PYLSTM_FN void keep_order() {
  if constexpr (kFewRegisters) asm volatile("");
}

// A tile of kVectors vectors from kFirst on, in groups of kTogether. So many as kShared of a
// panel's vectors share an operand of the left side.
template <class O, int kRows, int kFirst, int kVectors, int kShared, int kTogether>
struct Tile {
  using V = Vec<O>;
  using SumV = Vec<Sum<O>>;
  static constexpr int kGroups = (kVectors + kTogether - 1) / kTogether;
  using Groups = const O* [kGroups];

  static constexpr int width(int group) {
    return kVectors - group * kTogether < kTogether ? kVectors - group * kTogether : kTogether;
  }
  // Whether vector v has another operand than the one before.
  static constexpr bool changes(int v) { return v == 0 || (kFirst + v) % kShared == 0; }

  PYLSTM_FN static V left(const O* a, int v, int64_t copy_stride) {
    return V::broadcast(a + (kFirst + v) / kShared * copy_stride);
  }
  PYLSTM_FN static void advance(Groups& b, int64_t k) {
#pragma GCC unroll 4
    for (int group = 0; group < kGroups; ++group) b[group] += k * width(group) * V::kWidth;
  }

  // sums += left · right for one k. Where the registers hold all rows of a vector, or all vectors
  // of a row.
  PYLSTM_FN static void add(SumV (&sums)[kRows][kVectors], const O* const (&a)[kRows], int64_t k,
                            int64_t copy_stride, const Groups& b) {
    const auto right = [&](int v) { return b[v / kTogether] + v % kTogether * V::kWidth; };
    if constexpr (kRows > kTileRows) {
      V vectors[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) vectors[v] = V::load(right(v));
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        keep_order();
        V operand;
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          if (changes(v)) operand = left(a[r] + k, v, copy_stride);
          accumulate(operand, vectors[v], &sums[r][v]);
        }
      }
    } else {
      V rows[kRows];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        if (changes(v)) {
          keep_order();
#pragma GCC unroll 6
          for (int r = 0; r < kRows; ++r) rows[r] = left(a[r] + k, v, copy_stride);
        }
        // One row reads the panel faster than the hardware foresees.
        if (kRows == 1 && v * kVectorBytes % 64 == 0) {
          __builtin_prefetch(right(v) + 16 * width(v / kTogether) * V::kWidth);
        }
        const V vector = V::load(right(v));
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) accumulate(rows[r], vector, &sums[r][v]);
      }
    }
  }

  // The same for `run` successive k; fetches a cache line at each, if any.
  PYLSTM_FN static void add_run(SumV (&sums)[kRows][kVectors], const O* const (&a)[kRows],
                                int64_t run, int64_t copy_stride, const Groups& panel,
                                const O* ahead) {
    Groups b;
#pragma GCC unroll 4
    for (int group = 0; group < kGroups; ++group) b[group] = panel[group];
    const auto step = [&](int64_t k) {
      if (ahead) __builtin_prefetch(ahead + k * kLine<O>, 0, 2);
      add(sums, a, k, copy_stride, b);
      advance(b, 1);
    };
    // With few lanes, the loop's own instructions cost time where the core runs another thread,
    // too.
    if constexpr (kFewRegisters) {
#pragma GCC unroll 4
      for (int64_t k = 0; k < run; ++k) step(k);
    } else {
      for (int64_t k = 0; k < run; ++k) step(k);
    }
  }

  // to[row] = from[row] + left · right for kRows rows from `row` on, as multiply_tiles() has it.
  PYLSTM_FN static void multiply(int64_t row, const Left<O>* lefts, int n_lefts,
                                 const Right<O>& right, int64_t at, int64_t run_skip,
                                 const Sum<O>* const* from, Sum<O>* const* to, const O* ahead) {
    const bool apart = lefts->apart || !from;
    const auto column = [](int v) { return (kFirst + v) * SumV::kWidth; };
    SumV sums[kRows][kVectors];
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = apart ? SumV(0.0) : SumV::load(from[row + r] + column(v));
        // It may have left the cache.
        if (from == to) __builtin_prefetch(from[row + r] + column(v));
      }
    }
    Groups b;
#pragma GCC unroll 4
    for (int group = 0; group < kGroups; ++group) {
      b[group] = right.at(at, kFirst + group * kTogether, width(group));
    }
    for (const Left<O>* left = lefts; left != lefts + n_lefts; ++left) {
      const O* a[kRows];
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        a[r] = reinterpret_cast<const O*>(left->rows[row + r]) + left->offset;
      }
      for (int64_t run = 0; run < left->runs; ++run) {
        add_run(sums, a, left->run, left->copy_stride, b, ahead);
        advance(b, left->run + run_skip);
        if (ahead) ahead += left->run * kLine<O>;
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) a[r] += left->run_stride;
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        if (apart && from) sums[r][v] += SumV::load(from[row + r] + column(v));
        sums[r][v].store(to[row + r] + column(v));
      }
    }
  }
};

// to[row] = from[row] + left · right for rows `begin` to `end`, kRows at a time; the product begins
// at operand `at` of the panel, of which `run_skip` are left out after each run. from null: zeros.
// The first left side says whether they are summed apart. Each tile fetches its share. Tiles of
// many rows have one group of vectors, and are followed by the other's.
template <class O, int kRows, int kVectors, int kShared, int kTogether>
void multiply_tiles(int64_t begin, int64_t end, const Left<O>* lefts, int n_lefts, int64_t k,
                    const Right<O>& right, int64_t at, int64_t run_skip, const Sum<O>* const* from,
                    Sum<O>* const* to, Fetch<O>* fetch) {
  constexpr int kAtOnce = kRows > kTileRows && kVectors > kTogether ? kTogether : kVectors;
  for (int64_t row = begin; row < end; row += kRows) {
    Tile<O, kRows, 0, kAtOnce, kShared, kTogether>::multiply(
        row, lefts, n_lefts, right, at, run_skip, from, to, fetch->take(k * kLine<O>));
    if constexpr (kAtOnce < kVectors) {
      Tile<O, kRows, kAtOnce, kVectors - kAtOnce, kShared, kTogether>::multiply(
          row, lefts, n_lefts, right, at, run_skip, from, to, fetch->take(k * kLine<O>));
    }
  }
}

template <class O>
using TilesFunction = void (*)(int64_t, int64_t, const Left<O>*, int, int64_t, const Right<O>&,
                               int64_t, int64_t, const Sum<O>* const*, Sum<O>* const*, Fetch<O>*);

// For `rows` rows, up to kRows.
template <class O, int kVectors, int kShared, int kTogether, int kRows>
TilesFunction<O> tiles_of_rows(int64_t rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return tiles_of_rows<O, kVectors, kShared, kTogether, kRows - 1>(rows);
  }
  return multiply_tiles<O, kRows, kVectors, kShared, kTogether>;
}

// The same for any number of rows and vectors.
template <class O>
void multiply_rows(int64_t n, int vectors, int shared, const Left<O>* lefts, int n_lefts, int64_t k,
                   const Right<O>& right, int64_t at, int64_t run_skip, const Sum<O>* const* from,
                   Sum<O>* const* to, Fetch<O> fetch) {
  const bool in_groups = right.together < kTileVectors;
  const auto multiply_tiles = [&](int64_t begin, int64_t end, int64_t rows) {
    if (begin == end) return;
    const TilesFunction<O> function =
        with_tile_shape(vectors, shared, [&](auto vectors, auto shared) {
          return in_groups ? tiles_of_rows<O, vectors, shared, kGroupVectors, kGroupRows>(rows)
                           : tiles_of_rows<O, vectors, shared, kTileVectors, kTileRows>(rows);
        });
    function(begin, end, lefts, n_lefts, k, right, at, run_skip, from, to, &fetch);
  };
  // Tiles of one group read no more of the left side where groups share nothing of it.
  const bool of_groups = in_groups && shared <= kGroupVectors;
  if (in_groups && !of_groups) {  // no tile of few rows beside others: it takes as long
    const int64_t last = n <= kGroupRows ? n : kTileRows + n % kTileRows;
    multiply_tiles(0, n - last, kTileRows);
    multiply_tiles(n - last, n, last);
  } else {  // in as few as possible, of sizes that differ by at most one
    const int64_t tiles = ceil_div(n, of_groups ? kGroupRows : kTileRows), rows = n / max(1, tiles);
    const int64_t larger = (n - tiles * rows) * (rows + 1);  // rows of the tiles with one more
    multiply_tiles(0, larger, rows + 1);
    multiply_tiles(larger, n, rows);
  }
}

// What a thread holds while it multiplies.
struct TileRegisters {
  TileRegisters() {}  // always there
};

}  // namespace pylstm::cpu::PYLSTM_ISA
