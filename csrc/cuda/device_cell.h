// The cell with activations chosen at run time. Out of line: 25 formulas per gate are much code.
#pragma once

#include "core/cell.h"
#include "core/problem.h"
#include "cuda/types.h"

namespace pylstm::cuda {

struct CellActivations {
  act::Runtime activation;
  act::Runtime recurrent;
  bool are_default;  // the resident kernels have the formulas of these in line
};

inline CellActivations cell_activations(const Problem& problem) {
  return {{problem.activation}, {problem.recurrent_activation}, problem.has_default_activations()};
}

template <class V>
__device__ __noinline__ CellForward<V> runtime_cell_forward(CellActivations activations, Gates<V> z,
                                                            V c_prev) {
  return cell_forward(activations.activation, activations.recurrent, z.value[0], z.value[1],
                      z.value[2], z.value[3], c_prev);
}

template <class V>
__device__ __noinline__ CellBackward<V> runtime_cell_backward(CellActivations activations,
                                                              Gates<V> saved, V c_prev, V c, V dh,
                                                              V dc) {
  return cell_backward(activations.activation, activations.recurrent, saved.value[0],
                       saved.value[1], saved.value[2], saved.value[3], c_prev, c,
                       activations.activation.forward(c), dh, dc);
}

}  // namespace pylstm::cuda
