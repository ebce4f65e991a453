// Backward pass. Compiled once per instruction set.
//
// Time is cut into chunks, from the end. Within a chunk the gradients of the pre-activations, dz,
// are found step by step; then dx and the weight gradients follow as large products over all the
// chunk's entries, an entry being an active (row, step). Sums run over the entries of a part of the
// batch in one fixed order, so results do not depend on the number of threads.
#include "core/cell.h"
#include "cpu/arena.h"
#include "cpu/kernels.h"
#include "cpu/panels.h"
#include "cpu/runtime_activation.h"
#include "cpu/split.h"
#include "cpu/team.h"

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
  E* state;  // h before the step, for the recurrent weight gradient
};

// Scratch of one thread.
template <class S>
struct Scratch {
  using T = Compute<S>;
  using E = Element<Operand<S>>;
  ActiveRow<S>* active;  // [B], of this step
  int64_t* latest;       // per row of the batch: its newest active step before this one, or -1
  const E** left_rows;   // [max(B, kRowBlock)], of the product at hand
  const E** last_rows;   // the same, in the last panel of dz
  T** out_rows;          // the same
  T* products;           // [kRowBlock][tile columns]
  E* lefts;              // [copies of up to kRowBlock][left stride], rows of [x | 1 | h]ᵀ
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
        parts_(sum_parts(p_, kTileRows)),
        part_capacity_(capacity_of_part()),
        capacity_(parts_ * part_capacity_) {
    const int64_t padded = panels_.padded();
    recurrent_ = arena.take<O>(panels_.count() * transposed_elements());
    if (p_.input_gradient) kernel_ = arena.take<O>(feature_vectors() * transposed_elements());
    arena.leave_page();
    const int64_t all = slots(p_, threads, kTileRows, slot_bytes());
    dh_ = arena.take<T>(all * padded);
    dc_ = arena.take<T>(all * padded);
    dz_ = arena.take<E>(capacity_ * kGates * padded);
    if constexpr (kPacksDz) {
      dz_operands_ = arena.take<O>(parts_ * part_operands() * kGates * padded);
    } else {
      dz_operands_ = dz_;
    }
    inputs_ = arena.take<E>(capacity_ * input_stride());
    states_ = arena.take<E>(capacity_ * state_stride());
    row_of_entry_ = arena.take<int64_t>(capacity_);
    x_of_entry_ = arena.take<int64_t>(capacity_);
    weights_ = arena.take<T>(parts_ * weight_elements());
    place_of_row_ = arena.take<RowPlace>(p_.batch);
    dealing_ = arena.take<int64_t>(2 * p_.batch);
    scratch_ = arena.take<Scratch<S>>(threads);
    for (int i = 0; i < threads; ++i) {
      Scratch<S> s;
      arena.leave_page();
      s.active = arena.take<ActiveRow<S>>(p_.batch);
      s.latest = arena.take<int64_t>(p_.batch);
      s.left_rows = arena.take<const E*>(max(p_.batch, kRowBlock));
      s.last_rows = arena.take<const E*>(max(p_.batch, kRowBlock));
      s.out_rows = arena.take<T*>(max(p_.batch, kRowBlock));
      s.products = arena.take<T>(kRowBlock * kTileColumns);
      s.lefts = arena.take<E>(max(kRowBlock, state_copies() * state_rows()) * left_stride());
      if (scratch_) scratch_[i] = s;
    }
    bytes_ = arena.used();
  }

  int64_t bytes() const { return bytes_; }

