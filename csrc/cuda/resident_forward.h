// The forward pass in one launch, the recurrent weights on chip.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"
#include "cuda/dispatch.h"

namespace pylstm::cuda {

// How many clusters of so many blocks, with all the shared memory there is, run at once on the
// current device. It may be 0 where few multiprocessors lie together, as in a MIG slice.
int resident_clusters(int blocks);

// As launch_step_forward, whose workspace it uses.
void launch_resident_forward(const Problem& problem, const ForwardBuffers& buffers,
                             const Choice& choice, cudaStream_t stream);

}  // namespace pylstm::cuda
