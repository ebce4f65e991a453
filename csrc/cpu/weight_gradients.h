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

  // Scratch of one thread: rows of [x | 1 | h]ᵀ, [copy][row_block()][left_stride()].
  E* take_lefts(Arena& arena) const {
    return arena.take<E>((p_.has_recurrent_dropout ? 2 : 1) * kRowBlock * left_stride());
  }

  // Goes through the blocks of rows, each for many panels, after laying it out along the entries.
  // The threads share rows × panels. `thread`: whose share this is; claimed(): the number of the
  // next piece of it to compute, a piece being one block and one panel.
  template <class Claimed>
  void add(const Part& part, bool first_chunk, int thread, int threads,
           const ProductRows<S>& product, E* lefts, Claimed claimed) const {
    const Range mine = part.share(rows() * panels_.count(), thread, threads);
    int64_t shares = 0, pieces = 0;  // of the blocks before
    int64_t next = claimed();
    // lay_out() is called before the first piece that is claimed.
    const auto add_rows = [&](const Rows& rows, auto lay_out) {
      const auto index = [&](int64_t share) {
        return max(0, min(rows.panels, ceil_div(share - shares, rows.count)));
      };
      const Range panels{index(mine.first), index(mine.last)};
      const int64_t end = pieces + panels.last - panels.first;
      if (next < end) lay_out();
      for (; next < end; next = claimed()) {
        add_block(part, panels.first + next - pieces, panels.last, rows, first_chunk, product,
                  lefts);
      }
      pieces = end;
      shares += rows.count * rows.panels;
    };
    const int64_t input_rows = entries_.input_rows();
    for (int64_t first = 0; first < input_rows; first += row_block(1)) {
      const int64_t n = min(row_block(1), input_rows - first);
      add_rows({first, n, 0, 1, panels_.count()}, [&] {
        transpose_entries(part, n, lefts, [&](int64_t entry, int64_t column) {
          return load_lanes(entries_.inputs(entry) + first + column, V::kWidth);
        });
      });
    }
    // For the panels that need the same copies of h.
    const auto add_states = [&](int64_t panel, int64_t step, int64_t panels, int64_t copies) {
      const int64_t first_copy = panels_.vector(panel, 0).gate;
      for (int64_t first = 0; first < p_.units; first += row_block(copies)) {
        const int64_t n = min(row_block(copies), p_.units - first);
        add_rows({input_rows + first, n, panel, step, panels, copies}, [&] {
          for (int64_t copy = 0; copy < copies; ++copy) {
            transpose_entries(
                part, n, lefts + copy * copy_stride(copies), [&](int64_t entry, int64_t column) {
                  const int64_t unit = first + column;
                  const V state = load_lanes(entries_.state(entry) + unit, V::kWidth);
                  if (!p_.has_recurrent_dropout) return state;
                  const S* dropout = static_cast<const S*>(buffers_.recurrent_dropout) +
                                     batch_.dropout(first_copy + copy, entries_.row(entry));
                  return state * load_lanes(dropout + unit, panels_.lanes(unit / V::kWidth));
                });
          }
        });
      }
    };
    if (!p_.has_recurrent_dropout) return add_states(0, 1, panels_.count(), 1);
    const int64_t pairs = panels_.count() / 2;
    for (int64_t panel = 0; panel < 2; ++panel) add_states(panel, 2, pairs, kGates / 2);
    if (panels_.count() % 2) add_states(panels_.count() - 1, 1, 1, kGates);
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
  // Rows of [x | 1 | h]ᵀ dz that are computed together, in every step-th panel from one on.
  struct Rows {
    int64_t first, count;
    int64_t first_panel, step, panels;
    int64_t copies = 1;  // of h, one for each gate

    int64_t panel(int64_t index) const { return first_panel + index * step; }
  };

  int64_t rows() const { return entries_.input_rows() + p_.units; }
  int64_t part_elements() const { return panels_.count() * rows() * panels_.kGateWidth; }
  T* sum(int64_t part, int64_t panel, int64_t row) const {
    return sums_ + part * part_elements() + (panel * rows() + row) * panels_.kGateWidth;
  }
  // Rows at a time, whole vectors of them: all copies fit into the cache.
  static int64_t row_block(int64_t copies) {
    return copies > 1 ? 2 * kRowBlock / copies : kRowBlock;
  }
  int64_t left_stride() const { return odd_lines<E>(entries_.part_capacity()); }
  // x and 1 are the same for all gates, also where h is not.
  int64_t copy_stride(int64_t copies) const {
    return copies > 1 ? row_block(copies) * left_stride() : 0;
  }

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

  // For the rows, which `lefts` holds, in one of their panels; the one behind it, if before `last`,
  // comes next.
  void add_block(const Part& part, int64_t index, int64_t last, const Rows& rows, bool first_chunk,
                 const ProductRows<S>& product, const E* lefts) const {
    const int64_t entries = operands<O>(part.entries), panel = rows.panel(index);
    for (int64_t i = 0; i < rows.count; ++i) {
      product.left[i] = lefts + i * left_stride();
      product.out[i] = sum(part.index, panel, rows.first + i);
    }
    Left<O> left{product.left, entries, 1, 0, operands<O>(copy_stride(rows.copies))};
    left.apart = true;
    Ahead<O> ahead;
    if (index + 1 < last) {
      const int64_t then = rows.panel(index + 1);
      ahead = {true, dz(then, part), entries, panels_.vectors(then)};
    }
    multiply<O>(&left, 1, rows.count, dz(panel, part), 0, panels_.vectors(panel),
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