  void run(Team& team, int rank) {
    const Split split = choose_split(p_, team.size(), kTileRows, V::kWidth);
    const Scratch<S>& s = scratch_[rank];
    if (rank == 0) {
      deal_rows(p_, buffers_.mask, split.row_groups, parts_, slot_bytes(), place_of_row_, dealing_);
    }
    const int group = rank / split.unit_groups;
    const int member = rank % split.unit_groups;
    const bool works = rank < split.threads();
    // Each thread's rows are a part: its products are sums over what it wrote itself.
    const bool apart = team.size() == parts_ && split.row_groups == parts_;
    const auto wait_for_others = [&] {
      if (!apart) team.barrier();
    };
    const Range units{panels_.count() * member / split.unit_groups,
                      panels_.count() * (member + 1) / split.unit_groups};
    // A range's columns are packed by those who multiply by them, shared among the groups.
    if (works) pack_recurrent(units, group, split.row_groups);
    if (p_.input_gradient) pack_kernel(rank, team.size());
    team.barrier();
    if (works) begin(group, units, s);

    bool first_chunk = true;
    for (int64_t end = p_.time; end > 0; first_chunk = false) {
      const Chunk chunk = chunk_before(end);
      if (works) {
        int64_t entries[kMaxParts];
        for (int i = 0; i < parts_; ++i) entries[i] = chunk.parts[i].end();
        for (int64_t step = end; step-- > chunk.begin;) {
          const int64_t rows = run_step(step, entries, group, units, s);
          team.barrier(group, split.unit_groups);
          multiply_recurrent(step % 2, units, rows, s);
        }
      }
      wait_for_others();
      if (kPacksDz) {
        for_each_part(chunk, [&](const Part& part) { pack_dz(part, rank, team.size()); });
        wait_for_others();
      }
      for_each_part(chunk, [&](const Part& part) {
        weight_products(part, first_chunk, rank, team.size(), s);
        if (p_.input_gradient) input_products(part, rank, team.size(), s);
      });
      if (chunk.begin > 0) wait_for_others();
      end = chunk.begin;
    }
    if (works) finish(group, units);
    team.barrier();
    unpack(first_chunk, rank, team.size());
  }

 private:
  static constexpr bool kPacksDz = kDepth<O> > 1;
  static constexpr int64_t kChunkEntries = 512;
  static constexpr int64_t kRowBlock = 16 * kTileRows;  // rows of a product of a chunk at a time
  static constexpr int64_t kDroppedRows = kRowBlock / kGates;  // of one with recurrent dropout
  static constexpr int64_t kTileColumns = kTileVectors * V::kWidth;

  struct Range {
    int64_t first, last;
  };
  struct Part {  // of a chunk's entries
    int64_t index;
    int64_t begin;
    int64_t entries;
    int64_t end() const { return begin + entries; }
  };
  struct Chunk {
    int64_t begin;  // its first step
    Part parts[kMaxParts];
  };

  int64_t time_of(int64_t step) const { return p_.go_backwards ? p_.time - 1 - step : step; }
  bool active(int64_t row, int64_t step) const {
    return !buffers_.mask || buffers_.mask[row * p_.time + time_of(step)];
  }
  int64_t first_unit(int64_t panel) const { return panel * V::kWidth; }
  int64_t feature_vectors() const { return ceil_div(p_.features, V::kWidth); }
  // Strides are odd multiples of a cache line, lest entries fall into the same cache sets.
  static int64_t odd_lines(int64_t n) { return (ceil_div(n, kLine<E>) | 1) * kLine<E>; }
  int64_t state_copies() const { return p_.has_recurrent_dropout ? kGates : 1; }
  int64_t state_stride() const { return odd_lines(panels_.padded()); }
  int64_t input_rows() const { return p_.features + (p_.use_bias ? 1 : 0); }
  int64_t input_stride() const { return odd_lines(input_rows()); }
  int64_t weight_rows() const { return input_rows() + p_.units; }
  int64_t left_stride() const { return odd_lines(part_capacity_); }
  // Rows of the recurrent weight gradient at a time; all copies of them fit into the cache.
  int64_t state_rows() const { return p_.has_recurrent_dropout ? 2 * V::kWidth : kRowBlock; }
  int64_t capacity_of_part() const {
    const int64_t rows = ceil_div(p_.batch, parts_);
    return min(rows * p_.time, max(rows, kChunkEntries / parts_));
  }
  int64_t part_operands() const { return operands<O>(part_capacity_); }
  int64_t weight_elements() const { return panels_.count() * weight_rows() * panels_.kGateWidth; }
  int64_t left_copy_stride() const { return state_rows() * left_stride(); }

