// The ops' kernels apart from the device: inputs checked, outputs allocated, then the backend
// called, which adds a workspace. A backend for a device has
//   explicit Backend(OpKernelConstruction*);          it may report an error there
//   absl::Status forward(OpKernelContext*, const Problem&, ForwardBuffers) const;
//   absl::Status backward(OpKernelContext*, const Problem&, BackwardBuffers) const;
#pragma once

#include <string>

#include "bindings/tensorflow_problem.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace pylstm {

inline auto shape_reader(tensorflow::OpKernelContext* context) {
  return [context](int input) {
    const tensorflow::TensorShape& shape = context->input(input).shape();
    return Shape(shape.dims(), [&](int axis) { return shape.dim_size(axis); });
  };
}

template <class Backend>
class LstmOpBase : public tensorflow::OpKernel {
 public:
  explicit LstmOpBase(tensorflow::OpKernelConstruction* context)
      : OpKernel(context), options_(read(context)), at_(options_), backend_(context) {}

 protected:
  // Null for an input that is absent.
  static const void* data(tensorflow::OpKernelContext* context, int position, bool present = true) {
    return present ? context->input(position).data() : nullptr;
  }
  InputBuffers input_buffers(tensorflow::OpKernelContext* context) const {
    const Problem& has = options_;
    return {data(context, at_.x),
            data(context, at_.h0),
            data(context, at_.c0),
            data(context, at_.kernel),
            data(context, at_.recurrent_kernel),
            data(context, at_.bias, has.use_bias),
            static_cast<const uint8_t*>(data(context, at_.mask, has.has_mask)),
            data(context, at_.recurrent_dropout, has.has_recurrent_dropout)};
  }

  Problem options_;  // its sizes come with each call
  InputPositions at_;
  Backend backend_;

 private:
  static Problem read(tensorflow::OpKernelConstruction* context) {
    Problem options;
    const absl::Status status = read_options(context, &options);
    if (!status.ok()) context->SetStatus(status);
    return options;
  }
};

template <class Backend>
class LstmOp : public LstmOpBase<Backend> {
 public:
  explicit LstmOp(tensorflow::OpKernelConstruction* context) : LstmOpBase<Backend>(context) {
    OP_REQUIRES_OK(context, context->GetAttr("save_for_backward", &options_.save_for_backward));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    using tensorflow::TensorShape;
    Problem problem = options_;
    const std::string error =
        check_forward(forward_shapes(problem, at_, shape_reader(context)), &problem);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));

    const TensorShape state_shape({problem.batch, problem.units});
    const TensorShape y_shape = problem.return_sequences
                                    ? TensorShape({problem.batch, problem.time, problem.units})
                                    : state_shape;
    tensorflow::Tensor *y, *h, *c, *reserve;
    OP_REQUIRES_OK(context, context->allocate_output(0, y_shape, &y));
    OP_REQUIRES_OK(context, context->allocate_output(1, state_shape, &h));
    OP_REQUIRES_OK(context, context->allocate_output(2, state_shape, &c));
    OP_REQUIRES_OK(context,
                   context->allocate_output(3, TensorShape({problem.reserve_bytes()}), &reserve));

    ForwardBuffers buffers{this->input_buffers(context)};
    buffers.y = y->data();
    buffers.h = h->data();
    buffers.c = c->data();
    buffers.reserve = problem.save_for_backward ? reserve->data() : nullptr;
    OP_REQUIRES_OK(context, backend_.forward(context, problem, buffers));
  }

 private:
  using LstmOpBase<Backend>::data;
  using LstmOpBase<Backend>::options_;
  using LstmOpBase<Backend>::at_;
  using LstmOpBase<Backend>::backend_;
};

