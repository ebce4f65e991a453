// Forward pass. Compiled once per instruction set.
#include <atomic>

#include "core/cell.h"
#include "cpu/arena.h"
#include "cpu/kernels.h"
#include "cpu/lstm.h"
#include "cpu/panels.h"
#include "cpu/runtime_activation.h"
#include "cpu/split.h"
#include "cpu/stream.h"
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

// Scratch of one thread, for up to B rows, or `kStepRows` of them, or the entries of x W + b.
template <class S>
struct Scratch {
  using T = Compute<S>;
  using E = Element<Operand<S>>;
  ActiveRow<S>* active;  // of this step
  uint8_t* current;      // per row of the batch: which of its two h is the newest
  uint8_t* started;      // per row: an active step has been
  const E** x_rows;
  const E** h_rows;
  const T** from_rows;  // what z starts from: the bias, or x W + b
  T** z_rows;
  T** part_rows;  // the rows of `parts_` of the active rows, when streaming
  T* z;           // [kStepRows][gate][width], pre-activations of the panels computed together; all
                  // when streaming
  E* x;           // [rows][F], only where x needs conversion
  T* projected;   // of its group, [panel][entry][gate][width]: x W + b of the next steps' rows
  int64_t projected_entries;
  Operand<S>* block;  // [k][gate][width], a block of W in one panel, where W is not packed whole
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
        streams_(problem.batch * problem.time <= kStreamEntries),
        projects_(problem.features > 0 &&
                  (streams_ ? problem.time > 1 : has_few_rows(problem, threads))),
        packs_blocks_(projects_ && !keeps_weights),
        packed_already_(packed.ready),
        call_(call),
        weights_(static_cast<O*>(packed.memory)) {
    const int64_t padded = panels_.padded();
    if (!streams_ && !keeps_weights) weights_ = arena.take<O>(weight_elements());
    bias_ = arena.take<T>(panels_.count() * panels_.kGateWidth);
    arena.leave_page();
    const int64_t all = slots(p_, threads, kTileRows, slot_bytes());
    h_ = arena.take<E>(all * 2 * padded);
    c_ = arena.take<T>(all * padded);
    if (p_.has_recurrent_dropout) {
      dropout_ = arena.take<T>(all * kGates * padded);
      dropped_h_ = arena.take<E>(all * 2 * kGates * padded);
    }
    if (streams_) parts_ = arena.take<T>(p_.batch * part_count() * part_stride());
    if (projects_) {
      const int64_t groups = most_groups(p_, threads, kTileRows);
      // Each has room for its rows, of which some have one more than others.
      projected_entries_ = p_.batch + groups + min(p_.batch * p_.time, groups * kProjectedEntries);
      projected_ = arena.take<T>(panels_.count() * projected_entries_ * panels_.kGateWidth);
    }
    place_of_row_ = arena.take<RowPlace>(p_.batch);
    dealing_ = arena.take<int64_t>(2 * p_.batch);
    scratch_ = arena.take<Scratch<S>>(threads);
    for (int i = 0; i < threads; ++i) {
      Scratch<S> s;
      arena.leave_page();
      s.active = arena.take<ActiveRow<S>>(p_.batch);
      s.current = arena.take<uint8_t>(p_.batch);
      s.started = arena.take<uint8_t>(p_.batch);
      s.x_rows = arena.take<const E*>(entry_capacity());
      s.h_rows = arena.take<const E*>(p_.batch);
      const int64_t rows = min(p_.batch, kStepRows);
      s.from_rows = arena.take<const T*>(max(rows, projected_capacity()));
      s.z_rows = arena.take<T*>(max(rows * panels_.together(), projected_capacity()));
      s.part_rows = arena.take<T*>(streams_ ? p_.batch : 0);
      s.z = arena.take<T>(rows * (streams_ ? panels_.count() : panels_.together()) *
                          panels_.kGateWidth);
      s.x = reads_x_in_place() ? nullptr : arena.take<E>(entry_capacity() * x_stride());
      s.projected = nullptr;
      s.projected_entries = 0;
      s.block = packs_blocks_ ? arena.take<O>(kLargestBlock * panels_.kGateWidth) : nullptr;
      if (scratch_) scratch_[i] = s;
    }
    bytes_ = arena.used();
  }

  int64_t bytes() const { return bytes_; }
  int64_t packed_weights_bytes() const {
    return streams_ || panels_.paired ? 0 : weight_elements() * int64_t{sizeof(O)};
  }

