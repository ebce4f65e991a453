// What both passes ask about the rows of a batch: in which group they are, where their states lie,
// which of their steps are active, and where those are found in the tensors.
#pragma once

#include "core/arena.h"
#include "cpu/simd.h"
#include "cpu/split.h"

namespace pylstm::cpu::PYLSTM_ISA {

struct Batch {
  const Problem& p;
  const uint8_t* given_mask;
  uint8_t* mask;     // a copy: another thread of the caller's may write to the given one meanwhile
  RowPlace* places;  // [B]
  int64_t* dealing;  // scratch of `deal_rows`

  Batch(const Problem& problem, const uint8_t* mask, Arena& arena)
      : p(problem),
        given_mask(mask),
        mask(p.has_mask ? arena.take<uint8_t>(p.batch * p.time) : nullptr),
        places(arena.take<RowPlace>(p.batch)),
        dealing(arena.take<int64_t>(2 * p.batch)) {}

  void deal(int groups, int64_t parts, int64_t slot_bytes) const {
    if (mask && given_mask) __builtin_memcpy(mask, given_mask, p.batch * p.time);
    deal_rows(p, mask, groups, static_cast<int>(parts), slot_bytes, places, dealing);
  }

  template <class Function>
  PYLSTM_FN void for_each_row(int group, Function function) const {
    for (int64_t row = 0; row < p.batch; ++row) {
      if (places[row].group == group) function(row);
    }
  }
  PYLSTM_FN int64_t slot(int64_t row) const { return places[row].slot; }
  PYLSTM_FN int32_t part(int64_t row) const { return places[row].part; }

  // Of x and of the mask, as (B · T) rows.
  PYLSTM_FN int64_t input(int64_t row, int64_t step) const {
    return row * p.time + (p.go_backwards ? p.time - 1 - step : step);
  }
  PYLSTM_FN bool active(int64_t row, int64_t step) const { return !mask || mask[input(row, step)]; }
  // In y or in its gradient; null where that has no such step.
  template <class S>
  PYLSTM_FN S* output(S* y, int64_t row, int64_t step) const {
    if (!y) return nullptr;
    if (p.return_sequences) return y + (row * p.time + step) * p.units;
    return step == p.time - 1 ? y + row * p.units : nullptr;
  }
  // [gate or c][units], null without a reserve.
  template <class T>
  PYLSTM_FN T* saved(T* reserve, int64_t row, int64_t step) const {
    return reserve ? reserve + (step * p.batch + row) * (kGates + 1) * p.units : nullptr;
  }
  // In the recurrent dropout.
  PYLSTM_FN int64_t dropout(int64_t gate, int64_t row) const {
    return (gate * p.batch + row) * p.units;
  }
};

}  // namespace pylstm::cpu::PYLSTM_ISA
