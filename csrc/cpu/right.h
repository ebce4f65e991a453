// The right side of the matrix product of every kernel: a panel of vectors of columns.
#pragma once

#include "cpu/operand.h"

namespace pylstm::cpu::PYLSTM_ISA {

constexpr int kTileVectors = 4;  // the most of a panel

PYLSTM_FN int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
PYLSTM_FN int64_t max(int64_t a, int64_t b) { return a < b ? b : a; }

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

// Operands that tiles fetch into the cache by the way, each its share: of one group, then of the
// other.
template <class O>
class Fetch {
 public:
  // `n` operands from k on of a panel of so many vectors.
  Fetch(const Right<O>& right, int64_t k, int64_t n, int vectors) {
    if (n <= 0) return;
    for (int group = 0, first = 0; first < vectors; ++group, first += right.together) {
      const int64_t width = min(right.together, vectors - first);
      pieces_[group] = {right.at(k, first, width), n * width * Vec<O>::kWidth};
    }
  }

  // The next n elements, or null where there are fewer.
  PYLSTM_FN const O* take(int64_t n) {
    for (Piece& piece : pieces_) {
      if (n > piece.left) continue;
      piece.next += n;
      piece.left -= n;
      return piece.next - n;
    }
    return nullptr;
  }

 private:
  struct Piece {
    const O* next = nullptr;
    int64_t left = 0;
  };
  Piece pieces_[ceil_div(kTileVectors, kGroupVectors)];
};

}  // namespace pylstm::cpu::PYLSTM_ISA