  void run(Team& team, int rank) {
    const Split split = choose_split(p_, team.size(), kTileRows, V::kWidth);
    if (rank == 0) {
      deal_rows(p_, buffers_.mask, split.row_groups, 1, slot_bytes(), place_of_row_, dealing_);
    }
    pack({panels_.count() * rank / team.size(), panels_.count() * (rank + 1) / team.size()});
    const int group = rank / split.unit_groups;
    const int member = rank % split.unit_groups;
    const bool works = rank < split.threads();
    const Range units = this->units(member, member + 1, split.unit_groups);
    const Share share{team, group, member, split.unit_groups, units};
    Scratch<S> s = scratch_[rank];
    if (projects_) {
      const int64_t first = projected_entries_ * group / split.row_groups;
      const int64_t end = projected_entries_ * (group + 1) / split.row_groups;
      s.projected = projected_ + first * panels_.count() * panels_.kGateWidth;
      s.projected_entries = end - first;
    }
    team.barrier();  // weights, place_of_row_
    if (!works) return;
    begin(group, units, s);
    for (int64_t step = 0, ready = 0, entry = 0; step < p_.time; ++step) {
      if (projects_ && step == ready) {
        ready = project(step, group, units, s);
        entry = 0;
      }
      team.barrier(group, split.unit_groups);  // h
      entry += run_step(step, projects_ ? entry : kNotProjected, share, s);
    }
    end(group, units, s);
  }

 private:
  // With at most so many (row, step), R is read where it lies.
  static constexpr int64_t kStreamEntries = 8;
  // Up to so many bytes of weights, threads that share rows then take parts of k instead of units,
  // to read longer runs of them. Of more, which the caches do not hold, shorter runs come sooner.
  static constexpr int64_t kSharedBytes = 8 << 20;
  // With at most so many rows to a step, x W comes first for several steps: W is read less often.
  static constexpr int64_t kProjectRows = 3 * kTileRows;
  static constexpr int64_t kProjectedEntries = 72 * kTileRows;
  static constexpr int64_t kNotProjected = -1;
  // So many rows of a step at a time: what is computed of them stays in the cache.
  static constexpr int64_t kStepRows = 16 * kTileRows;

  struct Range {  // of panels
    int64_t first, last;
  };

  // A thread's part of the work: some units of the rows of a group, which it shares with others.
  struct Share {
    Team& team;
    int group, member, members;
    Range units;
  };

  Range units(int first, int last, int members) const {
    return {panels_.begin(first, members), panels_.begin(last, members)};
  }
  int64_t time_of(int64_t step) const { return p_.go_backwards ? p_.time - 1 - step : step; }
  bool active(int64_t row, int64_t step) const {
    return !buffers_.mask || buffers_.mask[row * p_.time + time_of(step)];
  }
  // Only where x W is a sum of its own in any case, lest results depend on the number of threads.
  static bool has_few_rows(const Problem& p, int threads) {
    const Split split = choose_split(p, threads, kTileRows, V::kWidth);
    return fills_block(operands<O>(p.features)) &&
           ceil_div(p.batch, split.row_groups) <= kProjectRows;
  }
  int64_t entry_capacity() const { return max(p_.batch, projected_capacity()); }
  int64_t projected_capacity() const {
    return projects_ ? max(p_.batch, min(p_.batch * p_.time, kProjectedEntries)) : 0;
  }

  // Its rows are whole operands then.
  bool reads_x_in_place() const { return sizeof(S) == sizeof(E) && p_.features % kDepth<O> == 0; }
  int64_t x_stride() const { return operands<O>(p_.features) * kDepth<O>; }
  int64_t packed_features() const { return packs_blocks_ ? 0 : p_.features; }
  int64_t panel_elements() const {
    return (operands<O>(packed_features()) + operands<O>(p_.units)) * panels_.kGateWidth;
  }
  int64_t weight_elements() const { return panels_.count() * panel_elements(); }
  // A panel of the weights, from operand `row` on; R comes behind W.
  O* weights(int64_t panel, int64_t row) const {
    return weights_ + panel * panel_elements() + row * panels_.row_width(panel);
  }
  int64_t first_unit(int64_t panel) const { return panel * V::kWidth; }
  // Of the smallest array of states.
  int64_t slot_bytes() const { return panels_.padded() * int64_t{sizeof(T)}; }
  int64_t slot(int64_t row) const { return place_of_row_[row].slot; }
  E* h(int64_t row, int which) const { return h_ + (slot(row) * 2 + which) * panels_.padded(); }
  T* c(int64_t row) const { return c_ + slot(row) * panels_.padded(); }
  // By the problem alone, so that sums do not depend on the number of threads.
  int part_count() const {
    return (p_.features + p_.units) * kGates * p_.units * int64_t{sizeof(S)} <= kSharedBytes ? 2
                                                                                             : 1;
  }
  int64_t part_stride() const { return ceil_div(kGates * p_.units, V::kWidth) * V::kWidth; }
  // [gate][padded units]
  T* dropout(int64_t row) const { return dropout_ + slot(row) * kGates * panels_.padded(); }
  E* dropped_h(int64_t row, int which) const {
    return dropped_h_ + (slot(row) * 2 + which) * kGates * panels_.padded();
  }

