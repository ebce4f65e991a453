// Backward pass. Compiled once per instruction set.
//
// Time is cut into chunks, from the end. Within a chunk the gradients of the pre-activations, dz,
// are found step by step; then dx and the weight gradients follow as large products over all the
// chunk's entries. Sums run over the entries of a part of the batch in one fixed order, so results
// do not depend on the number of threads.
#include <new>

#include "core/cell.h"
#include "cpu/claims.h"
#include "cpu/input_gradient.h"
#include "cpu/kernels.h"
#include "cpu/runtime_activation.h"
#include "cpu/split.h"
#include "cpu/team.h"
#include "cpu/transposed.h"
#include "cpu/weight_gradients.h"

namespace pylstm::cpu::PYLSTM_ISA {
namespace {

// Where an active row's step reads and writes, each at unit 0.
template <class S>
struct ActiveRow {
  using T = Compute<S>;
  using E = Element<Operand<S>>;
  int64_t row;
  int64_t entry;
  const T* saved;   // by the forward pass
  const T* before;  // the same of the active step before, or null: the initial states
  const S* dy;      // or null: zeros
  T* dh;
  T* dc;
  T* a_c;    // the activation of c after the step, on return before it
  E* state;  // h before the step, for the recurrent weight gradient
};

// Scratch of one thread.
template <class S>
struct Scratch {
  ActiveRow<S>* active;  // [B], of this step
  int64_t* latest;       // per row of the batch: its newest active step before this one, or -1
  ProductRows<S> product;
  Element<Operand<S>>* lefts;  // of the weight gradients
};

template <class S>
class Backward {
 public:
  using T = Compute<S>;
  using V = Vec<T>;
  using O = Operand<S>;
  using E = Element<O>;

  Backward(const Problem& problem, const BackwardBuffers& buffers, int threads, Arena arena)
      : p_(problem),
        buffers_(buffers),
        panels_{problem.units, problem.has_recurrent_dropout},
        batch_(problem, buffers.mask, arena),
        entries_(problem, panels_, sum_parts(problem, kTileRows), arena),
        weight_gradients_(problem, buffers, panels_, batch_, entries_, arena),
        input_gradient_(problem, buffers, panels_, entries_, arena),
        recurrent_(buffers.recurrent_kernel, problem.units, panels_, arena) {
    arena.skip(kPageBytes);
    const int64_t all = slots(p_, threads, kTileRows, slot_bytes());
    dh_ = arena.take<T>(all * panels_.padded());
    dc_ = arena.take<T>(all * panels_.padded());
    a_c_ = arena.take<T>(all * panels_.padded());
    scratch_ = arena.take<Scratch<S>>(threads);
    claims_ = arena.take<Claims>(threads);
    for (int i = 0; i < threads; ++i) {
      if (claims_) new (claims_ + i) Claims;
      arena.skip(kPageBytes);
      auto* active = arena.take<ActiveRow<S>>(p_.batch);
      auto* latest = arena.take<int64_t>(p_.batch);
      const ProductRows<S> product(p_.batch, arena);
      auto* lefts = weight_gradients_.take_lefts(arena);
      if (scratch_) scratch_[i] = {active, latest, product, lefts};
    }
    bytes_ = arena.used();
  }

  int64_t bytes() const { return bytes_; }

