// The right side of the matrix product of every kernel: a panel of vectors of columns.
#pragma once

#include "cpu/operand.h"

namespace pylstm::cpu::PYLSTM_ISA {

constexpr int kTileVectors = 4;  // the most of a panel

// The vectors lie in groups, [group][k][vector][width]. Here k counts operands.
template <class O>
struct Right {
  const O* panel;
  int64_t depth;      // k of the whole panel
  int64_t first = 0;  // where the product begins
  int together = kGroupVectors;

  // Operand k of the group that begins with vector `vector` and has `count`.
  PYLSTM_FN const O* at(int64_t k, int64_t vector, int64_t count) const {
    return panel + (vector * depth + (first + k) * count) * Vec<O>::kWidth;
  }
};

template <class O>
constexpr int64_t kLine = 64 / sizeof(O);  // of the cache

// Operands that tiles fetch into the cache by the way, each its share.
template <class O>
struct Fetch {
  const O* next = nullptr;
  int64_t left = 0;
  int64_t distance = 0;  // of the same in the second group, if they fetch that too

  // `n` operands from k on of a panel of so many vectors.
  Fetch(const Right<O>& right, int64_t k, int64_t n, int vectors) {
    if (n <= 0) return;
    const int width = vectors < right.together ? vectors : right.together;
    next = right.at(k, 0, width);
    left = n * width * Vec<O>::kWidth;
    if (vectors == 2 * width) distance = right.at(k, width, width) - next;
  }

  // The next n elements, or null where there are fewer.
  PYLSTM_FN const O* take(int64_t n) {
    if (n > left) return nullptr;
    next += n;
    left -= n;
    return next - n;
  }
};

}  // namespace pylstm::cpu::PYLSTM_ISA
