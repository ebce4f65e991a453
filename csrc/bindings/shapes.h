// The shapes of one LSTM call, checked against each other before any pointer is used; the sizes of
// the problem come out. Serves graph building, where sizes may be unknown, and every call.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "core/problem.h"

namespace pylstm {

inline constexpr int64_t kUnknown = -1;

struct Shape {
  static constexpr int kMaxRank = 8;
  int rank = kUnknown;                   // kUnknown: anything may come
  std::array<int64_t, kMaxRank> dims{};  // those beyond kMaxRank are not kept

  Shape() = default;
  // `size_of(axis)` gives a size, or kUnknown.
  template <class SizeOf>
  Shape(int64_t rank, const SizeOf& size_of) : rank(static_cast<int>(rank)) {
    for (int axis = 0; axis < std::min(this->rank, kMaxRank); ++axis) dims[axis] = size_of(axis);
  }
};

struct ForwardShapes {
  Shape x;
  Shape h0;
  Shape c0;
  Shape kernel;
  Shape recurrent_kernel;
  Shape bias;               // read where problem.use_bias
  Shape mask;               // read where problem.has_mask
  Shape recurrent_dropout;  // read where problem.has_recurrent_dropout
};

struct GradientShapes {
  Shape dy;
  Shape dh;
  Shape dc;
};

struct ShapeMismatch {
  std::string code;  // its row in pylstm/errors.py
  std::string argument;
  std::string expected;
  std::string got;
  std::string fix;

  std::string message() const;
};

// Sets batch, time, features and units of `problem`, whose options are set (kUnknown where no shape
// says), and returns the first shape that does not fit.
std::optional<ShapeMismatch> find_mismatch(const ForwardShapes& shapes, Problem* problem);

// The same as text, empty where all is well; refuses sizes too large to compute with, too.
std::string check_forward(const ForwardShapes& shapes, Problem* problem);
std::string check_backward(const ForwardShapes& shapes, const GradientShapes& gradients,
                           Problem* problem);

}  // namespace pylstm
