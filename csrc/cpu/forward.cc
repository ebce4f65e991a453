// Forward pass. Compiled once per instruction set.
#include <atomic>
#include <new>
#include <type_traits>

#include "core/cell.h"
#include "cpu/batch.h"
#include "cpu/claims.h"
#include "cpu/gate_weights.h"
#include "cpu/handoff.h"
#include "cpu/input_rows.h"
#include "cpu/kernels.h"
#include "cpu/lstm.h"
#include "cpu/projection.h"
#include "cpu/runtime_activation.h"
#include "cpu/split.h"
#include "cpu/streamed_product.h"
#include "cpu/team.h"

namespace pylstm::cpu::PYLSTM_ISA {
namespace {

// Where an active row's step reads and writes, each at unit 0.
template <class S>
struct ActiveRow {
  using T = Compute<S>;
  using E = Element<Operand<S>>;
  T* c;
  E* h;
  S* y;      // null: not wanted
  T* saved;  // for the backward pass, or null
  // With recurrent dropout, [gate][padded units]; else null.
  const T* dropout;
  E* dropped_h;
};

// Scratch of one thread.
template <class S>
struct Scratch {
  using T = Compute<S>;
  using E = Element<Operand<S>>;
  int64_t* rows;         // [B], those that it computes
  ActiveRow<S>* active;  // [B], of this step
  uint8_t* current;      // [B]: which of a row's two h is the newest
  uint8_t* started;      // [B]: whether there has been an active step
  InputRows<S> x;
  const E* const* x_rows;  // of the active rows, as are the next two
  const E** h_rows;
  T** part_rows;  // of the streamed product
  // For kStepRows of them:
  const T** from_rows;  // what z starts from: the bias, or x W + b
  T** z_rows;
  T* z;  // pre-activations, [gate][width] of the panels computed together; when streaming, of all
  typename Projection<S>::Scratch projection;
};

template <class S>
class Forward {
 public:
  using T = Compute<S>;
  using V = Vec<T>;
  using O = Operand<S>;
  using E = Element<O>;

  Forward(const Problem& problem, const ForwardBuffers& buffers, int threads, Arena arena,
          bool keeps_weights, const PackedWeights& packed, uint32_t call = 0)
      : p_(problem),
        buffers_(buffers),
        panels_{problem.units, problem.has_recurrent_dropout},
        streams_(StreamedProduct<S>::pays(problem)),
        packs_weights_(!streams_ && !packed.ready),
        call_(call),
        batch_(problem, buffers.mask, arena),
        weights_(
            buffers, panels_,
            projects(problem, threads) && Projection<S>::packs_blocks(problem) && !keeps_weights
                ? 0
                : problem.features),
        projection_(problem, buffers, panels_, batch_, weights_, projects(problem, threads)),
        streamed_(problem, buffers, panels_) {
    const int64_t padded = panels_.padded();
    weights_.take_bias(arena);
    if (keeps_weights) {
      weights_.set_matrices(packed.memory);
    } else if (!streams_) {
      weights_.take_matrices(arena);
    }
    arena.skip(kPageBytes);
    const int64_t all = slots(p_, threads, kTileRows, slot_bytes());
    h_ = arena.take<E>(all * 2 * h_stride());
    c_ = arena.take<T>(all * padded);
    if (p_.has_recurrent_dropout) {
      dropout_ = arena.take<T>(all * kGates * padded);
      dropped_h_ = arena.take<E>(all * 2 * kGates * padded);
    }
    if (streams_) streamed_.take(arena);
    projection_.take(arena, threads);
    scratch_ = arena.take<Scratch<S>>(threads);
    handoffs_ = arena.take<Handoff>(threads);
    claims_ = arena.take<Claims>(threads);
    for (int i = 0; i < threads; ++i) {
      arena.skip(kPageBytes);
      const Scratch<S> s = take_scratch(arena);
      if (scratch_) scratch_[i] = s;
      if (handoffs_) new (handoffs_ + i) Handoff;
      if (claims_) new (claims_ + i) Claims;
    }
    bytes_ = arena.used();
  }

