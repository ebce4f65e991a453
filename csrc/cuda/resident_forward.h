// The forward pass in one launch, the recurrent weights on chip.
#pragma once

#include <cuda_runtime.h>

#include "core/dispatch.h"
#include "core/problem.h"

namespace pylstm::cuda {

// The workspace is that of launch_step_forward.
void launch_resident_forward(const Problem& problem, const ForwardBuffers& buffers,
                             const Choice& choice, cudaStream_t stream);

}  // namespace pylstm::cuda
