// Rows of x as the left side of a product: where they lie, or a thread's copies of them, where they
// have to be converted.
#pragma once

#include "core/arena.h"
#include "cpu/operand.h"

namespace pylstm::cpu::PYLSTM_ISA {

template <class S>
class InputRows {
 public:
  using E = Element<Operand<S>>;

  // Room for `capacity` rows.
  InputRows(const Problem& problem, const void* x, int64_t capacity, Arena& arena)
      : x_(static_cast<const S*>(x)), features_(problem.features) {
    rows_ = arena.take<const E*>(capacity);
    copies_ = in_place() ? nullptr : arena.take<E>(capacity * stride());
  }

  const E* const* rows() const { return rows_; }

  // Row i becomes row `input` of x, as (B · T) rows.
  void set(int64_t i, int64_t input) const {
    const S* x = x_ + input * features_;
    if constexpr (sizeof(S) == sizeof(E)) {
      if (in_place()) {
        rows_[i] = x;
        return;
      }
    }
    E* to = copies_ + i * stride();
    convert_row(x, features_, to);
    for (int64_t f = features_; f < stride(); ++f) narrow(Compute<S>(0), to + f);
    rows_[i] = to;
  }

 private:
  static constexpr int64_t kElements = kDepth<Operand<S>>;

  // Whether x has whole operands.
  bool in_place() const { return sizeof(S) == sizeof(E) && features_ % kElements == 0; }
  int64_t stride() const { return operands<Operand<S>>(features_) * kElements; }

  const S* x_;
  int64_t features_;
  const E** rows_;
  E* copies_;
};

}  // namespace pylstm::cpu::PYLSTM_ISA