  void run(Team& team, int rank) {
    const TileRegisters registers;
    const Split split = choose_split(p_, team.size(), kTileRows, V::kWidth);
    const Scratch<S>& s = scratch_[rank];
    const int64_t parts = entries_.parts();
    if (rank == 0) batch_.deal(split.row_groups, parts, slot_bytes());
    const int group = rank / split.unit_groups;
    const int member = rank % split.unit_groups;
    const bool works = rank < split.threads();
    // Each thread's rows are a part: its products are sums over what it wrote itself.
    const bool apart = team.size() == parts && split.row_groups == parts;
    const auto wait_for_others = [&] {
      if (!apart) team.barrier();
    };
    const Range units{panels_.count() * member / split.unit_groups,
                      panels_.count() * (member + 1) / split.unit_groups};
    // A range's columns are packed by those who multiply by them, shared among the groups.
    if (works) pack_recurrent(units, group, split.row_groups);
    input_gradient_.pack(rank, team.size());
    team.barrier();
    if (works) begin(group, units, s);

    bool first_chunk = true;
    for (int64_t end = p_.time; end > 0; first_chunk = false) {
      const Chunk chunk = entries_.chunk_before(end, batch_);
      for (int64_t set = 0; set < kInputs + parts; ++set) claims_[rank].reset(set);
      if (works) {
        int64_t entries[kMaxParts];
        for (int64_t i = 0; i < parts; ++i) entries[i] = chunk.parts[i].end();
        for (int64_t step = end; step-- > chunk.begin;) {
          const int64_t rows = run_step(step, entries, group, units, s);
          team.barrier(group, split.unit_groups);
          multiply_recurrent(step % 2, units, rows, s);
        }
      }
      wait_for_others();
      if (Entries<S>::kPacksDz) {
        for (int64_t i = 0; i < parts; ++i) entries_.pack_dz(chunk.parts[i], rank, team.size());
        wait_for_others();
      }
      for (int64_t i = 0; i < parts; ++i) {
        const Part& part = chunk.parts[i];
        share_out(team, rank, !apart, kWeights + i, [&](int thread, auto claimed) {
          weight_gradients_.add(part, first_chunk, thread, team.size(), s.product, s.lefts,
                                claimed);
        });
        share_out(team, rank, !apart, kInputs + i, [&](int thread, auto claimed) {
          input_gradient_.compute(part, thread, team.size(), s.product, claimed);
        });
      }
      if (chunk.begin > 0) wait_for_others();
      end = chunk.begin;
    }
    if (works) finish(group, units);
    team.barrier();
    weight_gradients_.unpack(first_chunk, rank, team.size());
  }

 private:
  static constexpr int64_t kDroppedRows = kRowBlock / kGates;  // of a product with dropout
  static constexpr int64_t kWeights = 0, kInputs = kMaxParts;  // sets of claims, for each part

  // A thread's share of a product, piece by piece; then, where threads take work from each other,
  // pieces of others' shares.
  template <class Product>
  void share_out(const Team& team, int rank, bool takes, int64_t set, Product product) const {
    if (!takes) {
      int64_t piece = 0;
      return product(rank, [&] { return piece++; });
    }
    for (int turn = 0; turn < team.size(); ++turn) {
      const int thread = (rank + turn) % team.size();
      product(thread, [&] { return claims_[thread].next(set); });
    }
  }

  int64_t slot_bytes() const { return panels_.padded() * int64_t{sizeof(T)}; }
  T* dh(int64_t row) const { return dh_ + batch_.slot(row) * panels_.padded(); }
  T* dc(int64_t row) const { return dc_ + batch_.slot(row) * panels_.padded(); }
  T* a_c(int64_t row) const { return a_c_ + batch_.slot(row) * panels_.padded(); }
  static V load_or_zero(const void* tensor, int64_t at, int64_t lanes) {
    return tensor ? load_lanes(static_cast<const S*>(tensor) + at, lanes) : V(0.0);
  }
  const S* output_gradient(int64_t row, int64_t step) const {
    return batch_.output(static_cast<const S*>(buffers_.dy), row, step);
  }
  const T* saved(int64_t row, int64_t step) const {
    return batch_.saved(static_cast<const T*>(buffers_.reserve), row, step);
  }

  void pack_recurrent(Range units, int group, int groups) {
    int64_t index = 0;
    for (int64_t v = units.first; v < units.last; v += kTileVectors, ++index) {
      if (index % groups == group) recurrent_.pack(v, units.last);
    }
  }

