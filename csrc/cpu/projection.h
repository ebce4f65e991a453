// x W + b for several steps at once, before these steps.
#pragma once

#include "cpu/batch.h"
#include "cpu/gate_weights.h"
#include "cpu/input_rows.h"

namespace pylstm::cpu::PYLSTM_ISA {

template <class S>
class Projection {
 public:
  using T = Compute<S>;
  using O = Operand<S>;

  // Scratch of one thread.
  struct Scratch {
    InputRows<S> x;
    const T** from;
    T** to;
    O* block;  // of W in one panel, where W is not packed whole
    T* sums;   // of its group, [panel][entry][gate][width]
    int64_t entries;
  };

  // Whether W should be read less often than at every step: where steps have few rows, so that
  // their sums, which are written and read again, are small beside W. Without AVX-512, tiles have
  // few rows and caches are small: W is read often, and many entries are cut into better tiles.
  static bool pays(const Problem& p, int threads, bool streams) {
    constexpr int64_t kRows = kSmallTiles ? kEntries : 18;
    constexpr int64_t kFeaturesOfRow = kSmallTiles ? 4 : 24;
    if (p.features == 0) return false;
    if (streams) return p.time > 1;
    const Split split = choose_split(p, threads, kTileRows, Vec<T>::kWidth);
    const int64_t rows = ceil_div(p.batch, split.row_groups);
    return rows <= kRows && rows * kFeaturesOfRow <= p.features;
  }

  // Whether each block of W is needed once, so that to pack all of W would only take memory.
  static bool packs_blocks(const Problem& p) { return p.batch * p.time <= kEntries; }

  // W is packed a block at a time where `weights` do not hold it.
  Projection(const Problem& problem, const ForwardBuffers& buffers, UnitPanels<T> panels,
             const Batch& batch, const GateWeights<S>& weights, bool runs)
      : p_(problem),
        buffers_(buffers),
        panels_(panels),
        batch_(batch),
        weights_(weights),
        runs_(runs),
        packs_blocks_(runs && weights.input_operands() == 0) {}

  bool runs() const { return runs_; }

  void take(Arena& arena, int threads) {
    if (!runs_) return;
    const int64_t groups = most_groups(p_, threads, kTileRows);
    // Each has room for its rows, of which some have one more than others.
    all_entries_ = p_.batch + groups + min(p_.batch * p_.time, groups * kEntries);
    sums_ = arena.take<T>(panels_.count() * all_entries_ * panels_.kGateWidth);
  }

  Scratch take_scratch(Arena& arena) const {
    const int64_t rows = capacity();
    const InputRows<S> x(p_, buffers_.x, rows, arena);
    auto* from = arena.take<const T*>(rows);
    auto* to = arena.take<T*>(rows);
    auto* block = packs_blocks_ ? arena.take<O>(kLargestBlock * panels_.kGateWidth) : nullptr;
    return {x, from, to, block, nullptr, 0};
  }

  // Tells a thread where the sums of its group are.
  void join(int group, int groups, Scratch* s) const {
    const int64_t first = all_entries_ * group / groups;
    s->entries = all_entries_ * (group + 1) / groups - first;
    s->sums = sums_ + first * panels_.count() * panels_.kGateWidth;
  }

  T* sum(int64_t panel, int64_t entry, const Scratch& s) const {
    return s.sums + (panel * s.entries + entry) * panels_.kGateWidth;
  }

  // Computes as many steps as fit, from `step` on, for those of the rows that are active; returns
  // the step after them.
  int64_t run(int64_t step, const int64_t* rows, int64_t n_rows, Range units,
              const Scratch& s) const {
    int64_t entries = 0;
    for (; step < p_.time; ++step) {
      int64_t n = 0;
      for (int64_t i = 0; i < n_rows; ++i) n += batch_.active(rows[i], step);
      if (entries + n > min(s.entries, capacity())) break;
      for (int64_t i = 0; i < n_rows; ++i) {
        if (batch_.active(rows[i], step)) s.x.set(entries++, batch_.input(rows[i], step));
      }
    }
    // A block of W stays in the cache for all entries.
    const Left<O> left{s.x.rows(), operands<O>(p_.features), 1};
    for (int64_t k = 0, count; k < left.run; k += count) {
      count = next_block(left.run - k);
      const Left<O> part = left.slice(k, count);
      const int64_t first = k * kDepth<O>, rows = min(count * kDepth<O>, p_.features - first);
      for (int64_t panel = units.first; panel < units.last; ++panel) {
        const Right<O> block = packs_blocks_ ? Right<O>{s.block, count} : weights_.panel(panel, k);
        if (packs_blocks_) {
          pack_gate_panel(static_cast<const S*>(buffers_.kernel) + first * kGates * p_.units, rows,
                          panels_, panel, s.block, count, 0);
        }
        for (int64_t i = 0; i < entries; ++i) {
          s.to[i] = sum(panel, i, s);
          s.from[i] = k == 0 ? weights_.bias(panel) : s.to[i];
        }
        multiply<O>(
            &part, 1, entries, block, 0, panels_.vectors(panel), s.from, s.to,
            packs_blocks_ ? Ahead<O>{} : weights_.ahead(panel + 1, units, k, count, entries));
      }
    }
    return step;
  }

 private:
  static constexpr bool kSmallTiles = kTileRows < 6;
  static constexpr int64_t kEntries = kSmallTiles ? 144 * kTileRows : 72 * kTileRows;

  int64_t capacity() const { return runs_ ? max(p_.batch, min(p_.batch * p_.time, kEntries)) : 0; }

  const Problem& p_;
  const ForwardBuffers& buffers_;
  const UnitPanels<T> panels_;
  const Batch& batch_;
  const GateWeights<S>& weights_;
  const bool runs_;
  const bool packs_blocks_;
  T* sums_ = nullptr;  // what the groups divide among them
  int64_t all_entries_ = 0;
};

}  // namespace pylstm::cpu::PYLSTM_ISA