  int64_t bytes() const { return bytes_; }
  int64_t packed_weights_bytes() const { return streams_ || panels_.paired ? 0 : weights_.bytes(); }

  void run(Team& team, int rank) {
    const TileRegisters registers;
    const Split split = choose_split(p_, team.size(), kTileRows, V::kWidth);
    if (rank == 0) batch_.deal(split.row_groups, 1, slot_bytes());
    const Range packed{panels_.count() * rank / team.size(),
                       panels_.count() * (rank + 1) / team.size()};
    if (packs_weights_) weights_.pack_matrices(packed);
    weights_.pack_bias(packed);
    const int group = rank / split.unit_groups;
    const int member = rank % split.unit_groups;
    const bool works = rank < split.threads();
    const Range units = units_of(member, split.unit_groups);
    Scratch<S> s = scratch_[rank];
    if (projection_.runs()) projection_.join(group, split.row_groups, &s.projection);
    team.barrier();  // weights, the batch
    if (!works) return;
    Share share{team, group, member, split.unit_groups, units, false, s.rows, 0};
    batch_.for_each_row(group, [&](int64_t row) { share.rows[share.count++] = row; });
    share.steals = steals_units(share);
    begin(share, s);
    run_steps(0, rank, &share, s);
    if (share.steals) team.barrier(group, split.unit_groups);  // h, c
    end(share, s);
    if (split.unit_groups > 1) return;
    while (take_rows(rank, split.row_groups, &share, s)) end(share, s);
  }

 private:
  static constexpr int64_t kNotProjected = -1;
  // Rows of a step at a time: what is computed for them stays in the cache.
  static constexpr int64_t kStepRows = 16 * kTileRows;

  // A thread's part of the work: some units of the rows of a group, which it shares with others.
  struct Share {
    Team& team;
    int group, member, members;
    Range units;
    bool steals;  // units of a step from those with whom it shares rows
    int64_t* rows;
    int64_t count;  // of the rows
  };

  static bool projects(const Problem& problem, int threads) {
    return Projection<S>::pays(problem, threads, StreamedProduct<S>::pays(problem));
  }

  Range units_of(int member, int members) const {
    return {panels_.begin(member, members), panels_.begin(member + 1, members)};
  }

  // Whether a thread that has done its units of a step takes some of another's: not for few rows,
  // since it would read weights that lie in the other's cache, nor with a projection, since the
  // other may have begun its next sums.
  bool steals_units(const Share& share) const {
    constexpr int64_t kFewRows = 16;
    return share.members > 1 && !streams_ && !projection_.runs() && share.count > kFewRows &&
           weights_.bytes() / share.members > core_cache_bytes();
  }

  Scratch<S> take_scratch(Arena& arena) const {
    auto* rows = arena.take<int64_t>(p_.batch);
    auto* active = arena.take<ActiveRow<S>>(p_.batch);
    auto* current = arena.take<uint8_t>(p_.batch);
    auto* started = arena.take<uint8_t>(p_.batch);
    const InputRows<S> x(p_, buffers_.x, projection_.runs() ? 0 : p_.batch, arena);
    auto* h_rows = arena.take<const E*>(p_.batch);
    auto* part_rows = arena.take<T*>(streams_ ? p_.batch : 0);
    const int64_t at_once = min(p_.batch, kStepRows);
    const int64_t panels = streams_ ? panels_.count() : panels_.together();
    auto* from_rows = arena.take<const T*>(at_once);
    auto* z_rows = arena.take<T*>(at_once * panels_.together());
    auto* z = arena.take<T>(at_once * panels * panels_.kGateWidth);
    return {rows,   active,    current,   started, x, x.rows(),
            h_rows, part_rows, from_rows, z_rows,  z, projection_.take_scratch(arena)};
  }