  void begin(int group, Range units, const Scratch<S>& s) {
    batch_.for_each_row(group, [&](int64_t row) {
      s.latest[row] = latest_active(row, p_.time - 1);
      const T* last = s.latest[row] >= 0 ? saved(row, s.latest[row]) : nullptr;
      for (int64_t panel = units.first; panel < units.last; ++panel) {
        const int64_t unit = panels_.first_unit(panel), lanes = panels_.lanes(panel);
        const int64_t at = row * p_.units + unit;
        load_or_zero(buffers_.dh, at, lanes).store(dh(row) + unit);
        load_or_zero(buffers_.dc, at, lanes).store(dc(row) + unit);
        if (!last) continue;
        with_activations<T>(p_, [&](const auto& act, const auto&) {
          act.forward(V::load_n(last + 4 * p_.units + unit, lanes)).store(a_c(row) + unit);
        });
      }
    });
  }

  // dz of one step. `entries`: in each part one past this step's, on return their first. Returns
  // the number of rows taking part, listed in the scratch.
  int64_t run_step(int64_t step, int64_t* entries, int group, Range units, const Scratch<S>& s) {
    for (int64_t row = 0; row < p_.batch; ++row) {
      entries[batch_.part(row)] -= batch_.active(row, step);
    }
    int64_t next[kMaxParts];
    for (int64_t i = 0; i < entries_.parts(); ++i) next[i] = entries[i];
    int64_t n = 0;
    for (int64_t row = 0; row < p_.batch; ++row) {
      const bool is_active = batch_.active(row, step);
      int64_t& at = next[batch_.part(row)];
      if (batch_.places[row].group == group) {
        if (is_active) {
          entries_.set_row(s.product, n, at);
          s.latest[row] = latest_active(row, step - 1);
          s.active[n] = active_row(row, step, at, s.latest[row]);
          if (units.first == 0) {
            entries_.copy_input(buffers_.x, row, batch_.input(row, step), at);
          }
          ++n;
        } else {
          skip(row, step, units, s);
        }
      }
      at += is_active;
    }
    for (int64_t panel = units.first; panel < units.last; ++panel) {
      with_activations<T>(
          p_, [&](const auto& act, const auto& rec) { apply_gates(act, rec, panel, n, s); });
    }
    return n;
  }

  // The newest active step not after `step`, or -1.
  int64_t latest_active(int64_t row, int64_t step) const {
    while (step >= 0 && !batch_.active(row, step)) --step;
    return step;
  }

  // A masked step: its output was that of the latest active one, which is the h carried back.
  void skip(int64_t row, int64_t step, Range units, const Scratch<S>& s) {
    const bool repeats = !p_.zero_output_for_mask && s.latest[row] >= 0;
    for (int64_t panel = units.first; repeats && panel < units.last; ++panel) {
      const int64_t unit = panels_.first_unit(panel);
      (V::load(dh(row) + unit) +
       load_or_zero(output_gradient(row, step), unit, panels_.lanes(panel)))
          .store(dh(row) + unit);
    }
    if (units.first == 0 && p_.input_gradient) input_gradient_.zero(batch_.input(row, step));
  }

  ActiveRow<S> active_row(int64_t row, int64_t step, int64_t entry, int64_t latest) const {
    return {row,
            entry,
            saved(row, step),
            latest >= 0 ? saved(row, latest) : nullptr,
            output_gradient(row, step),
            dh(row),
            dc(row),
            a_c(row),
            entries_.state(entry)};
  }

  // Fetches what will be read soon and the hardware does not foresee: strides go back in time, and
  // are long where there are many rows. With few rows it is what row `i` reads at the next step,
  // the values of two steps earlier. With many those would be gone by then, so it is what a later
  // row reads at this step. A step that does not exist costs nothing: prefetching never faults.
  PYLSTM_FN void prefetch(int64_t i, int64_t n, int64_t unit, const Scratch<S>& s) const {
    const bool many = n > kRowBlock;
    const ActiveRow<S>& row = s.active[many ? min(i + kTileRows, n - 1) : i];
    if (!row.before) return;
    const int64_t earlier = many ? 0 : 1;
    const T* before = row.before - earlier * p_.batch * (kGates + 1) * p_.units + unit;
    for (int64_t j = 0; j <= kGates; ++j) __builtin_prefetch(before + j * p_.units);
    if (row.dy) __builtin_prefetch(row.dy - 2 * earlier * p_.units + unit);
  }

