// The backward pass through time in one launch, the recurrent weights on chip.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"
#include "cuda/dispatch.h"

namespace pylstm::cuda {

// As launch_step_backward, whose workspace it uses.
void launch_resident_backward(const Problem& problem, const BackwardBuffers& buffers, void* dz,
                              void* previous_h, void* workspace, const Choice& choice,
                              cudaStream_t stream);

}  // namespace pylstm::cuda
