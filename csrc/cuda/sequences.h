// What both passes through time know of the sequences.
#pragma once

#include "core/problem.h"
#include "cuda/device_cell.h"

namespace pylstm::cuda {

struct Sequences {
  const uint8_t* mask;
  int64_t batch, time, units;
  CellActivations activations;
  bool go_backwards, return_sequences, zero_output_for_mask;

  __device__ int64_t input_time(int64_t step) const {
    return go_backwards ? time - 1 - step : step;
  }
  __device__ int64_t row(int64_t b, int64_t step) const { return b * time + input_time(step); }
  __device__ bool active(int64_t b, int64_t step) const { return !mask || mask[row(b, step)]; }
};

inline Sequences sequences(const Problem& problem, const InputBuffers& buffers) {
  return {buffers.mask,
          problem.batch,
          problem.time,
          problem.units,
          cell_activations(problem),
          problem.go_backwards,
          problem.return_sequences,
          problem.zero_output_for_mask};
}

}  // namespace pylstm::cuda
