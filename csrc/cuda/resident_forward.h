// The forward pass in one launch, the recurrent weights on chip.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"
#include "cuda/dispatch.h"

namespace pylstm::cuda {

// The compute capability, 10 · major + minor, for which the code that the current device runs was
// compiled. The driver makes PTX for an older one run, without what only newer ones can do.
int compiled_capability();

// How many clusters of kMaxClusterBlocks blocks, with all the shared memory there is, run at once
// on the current device. It may be 0 where one has few multiprocessors together, as in a MIG slice.
int resident_clusters();

// The workspace is that of launch_step_forward.
void launch_resident_forward(const Problem& problem, const ForwardBuffers& buffers,
                             const Choice& choice, cudaStream_t stream);

}  // namespace pylstm::cuda
