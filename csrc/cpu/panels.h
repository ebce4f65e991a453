// Weights repacked for tile.h, and vectors of gates between the packed and Keras' layouts.
//
// "Gate panels" hold `width` units each: [panel][k][gate][width]. In the last panel the gates
// follow each other without a gap, so that its few units take few vectors. Everything of size 4H
// inside the kernels has the order (panel, gate, lane). In what is packed for products, k counts
// operands, and zeros fill up the last.
#pragma once

#include "core/problem.h"
#include "cpu/storage.h"
#include "cpu/tile.h"

namespace pylstm::cpu::PYLSTM_ISA {

// How H units are cut into panels of up to one vector per gate. Taken by value: the compiler must
// take it that a store changes what is behind a reference.
template <class T>
struct UnitPanels {
  static constexpr int64_t kWidth = Vec<T>::kWidth;
  static constexpr int64_t kGateWidth = kGates * kWidth;
  int64_t units;
  bool whole = false;  // each gate has vectors of its own in the last panel, too

  PYLSTM_FN int64_t count() const { return ceil_div(units, kWidth); }
  PYLSTM_FN int64_t padded() const { return count() * kWidth; }
  PYLSTM_FN int64_t lanes(int64_t panel) const { return min(kWidth, units - panel * kWidth); }
  // Of the gates in a panel's rows.
  PYLSTM_FN int64_t gate_stride(int64_t panel) const { return whole ? kWidth : lanes(panel); }
  // Of a panel's rows, in vectors and in elements.
  PYLSTM_FN int vectors(int64_t panel) const {
    return static_cast<int>(ceil_div(kGates * gate_stride(panel), kWidth));
  }
  PYLSTM_FN int64_t row_width(int64_t panel) const { return vectors(panel) * kWidth; }
};

// One panel of a (k, 4H) matrix: [k][gate][width]. Up to a vector behind it is overwritten.
template <class O, class S>
void pack_gate_panel(const S* matrix, int64_t k, UnitPanels<Compute<S>> panels, int64_t panel,
                     O* to) {
  using V = Vec<Compute<S>>;
  constexpr int64_t kWidth = panels.kWidth;
  const int64_t lanes = panels.lanes(panel), gate_stride = panels.gate_stride(panel);
  const int64_t row_width = panels.row_width(panel);
  const V zeros[kDepth<O>] = {};
  for (int64_t row = 0; row < k; row += kDepth<O>, to += row_width) {
    if (gate_stride < kWidth) store_operands(zeros, to + row_width - kWidth);
    for (int64_t g = 0; g < kGates; ++g) {
      V parts[kDepth<O>];
      for (int64_t i = 0; i < kDepth<O>; ++i) {
        const S* from = matrix + ((row + i) * kGates + g) * panels.units + panel * kWidth;
        parts[i] = row + i < k ? load_lanes(from, lanes) : V(0.0);
      }
      store_operands(parts, to + g * gate_stride);  // the next gate's lanes come over its zeros
    }
  }
}

// Rows of whole vectors: [k][row_width].
template <class O, class E>
void pack_rows(const E* rows, int64_t k, int64_t row_width, O* to) {
  using V = Vec<Sum<O>>;
  for (int64_t row = 0; row < k; row += kDepth<O>, rows += kDepth<O> * row_width) {
    for (int64_t column = 0; column < row_width; column += V::kWidth, to += V::kWidth) {
      V parts[kDepth<O>];
      for (int64_t i = 0; i < kDepth<O>; ++i) {
        parts[i] = row + i < k ? load_lanes(rows + i * row_width + column, V::kWidth) : V(0.0);
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

// A panel's units of one gate, as rows of a vector of columns each, from a (columns, 4H) matrix.
template <class S, class V = Vec<Compute<S>>>
PYLSTM_FN void load_transposed(const S* matrix, int64_t columns, UnitPanels<Compute<S>> panels,
                               int64_t panel, int64_t gate, int64_t column,
                               V (&square)[V::kWidth]) {
  for (int64_t i = 0; i < V::kWidth; ++i) {
    const S* row = matrix + ((column + i) * kGates + gate) * panels.units + panel * V::kWidth;
    square[i] = column + i < columns ? load_lanes(row, panels.lanes(panel)) : V(0.0);
  }
  transpose(square);
}

// The transpose of a (columns, 4H) matrix, for products with rows in gate-panel order: vectors
// [first, first + vectors) of the columns, as [k = (panel, gate, lane)][vectors][width].
template <class O, class S>
void pack_transposed_panel(const S* matrix, int64_t columns, UnitPanels<Compute<S>> panels,
                           int64_t first, int64_t vectors, O* to) {
  using V = Vec<Compute<S>>;
  constexpr int64_t kWidth = panels.kWidth, kK = operands<O>(kWidth);
  const int64_t last = panels.count() - 1, gate_stride = panels.gate_stride(last);
  const int64_t alike = panels.count() - (gate_stride < kWidth);
  for (int64_t p = 0; p < alike; ++p) {
    for (int64_t g = 0; g < kGates; ++g, to += kK * vectors * kWidth) {
      for (int64_t v = 0; v < vectors; ++v) {
        V square[kWidth];
        load_transposed(matrix, columns, panels, p, g, (first + v) * kWidth, square);
        for (int64_t i = 0; i < kK; ++i) {
          store_operands(square + i * kDepth<O>, to + (i * vectors + v) * kWidth);
        }
      }
    }
  }
  if (alike > last) return;
  for (int64_t v = 0; v < vectors; ++v) {
    V rows[kGates * kWidth];  // an operand may have parts from two gates
    for (int64_t g = 0; g < kGates; ++g) {
      V square[kWidth];
      load_transposed(matrix, columns, panels, last, g, (first + v) * kWidth, square);
      for (int64_t i = 0; i < gate_stride; ++i) rows[g * gate_stride + i] = square[i];
    }
    for (int64_t i = 0; i < operands<O>(kGates * gate_stride); ++i) {
      store_operands(rows + i * kDepth<O>, to + (i * vectors + v) * kWidth);
    }
  }
}

// One row of [panel][rows][gate][width], given its place in the first panel, to (4H) in Keras'
// order.
template <class S>
void unpack_gate_row(const Compute<S>* packed, int64_t rows, UnitPanels<Compute<S>> panels, S* to) {
  using V = Vec<Compute<S>>;
  for (int64_t p = 0; p < panels.count(); ++p, packed += rows * panels.kGateWidth) {
    for (int64_t g = 0; g < kGates; ++g) {
      store_lanes(V::load(packed + g * panels.gate_stride(p)),
                  to + g * panels.units + p * panels.kWidth, panels.lanes(p));
    }
  }
}

}  // namespace pylstm::cpu::PYLSTM_ISA