  void pack(Range panels) {
    if (!streams_ && !packed_already_) {
      pack_matrix(static_cast<const S*>(buffers_.kernel), packed_features(), panels, 0);
      pack_matrix(static_cast<const S*>(buffers_.recurrent_kernel), p_.units, panels,
                  operands<O>(packed_features()));
    }
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
      T* bias = bias_ + panel * panels_.kGateWidth;
      if (buffers_.bias) {
        pack_gate_panel(static_cast<const S*>(buffers_.bias), 1, panels_, panel, bias);
      } else {
        for (int64_t i = 0; i < panels_.kGateWidth; ++i) bias[i] = T(0);
      }
    }
  }

  // A few rows at a time for all panels, so that the matrix is read along its rows. They come
  // behind `before` operands of each panel.
  void pack_matrix(const S* matrix, int64_t k, Range panels, int64_t before) {
    constexpr int64_t kRows = 16;
    for (int64_t row = 0; row < k; row += kRows) {
      for (int64_t panel = panels.first; panel < panels.last; ++panel) {
        pack_gate_panel(matrix + row * kGates * p_.units, min(kRows, k - row), panels_, panel,
                        weights(panel, before + operands<O>(row)));
      }
    }
  }

  template <class Function>
  PYLSTM_FN void for_each_row(int group, Function function) {
    for (int64_t row = 0; row < p_.batch; ++row) {
      if (place_of_row_[row].group == group) function(row);
    }
  }

  void begin(int group, Range units, const Scratch<S>& s) {
    const S* h0 = static_cast<const S*>(buffers_.h0);
    const S* c0 = static_cast<const S*>(buffers_.c0);
    const S* masks = static_cast<const S*>(buffers_.recurrent_dropout);
    for_each_row(group, [&](int64_t row) {
      s.current[row] = 0;
      s.started[row] = 0;
      for (int64_t panel = units.first; panel < units.last; ++panel) {
        const int64_t unit = first_unit(panel), lanes = panels_.lanes(panel);
        const V state = load_lanes(h0 + row * p_.units + unit, lanes);
        for (int which = 0; which < 2; ++which) store_lanes(state, h(row, which) + unit, V::kWidth);
        load_lanes(c0 + row * p_.units + unit, lanes).store(c(row) + unit);
        if (!masks) continue;
        for (int64_t g = 0; g < kGates; ++g) {
          const V mask = load_lanes(masks + (g * p_.batch + row) * p_.units + unit, lanes);
          mask.store(dropout(row) + g * panels_.padded() + unit);
          for (int which = 0; which < 2; ++which) {
            store_lanes(state * mask, dropped_h(row, which) + g * panels_.padded() + unit,
                        V::kWidth);
          }
        }
      }
    });
  }

  // The row of x at a step, converted into place `at` of the scratch where it has to be.
  const E* input(int64_t row, int64_t step, int64_t at, const Scratch<S>& s) const {
    const S* x = static_cast<const S*>(buffers_.x) + (row * p_.time + time_of(step)) * p_.features;
    if constexpr (sizeof(S) == sizeof(E)) {
      if (reads_x_in_place()) return x;
    }
    E* to = s.x + at * x_stride();
    convert_row(x, p_.features, to);
    for (int64_t f = p_.features; f < x_stride(); ++f) narrow(T(0), to + f);
    return to;
  }

  // x W + b for the active rows from `step` on, as many steps as fit; returns the step after them.
  int64_t project(int64_t step, int group, Range units, const Scratch<S>& s) {
    int64_t entries = 0;
    for (; step < p_.time; ++step) {
      int64_t n = 0;
      for_each_row(group, [&](int64_t row) { n += active(row, step); });
      if (entries + n > min(s.projected_entries, projected_capacity())) break;
      for_each_row(group, [&](int64_t row) {
        if (!active(row, step)) return;
        s.x_rows[entries] = input(row, step, entries, s);
        ++entries;
      });
    }
    // A block of W stays in the cache for all entries.
    const Left<O> left{s.x_rows, operands<O>(p_.features), 1};
    for (int64_t k = 0, count; k < left.run; k += count) {
      count = next_block(left.run - k);
      const Left<O> part = left.slice(k, count);
      const int64_t first = k * kDepth<O>, rows = min(count * kDepth<O>, p_.features - first);
      for (int64_t panel = units.first; panel < units.last; ++panel) {
        const O* block = packs_blocks_ ? s.block : weights(panel, k);
        if (packs_blocks_) {
          pack_gate_panel(static_cast<const S*>(buffers_.kernel) + first * kGates * p_.units, rows,
                          panels_, panel, s.block);
        }
        for (int64_t i = 0; i < entries; ++i) {
          s.z_rows[i] = projected(panel, i, s);
          s.from_rows[i] = k == 0 ? bias_ + panel * panels_.kGateWidth : s.z_rows[i];
        }
        multiply<O>(&part, 1, entries, block, 0, panels_.vectors(panel), s.from_rows, s.z_rows,
                    packs_blocks_ ? Ahead<O>{} : ahead(panel + 1, units, k, count));
      }
    }
    return step;
  }

  // Operands `k` to `k + count` of a panel, to be fetched; nothing if there is no such panel.
  Ahead<O> ahead(int64_t panel, Range units, int64_t k, int64_t count) const {
    if (panel < units.first || panel >= units.last) return {};
    return {weights(panel, k), count * panels_.row_width(panel)};
  }

  T* projected(int64_t panel, int64_t entry, const Scratch<S>& s) const {
    return s.projected + (panel * s.projected_entries + entry) * panels_.kGateWidth;
  }

  // What a row's z starts from in a panel: x W + b, or b.
  const T* start(int64_t panel, int64_t entry, int64_t i, const Scratch<S>& s) const {
    return entry == kNotProjected ? bias_ + panel * panels_.kGateWidth
                                  : projected(panel, entry + i, s);
  }

  // One step of a group's rows; `entry` is the place of the first in `projected`. Returns how many
  // rows are active.
  int64_t run_step(int64_t step, int64_t entry, const Share& share, const Scratch<S>& s) {
    int64_t n = 0;
    for_each_row(share.group, [&](int64_t row) {
      if (!active(row, step)) {
        repeat_output(step, row, share.units, s);
        return;
      }
      if (entry == kNotProjected) s.x_rows[n] = input(row, step, n, s);
      s.h_rows[n] = dropout_ ? dropped_h(row, s.current[row]) : h(row, s.current[row]);
      if (streams_) s.part_rows[n] = parts_ + row * part_count() * part_stride();
      s.current[row] ^= 1;
      s.started[row] = 1;
      s.active[n++] = active_row(row, step, s.current[row]);
    });
    Scratch<S> part = s;
    for (int64_t first = 0, block = step; first < n; first += kStepRows, ++block) {
      part.active = s.active + first;
      part.x_rows = s.x_rows + first;
      part.h_rows = s.h_rows + first;
      run_rows(block % 2, share, entry == kNotProjected ? entry : entry + first,
               min(kStepRows, n - first), part);
    }
    return n;
  }

  // A step of the n rows listed in the scratch.
  void run_rows(bool back, const Share& share, int64_t entry, int64_t n, const Scratch<S>& s) {
    const Range units = share.units;
    if (streams_) {
      stream((call_ + back) % 2, share, entry, n, s);
      share.team.barrier(share.group, share.members);
      add_parts(units, entry, n, s);
    }
    const int64_t together = panels_.together(), last_group = (units.last - 1) & -together;
    for (int64_t at = units.first; at < units.last; at += together) {
      // There and back: the last panels of some rows are still in the cache for the next.
      const int64_t first = back ? units.first + last_group - at : at;
      const int64_t last = min(first + together, units.last);
      for (int64_t panel = first; !streams_ && panel < last; ++panel) {
        const int64_t then = panel + 1 < last ? panel + 1 : back ? first - together : last;
        multiply_panel(panel, then, units, panel - first, entry, n, s);
      }
      for (int64_t panel = first; panel < last; ++panel) {
        with_activations<T>(p_, [&](const auto& act, const auto& rec) {
          apply_gates(act, rec, panel, units, n, s);
        });
      }
    }
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
    const int64_t k = skips_x ? operands<O>(packed_features()) : 0;
    const int64_t all = operands<O>(packed_features()) + operands<O>(p_.units);
    multiply<O>(lefts + skips_x, kMaxLefts - skips_x, n, weights(panel, k), 0,
                panels_.vectors(panel), s.from_rows, z_rows, ahead(then, units, k, all - k),
                panels_.shared(panel));
  }

  // This thread's share of x W + h R, with the weights where they lie. The last gates of a step are
  // still in the cache at the next, of a next call, too: those are taken first then.
  void stream(bool back, const Share& share, int64_t entry, int64_t n, const Scratch<S>& s) {
    const int parts = part_count();
    for (int turn = 0; turn < parts; ++turn) {
      const int part = back ? parts - 1 - turn : turn;
      const auto begin = [&](int member) {  // of the member's units in the part, in members' units
        const int at = parts * member - part * share.members;
        return at < 0 ? 0 : at < share.members ? at : share.members;
      };
      const Range units = this->units(begin(share.member), begin(share.member + 1), share.members);
      if (units.first < units.last) stream_part(part, back, units, entry, n, s);
    }
  }

  // Summed in z, [row][gate][units of the range], which no other core fetches, then copied.
  void stream_part(int part, bool back, Range units, int64_t entry, int64_t n,
                   const Scratch<S>& s) {
    const int64_t first = first_unit(units.first);
    const int64_t columns = min(first_unit(units.last), p_.units) - first;
    const int64_t z_stride = this->z_stride(units.first, units);
    for (int64_t i = 0; i < n; ++i) {
      s.z_rows[i] = s.z + i * kGates * z_stride;
      for (int64_t j = 0; j < kGates * z_stride; j += V::kWidth) V(0.0).store(s.z_rows[i] + j);
    }
    for (int64_t turn = 0; turn < kGates; ++turn) {
      const int64_t g = back ? kGates - 1 - turn : turn;
      const auto add = [&](const E* const* left, int64_t offset, int64_t k, const void* matrix) {
        const int64_t blocks = ceil_div(k, kStreamBlock);
        const int64_t begin = blocks * part / part_count() * kStreamBlock;
        const int64_t end = min(k, blocks * (part + 1) / part_count() * kStreamBlock);
        stream_product(left, offset + begin, n, end - begin,
                       static_cast<const S*>(matrix) + (begin * kGates + g) * p_.units + first,
                       kGates * p_.units, columns, s.z_rows, g * z_stride);
      };
      if (entry == kNotProjected) add(s.x_rows, 0, p_.features, buffers_.kernel);
      add(s.h_rows, dropout_ ? g * panels_.padded() : 0, p_.units, buffers_.recurrent_kernel);
    }
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t g = 0; g < kGates; ++g) {
        T* to = s.part_rows[i] + part * part_stride() + g * p_.units + first;
        for (int64_t j = 0; j < columns; j += V::kWidth) {
          V::load(s.z_rows[i] + g * z_stride + j).store_n(to + j, min(V::kWidth, columns - j));
        }
      }
    }
  }

  // z = what it starts from + all parts.
  void add_parts(Range units, int64_t entry, int64_t n, const Scratch<S>& s) {
    const int64_t z_stride = this->z_stride(units.first, units);
    for (int64_t i = 0; i < n; ++i) {
      s.z_rows[i] = s.z + i * kGates * z_stride;
      for (int64_t panel = units.first; panel < units.last; ++panel) {
        for (int64_t g = 0; g < kGates; ++g) {
          const auto place = panels_.place(panel, g);
          V z = V::load(start(place.panel, entry, i, s) + place.offset);
          const T* from = s.part_rows[i] + g * p_.units + first_unit(panel);
          for (int part = 0; part < part_count(); ++part, from += part_stride()) {
            z += V::load_n(from, panels_.lanes(panel));
          }
          z.store(s.z_rows[i] + g * z_stride + first_unit(panel - units.first));
        }
      }
    }
  }

  // Distance of the gates in a row of z.
  int64_t z_stride(int64_t panel, Range units) const {
    if (streams_) return first_unit(units.last - units.first);
    return panels_.in_pair(panel) ? 2 * V::kWidth : panels_.gate_stride(panel);
  }

  ActiveRow<S> active_row(int64_t row, int64_t step, int next) const {
    ActiveRow<S> active{c(row), h(row, next), output(step, row), nullptr, nullptr, nullptr};
    if (buffers_.reserve) {
      active.saved =
          static_cast<T*>(buffers_.reserve) + (step * p_.batch + row) * (kGates + 1) * p_.units;
    }
    if (dropout_) {
      active.dropout = dropout(row);
      active.dropped_h = dropped_h(row, next);
    }
    return active;
  }

  // A function of its own, for that leaves its loops more registers.
  template <class Act, class Rec>
  __attribute__((noinline)) void apply_gates(const Act& act, const Rec& rec, int64_t panel,
                                             Range units, int64_t n, const Scratch<S>& s) {
    const int64_t unit = first_unit(panel), lanes = panels_.lanes(panel);
    const int64_t padded = panels_.padded(), all = p_.units;
    const int64_t z_stride = this->z_stride(panel, units);
    const int64_t z_offset =
        first_unit(streams_ ? panel - units.first : panel % panels_.together());
    // Two loops of independent rows: the processor does not see far enough to overlap longer ones.
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
    for (int64_t i = 0; i < n; ++i) {
      const ActiveRow<S>& row = s.active[i];
      const V output = cell_output(act, V::load(s.z_rows[i] + z_offset), V::load(row.c + unit));
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
  }

  // Where this step's output goes; null if it is not wanted.
  S* output(int64_t step, int64_t row) const {
    S* y = static_cast<S*>(buffers_.y);
    if (p_.return_sequences) return y + (row * p_.time + step) * p_.units;
    return step == p_.time - 1 ? y + row * p_.units : nullptr;
  }

  // A masked step repeats the last output, which is the newest h, or 0 before the first.
  void repeat_output(int64_t step, int64_t row, Range units, const Scratch<S>& s) {
    S* y = output(step, row);
    if (!y) return;
    const bool zero = p_.zero_output_for_mask || !s.started[row];
    for (int64_t panel = units.first; panel < units.last; ++panel) {
      const int64_t unit = first_unit(panel);
      const V value = zero ? V(0.0) : load_lanes(h(row, s.current[row]) + unit, V::kWidth);
      store_lanes(value, y + unit, panels_.lanes(panel));
    }
  }

  void end(int group, Range units, const Scratch<S>& s) {
    S* h_out = static_cast<S*>(buffers_.h);
    S* c_out = static_cast<S*>(buffers_.c);
    for_each_row(group, [&](int64_t row) {
      for (int64_t panel = units.first; panel < units.last; ++panel) {
        const int64_t unit = first_unit(panel), lanes = panels_.lanes(panel);
        const int64_t at = row * p_.units + unit;
        store_lanes(load_lanes(h(row, s.current[row]) + unit, lanes), h_out + at, lanes);
        store_lanes(V::load(c(row) + unit), c_out + at, lanes);
        if (p_.time == 0 && !p_.return_sequences) {
          store_lanes(V(0.0), static_cast<S*>(buffers_.y) + at, lanes);
        }
      }
    });
  }

  const Problem& p_;
  const ForwardBuffers& buffers_;
  const UnitPanels<T> panels_;
  const bool streams_;       // reads R where it lies
  const bool projects_;      // computes x W ahead, for several steps at once
  const bool packs_blocks_;  // of W, when x W is computed ahead
  const bool packed_already_;
  const uint32_t call_;     // how many calls there were before
  O* weights_;              // [panel][F and H, or H where blocks of W are packed][gate][width]
  T* bias_;                 // [panel][gate][width]
  E* h_;                    // [slot][2][padded units]; a step reads one and writes the other
  T* c_;                    // [slot][padded units]
  T* dropout_ = nullptr;    // [slot][gate][padded units]
  E* dropped_h_ = nullptr;  // [slot][2][gate][padded units], h times dropout
  T* parts_ = nullptr;      // [row][part][gate][units], of x W + h R, when streaming
  T* projected_ = nullptr;  // what the groups divide among them
  int64_t projected_entries_ = 0;
  RowPlace* place_of_row_;
  int64_t* dealing_;     // scratch of `deal_rows`
  Scratch<S>* scratch_;  // [threads]
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
        executor, threads, wakes_threads(problem), microseconds(problem),
        [](void* context, Team& team, int rank) { static_cast<Pass*>(context)->run(team, rank); },
        &pass);
  });
}

}  // namespace pylstm::cpu::PYLSTM_ISA