  // Bytes of a slot in the smallest array of states.
  int64_t slot_bytes() const { return panels_.padded() * int64_t{sizeof(T)}; }
  int64_t h_stride() const { return odd_lines<E>(panels_.padded()); }
  E* h(int64_t row, int which) const { return h_ + (batch_.slot(row) * 2 + which) * h_stride(); }
  T* c(int64_t row) const { return c_ + batch_.slot(row) * panels_.padded(); }
  // [gate][padded units]
  T* dropout(int64_t row) const { return dropout_ + batch_.slot(row) * kGates * panels_.padded(); }
  E* dropped_h(int64_t row, int which) const {
    return dropped_h_ + (batch_.slot(row) * 2 + which) * kGates * panels_.padded();
  }
  S* output(int64_t step, int64_t row) const {
    return batch_.output(static_cast<S*>(buffers_.y), row, step);
  }

  void begin(const Share& share, const Scratch<S>& s) {
    const Range units = share.units;
    const S* h0 = static_cast<const S*>(buffers_.h0);
    const S* c0 = static_cast<const S*>(buffers_.c0);
    const S* masks = static_cast<const S*>(buffers_.recurrent_dropout);
    for (int64_t i = 0; i < share.count; ++i) {
      const int64_t row = share.rows[i];
      s.current[row] = 0;
      s.started[row] = 0;
      for (int64_t panel = units.first; panel < units.last; ++panel) {
        const int64_t unit = panels_.first_unit(panel), lanes = panels_.lanes(panel);
        const V state = load_lanes(h0 + row * p_.units + unit, lanes);
        for (int which = 0; which < 2; ++which) store_lanes(state, h(row, which) + unit, V::kWidth);
        load_lanes(c0 + row * p_.units + unit, lanes).store(c(row) + unit);
        if (!masks) continue;
        for (int64_t g = 0; g < kGates; ++g) {
          const V mask = load_lanes(masks + batch_.dropout(g, row) + unit, lanes);
          mask.store(dropout(row) + g * panels_.padded() + unit);
          for (int which = 0; which < 2; ++which) {
            store_lanes(state * mask, dropped_h(row, which) + g * panels_.padded() + unit,
                        V::kWidth);
          }
        }
      }
    }
  }

  // What a row's z starts from in a panel: x W + b, or b.
  const T* start(int64_t panel, int64_t entry, int64_t i, const Scratch<S>& s) const {
    return entry == kNotProjected ? weights_.bias(panel)
                                  : projection_.sum(panel, entry + i, s.projection);
  }

  void run_steps(int64_t step, int rank, Share* share, Scratch<S>& s) {
    Handoff& handoff = handoffs_[rank];
    handoff.open();
    for (int64_t ready = step, entry = 0; step < p_.time; ++step) {
      if (!projection_.runs() || step == ready) {
        if (handoff.asked()) hand_over(step, rank, share, s);
      }
      handoff.offer(share->count > 1 ? p_.time - step : 0);
      if (projection_.runs() && step == ready) {
        ready = projection_.run(step, share->rows, share->count, share->units, s.projection);
        entry = 0;
      }
      share->team.barrier(share->group, share->members);  // h
      entry += run_step(step, projection_.runs() ? entry : kNotProjected, *share, s);
    }
    handoff.close(handoffs_);
  }

  // Gives the last of a thread's rows to the one that has asked, from `step` on.
  void hand_over(int64_t step, int rank, Share* share, const Scratch<S>& s) {
    const int asker = handoffs_[rank].asker();
    const Scratch<S>& to = scratch_[asker];
    const int64_t given = share->count / 2;
    share->count -= given;
    for (int64_t i = 0; i < given; ++i) {
      const int64_t row = share->rows[share->count + i];
      to.rows[i] = row;
      to.current[row] = s.current[row];
      to.started[row] = s.started[row];
    }
    handoffs_[rank].answer(handoffs_, step, given);
  }

  // Goes on with rows of another thread that has more than a few steps to do; false if none has.
  bool take_rows(int rank, int threads, Share* share, Scratch<S>& s) {
    const int64_t step =
        Handoff::take(handoffs_, threads, rank, max(2, p_.time / 16), &share->count);
    if (step == Handoff::kNothing) return false;
    run_steps(step, rank, share, s);
    return true;
  }

