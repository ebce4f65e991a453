// dW, db and dR: [x | 1 | h]ᵀ dz over the entries of a chunk, added up over the chunks, for each
// part of the batch apart.
#pragma once

#include "cpu/entries.h"

namespace pylstm::cpu::PYLSTM_ISA {

template <class S>
class WeightGradients {
 public:
  using T = Compute<S>;
  using V = Vec<T>;
  using O = Operand<S>;
  using E = Element<O>;

  WeightGradients(const Problem& problem, const BackwardBuffers& buffers, UnitPanels<T> panels,
                  const Batch& batch, const Entries<S>& entries, Arena& arena)
      : p_(problem),
        buffers_(buffers),
        panels_(panels),
        batch_(batch),
        entries_(entries),
        sums_(arena.take<T>(entries.parts() * part_elements())) {}

  // Scratch of one thread: rows of [x | 1 | h]ᵀ, [copies of up to kRowBlock][left_stride()].
  E* take_lefts(Arena& arena) const {
    return arena.take<E>(max(kRowBlock, state_copies() * state_rows()) * left_stride());
  }

  // Goes through the blocks of rows, each for many panels, after laying it out along the entries.
  // The threads share rows × panels. `thread`: whose share this is; claimed(): the number of the
  // next piece of it to compute, a piece being one block and one panel.
  template <class Claimed>
  void add(const Part& part, bool first_chunk, int thread, int threads,
           const ProductRows<S>& product, E* lefts, Claimed claimed) const {
    const Range mine = part.share(rows() * panels_.count(), thread, threads);
    int64_t begin = 0, next = claimed();  // pieces
    // For n rows from `first` on; lay_out() is called before the first piece that is claimed.
    const auto add_rows = [&](int64_t first, int64_t n, int64_t copy_stride, auto lay_out) {
      const auto panel = [&](int64_t share) {
        return min(panels_.count(), ceil_div(max(0, share - first * panels_.count()), n));
      };
      const Range panels{panel(mine.first), panel(mine.last)};
      const int64_t end = begin + panels.last - panels.first;
      if (next < end) lay_out();
      for (; next < end; next = claimed()) {
        add_block(part, panels.first + next - begin, panels.last, first, n, copy_stride,
                  first_chunk, product, lefts);
      }
      begin = end;
    };
    const int64_t input_rows = entries_.input_rows();
    for (int64_t first = 0; first < input_rows; first += kRowBlock) {
      const int64_t n = min(kRowBlock, input_rows - first);
      add_rows(first, n, 0, [&] {
        transpose_entries(part, n, lefts, [&](int64_t entry, int64_t column) {
          return load_lanes(entries_.inputs(entry) + first + column, V::kWidth);
        });
      });
    }
    for (int64_t first = 0; first < p_.units; first += state_rows()) {
      const int64_t n = min(state_rows(), p_.units - first);
      add_rows(input_rows + first, n, p_.has_recurrent_dropout ? copy_stride() : 0, [&] {
        for (int64_t copy = 0; copy < state_copies(); ++copy) {
          transpose_entries(
              part, n, lefts + copy * copy_stride(), [&](int64_t entry, int64_t column) {
                const int64_t unit = first + column;
                const V state = load_lanes(entries_.state(entry) + unit, V::kWidth);
                if (!p_.has_recurrent_dropout) return state;
                const S* dropout = static_cast<const S*>(buffers_.recurrent_dropout) +
                                   batch_.dropout(copy, entries_.row(entry));
                return state * load_lanes(dropout + unit, panels_.lanes(unit / V::kWidth));
              });
        }
      });
    }
  }

  // The sums in Keras' layout; zeros where no chunk has run. Several rows at a time: in a panel
  // they follow each other.
  void unpack(bool no_chunks, int rank, int threads) const {
    constexpr int64_t kRows = 16;
    for (int64_t first = rank * kRows; first < rows(); first += threads * kRows) {
      const int64_t last = min(rows(), first + kRows);
      if (no_chunks) {
        for (int64_t row = first; row < last; ++row) {
          for (int64_t i = 0; i < kGates * p_.units; ++i) narrow(T(0), gradient(row) + i);
        }
        continue;
      }
      for (int64_t panel = 0; panel < panels_.count(); ++panel) {
        for (int64_t row = first; row < last; ++row) {
          add_parts(panel, row);
          unpack_gate_row(sum(0, panel, row), panels_, panel, gradient(row));
        }
      }
    }
  }

