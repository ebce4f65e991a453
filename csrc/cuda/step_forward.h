// The forward pass with one product per step, for any size and element type.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"
#include "cuda/dispatch.h"

namespace pylstm::cuda {

void launch_step_forward(const Problem& problem, const ForwardBuffers& buffers,
                         const Choice& choice, const DeviceProperties& device, cudaStream_t stream);

}  // namespace pylstm::cuda