  // Not inlined, which leaves its loop more registers.
  template <class Act, class Rec>
  __attribute__((noinline)) void apply_gates(const Act& act, const Rec& rec, int64_t panel,
                                             int64_t n, const Scratch<S>& s) {
    const int64_t unit = panels_.first_unit(panel), lanes = panels_.lanes(panel);
    const int64_t units = p_.units, gate_stride = panels_.gate_stride(panel);
    const int64_t row_width = panels_.row_width(panel);
    E* dz_rows[kGates];
    for (int64_t g = 0; g < kGates; ++g) {
      const auto place = panels_.place(panel, g);
      dz_rows[g] = entries_.dz(place.panel, 0) + place.offset;
    }
    for (int64_t i = 0; i < n; ++i) {
      const ActiveRow<S>& row = s.active[i];
      prefetch(i, n, unit, s);
      const T* now = row.saved + unit;
      const V a_c = V::load(row.a_c + unit);
      V h_prev, c_prev;
      if (row.before) {
        const T* before = row.before + unit;
        c_prev = V::load_n(before + 4 * units, lanes);
        const V a_c_prev = act.forward(c_prev);
        a_c_prev.store(row.a_c + unit);
        h_prev = rec.value(V::load_n(before + 3 * units, lanes)) * a_c_prev;
      } else {
        c_prev = load_or_zero(buffers_.c0, row.row * units + unit, lanes);
        h_prev = load_or_zero(buffers_.h0, row.row * units + unit, lanes);
      }
      const CellBackward<V> cell = cell_backward(
          act, rec, V::load_n(now, lanes), V::load_n(now + units, lanes),
          V::load_n(now + 2 * units, lanes), V::load_n(now + 3 * units, lanes), c_prev,
          V::load_n(now + 4 * units, lanes), a_c,
          V::load(row.dh + unit) + load_or_zero(row.dy, unit, lanes), V::load(row.dc + unit));
      cell.dc_prev.store(row.dc + unit);
      const int64_t at = row.entry * row_width;
      store_lanes(cell.dz_i, dz_rows[0] + at, gate_stride);
      store_lanes(cell.dz_f, dz_rows[1] + at, gate_stride);
      store_lanes(cell.dz_g, dz_rows[2] + at, gate_stride);
      store_lanes(cell.dz_o, dz_rows[3] + at, gate_stride);
      store_lanes(h_prev, row.state + unit, V::kWidth);
    }
  }

  // dh of the step before = dz Rᵀ, for the rows listed in the scratch. The order of the panels
  // alternates: the last ones of a step are still in the cache at the next.
  void multiply_recurrent(bool back, Range units, int64_t n, const Scratch<S>& s) {
    const auto lefts = entries_.dz_lefts(s.product);
    const int64_t panels = ceil_div(units.last - units.first, kTileVectors);
    const auto first_vector = [&](int64_t turn) {
      return units.first + (back ? panels - 1 - turn : turn) * kTileVectors;
    };
    for (int64_t turn = 0; turn < panels; ++turn) {
      const int64_t v = first_vector(turn);
      const int vectors = static_cast<int>(min(kTileVectors, units.last - v));
      if (p_.has_recurrent_dropout) {
        for (int64_t first = 0; first < n; first += kDroppedRows) {
          multiply_recurrent_dropped(v, vectors, first, min(kDroppedRows, n - first), s);
        }
        continue;
      }
      for (int64_t i = 0; i < n; ++i) s.product.out[i] = s.active[i].dh + panels_.first_unit(v);
      multiply<O>(lefts.of, lefts.count, n, recurrent_.panel(v), 0, vectors, nullptr, s.product.out,
                  recurrent_.ahead(first_vector(turn + 1), units, n));
    }
  }

