// The matrix product of every kernel: a tile of rows × vectors is kept in registers while k runs
// over the packed panel. Rows are given by pointers, so that any set of rows is a dense tile.
#pragma once

#include "cpu/operand.h"

namespace pylstm::cpu::PYLSTM_ISA {

constexpr int kTileVectors = 4;
constexpr int kMaxLefts = 2;

PYLSTM_FN int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
PYLSTM_FN int64_t max(int64_t a, int64_t b) { return a < b ? b : a; }
PYLSTM_FN int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The left side: operand (row, k, v) lies at rows[row][offset + (k / run) run_stride + k % run +
// v / shared copy_stride]: so many of a tile's vectors share an operand. Here k and all distances
// count operands.
template <class O>
struct Left {
  const Element<O>* const* rows;
  int64_t run;   // how many k follow each other
  int64_t runs;  // k = run · runs
  int64_t run_stride = 0;
  int64_t copy_stride = 0;
  int64_t offset = 0;
  bool apart = false;  // summed from 0, and then added to what there is

  // It can be cut between runs, or anywhere in a single run.
  PYLSTM_FN int64_t pieces() const { return runs == 1 ? run : runs; }
  PYLSTM_FN int64_t piece() const { return runs == 1 ? 1 : run; }
  PYLSTM_FN Left slice(int64_t first, int64_t count) const {
    Left part = *this;
    (runs == 1 ? part.run : part.runs) = count;
    part.offset += first * (runs == 1 ? 1 : run_stride);
    part.apart |= first > 0;
    return part;
  }
};

template <class O>
constexpr int64_t kLine = 64 / sizeof(O);  // of the cache

// A distance of at least n: an odd number of lines, lest many rows fall into the same cache sets.
template <class E>
PYLSTM_FN int64_t odd_lines(int64_t n) {
  return (ceil_div(n, kLine<E>) | 1) * kLine<E>;
}

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

template <class O, int kRows>
TileFunction<O> tile_of_vectors(int vectors, int shared) {
  switch (vectors) {
    case 1:
      return tile<O, kRows, 1, 1>;
    case 2:
      return tile<O, kRows, 2, 2>;
    case 3:
      return tile<O, kRows, 3, 3>;
  }
  switch (shared) {
    case 1:
      return tile<O, kRows, 4, 1>;
    case 2:
      return tile<O, kRows, 4, 2>;
    default:
      return tile<O, kRows, 4, 4>;
  }
}

template <class O>
TileFunction<O> tile_function(int rows, int vectors, int shared) {
  if constexpr (kTileRows > 3) {
    switch (rows) {
      case 4:
        return tile_of_vectors<O, 4>(vectors, shared);
      case 5:
        return tile_of_vectors<O, 5>(vectors, shared);
      case 6:
        return tile_of_vectors<O, 6>(vectors, shared);
    }
  }
  switch (rows) {
    case 1:
      return tile_of_vectors<O, 1>(vectors, shared);
    case 2:
      return tile_of_vectors<O, 2>(vectors, shared);
    default:
      return tile_of_vectors<O, 3>(vectors, shared);
  }
}

// Cuts n rows into as few tiles as possible, of sizes that differ by at most one.
struct Tiles {
  int64_t n;
  int64_t count;

  PYLSTM_FN explicit Tiles(int64_t rows) : n(rows), count(ceil_div(rows, kTileRows)) {}
  PYLSTM_FN int64_t begin(int64_t i) const { return n * i / count; }
};

// Each left side is cut into blocks of k: all rows pass over a block while its panel is in L2,
// which gives it fast enough. The first goes on from the sum so far; the others are summed apart,
// since an error grows with the length of a chain of additions.
constexpr int64_t kBlock = 512;
constexpr int64_t kLargestBlock = kBlock + kBlock / 2;

// How many of the k that are left make the next block; leaves no small rest.
PYLSTM_FN int64_t next_block(int64_t left) { return left <= kLargestBlock ? left : kBlock; }

// The part of the left sides that lies in one block.
template <class O>
struct Block {
  Left<O> parts[kMaxLefts];
  int count = 0;
  int64_t k = 0;

  // Whether another left side is worth computing together with those before. Sums are the same
  // either way.
  bool takes(const Left<O>& left) const {
    return !parts[0].apart &&
           (k < kBlock / 2 || k + next_block(left.runs * left.run) <= kLargestBlock);
  }

  // Takes a part of `*left`, from piece `*done` on; moves both on. Returns the panel's elements.
  int64_t take(const Left<O>** left, int64_t* done, int vectors, int64_t run_skip) {
    const int64_t rest = (*left)->pieces() - *done;  // 0 of an empty left side
    const int64_t piece = (*left)->piece();
    const int64_t pieces = min(rest, max(1, next_block(rest * piece) / piece));
    parts[count++] = (*left)->slice(*done, pieces);
    k += pieces * piece;
    *done += pieces;
    if (pieces == rest) {
      ++*left;
      *done = 0;
    }
    return pieces * (piece * vectors * Vec<O>::kWidth + run_skip);
  }
};

// What is to be fetched into the cache, and nothing around it: other threads write there.
template <class O>
struct Ahead {
  bool in_panel = true;  // a block during the one before
  const O* then = nullptr;
  int64_t elements = 0;

  // Of weights of which a thread reads so many again and again, for so many rows: nothing of what a
  // core's own cache keeps, nor from a shared one what few rows read as fast as it comes.
  static bool pays(int64_t weights, int64_t rows) {
    constexpr int64_t kOwnCache = 512 << 10, kSharedCache = 4 << 20, kFewRows = 4;
    return weights * int64_t{sizeof(O)} > (rows <= kFewRows ? kSharedCache : kOwnCache);
  }
};

// to[row] = from[row] + Σ left · panel for n rows; the panel is [k][vectors][width] with `run_skip`
// elements left out after each run. from null: zeros. `shared`: how many of four vectors share an
// operand of the left side. `ahead.then`: the panel by which the next call multiplies.
template <class O>
void multiply(const Left<O>* lefts, int n_lefts, int64_t n, const O* panel, int64_t run_skip,
              int vectors, const Sum<O>* const* from, Sum<O>* const* to, Ahead<O> ahead,
              int shared = kTileVectors) {
  const Tiles tiles(n);
  const Left<O>* left = lefts;
  const Left<O>* const end = lefts + n_lefts;
  const O* panel_end = panel;
  for (int l = 0; l < n_lefts; ++l) {
    panel_end += lefts[l].runs * (lefts[l].run * vectors * Vec<O>::kWidth + run_skip);
  }
  for (int64_t done = 0; left != end; from = to) {
    Block<O> block;
    const O* next = panel;
    while (left != end && (block.count == 0 || (done == 0 && block.takes(*left)))) {
      next += block.take(&left, &done, vectors, run_skip);
    }
    // The tiles share the fetching of the next block.
    const bool last = left == end;
    const O* fetched = last ? ahead.then : next;
    const int64_t elements = last ? ahead.elements : ahead.in_panel ? panel_end - next : 0;
    const int64_t share = block.k * kLine<O>;
    for (int64_t i = 0; i < tiles.count; ++i) {
      const int64_t begin = tiles.begin(i);
      Left<O> parts[kMaxLefts];
      for (int l = 0; l < block.count; ++l) {
        parts[l] = block.parts[l];
        parts[l].rows += begin;
      }
      tile_function<O>(static_cast<int>(tiles.begin(i + 1) - begin), vectors, shared)(
          parts, block.count, panel, run_skip, from ? from + begin : nullptr, to + begin,
          (i + 1) * share <= elements ? fetched + i * share : nullptr);
    }
    panel = next;
  }
}

}  // namespace pylstm::cpu::PYLSTM_ISA
