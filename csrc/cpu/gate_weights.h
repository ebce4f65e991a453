// W, R and b in gate panels, as the products of the forward pass read them.
#pragma once

#include "core/arena.h"
#include "cpu/panels.h"

namespace pylstm::cpu::PYLSTM_ISA {

template <class S>
class GateWeights {
 public:
  using T = Compute<S>;
  using O = Operand<S>;

  // The first `features` rows of W, before those of R.
  GateWeights(const ForwardBuffers& buffers, UnitPanels<T> panels, int64_t features)
      : buffers_(buffers), panels_(panels), features_(features) {}

  int64_t bytes() const { return elements() * int64_t{sizeof(O)}; }
  void take_bias(Arena& arena) { bias_ = arena.take<T>(panels_.count() * panels_.kGateWidth); }
  void take_matrices(Arena& arena) { matrices_ = arena.take<O>(elements()); }
  void set_matrices(void* packed) { matrices_ = static_cast<O*>(packed); }

  // How many operands a panel has of W.
  int64_t input_operands() const { return operands<O>(features_); }
  int64_t panel_operands() const { return input_operands() + operands<O>(panels_.units); }
  // From operand `k` on.
  Right<O> panel(int64_t panel, int64_t k) const { return {memory(panel), panel_operands(), k}; }
  const T* bias(int64_t panel) const { return bias_ + panel * panels_.kGateWidth; }

  // Operands `k` to `k + count` of a panel, to be fetched for so many rows by a thread that reads
  // `range`; nothing outside of that.
  Ahead<O> ahead(int64_t panel, Range range, int64_t k, int64_t count, int64_t rows) const {
    const int64_t all = (range.last - range.first) * count * panels_.kGateWidth;
    if (!Ahead<O>::pays(all, rows)) return {false};
    if (panel < range.first || panel >= range.last) return {};
    return {true, this->panel(panel, k), count, panels_.vectors(panel)};
  }

  void pack_matrices(Range panels) const {
    pack_matrix(buffers_.kernel, features_, panels, 0);
    pack_matrix(buffers_.recurrent_kernel, panels_.units, panels, input_operands());
  }

  void pack_bias(Range panels) const {
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
      T* to = bias_ + panel * panels_.kGateWidth;
      if (buffers_.bias) {
        pack_gate_panel(static_cast<const S*>(buffers_.bias), 1, panels_, panel, to, 1, 0);
      } else {
        for (int64_t i = 0; i < panels_.kGateWidth; ++i) to[i] = T(0);
      }
    }
  }

 private:
  int64_t panel_elements() const { return panel_operands() * panels_.kGateWidth; }
  int64_t elements() const { return panels_.count() * panel_elements(); }
  O* memory(int64_t panel) const { return matrices_ + panel * panel_elements(); }

  // A few rows at a time for all panels, so that the matrix is read along its rows. They come
  // behind `before` operands of each panel.
  void pack_matrix(const void* matrix, int64_t k, Range panels, int64_t before) const {
    constexpr int64_t kRows = 16;
    for (int64_t row = 0; row < k; row += kRows) {
      const S* rows = static_cast<const S*>(matrix) + row * kGates * panels_.units;
      for (int64_t panel = panels.first; panel < panels.last; ++panel) {
        pack_gate_panel(rows, min(kRows, k - row), panels_, panel, memory(panel), panel_operands(),
                        before + operands<O>(row));
      }
    }
  }

  const ForwardBuffers& buffers_;
  const UnitPanels<T> panels_;
  const int64_t features_;
  O* matrices_ = nullptr;  // [panel][group][features and H][gate][width]
  T* bias_ = nullptr;      // [panel][gate][width]
};

}  // namespace pylstm::cpu::PYLSTM_ISA