  int64_t slot_bytes() const { return panels_.padded() * int64_t{sizeof(T)}; }
  int64_t slot(int64_t row) const { return place_of_row_[row].slot; }
  int32_t part(int64_t row) const { return place_of_row_[row].part; }
  T* dh(int64_t row) const { return dh_ + slot(row) * panels_.padded(); }
  T* dc(int64_t row) const { return dc_ + slot(row) * panels_.padded(); }
  E* dz(int64_t panel, int64_t entry) const {
    return dz_ + panel * capacity_ * panels_.kGateWidth + entry * panels_.row_width(panel);
  }
  // A part's, with the entries as k.
  O* dz_operands(int64_t panel, int64_t part) const {
    return dz_operands_ + part_operands() * (panel * parts_ * panels_.kGateWidth +
                                             part * panels_.row_width(panel));
  }
  T* weight(int64_t part, int64_t panel, int64_t row) const {
    return weights_ + part * weight_elements() + (panel * weight_rows() + row) * panels_.kGateWidth;
  }
  const T* saved(int64_t row, int64_t step) const {
    return static_cast<const T*>(buffers_.reserve) +
           (step * p_.batch + row) * (kGates + 1) * p_.units;
  }
  static V load_or_zero(const void* tensor, int64_t at, int64_t lanes) {
    return tensor ? load_lanes(static_cast<const S*>(tensor) + at, lanes) : V(0.0);
  }

  template <class Function>
  PYLSTM_FN void for_each_row(int group, Function function) {
    for (int64_t row = 0; row < p_.batch; ++row) {
      if (place_of_row_[row].group == group) function(row);
    }
  }

  template <class Function>
  PYLSTM_FN void for_each_part(const Chunk& chunk, Function function) const {
    for (int i = 0; i < parts_; ++i) function(chunk.parts[i]);
  }

  // As many steps before `end` as the buffers hold.
  Chunk chunk_before(int64_t end) const {
    Chunk chunk{end, {}};
    for (int i = 0; i < parts_; ++i) chunk.parts[i] = {i, i * part_capacity_, 0};
    for (; chunk.begin > 0; --chunk.begin) {
      int64_t rows[kMaxParts] = {};
      bool fits = true;
      for (int64_t row = 0; row < p_.batch; ++row) rows[part(row)] += active(row, chunk.begin - 1);
      for (int i = 0; i < parts_; ++i) fits &= chunk.parts[i].entries + rows[i] <= part_capacity_;
      if (!fits) break;
      for (int i = 0; i < parts_; ++i) chunk.parts[i].entries += rows[i];
    }
    return chunk;
  }

  // A thread's even share of `all` in each part, one part after the other.
  Range share(const Part& part, int64_t all, int rank, int threads) const {
    const auto border = [&](int64_t thread) {
      return max(0, min(all, all * (parts_ * thread - part.index * threads) / threads));
    };
    return {border(rank), border(rank + 1)};
  }

  void pack_recurrent(Range units, int group, int groups) {
    int64_t index = 0;
    for (int64_t v = units.first; v < units.last; v += kTileVectors, ++index) {
      if (index % groups != group) continue;
      pack_transposed_panel(static_cast<const S*>(buffers_.recurrent_kernel), p_.units, panels_, v,
                            min(kTileVectors, units.last - v), recurrent_panel(v));
    }
  }

  void pack_kernel(int rank, int threads) {
    for (int64_t v = rank * kTileVectors; v < feature_vectors(); v += threads * kTileVectors) {
      pack_transposed_panel(static_cast<const S*>(buffers_.kernel), p_.features, panels_, v,
                            min(kTileVectors, feature_vectors() - v), kernel_panel(v));
    }
  }

