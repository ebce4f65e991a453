// What both ops share: the options among their attributes, and where their inputs are.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "bindings/shapes.h"
#include "core/activation_names.h"
#include "tensorflow/core/framework/types.pb.h"

namespace pylstm {

// `Context` is tensorflow's OpKernelConstruction or shape_inference::InferenceContext.
// Does not read save_for_backward and input_gradient, which only one of the ops has.
template <class Context>
absl::Status read_options(Context* context, Problem* problem) {
  const auto read_activation = [context](const char* name, Activation* activation) {
    std::string keras_name;
    absl::Status status = context->GetAttr(name, &keras_name);
    if (!status.ok()) return status;
    const auto found = find_activation(keras_name);
    if (!found) {
      return absl::InvalidArgumentError("pylstm: unknown " + std::string(name) + " '" + keras_name +
                                        "'");
    }
    *activation = *found;
    return status;
  };
  const auto read_presence = [context](const char* name, bool* present) {
    int count = 0;
    absl::Status status = context->GetAttr(name, &count);
    if (count > 1) {
      return absl::InvalidArgumentError("pylstm: " + std::string(name) + " is " +
                                        std::to_string(count) + ", expected 0 or 1");
    }
    *present = count == 1;
    return status;
  };
  tensorflow::DataType dtype = tensorflow::DT_INVALID;
  absl::Status status = context->GetAttr("T", &dtype);
  status.Update(read_activation("activation", &problem->activation));
  status.Update(read_activation("recurrent_activation", &problem->recurrent_activation));
  status.Update(read_presence("n_bias", &problem->use_bias));
  status.Update(read_presence("n_mask", &problem->has_mask));
  status.Update(read_presence("n_dropout", &problem->has_recurrent_dropout));
  status.Update(context->GetAttr("go_backwards", &problem->go_backwards));
  status.Update(context->GetAttr("return_sequences", &problem->return_sequences));
  status.Update(context->GetAttr("zero_output_for_mask", &problem->zero_output_for_mask));
  switch (dtype) {
    case tensorflow::DT_HALF:
      problem->dtype = DType::kFloat16;
      break;
    case tensorflow::DT_BFLOAT16:
      problem->dtype = DType::kBFloat16;
      break;
    case tensorflow::DT_FLOAT:
      problem->dtype = DType::kFloat32;
      break;
    case tensorflow::DT_DOUBLE:
      problem->dtype = DType::kFloat64;
      break;
    default:
      status.Update(absl::InvalidArgumentError("pylstm: T must be a floating type"));
  }
  return status;
}

// Positions among the inputs of PylstmLstm; PylstmLstmGrad has four more. An input that may be
// absent is a list of length 0 or 1.
struct InputPositions {
  static constexpr int x = 0, h0 = 1, c0 = 2, kernel = 3, recurrent_kernel = 4;
  int bias, mask, recurrent_dropout;  // meaningful where the problem has them
  int reserve, dy, dh, dc;

  explicit InputPositions(const Problem& problem) {
    bias = recurrent_kernel + 1;
    mask = bias + problem.use_bias;
    recurrent_dropout = mask + problem.has_mask;
    reserve = recurrent_dropout + problem.has_recurrent_dropout;
    dy = reserve + 1;
    dh = dy + 1;
    dc = dh + 1;
  }
};

// `shape_of(position)` gives an input's Shape.
template <class ShapeOf>
ForwardShapes forward_shapes(const Problem& problem, const InputPositions& at,
                             const ShapeOf& shape_of) {
  ForwardShapes shapes;
  shapes.x = shape_of(at.x);
  shapes.h0 = shape_of(at.h0);
  shapes.c0 = shape_of(at.c0);
  shapes.kernel = shape_of(at.kernel);
  shapes.recurrent_kernel = shape_of(at.recurrent_kernel);
  if (problem.use_bias) shapes.bias = shape_of(at.bias);
  if (problem.has_mask) shapes.mask = shape_of(at.mask);
  if (problem.has_recurrent_dropout) shapes.recurrent_dropout = shape_of(at.recurrent_dropout);
  return shapes;
}

template <class ShapeOf>
GradientShapes gradient_shapes(const InputPositions& at, const ShapeOf& shape_of) {
  return {shape_of(at.dy), shape_of(at.dh), shape_of(at.dc)};
}

}  // namespace pylstm
