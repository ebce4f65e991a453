// The matrix product of every kernel, tile by tile and block of k by block.
#pragma once

#if defined(__AMX_BF16__)
#include "cpu/amx_tile.h"
#else
#include "cpu/tile.h"
#endif

namespace pylstm::cpu::PYLSTM_ISA {

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

  // Takes a part of `*left`, from piece `*done` on; moves both on. Returns how many k of the panel
  // it passes.
  int64_t take(const Left<O>** left, int64_t* done, int64_t run_skip) {
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
    return pieces * (piece + run_skip);
  }
};

// What is to be fetched into the cache, and nothing around it: other threads write there.
template <class O>
struct Ahead {
  bool in_panel = true;  // a block during the one before
  Right<O> then{};
  int64_t operands = 0;  // of `then`
  int vectors = 0;

  // Whether it pays where a thread reads so many weights again and again, for so many rows: not for
  // what a core's own cache keeps, nor for what few rows read as fast as a shared cache gives it.
  static bool pays(int64_t weights, int64_t rows) {
    constexpr int64_t kOwnCache = 512 << 10, kSharedCache = 4 << 20, kFewRows = 4;
    return weights * int64_t{sizeof(O)} > (rows <= kFewRows ? kSharedCache : kOwnCache);
  }
};

// to[row] = from[row] + Σ left · right for n rows; `run_skip` k of the panel are left out after
// each run. from null: zeros. `shared`: how many of four vectors share an operand of the left side.
// `ahead.then`: the panel by which the next call multiplies.
template <class O>
void multiply(const Left<O>* lefts, int n_lefts, int64_t n, const Right<O>& right, int64_t run_skip,
              int vectors, const Sum<O>* const* from, Sum<O>* const* to, const Ahead<O>& ahead,
              int shared = kTileVectors) {
  const Left<O>* left = lefts;
  const Left<O>* const end = lefts + n_lefts;
  int64_t depth = 0;
  for (int l = 0; l < n_lefts; ++l) depth += lefts[l].runs * (lefts[l].run + run_skip);
  for (int64_t done = 0, at = 0; left != end; from = to) {
    Block<O> block;
    int64_t next = at;
    while (left != end && (block.count == 0 || (done == 0 && block.takes(*left)))) {
      next += block.take(&left, &done, run_skip);
    }
    // The tiles share the fetching of the next block.
    const Fetch<O> fetch = left == end
                               ? Fetch<O>(ahead.then, 0, ahead.operands, ahead.vectors)
                               : Fetch<O>(right, next, ahead.in_panel ? depth - next : 0, vectors);
    multiply_rows<O>(n, vectors, shared, block.parts, block.count, block.k, right, at, run_skip,
                     from, to, fetch);
    at = next;
  }
}

}  // namespace pylstm::cpu::PYLSTM_ISA