  // One step of a thread's rows; `entry` is the place of the first in the projection. Returns how
  // many rows are active.
  int64_t run_step(int64_t step, int64_t entry, const Share& share, const Scratch<S>& s) {
    int64_t n = 0;
    for (int64_t i = 0; i < share.count; ++i) {
      const int64_t row = share.rows[i];
      if (!batch_.active(row, step)) {
        repeat_output(step, row, share.units, s);
        continue;
      }
      if (entry == kNotProjected) s.x.set(n, batch_.input(row, step));
      s.h_rows[n] = dropout_ ? dropped_h(row, s.current[row]) : h(row, s.current[row]);
      if (streams_) s.part_rows[n] = streamed_.row(row);
      s.current[row] ^= 1;
      s.started[row] = 1;
      s.active[n++] = active_row(row, step, s.current[row]);
    }
    if (streams_) {
      run_streamed(step % 2, share, entry, n, s);
      return n;
    }
    const int64_t together = panels_.together(), blocks = ceil_div(n, kStepRows);
    Claims* claims = claims_ + share.group * share.members;
    const int64_t now = step % 2;
    claims[share.member].reset(1 - now);  // of the last step, for the next
    for (int turn = 0; turn < (share.steals ? share.members : 1); ++turn) {
      const int member = (share.member + turn) % share.members;
      const Range units = units_of(member, share.members);
      const int64_t groups = ceil_div(units.last - units.first, together);
      for (int64_t i = 0;; ++i) {
        const int64_t at = share.steals ? claims[member].next(now) : i;
        if (at >= blocks * groups) break;
        run_block(step, at / groups, at % groups, units, entry, n, s);
      }
    }
    return n;
  }

  // Computes a block of up to kStepRows of the n rows of a step, for one group of the panels of
  // `units` that are computed together.
  void run_block(int64_t step, int64_t block, int64_t group, Range units, int64_t entry, int64_t n,
                 Scratch<S> s) {
    const int64_t row = block * kStepRows;
    s.active += row;
    s.x_rows += row;
    s.h_rows += row;
    n = min(kStepRows, n - row);
    if (entry != kNotProjected) entry += row;
    // In alternating order: the last panels of some rows are still in the cache for the next.
    const bool back = (step + block) % 2;
    const int64_t together = panels_.together();
    const int64_t first =
        back ? ((units.last - 1) & -together) - group * together : units.first + group * together;
    const int64_t last = min(first + together, units.last);
    for (int64_t panel = first; panel < last; ++panel) {
      const int64_t then = panel + 1 < last ? panel + 1 : back ? first - together : last;
      multiply_panel(panel, then, units, panel - first, entry, n, s);
    }
    apply_gates(first, last, units, n, s);
  }

  // A step of the n rows listed in the scratch, with the weights where they lie.
  void run_streamed(bool back, const Share& share, int64_t entry, int64_t n, const Scratch<S>& s) {
    if (n == 0) return;
    const typename StreamedProduct<S>::Rows rows{
        n, entry == kNotProjected ? s.x_rows : nullptr, s.h_rows, s.part_rows, s.z_rows, s.z};
    streamed_.multiply((call_ + back) % 2, share.member, share.members, rows);
    share.team.barrier(share.group, share.members);
    streamed_.add_parts(share.units, rows,
                        [&](int64_t panel, int64_t i) { return start(panel, entry, i, s); });
    apply_gates(share.units.first, share.units.last, share.units, n, s);
  }

