// How a kernel goes through the steps of a sequence whose every step needs the results of the whole
// grid: with a barrier in one launch where all blocks run at once, else with a launch each.
#pragma once

#include "cuda/check.h"
#include "cuda/dispatch.h"
#include "cuda/ptx.h"

namespace pylstm::cuda {

// Whole grid of a cooperative launch: what any thread wrote before is visible to all after. This is
// the `meeting`-th time, from 1, that `arrivals` counts.
__device__ inline void grid_barrier(unsigned* arrivals, int64_t meeting) {
  __syncthreads();
  if (threadIdx.x == 0) {
    add_release(arrivals, 1);
    wait_acquire(arrivals, static_cast<unsigned>(meeting) * gridDim.x * gridDim.y);
  }
  __syncthreads();
}

// Runs `count` steps of a kernel whose last two parameters are the first step, counted in the order
// in which they run, and the one after the last.
template <class... Parameters, class... Arguments>
void launch_steps(const char* name, void (*kernel)(Parameters...), Launch launch, int64_t count,
                  const DeviceProperties& device, const Arguments&... arguments) {
  int resident_blocks = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
            &resident_blocks, kernel, static_cast<int>(launch.block.x), launch.shared_bytes),
        name);
  const int64_t blocks = int64_t{launch.grid.x} * launch.grid.y;
  launch.cooperative = device.cooperative &&
                       blocks <= int64_t{resident_blocks} * device.multiprocessors &&
                       blocks * count <= UINT32_MAX;  // what the barrier's counter can hold
  const int64_t steps_per_launch = launch.cooperative ? count : 1;
  for (int64_t first = 0; first < count; first += steps_per_launch) {
    launch_kernel(name, kernel, launch, arguments..., first, first + steps_per_launch);
  }
}

}  // namespace pylstm::cuda
