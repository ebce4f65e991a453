// Which GPU kernel runs a problem on a device, and why: a pure function, testable without a GPU.
#pragma once

#include <array>
#include <string>

#include "core/macros.h"
#include "core/problem.h"

namespace pylstm::cuda {

struct DeviceProperties {
  static constexpr int kMaxClusterBlocks = 8;  // the largest portable

  int compute_capability;  // 10 · major + minor, of the device or of the code, whichever is older
  int multiprocessors;
  int shared_bytes_per_block;  // with opt-in
  // clusters[n]: how many clusters of n >= 2 blocks run at once; 0 where none can, or the code has
  // none
  std::array<int, kMaxClusterBlocks + 1> clusters;
  bool cooperative;  // a launch may ask for all its blocks to run at once
};

// All but the first keep the recurrent weights on chip for the whole sequence, on tensor cores.
enum class Kernel {
  kStep,     // one product per time step, in one launch where all its blocks run at once
  kBlock,    // one block per tile of rows, no traffic between multiprocessors
  kCluster,  // a thread-block cluster per tile of rows, h goes through distributed shared memory
  kGrid,     // a cooperative grid, h goes through L2
};

// How a resident kernel divides a problem. Each warp holds the weights of 8 units (their four
// gates) over `depth_steps` tensor-core depths in registers and over `shared_steps` more in shared
// memory; `splits` warps share 8 units, each with other depths.
struct ResidentPlan {
  static constexpr int kUnitsPerWarp = 8;
  static constexpr int kTileRows = 16;
  static constexpr int kMaxWarps = 8;         // more would leave each thread too few registers
  static constexpr int kWideBlockWarps = 16;  // of a block that has weights in shared memory too
  static constexpr int kStepBytes = 1024;     // a warp's weights of one depth, in any type

  int depth_steps;
  int shared_steps;
  int splits;
  int warps;          // of a block
  int slices;         // blocks that share the units of one tile
  int rows;           // of a tile that are used, 8 or 16
  int tiles;          // batch / rows
  int groups;         // of `slices` blocks each; group i takes the tiles i, i + groups, ...
  int operand_pitch;  // elements of one row of h, or of one gate of dz, in shared memory
  int element_bytes;
  int forward_operands;  // 1, or with recurrent dropout an h for each gate

  PYLSTM_FN int block_units() const { return warps / splits * kUnitsPerWarp; }
  PYLSTM_FN int block_threads() const { return 32 * warps; }
  PYLSTM_FN int thread_elements() const { return 4 / splits; }
  PYLSTM_FN int tiles_per_group() const { return (tiles + groups - 1) / groups; }

  // Shared memory holds, in this order: the operand (h forward, the gates of dz backward) in
  // `buffers` copies, the warps' partial sums where they split the depth, the state of the units,
  // and weights.
  PYLSTM_FN int operand_elements(bool backward) const {
    return (backward ? 4 : forward_operands) * kTileRows * operand_pitch;
  }
  PYLSTM_FN int partial_floats() const { return splits > 1 ? block_threads() * 16 : 0; }
  PYLSTM_FN int state_floats(bool backward) const {
    return tiles_per_group() * block_threads() * thread_elements() * (backward ? 3 : 2);
  }
  PYLSTM_FN int weight_bytes() const { return warps * shared_steps * kStepBytes; }
  PYLSTM_FN int shared_bytes(bool backward, int buffers) const {
    return buffers * operand_elements(backward) * element_bytes +
           4 * (partial_floats() + state_floats(backward)) + weight_bytes();
  }
};

struct Choice {
  Kernel kernel;
  // Of kStep: 16 × 32 results per block instead of 64 × 64.
  bool small_forward_tiles, small_backward_tiles;
  ResidentPlan plan;     // of the others
  const char* obstacle;  // of kStep: why no other takes it
};

const char* kernel_name(Kernel kernel);
std::string reason(const Choice& choice);  // in words
Choice choose_kernel(const Problem& problem, const DeviceProperties& device);

}  // namespace pylstm::cuda
