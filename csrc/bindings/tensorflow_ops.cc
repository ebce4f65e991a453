// The ops PylstmLstm and PylstmLstmGrad as TensorFlow's graphs see them: inputs, attributes and
// output shapes. Buffers and their meaning: core/problem.h.
#include <algorithm>
#include <string>

#include "bindings/tensorflow_problem.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace pylstm {
namespace {

using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

auto shape_reader(InferenceContext* context) {
  return [context](int input) {
    const ShapeHandle handle = context->input(input);
    if (!context->RankKnown(handle)) return Shape();
    return Shape(context->Rank(handle), [&](int axis) {
      return context->Value(context->Dim(handle, axis));  // its unknown is kUnknown, -1
    });
  };
}

ShapeHandle make_shape(InferenceContext* context, std::initializer_list<int64_t> sizes) {
  std::vector<tensorflow::shape_inference::DimensionHandle> dims;
  for (const int64_t size : sizes) dims.push_back(context->MakeDim(size));
  return context->MakeShape(dims);
}

absl::Status forward_shape(InferenceContext* context) {
  Problem problem;
  TF_RETURN_IF_ERROR(read_options(context, &problem));
  TF_RETURN_IF_ERROR(context->GetAttr("save_for_backward", &problem.save_for_backward));
  const InputPositions at(problem);
  const std::string error =
      check_forward(forward_shapes(problem, at, shape_reader(context)), &problem);
  if (!error.empty()) return absl::InvalidArgumentError(error);

  const ShapeHandle state = make_shape(context, {problem.batch, problem.units});
  context->set_output(0, problem.return_sequences
                             ? make_shape(context, {problem.batch, problem.time, problem.units})
                             : state);
  context->set_output(1, state);
  context->set_output(2, state);
  const bool size_known = !problem.save_for_backward ||
                          std::min({problem.batch, problem.time, problem.units}) != kUnknown;
  context->set_output(3, make_shape(context, {size_known ? problem.reserve_bytes() : kUnknown}));
  return absl::OkStatus();
}

absl::Status backward_shape(InferenceContext* context) {
  Problem problem;
  TF_RETURN_IF_ERROR(read_options(context, &problem));
  TF_RETURN_IF_ERROR(context->GetAttr("input_gradient", &problem.input_gradient));
  const InputPositions at(problem);
  const auto shape_of = shape_reader(context);
  const std::string error = check_backward(forward_shapes(problem, at, shape_of),
                                           gradient_shapes(at, shape_of), &problem);
  if (!error.empty()) return absl::InvalidArgumentError(error);

  // A gradient has the shape of what it is the gradient of.
  for (int i = 0; i <= at.recurrent_kernel; ++i) context->set_output(i, context->input(i));
  if (!problem.input_gradient) context->set_output(at.x, make_shape(context, {0}));
  if (problem.use_bias) context->set_output(at.bias, context->input(at.bias));
  return absl::OkStatus();
}

#define PYLSTM_INPUTS               \
  Input("x: T")                     \
      .Input("h0: T")               \
      .Input("c0: T")               \
      .Input("kernel: T")           \
      .Input("recurrent_kernel: T") \
      .Input("bias: n_bias * T")    \
      .Input("mask: n_mask * bool") \
      .Input("recurrent_dropout: n_dropout * T")

#define PYLSTM_OPTIONS                                  \
  Attr("T: {half, bfloat16, float, double}")            \
      .Attr("n_bias: int >= 0")                         \
      .Attr("n_mask: int >= 0")                         \
      .Attr("n_dropout: int >= 0")                      \
      .Attr("activation: string = 'tanh'")              \
      .Attr("recurrent_activation: string = 'sigmoid'") \
      .Attr("go_backwards: bool = false")               \
      .Attr("return_sequences: bool = true")            \
      .Attr("zero_output_for_mask: bool = false")

REGISTER_OP("PylstmLstm")
    .PYLSTM_INPUTS.PYLSTM_OPTIONS.Attr("save_for_backward: bool = false")
    .Attr("weights_are_variables: bool = false")
    .Output("y: T")
    .Output("h: T")
    .Output("c: T")
    .Output("reserve: uint8")
    .SetShapeFn(forward_shape);

REGISTER_OP("PylstmLstmGrad")
    .PYLSTM_INPUTS.Input("reserve: uint8")
    .Input("dy: T")
    .Input("dh: T")
    .Input("dc: T")
    .PYLSTM_OPTIONS.Attr("input_gradient: bool = true")
    .Output("dx: T")
    .Output("dh0: T")
    .Output("dc0: T")
    .Output("dkernel: T")
    .Output("drecurrent_kernel: T")
    .Output("dbias: n_bias * T")
    .SetShapeFn(backward_shape);

}  // namespace
}  // namespace pylstm
