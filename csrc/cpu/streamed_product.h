// x W + h R with the weights where they lie in memory. Threads that share rows compute parts of it,
// which are added up behind a barrier.
#pragma once

#include "core/arena.h"
#include "cpu/panels.h"
#include "cpu/stream.h"

namespace pylstm::cpu::PYLSTM_ISA {

template <class S>
class StreamedProduct {
 public:
  using T = Compute<S>;
  using V = Vec<T>;
  using E = Element<Operand<S>>;

  // With at most so many (row, step) in a call, the weights are not read often enough to be packed.
  static bool pays(const Problem& p) { return p.batch * p.time <= 8; }

  StreamedProduct(const Problem& problem, const ForwardBuffers& buffers, UnitPanels<T> panels)
      : p_(problem), buffers_(buffers), panels_(panels) {}

  void take(Arena& arena) {
    const int64_t rows = p_.time > 0 ? p_.batch : 0;  // without steps there may be any number
    parts_ = arena.take<T>(rows * parts() * part_stride());
  }
  T* row(int64_t row) const { return parts_ + row * parts() * part_stride(); }

  // The n rows of a step.
  struct Rows {
    int64_t n;
    const E* const* x;  // null: only h R is wanted
    const E* const* h;
    T* const* parts;  // each row's
    T** z;            // [gate][units of the range], set to rows of `memory`
    T* memory;
  };

  // The share of one of `members` threads. A step's last gates are still in the cache at the next
  // step, even of the next call, which therefore takes them first.
  void multiply(bool back, int member, int members, const Rows& rows) const {
    for (int turn = 0; turn < parts(); ++turn) {
      const int part = back ? parts() - 1 - turn : turn;
      const auto begin = [&](int member) {  // of the member's units in the part, in members' units
        const int at = parts() * member - part * members;
        return at < 0 ? 0 : at < members ? at : members;
      };
      const Range units{panels_.begin(begin(member), members),
                        panels_.begin(begin(member + 1), members)};
      if (units.first < units.last) multiply_part(part, back, units, rows);
    }
  }

  // z = what it starts from, start(panel, row), + all parts.
  template <class Start>
  PYLSTM_FN void add_parts(Range units, const Rows& rows, Start start) const {
    const int64_t z_stride = this->z_stride(units);
    for (int64_t i = 0; i < rows.n; ++i) {
      rows.z[i] = rows.memory + i * kGates * z_stride;
      for (int64_t panel = units.first; panel < units.last; ++panel) {
        for (int64_t g = 0; g < kGates; ++g) {
          const auto place = panels_.place(panel, g);
          V z = V::load(start(place.panel, i) + place.offset);
          const T* from = rows.parts[i] + g * p_.units + panels_.first_unit(panel);
          for (int part = 0; part < parts(); ++part, from += part_stride()) {
            z += V::load_n(from, panels_.lanes(panel));
          }
          z.store(rows.z[i] + g * z_stride + panels_.first_unit(panel - units.first));
        }
      }
    }
  }

  // Distance between the gates in a row of z.
  static int64_t z_stride(Range units) {
    return UnitPanels<T>::first_unit(units.last - units.first);
  }

 private:
  // Up to kBytes of weights, threads divide k rather than the units, to read longer runs. With
  // more, which the caches do not hold, shorter runs are faster. Chosen by the problem alone, so
  // that sums do not depend on the number of threads.
  int parts() const {
    constexpr int64_t kBytes = 8 << 20;
    const int64_t bytes = (p_.features + p_.units) * kGates * p_.units * int64_t{sizeof(S)};
    return bytes <= kBytes ? 2 : 1;
  }
  int64_t part_stride() const { return ceil_div(kGates * p_.units, V::kWidth) * V::kWidth; }

  // The sums are made in z, which no other core reads, and then copied.
  void multiply_part(int part, bool back, Range units, const Rows& rows) const {
    const int64_t first = panels_.first_unit(units.first);
    const int64_t columns = min(panels_.first_unit(units.last), p_.units) - first;
    const int64_t z_stride = this->z_stride(units);
    for (int64_t i = 0; i < rows.n; ++i) {
      rows.z[i] = rows.memory + i * kGates * z_stride;
      for (int64_t j = 0; j < kGates * z_stride; j += V::kWidth) V(0.0).store(rows.z[i] + j);
    }
    for (int64_t turn = 0; turn < kGates; ++turn) {
      const int64_t g = back ? kGates - 1 - turn : turn;
      const auto add = [&](const E* const* left, int64_t offset, int64_t k, const void* matrix) {
        const int64_t blocks = ceil_div(k, kStreamBlock);
        const int64_t begin = blocks * part / parts() * kStreamBlock;
        const int64_t end = min(k, blocks * (part + 1) / parts() * kStreamBlock);
        stream_product(left, offset + begin, rows.n, end - begin,
                       static_cast<const S*>(matrix) + (begin * kGates + g) * p_.units + first,
                       kGates * p_.units, columns, rows.z, g * z_stride);
      };
      if (rows.x) add(rows.x, 0, p_.features, buffers_.kernel);
      // With recurrent dropout each gate has an h of its own.
      add(rows.h, p_.has_recurrent_dropout ? g * panels_.padded() : 0, p_.units,
          buffers_.recurrent_kernel);
    }
    for (int64_t i = 0; i < rows.n; ++i) {
      for (int64_t g = 0; g < kGates; ++g) {
        T* to = rows.parts[i] + part * part_stride() + g * p_.units + first;
        for (int64_t j = 0; j < columns; j += V::kWidth) {
          V::load(rows.z[i] + g * z_stride + j).store_n(to + j, min(V::kWidth, columns - j));
        }
      }
    }
  }

  const Problem& p_;
  const ForwardBuffers& buffers_;
  const UnitPanels<T> panels_;
  T* parts_ = nullptr;  // [row][part][gate][units]
};

}  // namespace pylstm::cpu::PYLSTM_ISA
