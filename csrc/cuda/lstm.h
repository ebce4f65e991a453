// The CUDA kernels: checks are the caller's, memory the buffers'. All pointers are on the device.
// Work is queued on `stream` without synchronizing or allocating, so it may be captured in a graph.
// Calls that fail throw CudaError.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"
#include "cuda/dispatch.h"

namespace pylstm::cuda {

// Of the current device; asked once per device.
const DeviceProperties& device_properties();

// `choice` is that of choose_kernel for the problem and the device.
int64_t forward_workspace_bytes(const Problem& problem);
int64_t backward_workspace_bytes(const Problem& problem, const Choice& choice,
                                 const DeviceProperties& device);

void lstm_forward(const Problem& problem, const ForwardBuffers& buffers, const Choice& choice,
                  const DeviceProperties& device, cudaStream_t stream);
void lstm_backward(const Problem& problem, const BackwardBuffers& buffers, const Choice& choice,
                   const DeviceProperties& device, cudaStream_t stream);

}  // namespace pylstm::cuda
