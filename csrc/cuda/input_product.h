// z = x·W + b for all steps at once.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"

namespace pylstm::cuda {

// x (B, T, F), kernel (F, 4H), bias (4H) or null -> z (B, T, H, 4) in the compute type, 64-byte
// aligned: the gates of a unit lie side by side.
void launch_input_product(const Problem& problem, const void* x, const void* kernel,
                          const void* bias, void* z, cudaStream_t stream);

}  // namespace pylstm::cuda
