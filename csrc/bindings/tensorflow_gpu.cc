// The ops' kernels on the GPU, on TensorFlow's stream and memory. The library that holds them loads
// without CUDA, too: the run time is linked in, and looks for the driver when it is first called.
#include <string>

#include "bindings/tensorflow_kernels.h"
#include "cuda/check.h"
#include "cuda/lstm.h"
#include "tensorflow/core/platform/tensor_float_32_utils.h"
#include "xla/stream_executor/stream.h"

namespace pylstm {
namespace {

class GpuBackend {
 public:
  explicit GpuBackend(tensorflow::OpKernelConstruction*) {}

  int64_t forward_workspace_bytes(tensorflow::OpKernelContext* context,
                                  const Problem& problem) const {
    return workspace_bytes(context, problem, cuda::forward_workspace_bytes);
  }

  int64_t backward_workspace_bytes(tensorflow::OpKernelContext* context,
                                   const Problem& problem) const {
    return workspace_bytes(context, problem, cuda::backward_workspace_bytes);
  }

  absl::Status forward(tensorflow::OpKernelContext* context, const Problem& problem,
                       const ForwardBuffers& buffers) const {
    return run(context, problem, buffers, cuda::lstm_forward);
  }

  absl::Status backward(tensorflow::OpKernelContext* context, const Problem& problem,
                        const BackwardBuffers& buffers) const {
    return run(context, problem, buffers, cuda::lstm_backward);
  }

 private:
  // What TensorFlow's users catch: no memory, no such device, or a bug.
  static absl::Status status_of(const std::exception& error) {
    const auto* cuda_error = dynamic_cast<const cuda::CudaError*>(&error);
    switch (cuda_error ? cuda_error->status() : cudaErrorUnknown) {
      case cudaErrorMemoryAllocation:
        return absl::ResourceExhaustedError(error.what());
      case cudaErrorInvalidDeviceFunction:
      case cudaErrorNoKernelImageForDevice:
      case cudaErrorInsufficientDriver:
        return absl::FailedPreconditionError(
            std::string("pylstm: the CUDA kernels cannot run on this GPU.\n  got:      ") +
            error.what() + "\n  fix:      python -m pylstm says what they need");
      default:
        return absl::InternalError(error.what());
    }
  }

  static Problem with_tf32(Problem problem) {
    problem.allow_tf32 = tensorflow::tensor_float_32_execution_enabled();
    return problem;
  }

  static int64_t workspace_bytes(tensorflow::OpKernelContext* context, const Problem& problem,
                                 int64_t (*bytes)(const Problem&, const DeviceProperties&)) {
    try {
      return bytes(with_tf32(problem), cuda::device_properties());
    } catch (const std::exception& error) {
      context->SetStatus(status_of(error));
      return 0;
    }
  }

  template <class Buffers>
  static absl::Status run(tensorflow::OpKernelContext* context, const Problem& problem,
                          const Buffers& buffers,
                          void (*lstm)(const Problem&, const Buffers&, const DeviceProperties&,
                                       cudaStream_t)) {
    if (!context->status().ok()) return context->status();
    auto* stream = static_cast<cudaStream_t>(
        context->op_device_context()->stream()->platform_specific_handle().stream);
    try {
      lstm(with_tf32(problem), buffers, cuda::device_properties(), stream);
    } catch (const std::exception& error) {
      return status_of(error);
    }
    return absl::OkStatus();
  }
};

PYLSTM_REGISTER_KERNELS(tensorflow::DEVICE_GPU, GpuBackend)

}  // namespace
}  // namespace pylstm