  // z = x W + h R + b for panel `at` of those computed together; `then` comes next.
  void multiply_panel(int64_t panel, int64_t then, Range units, int64_t at, int64_t entry,
                      int64_t n, const Scratch<S>& s) {
    T** z_rows = s.z_rows + at * n;
    T* z = s.z + at * panels_.kGateWidth;
    const int64_t row_width = panels_.together() * panels_.kGateWidth;
    for (int64_t i = 0; i < n; ++i, z += row_width) {
      z_rows[i] = z;
      s.from_rows[i] = start(panel, entry, i, s);
    }
    Left<O> lefts[] = {{s.x_rows, operands<O>(p_.features), 1},
                       {s.h_rows, operands<O>(p_.units), 1}};
    if (dropout_) {
      lefts[1].copy_stride = operands<O>(panels_.padded());
      lefts[1].offset = panels_.vector(panel, 0).gate * lefts[1].copy_stride;
    }
    const bool skips_x = entry != kNotProjected;
    const int64_t k = skips_x ? weights_.input_operands() : 0;
    multiply<O>(lefts + skips_x, kMaxLefts - skips_x, n, weights_.panel(panel, k), 0,
                panels_.vectors(panel), s.from_rows, z_rows,
                weights_.ahead(then, units, k, weights_.panel_operands() - k, n),
                panels_.shared(panel));
  }

  // Distance between the gates in a row of z.
  int64_t z_stride(int64_t panel, Range units) const {
    if (streams_) return streamed_.z_stride(units);
    return panels_.in_pair(panel) ? 2 * V::kWidth : panels_.gate_stride(panel);
  }

  ActiveRow<S> active_row(int64_t row, int64_t step, int next) const {
    T* saved = batch_.saved(static_cast<T*>(buffers_.reserve), row, step);
    ActiveRow<S> active{c(row), h(row, next), output(step, row), saved, nullptr, nullptr};
    if (dropout_) {
      active.dropout = dropout(row);
      active.dropped_h = dropped_h(row, next);
    }
    return active;
  }

  void apply_gates(int64_t first, int64_t last, Range units, int64_t n, const Scratch<S>& s) {
    for (int64_t panel = first; panel < last; ++panel) {
      with_activations<T>(
          p_, [&](const auto& act, const auto& rec) { apply_gates(act, rec, panel, units, n, s); });
    }
  }

  // Not inlined, which leaves its loops more registers.
  template <class Act, class Rec>
  __attribute__((noinline)) void apply_gates(const Act& act, const Rec& rec, int64_t panel,
                                             Range units, int64_t n, const Scratch<S>& s) {
    const int64_t unit = panels_.first_unit(panel), lanes = panels_.lanes(panel);
    const int64_t padded = panels_.padded(), all = p_.units;
    const int64_t z_stride = this->z_stride(panel, units);
    const int64_t z_offset =
        panels_.first_unit(streams_ ? panel - units.first : panel % panels_.together());
    // Two loops over independent rows: the processor does not see far enough to overlap the rows of
    // a longer one, nor those of the second, which therefore computes some together.
    for (int64_t i = 0; i < n; ++i) {
      const ActiveRow<S>& row = s.active[i];
      T* z = s.z_rows[i] + z_offset;
      const CellState<V> state =
          cell_state(act, rec, V::load(z), V::load(z + z_stride), V::load(z + 2 * z_stride),
                     V::load(z + 3 * z_stride), V::load(row.c + unit));
      state.c.store(row.c + unit);
      state.o.store(z);
      if (row.saved) {
        T* saved = row.saved + unit;
        state.saved_i.store_n(saved, lanes);
        state.saved_f.store_n(saved + all, lanes);
        state.saved_g.store_n(saved + 2 * all, lanes);
        state.saved_o.store_n(saved + 3 * all, lanes);
        state.c.store_n(saved + 4 * all, lanes);
      }
    }
    const auto finish = [&](int64_t first, auto rows) {
      V outputs[rows];
      for (int64_t i = 0; i < rows; ++i) {
        const T* z = s.z_rows[first + i] + z_offset;
        outputs[i] = cell_output(act, V::load(z), V::load(s.active[first + i].c + unit));
      }
      for (int64_t i = 0; i < rows; ++i) {
        const ActiveRow<S>& row = s.active[first + i];
        const V output = outputs[i];
        store_lanes(output, row.h + unit, lanes);
        if (row.dropped_h) {
          for (int64_t at = unit; at < kGates * padded; at += padded) {
            store_lanes(output * V::load(row.dropout + at), row.dropped_h + at, lanes);
          }
        }
        if (row.y) {
          __builtin_prefetch(row.y + all + unit, 1);  // rows lie too far apart for the hardware
          store_lanes(output, row.y + unit, lanes);
        }
      }
    };
    constexpr int kTogether = 4;
    int64_t i = 0;
    for (; i + kTogether <= n; i += kTogether) finish(i, std::integral_constant<int, kTogether>{});
    for (; i < n; ++i) finish(i, std::integral_constant<int, 1>{});
  }

