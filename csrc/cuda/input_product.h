// z = x·W + b for all steps at once.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"

namespace pylstm::cuda {

// The compute capability, 10 · major + minor, for which the code that the current device runs was
// compiled: PTX for an older one runs, too, without what only newer ones can do. The kernel that it
// asks about is one that every call needs, since asking may make the driver compile it.
int compiled_capability();

// x (B, T, F), kernel (F, 4H), bias (4H) or null -> z (B, T, H, 4) in the compute type, 64-byte
// aligned: the gates of a unit lie side by side.
void launch_input_product(const Problem& problem, const void* x, const void* kernel,
                          const void* bias, void* z, cudaStream_t stream);

}  // namespace pylstm::cuda
