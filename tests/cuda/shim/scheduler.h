// Runs a CUDA grid on one CPU thread. A block's threads are fibers that are switched at barriers
// and warp-wide instructions, in a random order, so that a missing barrier changes the result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace shim {

// Seeds the order of blocks and threads.
void set_seed(uint64_t seed);

// Blocks run one after the other; those of a cooperative grid all at once, those of a cluster
// together with their cluster.
void run_grid(const std::function<void()>& thread, dim3 grid, dim3 block, size_t shared_bytes,
              bool cooperative, unsigned cluster);

// How many grids have run.
int64_t launches();

// For the code of a running thread:
const dim3& thread_index();
const dim3& block_index();
const dim3& block_size();
const dim3& grid_size();
unsigned char* shared_memory();
// The same place in the shared memory of another block of the cluster.
void* cluster_shared(const void* pointer, unsigned rank);
unsigned cluster_rank();
void block_barrier();
// The two halves of a barrier.
void cluster_arrive();
void cluster_wait();
void yield();
// Suspends until all 32 lanes of the warp have called; then `operation` sees every lane's argument.
using Operation = void (*)(void* const (&lanes)[32]);
void warp_collective(Operation operation, void* argument);
// Asynchronous copies take effect when they are waited for, no sooner.
void copy_async(void* destination, const void* source, size_t bytes);
void commit_copies();
void wait_copies(int pending_groups);

}  // namespace shim
