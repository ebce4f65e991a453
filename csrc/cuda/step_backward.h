// The backward pass through time with one product per step, for any size and element type.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"
#include "cuda/dispatch.h"

namespace pylstm::cuda {

// The workspace of this pass, whichever kernel runs it.
int64_t backward_arrays_bytes(const Problem& problem, Kernel kernel);

// Fills dh0, dc0 and the arrays that weight_gradients.h describes.
void launch_step_backward(const Problem& problem, const BackwardBuffers& buffers, void* dz,
                          void* previous_h, void* workspace, const Choice& choice,
                          const DeviceProperties& device, cudaStream_t stream);

}  // namespace pylstm::cuda
