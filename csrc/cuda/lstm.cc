#include "cuda/lstm.h"

#include <algorithm>
#include <array>
#include <mutex>

#include "core/arena.h"
#include "cuda/check.h"
#include "cuda/input_product.h"
#include "cuda/resident_backward.h"
#include "cuda/resident_forward.h"
#include "cuda/step_backward.h"
#include "cuda/step_forward.h"
#include "cuda/weight_gradients.h"

namespace pylstm::cuda {
namespace {

// The properties of the current device, whose number is `ordinal`.
DeviceProperties query_device(int ordinal) {
  const auto attribute = [&](cudaDeviceAttr name) {
    int value = 0;
    PYLSTM_CUDA_CHECK(cudaDeviceGetAttribute(&value, name, ordinal));
    return value;
  };
  DeviceProperties device = {};
  device.compute_capability = std::min(10 * attribute(cudaDevAttrComputeCapabilityMajor) +
                                           attribute(cudaDevAttrComputeCapabilityMinor),
                                       compiled_capability());
  device.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  device.shared_bytes_per_block = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  for (int blocks = 2; blocks <= device.kMaxClusterBlocks; ++blocks) {
    if (device.compute_capability >= 90) device.clusters[blocks] = resident_clusters(blocks);
  }
  device.cooperative = attribute(cudaDevAttrCooperativeLaunch) != 0;
  return device;
}

// The problem as this device can compute it.
Problem supported(Problem problem, const DeviceProperties& device) {
  problem.allow_tf32 = problem.allow_tf32 && device.compute_capability >= 80;
  return problem;
}

// The backward pass's workspace: what the two halves exchange, then what each needs by itself.
struct BackwardWorkspace {
  unsigned char* dz;
  unsigned char* previous_h;
  unsigned char* time_pass;
  unsigned char* weights;
  int64_t bytes;

  BackwardWorkspace(const Problem& problem, Kernel kernel, const DeviceProperties& device,
                    void* base) {
    Arena workspace(base);
    const int64_t h_bytes =
        problem.batch * problem.time * problem.units * element_bytes(problem.dtype);
    dz = workspace.take<unsigned char>(kGates * h_bytes);
    previous_h =
        workspace.take<unsigned char>((problem.has_recurrent_dropout ? kGates : 1) * h_bytes);
    time_pass = workspace.take<unsigned char>(backward_arrays_bytes(problem, kernel));
    weights = workspace.take<unsigned char>(
        weight_gradients_workspace_bytes(problem, device.multiprocessors));
    bytes = workspace.used();
  }
};

}  // namespace

const DeviceProperties& device_properties() {
  constexpr int kMaxDevices = 64;
  static std::array<DeviceProperties, kMaxDevices> devices;
  static std::array<std::once_flag, kMaxDevices> asked;
  int ordinal = 0;
  PYLSTM_CUDA_CHECK(cudaGetDevice(&ordinal));
  const RelaxedCapture relaxed;
  std::call_once(asked.at(ordinal), [&] { devices.at(ordinal) = query_device(ordinal); });
  return devices.at(ordinal);
}

int64_t backward_workspace_bytes(const Problem& problem, const Choice& choice,
                                 const DeviceProperties& device) {
  return BackwardWorkspace(problem, choice.kernel, device, nullptr).bytes;
}

void lstm_forward(const Problem& wanted, const ForwardBuffers& buffers, const Choice& choice,
                  const DeviceProperties& device, cudaStream_t stream) {
  const RelaxedCapture relaxed;
  const Problem problem = supported(wanted, device);
  if (choice.kernel == Kernel::kStep) {
    launch_step_forward(problem, buffers, choice, device, stream);
  } else {
    launch_resident_forward(problem, buffers, choice, stream);
  }
}

void lstm_backward(const Problem& wanted, const BackwardBuffers& buffers, const Choice& choice,
                   const DeviceProperties& device, cudaStream_t stream) {
  const RelaxedCapture relaxed;
  const Problem problem = supported(wanted, device);
  const BackwardWorkspace workspace(problem, choice.kernel, device, buffers.workspace);
  if (choice.kernel == Kernel::kStep) {
    launch_step_backward(problem, buffers, workspace.dz, workspace.previous_h, workspace.time_pass,
                         choice, device, stream);
  } else {
    launch_resident_backward(problem, buffers, workspace.dz, workspace.previous_h,
                             workspace.time_pass, choice, stream);
  }
  launch_weight_gradients(problem, buffers, workspace.dz, workspace.previous_h, workspace.weights,
                          device.multiprocessors, stream);
}

}  // namespace pylstm::cuda
