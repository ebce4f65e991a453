// What the backward pass keeps of a chunk of steps, entry by entry, until its large products: dz,
// [x | 1] and h before the step. An entry is an active (row, step). Each part of the batch has
// entries of its own.
#pragma once

#include "core/arena.h"
#include "cpu/batch.h"
#include "cpu/panels.h"

namespace pylstm::cpu::PYLSTM_ISA {

constexpr int64_t kChunkEntries = 512;
constexpr int64_t kRowBlock = 16 * kTileRows;  // rows of a product of a chunk at a time
template <class V>
constexpr int64_t kTileColumns = kTileVectors * V::kWidth;

struct Part {  // of a chunk's entries
  int64_t index, parts;
  int64_t begin;
  int64_t entries;

  int64_t end() const { return begin + entries; }
  // A thread's even share of `all` in each part, one part after the other.
  Range share(int64_t all, int rank, int threads) const {
    const auto border = [&](int64_t thread) {
      return max(0, min(all, all * (parts * thread - index * threads) / threads));
    };
    return {border(rank), border(rank + 1)};
  }
};

struct Chunk {
  int64_t begin;  // its first step
  Part parts[kMaxParts];
};

// One thread's scratch for a product of up to max(B, kRowBlock) rows.
template <class S>
struct ProductRows {
  using T = Compute<S>;
  using E = Element<Operand<S>>;
  const E** left;
  const E** last;  // the same, in the last panel of dz
  T** out;
  T* results;  // [kRowBlock][kTileColumns], for products that are not written where they belong

  ProductRows(int64_t batch, Arena& arena)
      : left(arena.take<const E*>(max(batch, kRowBlock))),
        last(arena.take<const E*>(max(batch, kRowBlock))),
        out(arena.take<T*>(max(batch, kRowBlock))),
        results(arena.take<T>(kRowBlock * kTileColumns<Vec<T>>)) {}
};

template <class S>
class Entries {
 public:
  using T = Compute<S>;
  using V = Vec<T>;
  using O = Operand<S>;
  using E = Element<O>;
  // Where an operand holds several k, dz is packed a second time, with the entries as k.
  static constexpr bool kPacksDz = kDepth<O> > 1;

  Entries(const Problem& problem, UnitPanels<T> panels, int64_t parts, Arena& arena)
      : p_(problem), panels_(panels), parts_(parts) {
    const int64_t rows = ceil_div(p_.batch, parts_);
    part_capacity_ = min(rows * p_.time, max(rows, kChunkEntries / parts_));
    dz_ = arena.take<E>(capacity() * kGates * panels_.padded());
    if constexpr (kPacksDz) {
      dz_operands_ =
          arena.take<O>(parts_ * operands<O>(part_capacity_) * kGates * panels_.padded());
    } else {
      dz_operands_ = dz_;
    }
    inputs_ = arena.take<E>(capacity() * input_stride());
    states_ = arena.take<E>(capacity() * state_stride());
    row_ = arena.take<int64_t>(capacity());
    input_ = arena.take<int64_t>(capacity());
  }

  int64_t parts() const { return parts_; }
  int64_t part_capacity() const { return part_capacity_; }

  E* dz(int64_t panel, int64_t entry) const {
    return dz_ + panel * capacity() * panels_.kGateWidth + entry * panels_.row_width(panel);
  }
  // A part's, with the entries as k.
  O* dz_operands(int64_t panel, int64_t part) const {
    return dz_operands_ + operands<O>(part_capacity_) * (panel * parts_ * panels_.kGateWidth +
                                                         part * panels_.row_width(panel));
  }
  int64_t input_rows() const { return p_.features + (p_.use_bias ? 1 : 0); }
  E* inputs(int64_t entry) const { return inputs_ + entry * input_stride(); }  // [x | 1]
  E* state(int64_t entry) const { return states_ + entry * state_stride(); }   // h before the step
  int64_t row(int64_t entry) const { return row_[entry]; }
  int64_t input(int64_t entry) const { return input_[entry]; }

  // The steps before `end`, as many as there is room for.
  Chunk chunk_before(int64_t end, const Batch& batch) const {
    Chunk chunk{end, {}};
    for (int64_t i = 0; i < parts_; ++i) chunk.parts[i] = {i, parts_, i * part_capacity_, 0};
    for (; chunk.begin > 0; --chunk.begin) {
      int64_t rows[kMaxParts] = {};
      bool fits = true;
      for (int64_t row = 0; row < p_.batch; ++row) {
        rows[batch.part(row)] += batch.active(row, chunk.begin - 1);
      }
      for (int64_t i = 0; i < parts_; ++i) {
        fits &= chunk.parts[i].entries + rows[i] <= part_capacity_;
      }
      if (!fits) break;
      for (int64_t i = 0; i < parts_; ++i) chunk.parts[i].entries += rows[i];
    }
    return chunk;
  }

  void copy_input(const void* x, int64_t row, int64_t input, int64_t entry) const {
    E* to = inputs(entry);
    convert_row(static_cast<const S*>(x) + input * p_.features, p_.features, to);
    if (p_.use_bias) narrow(T(1), to + p_.features);
    row_[entry] = row;
    input_[entry] = input;
  }

  void pack_dz(const Part& part, int rank, int threads) const {
    const Range panels = part.share(panels_.count(), rank, threads);
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
      pack_rows(dz(panel, part.begin), part.entries, panels_.row_width(panel),
                dz_operands(panel, part.index));
    }
  }

  // Entry `entry` becomes row i of a product with dz.
  PYLSTM_FN void set_row(const ProductRows<S>& rows, int64_t i, int64_t entry) const {
    rows.left[i] = dz(0, entry);
    rows.last[i] = dz(panels_.count() - 1, entry);
  }

  // Rows of dz, all gates, in `panels` panels.
  Left<O> dz_left(const E* const* rows, int64_t panels) const {
    constexpr int64_t kRun = UnitPanels<T>::kGateWidth / kDepth<O>;
    return {rows, kRun, panels, capacity() * kRun};
  }

  // The same in all panels: a last one that is narrower has rows of its own.
  struct DzLefts {
    Left<O> of[kMaxLefts];
    int count = 0;
  };
  DzLefts dz_lefts(const ProductRows<S>& rows) const {
    const int64_t last = panels_.count() - 1;
    const bool narrower = panels_.gate_stride(last) < V::kWidth;
    const int64_t alike = panels_.count() - narrower;
    DzLefts lefts;
    // Without any units, too: the sum of nothing is 0.
    if (alike > 0 || !narrower) lefts.of[lefts.count++] = dz_left(rows.left, alike);
    if (narrower) {
      const int64_t run = operands<O>(kGates * panels_.gate_stride(last));
      lefts.of[lefts.count++] = {rows.last, run, 1};
    }
    return lefts;
  }

 private:
  int64_t capacity() const { return parts_ * part_capacity_; }
  int64_t input_stride() const { return odd_lines<E>(input_rows()); }
  int64_t state_stride() const { return odd_lines<E>(panels_.padded()); }

  const Problem& p_;
  const UnitPanels<T> panels_;
  const int64_t parts_;
  int64_t part_capacity_;
  E* dz_;           // [panel][entry][gate][width]
  O* dz_operands_;  // [panel][part][operands of the entries][gate][width]
  E* inputs_;       // [entry][x | 1]
  E* states_;       // [entry][h before the step]
  int64_t* row_;    // of the batch, kept so that input_ need not be divided
  int64_t* input_;  // (row, time) as an index into x's rows
};

}  // namespace pylstm::cpu::PYLSTM_ISA
