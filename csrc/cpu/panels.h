// Weights repacked for product.h, and vectors of gates between the packed and Keras' layouts.
//
// "Gate panels" hold `width` units each: [panel][k][gate][width], in groups of gates as right.h has
// it. In the last panel the gates follow each other without a gap, so that its few units take few
// vectors. Everything of size 4H inside the kernels has the order (panel, gate, lane). In what is
// packed for products, k counts operands, and zeros fill up the last.
//
// With recurrent dropout each gate has an h of its own. There panels go in pairs, of which the
// first has the gates i and f of the units of both, and the second g and o: each h serves two
// vectors.
#pragma once

#include "core/problem.h"
#include "cpu/product.h"
#include "cpu/storage.h"

namespace pylstm::cpu::PYLSTM_ISA {

struct Range {
  int64_t first, last;
};

// How H units are cut into panels of up to one vector per gate, as many as there are vectors of
// units. Passed by value: the compiler must assume that a store changes what a reference refers to.
template <class T>
struct UnitPanels {
  static constexpr int64_t kWidth = Vec<T>::kWidth;
  static constexpr int64_t kGateWidth = kGates * kWidth;
  int64_t units;
  bool paired = false;  // all but the last of an odd number

  struct Vector {
    int64_t unit_vector, gate;
  };
  struct Place {
    int64_t panel, offset;  // in a row of the panel
  };

  PYLSTM_FN int64_t count() const { return ceil_div(units, kWidth); }
  PYLSTM_FN int64_t padded() const { return count() * kWidth; }
  PYLSTM_FN static int64_t first_unit(int64_t panel) { return panel * kWidth; }
  PYLSTM_FN int64_t lanes(int64_t unit_vector) const {
    return min(kWidth, units - unit_vector * kWidth);
  }
  // How many panels are computed together, and the first of a part that leaves them so.
  PYLSTM_FN int64_t together() const { return paired ? 2 : 1; }
  PYLSTM_FN int64_t begin(int64_t part, int64_t parts) const {
    return min(count(), ceil_div(count(), together()) * part / parts * together());
  }
  PYLSTM_FN bool in_pair(int64_t panel) const { return paired && (panel | 1) < count(); }
  // The i-th vector of a panel's rows, and where a given one is.
  PYLSTM_FN Vector vector(int64_t panel, int64_t i) const {
    return in_pair(panel) ? Vector{(panel & ~1) + i % 2, panel % 2 * 2 + i / 2} : Vector{panel, i};
  }
  PYLSTM_FN Place place(int64_t unit_vector, int64_t gate) const {
    return in_pair(unit_vector)
               ? Place{(unit_vector & ~1) + gate / 2, (gate % 2 * 2 + unit_vector % 2) * kWidth}
               : Place{unit_vector, gate * gate_stride(unit_vector)};
  }
  // How many of a panel's vectors share a left side.
  PYLSTM_FN int shared(int64_t panel) const { return !paired ? kGates : in_pair(panel) ? 2 : 1; }
  // Distance between the gates, or a pair's vectors, in a panel's rows.
  PYLSTM_FN int64_t gate_stride(int64_t panel) const { return paired ? kWidth : lanes(panel); }
  // Width of a panel's rows, in vectors and in elements.
  PYLSTM_FN int vectors(int64_t panel) const {
    return static_cast<int>(ceil_div(kGates * gate_stride(panel), kWidth));
  }
  PYLSTM_FN int64_t row_width(int64_t panel) const { return vectors(panel) * kWidth; }
};

// One panel of a (k, 4H) matrix, from operand `first` of `depth` on: [group][depth][gate][width].
template <class O, class S>
void pack_gate_panel(const S* matrix, int64_t k, UnitPanels<Compute<S>> panels, int64_t panel,
                     O* to, int64_t depth, int64_t first) {
  using V = Vec<Compute<S>>;
  constexpr int64_t kWidth = panels.kWidth;
  const int64_t gate_stride = panels.gate_stride(panel), vectors = panels.vectors(panel);
  const S* from[kGates];
  int64_t lanes[kGates];
  for (int64_t i = 0; i < kGates; ++i) {
    const auto [unit_vector, gate] = panels.vector(panel, i);
    from[i] = matrix + gate * panels.units + unit_vector * kWidth;
    lanes[i] = panels.lanes(unit_vector);
  }
  O* places[kGates];  // of the vectors
  int64_t strides[kGates];
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t begin = v / kGroupVectors * kGroupVectors;  // of the group
    const int64_t count = min(kGroupVectors, vectors - begin);
    places[v] = to + (begin * depth + first * count + v - begin) * kWidth;
    strides[v] = count * kWidth;
  }
  const V zeros[kDepth<O>] = {};
  O gates[kGates * kWidth];  // of a row, where they follow each other without a gap
  for (int64_t row = 0; row < k; row += kDepth<O>) {
    if (gate_stride < kWidth) store_operands(zeros, gates + (vectors - 1) * kWidth);
    for (int64_t i = 0; i < kGates; ++i) {
      V parts[kDepth<O>];
      for (int64_t d = 0; d < kDepth<O>; ++d) {
        const int64_t at = (row + d) * kGates * panels.units;
        parts[d] = row + d < k ? load_lanes(from[i] + at, lanes[i]) : V(0.0);
      }
      // The next gate's lanes come over a gate's zeros.
      store_operands(parts, gate_stride < kWidth ? gates + i * gate_stride : places[i]);
    }
    for (int64_t v = 0; v < vectors; ++v) {
      if (gate_stride < kWidth) __builtin_memcpy(places[v], gates + v * kWidth, kVectorBytes);
      places[v] += strides[v];
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

// Vector i gets lane i of all: blocks of half the size are exchanged, then the blocks within them.
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
      v[i] = shuffle(a, b, first);
      v[i + block] = shuffle(a, b, second);
    }
  }
}

// Vector i of a panel, as rows of a vector of columns each, from a (columns, 4H) matrix.
template <class S, class V = Vec<Compute<S>>>
PYLSTM_FN void load_transposed(const S* matrix, int64_t columns, UnitPanels<Compute<S>> panels,
                               int64_t panel, int64_t i, int64_t column, V (&square)[V::kWidth]) {
  const auto [unit_vector, gate] = panels.vector(panel, i);
  const int64_t lanes = panels.lanes(unit_vector);
  const S* from = matrix + gate * panels.units + unit_vector * V::kWidth;
  for (int64_t j = 0; j < V::kWidth; ++j) {
    const int64_t at = (column + j) * kGates * panels.units;
    square[j] = column + j < columns ? load_lanes(from + at, lanes) : V(0.0);
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

// A row of one panel, [gate][width], to its place in a row of (4H) in Keras' order.
template <class S>
void unpack_gate_row(const Compute<S>* packed, UnitPanels<Compute<S>> panels, int64_t panel,
                     S* to) {
  for (int64_t i = 0; i < kGates; ++i) {
    const auto [unit_vector, gate] = panels.vector(panel, i);
    store_lanes(Vec<Compute<S>>::load(packed + i * panels.gate_stride(panel)),
                to + gate * panels.units + unit_vector * panels.kWidth, panels.lanes(unit_vector));
  }
}

}  // namespace pylstm::cpu::PYLSTM_ISA
