// The transpose of a (columns, 4H) matrix, packed for products with dz: panels of up to
// kTileVectors vectors of columns.
#pragma once

#include "core/arena.h"
#include "cpu/panels.h"

namespace pylstm::cpu::PYLSTM_ISA {

template <class S>
class Transposed {
 public:
  using T = Compute<S>;
  using O = Operand<S>;

  Transposed(const void* matrix, int64_t columns, UnitPanels<T> panels, Arena& arena)
      : matrix_(static_cast<const S*>(matrix)),
        columns_(columns),
        panels_(panels),
        packed_(arena.take<O>(vectors() * elements())) {}

  int64_t vectors() const { return ceil_div(columns_, panels_.kWidth); }
  // The panel that begins at a vector, from operand `k` on.
  Right<O> panel(int64_t vector, int64_t k = 0) const {
    return {memory(vector), depth(), k, kTileVectors};
  }

  // The panel that begins at a vector, of those up to `last`.
  void pack(int64_t vector, int64_t last) const {
    pack_transposed_panel(matrix_, columns_, panels_, vector, min(kTileVectors, last - vector),
                          memory(vector));
  }
  // The same, to be fetched for so many rows by a thread that reads `range`; nothing outside of it.
  Ahead<O> ahead(int64_t vector, Range range, int64_t rows) const {
    const int64_t all = (range.last - range.first) * elements();
    if (!Ahead<O>::pays(all, rows)) return {false};
    if (vector < range.first || vector >= range.last) return {};
    return {true, panel(vector), depth(), static_cast<int>(min(kTileVectors, range.last - vector))};
  }

 private:
  int64_t depth() const { return operands<O>(kGates * panels_.padded()); }
  int64_t elements() const { return panels_.kWidth * depth(); }  // of a vector of columns
  O* memory(int64_t vector) const { return packed_ + vector * elements(); }

  const S* matrix_;
  int64_t columns_;
  UnitPanels<T> panels_;
  O* packed_;
};

}  // namespace pylstm::cpu::PYLSTM_ISA
