#include "bindings/shapes.h"

#include <algorithm>
#include <initializer_list>
#include <limits>

namespace pylstm {
namespace {

enum Symbol { kBatch, kTime, kFeatures, kUnits, kSymbols };
constexpr const char* kSymbolNames[kSymbols] = {"batch", "time", "features", "units"};

// One expected axis: `factor` times the size that `symbol` stands for, or `factor` alone.
struct Axis {
  Symbol symbol;
  int64_t factor = 1;
};
using Axes = std::initializer_list<Axis>;

const char* code_of(const std::string& argument, bool rank_fits) {
  if (argument == "x") return rank_fits ? "PYL103" : "PYL101";
  if (argument == "h0" || argument == "c0") return "PYL116";
  return argument == "mask" ? "PYL112" : "PYL141";
}

// What the shapes seen so far say about the sizes.
class Sizes {
 public:
  Sizes() { values_.fill(kUnknown); }

  // True where `shape` fits; else `mismatch()` says why not.
  bool match(const char* argument, const Shape& shape, Axes axes) {
    if (shape.rank == kUnknown) return true;
    if (shape.rank != static_cast<int>(axes.size())) {
      return fail(argument, shape, axes,
                  "rank " + std::to_string(shape.rank) + ", not " + std::to_string(axes.size()));
    }
    const auto before = values_;
    for (int i = 0; i < shape.rank; ++i) {
      const Axis& axis = axes.begin()[i];
      const int64_t got = shape.dims[i];
      const int64_t expected = size(axis);
      if (got == kUnknown) continue;
      if (expected == kUnknown && got % axis.factor == 0) {
        values_[axis.symbol] = got / axis.factor;
      } else if (got != expected) {
        const std::string why = expected == kUnknown
                                    ? ", no multiple of " + std::to_string(axis.factor)
                                    : ", not " + std::to_string(expected);
        values_ = before;  // the message names what other arguments say
        return fail(argument, shape, axes,
                    "axis " + std::to_string(i) + " is " + std::to_string(got) + why);
      }
    }
    return true;
  }

  int64_t value(Symbol symbol) const { return values_[symbol]; }
  const std::optional<ShapeMismatch>& mismatch() const { return mismatch_; }

 private:
  int64_t size(const Axis& axis) const {
    if (axis.symbol == kSymbols) return axis.factor;
    if (values_[axis.symbol] == kUnknown) return kUnknown;
    int64_t size;
    const bool overflows = __builtin_mul_overflow(axis.factor, values_[axis.symbol], &size);
    return overflows ? std::numeric_limits<int64_t>::max() : size;
  }

  bool fail(const std::string& argument, const Shape& shape, Axes axes, const std::string& why) {
    std::string expected;
    for (const Axis& axis : axes) {
      if (!expected.empty()) expected += ", ";
      if (axis.symbol == kSymbols) {
        expected += std::to_string(axis.factor);
        continue;
      }
      if (axis.factor != 1) expected += std::to_string(axis.factor) + "*";
      expected += kSymbolNames[axis.symbol];
      if (size(axis) != kUnknown) expected += "=" + std::to_string(size(axis));
    }
    std::string got;
    for (int i = 0; i < std::min(shape.rank, Shape::kMaxRank); ++i) {
      if (i > 0) got += ", ";
      got += shape.dims[i] == kUnknown ? "?" : std::to_string(shape.dims[i]);
    }
    if (shape.rank > Shape::kMaxRank) got += ", ...";
    mismatch_ = {code_of(argument, shape.rank == static_cast<int>(axes.size())), argument,
                 argument + " (" + expected + ")", "(" + got + ")     " + why,
                 "pass " + argument + " with the axes above, or weights made for its size"};
    return false;
  }

  std::array<int64_t, kSymbols> values_;
  std::optional<ShapeMismatch> mismatch_;
};

// The weights come first: they are what the other shapes must fit.
bool match_forward(const ForwardShapes& s, const Problem& p, Sizes* sizes) {
  return sizes->match("kernel", s.kernel, {{kFeatures}, {kUnits, kGates}}) &&
         sizes->match("recurrent_kernel", s.recurrent_kernel, {{kUnits}, {kUnits, kGates}}) &&
         (!p.use_bias || sizes->match("bias", s.bias, {{kUnits, kGates}})) &&
         sizes->match("x", s.x, {{kBatch}, {kTime}, {kFeatures}}) &&
         sizes->match("h0", s.h0, {{kBatch}, {kUnits}}) &&
         sizes->match("c0", s.c0, {{kBatch}, {kUnits}}) &&
         (!p.has_mask || sizes->match("mask", s.mask, {{kBatch}, {kTime}})) &&
         (!p.has_recurrent_dropout || sizes->match("recurrent_dropout", s.recurrent_dropout,
                                                   {{kSymbols, kGates}, {kBatch}, {kUnits}}));
}

bool match_gradients(const GradientShapes& s, const Problem& p, Sizes* sizes) {
  return (p.return_sequences ? sizes->match("dy", s.dy, {{kBatch}, {kTime}, {kUnits}})
                             : sizes->match("dy", s.dy, {{kBatch}, {kUnits}})) &&
         sizes->match("dh", s.dh, {{kBatch}, {kUnits}}) &&
         sizes->match("dc", s.dc, {{kBatch}, {kUnits}});
}

// The largest buffers are a few times (batch, time, 4*units) or (batch, time, features) elements,
// or hold a few hundred for each row, even one without a step or a unit. A tensor without elements
// may claim any sizes, so they are multiplied without overflow.
bool too_large(const Problem& p) {
  const long double steps = static_cast<long double>(p.batch) * std::max<int64_t>(p.time, 1);
  const long double step_elements = 512.0L + p.features + 8.0L * kGates * p.units;
  return steps * step_elements * compute_bytes(p.dtype) > std::numeric_limits<int64_t>::max();
}

void set_sizes(const Sizes& sizes, Problem* problem) {
  problem->batch = sizes.value(kBatch);
  problem->time = sizes.value(kTime);
  problem->features = sizes.value(kFeatures);
  problem->units = sizes.value(kUnits);
}

std::string describe(const std::optional<ShapeMismatch>& mismatch, const Problem& problem) {
  if (mismatch) return mismatch->message();
  if (too_large(problem)) {
    return "pylstm: the call is too large: batch=" + std::to_string(problem.batch) +
           ", time=" + std::to_string(problem.time) +
           ", features=" + std::to_string(problem.features) +
           ", units=" + std::to_string(problem.units);
  }
  return "";
}

}  // namespace

std::string ShapeMismatch::message() const {
  return "[" + code + "] the shape of " + argument + " does not fit.\n  expected: " + expected +
         "\n  got:      " + got + "\n  fix:      " + fix;
}

std::optional<ShapeMismatch> find_mismatch(const ForwardShapes& shapes, Problem* problem) {
  Sizes sizes;
  if (match_forward(shapes, *problem, &sizes)) set_sizes(sizes, problem);
  return sizes.mismatch();
}

std::string check_forward(const ForwardShapes& shapes, Problem* problem) {
  return describe(find_mismatch(shapes, problem), *problem);
}

std::string check_backward(const ForwardShapes& shapes, const GradientShapes& gradients,
                           Problem* problem) {
  Sizes sizes;
  if (match_forward(shapes, *problem, &sizes) && match_gradients(gradients, *problem, &sizes)) {
    set_sizes(sizes, problem);
  }
  return describe(sizes.mismatch(), *problem);
}

}  // namespace pylstm