  // A masked step repeats the last output, which is the newest h, or 0 before the first.
  void repeat_output(int64_t step, int64_t row, Range units, const Scratch<S>& s) {
    S* y = output(step, row);
    if (!y) return;
    const bool zero = p_.zero_output_for_mask || !s.started[row];
    for (int64_t panel = units.first; panel < units.last; ++panel) {
      const int64_t unit = panels_.first_unit(panel);
      const V value = zero ? V(0.0) : load_lanes(h(row, s.current[row]) + unit, V::kWidth);
      store_lanes(value, y + unit, panels_.lanes(panel));
    }
  }

  void end(const Share& share, const Scratch<S>& s) {
    const Range units = share.units;
    S* h_out = static_cast<S*>(buffers_.h);
    S* c_out = static_cast<S*>(buffers_.c);
    for (int64_t i = 0; i < share.count; ++i) {
      const int64_t row = share.rows[i];
      for (int64_t panel = units.first; panel < units.last; ++panel) {
        const int64_t unit = panels_.first_unit(panel), lanes = panels_.lanes(panel);
        const int64_t at = row * p_.units + unit;
        store_lanes(load_lanes(h(row, s.current[row]) + unit, lanes), h_out + at, lanes);
        store_lanes(V::load(c(row) + unit), c_out + at, lanes);
        if (p_.time == 0 && !p_.return_sequences) {
          store_lanes(V(0.0), static_cast<S*>(buffers_.y) + at, lanes);
        }
      }
    }
  }

  const Problem& p_;
  const ForwardBuffers& buffers_;
  const UnitPanels<T> panels_;
  const bool streams_;  // the weights where they lie
  const bool packs_weights_;
  const uint32_t call_;  // how many calls there were before
  const Batch batch_;
  GateWeights<S> weights_;
  Projection<S> projection_;
  StreamedProduct<S> streamed_;
  E* h_;                    // [slot][2][h_stride()]; a step reads one and writes the other
  T* c_;                    // [slot][padded units]
  T* dropout_ = nullptr;    // [slot][gate][padded units]
  E* dropped_h_ = nullptr;  // [slot][2][gate][padded units], h times dropout
  Scratch<S>* scratch_;     // [threads]
  Handoff* handoffs_;       // [threads]
  Claims* claims_;          // [threads], of panels in even and in odd steps
  int64_t bytes_;
};

}  // namespace

int64_t packed_weights_bytes(const Problem& problem) {
  return with_storage(problem.dtype, [&](auto element) {
    return Forward<decltype(element)>(problem, {}, 1, Arena(nullptr), true, {})
        .packed_weights_bytes();
  });
}

int64_t forward_workspace_bytes(const Problem& problem, int threads, bool keeps_weights) {
  return with_storage(problem.dtype, [&](auto element) {
    return Forward<decltype(element)>(problem, {}, threads, Arena(nullptr), keeps_weights, {})
        .bytes();
  });
}

void forward(const Problem& problem, const ForwardBuffers& buffers, Executor& executor, int threads,
             const PackedWeights& packed) {
  static std::atomic<uint32_t> calls{0};
  with_storage(problem.dtype, [&](auto element) {
    using Pass = Forward<decltype(element)>;
    Pass pass(problem, buffers, threads, Arena(buffers.workspace), packed.memory != nullptr, packed,
              calls.fetch_add(1, std::memory_order_relaxed));
    run_team(
        executor, plan_team(problem, threads, kTileRows, Pass::V::kWidth),
        [](void* context, Team& team, int rank) { static_cast<Pass*>(context)->run(team, rank); },
        &pass);
  });
}

}  // namespace pylstm::cpu::PYLSTM_ISA
