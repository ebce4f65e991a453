// What remains of the gradient once the pass through time has left
//   dz          (B, T, 4H)     gradients of the pre-activations, in x's order of time; masked: zero
//   previous_h  (P, B·T, H)    the h that each step multiplied; P = 1, with recurrent dropout 4,
//                              times each gate's multipliers; undefined at masked steps
// both in the element type: one large product each, deterministic.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"

namespace pylstm::cuda {

int64_t weight_gradients_workspace_bytes(const Problem& problem, int multiprocessors);

// Fills dx where it is wanted, dkernel, drecurrent_kernel and dbias.
void launch_weight_gradients(const Problem& problem, const BackwardBuffers& buffers, const void* dz,
                             const void* previous_h, void* workspace, int multiprocessors,
                             cudaStream_t stream);

}  // namespace pylstm::cuda