template <class Backend>
class LstmGradOp : public LstmOpBase<Backend> {
 public:
  explicit LstmGradOp(tensorflow::OpKernelConstruction* context) : LstmOpBase<Backend>(context) {
    options_.save_for_backward = true;
    OP_REQUIRES_OK(context, context->GetAttr("input_gradient", &options_.input_gradient));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    Problem problem = options_;
    const auto shape_of = shape_reader(context);
    const std::string error = check_backward(forward_shapes(problem, at_, shape_of),
                                             gradient_shapes(at_, shape_of), &problem);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    const int64_t reserve_bytes = context->input(at_.reserve).NumElements();
    OP_REQUIRES(context, reserve_bytes == problem.reserve_bytes(),
                absl::InvalidArgumentError(
                    "pylstm: the reserve is not this call's.\n  expected: " +
                    std::to_string(problem.reserve_bytes()) +
                    " bytes\n  got:      " + std::to_string(reserve_bytes) +
                    " bytes\n  fix:      pass what PylstmLstm with save_for_backward returned"));

    tensorflow::Tensor *dx, *dh0, *dc0, *dkernel, *drecurrent_kernel, *dbias = nullptr;
    const auto allocate = [context](int position, tensorflow::Tensor** gradient) {
      return context->allocate_output(position, context->input(position).shape(), gradient);
    };
    const tensorflow::TensorShape none({0});
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       at_.x, problem.input_gradient ? context->input(at_.x).shape() : none, &dx));
    OP_REQUIRES_OK(context, allocate(at_.h0, &dh0));
    OP_REQUIRES_OK(context, allocate(at_.c0, &dc0));
    OP_REQUIRES_OK(context, allocate(at_.kernel, &dkernel));
    OP_REQUIRES_OK(context, allocate(at_.recurrent_kernel, &drecurrent_kernel));
    if (problem.use_bias) OP_REQUIRES_OK(context, allocate(at_.bias, &dbias));

    BackwardBuffers buffers{this->input_buffers(context)};
    buffers.reserve = data(context, at_.reserve);
    buffers.dy = data(context, at_.dy);
    buffers.dh = data(context, at_.dh);
    buffers.dc = data(context, at_.dc);
    buffers.dx = problem.input_gradient ? dx->data() : nullptr;
    buffers.dh0 = dh0->data();
    buffers.dc0 = dc0->data();
    buffers.dkernel = dkernel->data();
    buffers.drecurrent_kernel = drecurrent_kernel->data();
    buffers.dbias = problem.use_bias ? dbias->data() : nullptr;
    OP_REQUIRES_OK(context, backend_.backward(context, problem, buffers));
  }

 private:
  using LstmOpBase<Backend>::data;
  using LstmOpBase<Backend>::options_;
  using LstmOpBase<Backend>::at_;
  using LstmOpBase<Backend>::backend_;
};

}  // namespace pylstm

// One kernel class for every element type: the backend looks at problem.dtype.
#define PYLSTM_REGISTER_KERNELS(DEVICE, BACKEND)                                      \
  using tensorflow::register_kernel::Name; /* the macro below wants it unqualified */ \
  PYLSTM_REGISTER_KERNEL_OF_TYPE(DEVICE, BACKEND, Eigen::half)                        \
  PYLSTM_REGISTER_KERNEL_OF_TYPE(DEVICE, BACKEND, Eigen::bfloat16)                    \
  PYLSTM_REGISTER_KERNEL_OF_TYPE(DEVICE, BACKEND, float)                              \
  PYLSTM_REGISTER_KERNEL_OF_TYPE(DEVICE, BACKEND, double)
#define PYLSTM_REGISTER_KERNEL_OF_TYPE(DEVICE, BACKEND, TYPE)                              \
  REGISTER_KERNEL_BUILDER(Name("PylstmLstm").Device(DEVICE).TypeConstraint<TYPE>("T"),     \
                          pylstm::LstmOp<BACKEND>)                                         \
  REGISTER_KERNEL_BUILDER(Name("PylstmLstmGrad").Device(DEVICE).TypeConstraint<TYPE>("T"), \
                          pylstm::LstmGradOp<BACKEND>)
