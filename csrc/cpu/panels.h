// Weights repacked for tile.h, and vectors of gates between the packed and Keras' layouts.
//
// "Gate panels" hold `width` units each: [panel][k][gate][width], with zeros where the last panel
// has no units. Everything of size 4H inside the kernels has the order (panel, gate, lane). In what
// is packed for products, k counts operands, and zeros fill up the last.
#pragma once

#include "core/problem.h"
#include "cpu/storage.h"
#include "cpu/tile.h"

namespace pylstm::cpu::PYLSTM_ISA {

// How H units are cut into panels of one vector per gate.
template <class T>
struct UnitPanels {
  static constexpr int64_t kWidth = Vec<T>::kWidth;
  static constexpr int64_t kGateWidth = kGates * kWidth;
  int64_t units;

  PYLSTM_FN int64_t count() const { return ceil_div(units, kWidth); }
  PYLSTM_FN int64_t padded() const { return count() * kWidth; }
  PYLSTM_FN int64_t lanes(int64_t panel) const { return min(kWidth, units - panel * kWidth); }
};

// One panel of a (k, 4H) matrix: [k][gate][width].
template <class O, class S>
void pack_gate_panel(const S* matrix, int64_t k, int64_t units, int64_t panel, O* to) {
  using V = Vec<Compute<S>>;
  const UnitPanels<Compute<S>> panels{units};
  constexpr int64_t kWidth = panels.kWidth;
  const int64_t lanes = panels.lanes(panel);
  for (int64_t row = 0; row < k; row += kDepth<O>) {
    for (int64_t g = 0; g < kGates; ++g, to += kWidth) {
      V parts[kDepth<O>];
      for (int64_t i = 0; i < kDepth<O>; ++i) {
        const S* from = matrix + ((row + i) * kGates + g) * units + panel * kWidth;
        parts[i] = row + i < k ? load_lanes(from, lanes) : V(0.0);
      }
      store_operands(parts, to);
    }
  }
}

// Vector i takes lane i of all: blocks of half the size are exchanged, then their blocks.
template <class T>
PYLSTM_FN void transpose(Vec<T> (&v)[Vec<T>::kWidth]) {
  constexpr int kWidth = Vec<T>::kWidth;
#pragma GCC unroll 4
  for (int block = kWidth / 2; block > 0; block /= 2) {
    typename Vec<T>::Mask first, second;
#pragma GCC unroll 16
    for (int lane = 0; lane < kWidth; ++lane) {
      const bool from_second = lane & block;
      first[lane] = from_second ? kWidth + lane - block : lane;
      second[lane] = from_second ? kWidth + lane : lane + block;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i) {
      if (i & block) continue;
      const Vec<T> a = v[i], b = v[i + block];
      v[i] = __builtin_shuffle(a.raw, b.raw, first);
      v[i + block] = __builtin_shuffle(a.raw, b.raw, second);
    }
  }
}

// The transpose of a (columns, 4H) matrix, for products with rows in gate-panel order: vectors
// [first, first + vectors) of the columns, as [k = (panel, gate, lane)][vectors][width].
template <class O, class S>
void pack_transposed_panel(const S* matrix, int64_t columns, int64_t units, int64_t first,
                           int64_t vectors, O* to) {
  using V = Vec<Compute<S>>;
  const UnitPanels<Compute<S>> panels{units};
  constexpr int64_t kWidth = panels.kWidth;
  for (int64_t p = 0; p < panels.count(); ++p) {
    for (int64_t g = 0; g < kGates; ++g, to += operands<O>(kWidth) * vectors * kWidth) {
      for (int64_t v = 0; v < vectors; ++v) {
        const int64_t column = (first + v) * kWidth;
        V square[kWidth];
        for (int64_t i = 0; i < kWidth; ++i) {
          const S* row = matrix + ((column + i) * kGates + g) * units + p * kWidth;
          square[i] = column + i < columns ? load_lanes(row, panels.lanes(p)) : V(0.0);
        }
        transpose(square);
        for (int64_t i = 0; i < operands<O>(kWidth); ++i) {
          store_operands(square + i * kDepth<O>, to + (i * vectors + v) * kWidth);
        }
      }
    }
  }
}

// One row of [panel][rows][gate][width], given its place in the first panel, to (4H) in Keras'
// order.
template <class S>
void unpack_gate_row(const Compute<S>* packed, int64_t rows, int64_t units, S* to) {
  using V = Vec<Compute<S>>;
  const UnitPanels<Compute<S>> panels{units};
  for (int64_t p = 0; p < panels.count(); ++p, packed += rows * panels.kGateWidth) {
    for (int64_t g = 0; g < kGates; ++g) {
      store_lanes(V::load(packed + g * panels.kWidth), to + g * units + p * panels.kWidth,
                  panels.lanes(p));
    }
  }
}

}  // namespace pylstm::cpu::PYLSTM_ISA
