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

  absl::Status forward(tensorflow::OpKernelContext* context, const Problem& problem,
                       ForwardBuffers buffers) const {
    const auto workspace_bytes = [](const Problem& problem, auto&...) {
      return cuda::forward_workspace_bytes(problem);
    };
    return run(context, problem, buffers, workspace_bytes, cuda::lstm_forward);
  }

  absl::Status backward(tensorflow::OpKernelContext* context, const Problem& problem,
                        BackwardBuffers buffers) const {
    // The kernels read it in vectors, and TensorFlow's slices may begin anywhere.
    if (reinterpret_cast<uintptr_t>(buffers.reserve) % 64 != 0) {
      return absl::InvalidArgumentError("pylstm: the reserve is not aligned to 64 bytes");
    }
    return run(context, problem, buffers, cuda::backward_workspace_bytes, cuda::lstm_backward);
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
      case cudaErrorJitCompilerNotFound:
      case cudaErrorUnsupportedPtxVersion:
      case cudaErrorJitCompilationDisabled:
        return absl::FailedPreconditionError(
            std::string("pylstm: the CUDA kernels cannot run on this GPU.\n  got:      ") +
            error.what() + "\n  fix:      python -m pylstm says what they need");
      default:
        return absl::InternalError(error.what());
    }
  }

  template <class Buffers, class WorkspaceBytes>
  static absl::Status run(tensorflow::OpKernelContext* context, Problem problem, Buffers buffers,
                          const WorkspaceBytes& workspace_bytes,
                          void (*lstm)(const Problem&, const Buffers&, const cuda::Choice&,
                                       const cuda::DeviceProperties&, cudaStream_t)) {
    problem.allow_tf32 = tensorflow::tensor_float_32_execution_enabled();
    auto* stream = static_cast<cudaStream_t>(
        context->op_device_context()->stream()->platform_specific_handle().stream);
    try {
      const cuda::DeviceProperties& device = cuda::device_properties();
      const cuda::Choice choice = cuda::choose_kernel(problem, device);
      const int64_t bytes = workspace_bytes(problem, choice, device);
      tensorflow::Tensor workspace;
      TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_UINT8,
                                                tensorflow::TensorShape({bytes}), &workspace));
      buffers.workspace = workspace.data();
      lstm(problem, buffers, choice, device, stream);
    } catch (const std::exception& error) {
      return status_of(error);
    }
    return absl::OkStatus();
  }
};

PYLSTM_REGISTER_KERNELS(tensorflow::DEVICE_GPU, GpuBackend)

}  // namespace
}  // namespace pylstm