 private:
  int64_t rows() const { return entries_.input_rows() + p_.units; }
  int64_t part_elements() const { return panels_.count() * rows() * panels_.kGateWidth; }
  T* sum(int64_t part, int64_t panel, int64_t row) const {
    return sums_ + part * part_elements() + (panel * rows() + row) * panels_.kGateWidth;
  }
  int64_t state_copies() const { return p_.has_recurrent_dropout ? kGates : 1; }
  // Rows of dR at a time; all copies of them fit into the cache.
  int64_t state_rows() const { return p_.has_recurrent_dropout ? 2 * V::kWidth : kRowBlock; }
  int64_t left_stride() const { return odd_lines<E>(entries_.part_capacity()); }
  int64_t copy_stride() const { return state_rows() * left_stride(); }

  // load(entry, column) for n columns to [column][left_stride()], in whole vectors.
  template <class Load>
  void transpose_entries(const Part& part, int64_t n, E* to, Load load) const {
    for (int64_t entry = 0; entry < part.entries; entry += V::kWidth) {
      for (int64_t column = 0; column < n; column += V::kWidth) {
        V square[V::kWidth];
        for (int64_t i = 0; i < V::kWidth; ++i) {
          square[i] = load(part.begin + min(entry + i, part.entries - 1), column);
        }
        transpose(square);
        for (int64_t i = 0; i < V::kWidth; ++i) {
          store_lanes(square[i], to + (column + i) * left_stride() + entry, V::kWidth);
        }
      }
    }
  }

  // All gates of an entry lie together.
  Right<O> dz(int64_t panel, const Part& part) const {
    return {entries_.dz_operands(panel, part.index), operands<O>(part.entries), 0, kTileVectors};
  }

  // For rows [first, first + n), which `lefts` holds, in one panel; the one behind it, if before
  // `last`, comes next.
  void add_block(const Part& part, int64_t panel, int64_t last, int64_t first, int64_t n,
                 int64_t copy_stride, bool first_chunk, const ProductRows<S>& product,
                 const E* lefts) const {
    const int64_t entries = operands<O>(part.entries);
    for (int64_t i = 0; i < n; ++i) {
      product.left[i] = lefts + i * left_stride();
      product.out[i] = sum(part.index, panel, first + i);
    }
    Left<O> left{product.left, entries, 1, 0, operands<O>(copy_stride)};
    left.apart = true;
    left.offset = panels_.vector(panel, 0).gate * left.copy_stride;
    Ahead<O> ahead;
    if (panel + 1 < last) {
      ahead = {true, dz(panel + 1, part), entries, panels_.vectors(panel + 1)};
    }
    multiply<O>(&left, 1, n, dz(panel, part), 0, panels_.vectors(panel),
                first_chunk ? nullptr : product.out, product.out, ahead, panels_.shared(panel));
  }

  // To the first part's sums.
  void add_parts(int64_t panel, int64_t row) const {
    for (int64_t part = 1; part < entries_.parts(); ++part) {
      T* to = sum(0, panel, row);
      const T* other = sum(part, panel, row);
      for (int64_t i = 0; i < panels_.row_width(panel); i += V::kWidth) {
        (V::load(to + i) + V::load(other + i)).store(to + i);
      }
    }
  }

  // Where a row of the sums goes.
  S* gradient(int64_t row) const {
    const int64_t length = kGates * p_.units, input_rows = entries_.input_rows();
    return row < p_.features ? static_cast<S*>(buffers_.dkernel) + row * length
           : row < input_rows
               ? static_cast<S*>(buffers_.dbias)
               : static_cast<S*>(buffers_.drecurrent_kernel) + (row - input_rows) * length;
  }

  const Problem& p_;
  const BackwardBuffers& buffers_;
  const UnitPanels<T> panels_;
  const Batch& batch_;
  const Entries<S>& entries_;
  T* sums_;  // [part][panel][x | 1 | h][gate][width]
};

}  // namespace pylstm::cpu::PYLSTM_ISA