  // The same where each gate has its own dropout: dh = Σ mask_g ∘ (dz_g R_gᵀ). A gate's part of a
  // pair of panels is two vectors.
  void multiply_recurrent_dropped(int64_t v, int vectors, int64_t first, int64_t rows,
                                  const Scratch<S>& s) {
    constexpr int64_t kRun = V::kWidth / kDepth<O>, kOthers = 2 * (kGates - 1) * kRun;
    const int64_t pairs = panels_.count() / 2, rest = panels_.count() % 2;
    for (int64_t g = 0; g < kGates; ++g) {
      T* out[kDroppedRows];
      for (int64_t r = 0; r < rows; ++r) {
        out[r] = s.product.results + (g * kDroppedRows + r) * kTileColumns<V>;
      }
      const auto add = [&](int64_t panel, int64_t run, int64_t runs, T* const* from) {
        const auto place = panels_.place(panel, g);
        const int64_t offset = place.offset / kDepth<O>;
        Left<O> left = entries_.dz_left(s.product.left + first, runs);
        left.offset = place.panel * left.run_stride + offset;
        left.run = run;
        left.run_stride *= 2;
        const Right<O> weights = recurrent_.panel(v, place.panel * kGates * kRun + offset);
        multiply<O>(&left, 1, rows, weights, kOthers, vectors, from, out, {});
      };
      if (pairs > 0) add(0, 2 * kRun, pairs, nullptr);
      if (rest > 0) add(panels_.count() - 1, kRun, 1, pairs > 0 ? out : nullptr);
    }
    const S* dropout = static_cast<const S*>(buffers_.recurrent_dropout);
    for (int64_t r = 0; r < rows; ++r) {
      const ActiveRow<S>& active = s.active[first + r];
      for (int64_t panel = v; panel < v + vectors; ++panel) {
        V sum(0.0);
        for (int64_t g = 0; g < kGates; ++g) {
          sum += load_lanes(dropout + batch_.dropout(g, active.row) + panels_.first_unit(panel),
                            panels_.lanes(panel)) *
                 V::load(s.product.results + (g * kDroppedRows + r) * kTileColumns<V> +
                         panels_.first_unit(panel - v));
        }
        sum.store(active.dh + panels_.first_unit(panel));
      }
    }
  }

  void finish(int group, Range units) {
    batch_.for_each_row(group, [&](int64_t row) {
      for (int64_t panel = units.first; panel < units.last; ++panel) {
        const int64_t unit = panels_.first_unit(panel), lanes = panels_.lanes(panel);
        const int64_t at = row * p_.units + unit;
        store_lanes(V::load(dh(row) + unit), static_cast<S*>(buffers_.dh0) + at, lanes);
        store_lanes(V::load(dc(row) + unit), static_cast<S*>(buffers_.dc0) + at, lanes);
      }
    });
  }

  const Problem& p_;
  const BackwardBuffers& buffers_;
  const UnitPanels<T> panels_;
  const Batch batch_;
  const Entries<S> entries_;
  const WeightGradients<S> weight_gradients_;
  const InputGradient<S> input_gradient_;
  const Transposed<S> recurrent_;
  T* dh_;                // [slot][padded units]
  T* dc_;                // [slot][padded units]
  T* a_c_;               // [slot][padded units]
  Scratch<S>* scratch_;  // [threads]
  Claims* claims_;       // [threads], of the pieces of products
  int64_t bytes_;
};

}  // namespace

int64_t backward_workspace_bytes(const Problem& problem, int threads) {
  return with_storage(problem.dtype, [&](auto element) {
    return Backward<decltype(element)>(problem, {}, threads, Arena(nullptr)).bytes();
  });
}

void backward(const Problem& problem, const BackwardBuffers& buffers, Executor& executor,
              int threads) {
  with_storage(problem.dtype, [&](auto element) {
    using Pass = Backward<decltype(element)>;
    Pass pass(problem, buffers, threads, Arena(buffers.workspace));
    run_team(
        executor, plan_team(problem, threads, kTileRows, Pass::V::kWidth),
        [](void* context, Team& team, int rank) { static_cast<Pass*>(context)->run(team, rank); },
        &pass);
  });
}

}  // namespace pylstm::cpu::PYLSTM_ISA