  // Of a vector of columns.
  int64_t transposed_elements() const { return V::kWidth * operands<O>(kGates * panels_.padded()); }
  O* recurrent_panel(int64_t vector) const { return recurrent_ + vector * transposed_elements(); }
  O* kernel_panel(int64_t vector) const { return kernel_ + vector * transposed_elements(); }
  // A panel of what is left of the vectors, to be fetched; nothing if none are.
  Ahead<O> ahead(const O* panel, int64_t vectors_left) const {
    return {panel, max(0, min(kTileVectors, vectors_left)) * transposed_elements()};
  }

  void begin(int group, Range units, const Scratch<S>& s) {
    for_each_row(group, [&](int64_t row) {
      s.latest[row] = latest_active(row, p_.time - 1);
      for (int64_t panel = units.first; panel < units.last; ++panel) {
        const int64_t unit = first_unit(panel), lanes = panels_.lanes(panel);
        const int64_t at = row * p_.units + unit;
        load_or_zero(buffers_.dh, at, lanes).store(dh(row) + unit);
        load_or_zero(buffers_.dc, at, lanes).store(dc(row) + unit);
      }
    });
  }

  // dz of one step. `entries`: in each part one past this step's, on return their first. Returns
  // the number of rows taking part, listed in the scratch.
  int64_t run_step(int64_t step, int64_t* entries, int group, Range units, const Scratch<S>& s) {
    for (int64_t row = 0; row < p_.batch; ++row) entries[part(row)] -= active(row, step);
    int64_t next[kMaxParts];
    for (int i = 0; i < parts_; ++i) next[i] = entries[i];
    int64_t n = 0;
    for (int64_t row = 0; row < p_.batch; ++row) {
      const bool is_active = active(row, step);
      int64_t& at = next[part(row)];
      if (place_of_row_[row].group == group) {
        if (is_active) {
          s.left_rows[n] = dz(0, at);
          s.last_rows[n] = dz(panels_.count() - 1, at);
          s.latest[row] = latest_active(row, step - 1);
          s.active[n] = active_row(row, step, at, s.latest[row]);
          if (units.first == 0) copy_input(row, step, at);
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
    while (step >= 0 && !active(row, step)) --step;
    return step;
  }

  void copy_input(int64_t row, int64_t step, int64_t entry) {
    const int64_t x = row * p_.time + time_of(step);
    E* to = inputs_ + entry * input_stride();
    convert_row(static_cast<const S*>(buffers_.x) + x * p_.features, p_.features, to);
    if (p_.use_bias) narrow(T(1), to + p_.features);
    row_of_entry_[entry] = row;
    x_of_entry_[entry] = x;
  }

  // A masked step: its output was that of the latest active one, which is the h carried back.
  void skip(int64_t row, int64_t step, Range units, const Scratch<S>& s) {
    const bool repeats = !p_.zero_output_for_mask && s.latest[row] >= 0;
    for (int64_t panel = units.first; repeats && panel < units.last; ++panel) {
      const int64_t unit = first_unit(panel);
      (V::load(dh(row) + unit) +
       load_or_zero(output_gradient(row, step), unit, panels_.lanes(panel)))
          .store(dh(row) + unit);
    }
    if (units.first != 0 || !p_.input_gradient) return;
    S* dx = static_cast<S*>(buffers_.dx) + (row * p_.time + time_of(step)) * p_.features;
    for (int64_t f = 0; f < p_.features; ++f) narrow(T(0), dx + f);
  }

  // Null: zeros.
  const S* output_gradient(int64_t row, int64_t step) const {
    const S* dy = static_cast<const S*>(buffers_.dy);
    if (!dy) return nullptr;
    if (p_.return_sequences) return dy + (row * p_.time + step) * p_.units;
    return step == p_.time - 1 ? dy + row * p_.units : nullptr;
  }

  ActiveRow<S> active_row(int64_t row, int64_t step, int64_t entry, int64_t latest) const {
    return {row,
            entry,
            saved(row, step),
            latest >= 0 ? saved(row, latest) : nullptr,
            output_gradient(row, step),
            dh(row),
            dc(row),
            states_ + entry * state_stride()};
  }

  // What row `i` of a later turn will read, which the hardware does not foresee: strides that go
  // back in time, and of many rows that long. Of few it is what the next step, which is two
  // earlier, will read; of many that would be gone by then, so it is what comes some rows later.
  // Where there is no such step, nothing comes of it.
  PYLSTM_FN void prefetch(int64_t i, int64_t n, int64_t unit, const Scratch<S>& s) const {
    const bool many = n > kRowBlock;
    const ActiveRow<S>& row = s.active[many ? min(i + kTileRows, n - 1) : i];
    if (!row.before) return;
    const int64_t earlier = many ? 0 : 1;
    const T* before = row.before - earlier * p_.batch * (kGates + 1) * p_.units + unit;
    for (int64_t j = 0; j <= kGates; ++j) __builtin_prefetch(before + j * p_.units);
    if (row.dy) __builtin_prefetch(row.dy - 2 * earlier * p_.units + unit);
  }

  // A function of its own, for that leaves its loop more registers.
  template <class Act, class Rec>
  __attribute__((noinline)) void apply_gates(const Act& act, const Rec& rec, int64_t panel,
                                             int64_t n, const Scratch<S>& s) {
    const int64_t unit = first_unit(panel), lanes = panels_.lanes(panel);
    const int64_t units = p_.units, gate_stride = panels_.gate_stride(panel);
    const int64_t row_width = panels_.row_width(panel);
    E* dz_rows[kGates];
    for (int64_t g = 0; g < kGates; ++g) {
      const auto place = panels_.place(panel, g);
      dz_rows[g] = dz(place.panel, 0) + place.offset;
    }
    for (int64_t i = 0; i < n; ++i) {
      const ActiveRow<S>& row = s.active[i];
      prefetch(i, n, unit, s);
      const T* now = row.saved + unit;
      V h_prev, c_prev;
      if (row.before) {
        const T* before = row.before + unit;
        c_prev = V::load_n(before + 4 * units, lanes);
        h_prev = rec.value(V::load_n(before + 3 * units, lanes)) * act.forward(c_prev);
      } else {
        c_prev = load_or_zero(buffers_.c0, row.row * units + unit, lanes);
        h_prev = load_or_zero(buffers_.h0, row.row * units + unit, lanes);
      }
      const CellBackward<V> cell = cell_backward(
          act, rec, V::load_n(now, lanes), V::load_n(now + units, lanes),
          V::load_n(now + 2 * units, lanes), V::load_n(now + 3 * units, lanes), c_prev,
          V::load_n(now + 4 * units, lanes),
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

  V dropout(int64_t gate, int64_t row, int64_t unit, int64_t lanes) const {
    return load_lanes(static_cast<const S*>(buffers_.recurrent_dropout) +
                          (gate * p_.batch + row) * p_.units + unit,
                      lanes);
  }

  // dh of the step before = dz Rᵀ, for the rows listed in the scratch. There and back: the last
  // panels of a step are still in the cache at the next.
  void multiply_recurrent(bool back, Range units, int64_t n, const Scratch<S>& s) {
    const DzLefts lefts = dz_lefts(s);
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
      for (int64_t i = 0; i < n; ++i) s.out_rows[i] = s.active[i].dh + first_unit(v);
      Ahead<O> then;
      if (turn + 1 < panels) {
        const int64_t next = first_vector(turn + 1);
        then = ahead(recurrent_panel(next), units.last - next);
      }
      multiply<O>(lefts.of, lefts.count, n, recurrent_panel(v), 0, vectors, nullptr, s.out_rows,
                  then);
    }
  }

  // Rows of dz, all gates, in the first `panels` panels.
  Left<O> dz_left(const E* const* rows, int64_t panels) const {
    constexpr int64_t kRun = panels_.kGateWidth / kDepth<O>;
    return {rows, kRun, panels, capacity_ * kRun};
  }

  // The same in all panels: a last one that is narrower has rows of its own.
  struct DzLefts {
    Left<O> of[kMaxLefts];
    int count = 0;
  };
  DzLefts dz_lefts(const Scratch<S>& s) const {
    const int64_t last = panels_.count() - 1;
    const bool narrower = panels_.gate_stride(last) < V::kWidth;
    const int64_t alike = panels_.count() - narrower;
    DzLefts lefts;
    // Without any units, too: the sum of nothing is 0.
    if (alike > 0 || !narrower) lefts.of[lefts.count++] = dz_left(s.left_rows, alike);
    if (narrower) {
      const int64_t run = operands<O>(kGates * panels_.gate_stride(last));
      lefts.of[lefts.count++] = {s.last_rows, run, 1};
    }
    return lefts;
  }

  // The same where each gate has its own dropout: dh = Σ mask_g ∘ (dz_g R_gᵀ). A gate's part of a
  // pair of panels is two vectors.
  void multiply_recurrent_dropped(int64_t v, int vectors, int64_t first, int64_t rows,
                                  const Scratch<S>& s) {
    constexpr int64_t kRun = V::kWidth / kDepth<O>;
    const int64_t others = 2 * (kGates - 1) * kRun * vectors * V::kWidth;
    const int64_t panel_stride = capacity_ * kGates * kRun;
    const int64_t pairs = panels_.count() / 2, rest = panels_.count() % 2;
    for (int64_t g = 0; g < kGates; ++g) {
      T* out[kDroppedRows];
      for (int64_t r = 0; r < rows; ++r) {
        out[r] = s.products + (g * kDroppedRows + r) * kTileColumns;
      }
      const auto add = [&](int64_t panel, int64_t run, int64_t runs, T* const* from) {
        const auto place = panels_.place(panel, g);
        const int64_t offset = place.offset / kDepth<O>;
        Left<O> left{s.left_rows + first, run, runs, 2 * panel_stride};
        left.offset = place.panel * panel_stride + offset;
        const O* weights =
            recurrent_panel(v) + (place.panel * kGates * kRun + offset) * vectors * V::kWidth;
        multiply<O>(&left, 1, rows, weights, others, vectors, from, out, {});
      };
      if (pairs > 0) add(0, 2 * kRun, pairs, nullptr);
      if (rest > 0) add(panels_.count() - 1, kRun, 1, pairs > 0 ? out : nullptr);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const ActiveRow<S>& active = s.active[first + r];
      for (int64_t panel = v; panel < v + vectors; ++panel) {
        V sum(0.0);
        for (int64_t g = 0; g < kGates; ++g) {
          sum +=
              dropout(g, active.row, first_unit(panel), panels_.lanes(panel)) *
              V::load(s.products + (g * kDroppedRows + r) * kTileColumns + first_unit(panel - v));
        }
        sum.store(active.dh + first_unit(panel));
      }
    }
  }

  void pack_dz(const Part& part, int rank, int threads) {
    const Range panels = share(part, panels_.count(), rank, threads);
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
      pack_rows(dz(panel, part.begin), part.entries, panels_.row_width(panel),
                dz_operands(panel, part.index));
    }
  }

  // [x | 1 | h]ᵀ dz, added up over the chunks, a block of rows after the other for many panels: the
  // block is first laid out along the entries. Shared among the threads are rows × panels.
  void weight_products(const Part& part, bool first_chunk, int rank, int threads,
                       const Scratch<S>& s) {
    const Range mine = share(part, weight_rows() * panels_.count(), rank, threads);
    const auto panels_of = [&](int64_t first_row, int64_t n) -> Range {
      const auto panel = [&](int64_t share) {
        return min(panels_.count(), ceil_div(max(0, share - first_row * panels_.count()), n));
      };
      return {panel(mine.first), panel(mine.last)};
    };
    for (int64_t first = 0; first < input_rows(); first += kRowBlock) {
      const int64_t n = min(kRowBlock, input_rows() - first);
      const Range panels = panels_of(first, n);
      if (panels.first == panels.last) continue;
      transpose_entries(part, n, s.lefts, [&](int64_t entry, int64_t column) {
        return load_lanes(inputs_ + entry * input_stride() + first + column, V::kWidth);
      });
      weight_block(part, panels, first, n, 0, first_chunk, s);
    }
    for (int64_t first = 0; first < p_.units; first += state_rows()) {
      const int64_t n = min(state_rows(), p_.units - first);
      const Range panels = panels_of(input_rows() + first, n);
      if (panels.first == panels.last) continue;
      for (int64_t copy = 0; copy < state_copies(); ++copy) {
        transpose_entries(
            part, n, s.lefts + copy * left_copy_stride(), [&](int64_t entry, int64_t column) {
              const int64_t unit = first + column;
              const V state = load_lanes(states_ + entry * state_stride() + unit, V::kWidth);
              if (!p_.has_recurrent_dropout) return state;
              const int64_t lanes = panels_.lanes(unit / V::kWidth);
              return state * dropout(copy, row_of_entry_[entry], unit, lanes);
            });
      }
      weight_block(part, panels, input_rows() + first, n,
                   p_.has_recurrent_dropout ? left_copy_stride() : 0, first_chunk, s);
    }
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

  void weight_block(const Part& part, Range panels, int64_t first, int64_t n, int64_t copy_stride,
                    bool first_chunk, const Scratch<S>& s) {
    const int64_t entries = operands<O>(part.entries);
    for (int64_t i = 0; i < n; ++i) s.left_rows[i] = s.lefts + i * left_stride();
    Left<O> left{s.left_rows, entries, 1, 0, operands<O>(copy_stride)};
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
      left.offset = panels_.vector(panel, 0).gate * left.copy_stride;
      for (int64_t i = 0; i < n; ++i) s.out_rows[i] = weight(part.index, panel, first + i);
      Ahead<O> then;
      if (panel + 1 < panels.last) {
        then = {dz_operands(panel + 1, part.index), entries * panels_.row_width(panel + 1)};
      }
      multiply<O>(&left, 1, n, dz_operands(panel, part.index), 0, panels_.vectors(panel),
                  first_chunk ? nullptr : s.out_rows, s.out_rows, then, panels_.shared(panel));
    }
  }

  // dx = dz Wᵀ, a block of entries after the other for all panels. Shared among the threads are
  // panels × entries.
  void input_products(const Part& part, int rank, int threads, const Scratch<S>& s) {
    const DzLefts lefts = dz_lefts(s);
    const int64_t panels = ceil_div(feature_vectors(), kTileVectors);
    const Range mine = share(part, panels * part.entries, rank, threads);
    for (int64_t at = mine.first, n; at < mine.last; at += n) {
      const int64_t block = at / (kRowBlock * panels) * kRowBlock;
      const int64_t rows = min(kRowBlock, part.entries - block), in_block = at - block * panels;
      const int64_t first = part.begin + block + in_block % rows;
      const int64_t v = in_block / rows * kTileVectors;
      n = min(part.begin + block + rows - first, mine.last - at);
      for (int64_t i = 0; i < n; ++i) {
        s.left_rows[i] = dz(0, first + i);
        s.last_rows[i] = dz(panels_.count() - 1, first + i);
        s.out_rows[i] = s.products + i * kTileColumns;
      }
      const int vectors = static_cast<int>(min(kTileVectors, feature_vectors() - v));
      const int64_t columns = min(vectors * V::kWidth, p_.features - v * V::kWidth);
      const int64_t next = v + kTileVectors;
      multiply<O>(lefts.of, lefts.count, n, kernel_panel(v), 0, vectors, nullptr, s.out_rows,
                  ahead(kernel_panel(next), feature_vectors() - next));
      for (int64_t i = 0; i < n; ++i) {
        S* dx = static_cast<S*>(buffers_.dx) + x_of_entry_[first + i] * p_.features;
        convert_row(s.out_rows[i], columns, dx + v * V::kWidth);
      }
    }
  }

  void finish(int group, Range units) {
    for_each_row(group, [&](int64_t row) {
      for (int64_t panel = units.first; panel < units.last; ++panel) {
        const int64_t unit = first_unit(panel), lanes = panels_.lanes(panel);
        const int64_t at = row * p_.units + unit;
        store_lanes(V::load(dh(row) + unit), static_cast<S*>(buffers_.dh0) + at, lanes);
        store_lanes(V::load(dc(row) + unit), static_cast<S*>(buffers_.dc0) + at, lanes);
      }
    });
  }

  // To the first part's gradients of a row of weights.
  void add_parts(int64_t row) {
    for (int64_t part = 1; part < parts_; ++part) {
      for (int64_t panel = 0; panel < panels_.count(); ++panel) {
        T* sum = weight(0, panel, row);
        const T* other = weight(part, panel, row);
        for (int64_t i = 0; i < panels_.row_width(panel); i += V::kWidth) {
          (V::load(sum + i) + V::load(other + i)).store(sum + i);
        }
      }
    }
  }

  // The weight gradients in Keras' layout; zeros where no chunk has run.
  void unpack(bool no_chunks, int rank, int threads) {
    for (int64_t row = rank; row < weight_rows(); row += threads) {
      const int64_t length = kGates * p_.units;
      S* to = row < p_.features ? static_cast<S*>(buffers_.dkernel) + row * length
              : row < input_rows()
                  ? static_cast<S*>(buffers_.dbias)
                  : static_cast<S*>(buffers_.drecurrent_kernel) + (row - input_rows()) * length;
      if (no_chunks) {
        for (int64_t i = 0; i < length; ++i) narrow(T(0), to + i);
      } else {
        add_parts(row);
        unpack_gate_row(weight(0, 0, row), weight_rows(), panels_, to);
      }
    }
  }

  const Problem& p_;
  const BackwardBuffers& buffers_;
  const UnitPanels<T> panels_;
  const int64_t parts_;  // of the batch, each with weight gradients of its own
  const int64_t part_capacity_;
  const int64_t capacity_;  // entries of a chunk, part after part
  O* recurrent_;            // Rᵀ, panels of up to 4 vectors of units
  O* kernel_ = nullptr;     // Wᵀ, panels of up to 4 vectors of features, where dx is wanted
  T* dh_;                   // [slot][padded units]
  T* dc_;                   // [slot][padded units]
  E* dz_;                   // [panel][entry][gate][width]
  O* dz_operands_;          // [panel][part][operands of the entries][gate][width]
  E* inputs_;               // [entry][x | 1]
  E* states_;               // [entry][h before the step]
  int64_t* row_of_entry_;   // of the batch, lest x_of_entry_ be divided for it
  int64_t* x_of_entry_;     // (row, time) as an index into x's rows
  T* weights_;              // [part][panel][x | 1 | h][gate][width], gradients
  RowPlace* place_of_row_;
  int64_t* dealing_;     // scratch of `deal_rows`
  Scratch<S>* scratch_;  // [threads]
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
        executor, threads, wakes_threads(problem), microseconds(problem),
        [](void* context, Team& team, int rank) { static_cast<Pass*>(context)->run(team, rank); },
        &pass);
  });
}

}  // namespace pylstm::cpu::PYLSTM_ISA
