#include "scheduler.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace shim {
namespace {

constexpr size_t kStackBytes = 128 * 1024;
constexpr size_t kGuardBytes = 4096;
constexpr unsigned char kPoison = 0xff;  // NaN in every floating-point type

struct Fiber;

// Threads that wait for each other. A phase ends when all have arrived.
struct Barrier {
  size_t expected = 0;
  size_t arrived = 0;
  uint64_t phase = 0;
  std::vector<Fiber*> waiting;
};

struct Warp {
  Operation operation = nullptr;
  void* arguments[32] = {};
  size_t arrived = 0;
};

struct Cluster {
  Barrier barrier;
  std::vector<struct Block*> blocks;
};

struct Block {
  dim3 index;
  unsigned rank = 0;
  std::vector<unsigned char> shared;
  unsigned char* shared_begin = nullptr;
  size_t shared_bytes = 0;
  Barrier barrier;
  std::vector<Warp> warps;
  std::vector<std::unique_ptr<Fiber>> fibers;
  Cluster* cluster = nullptr;
};

struct Copy {
  void* destination;
  const void* source;
  size_t bytes;
};

struct Fiber {
  Block* block;
  unsigned linear;
  dim3 thread;
  void* stack;
  jmp_buf resume;
  bool started = false;
  std::deque<std::vector<Copy>> copies{1};  // the last is not committed yet
  std::optional<uint64_t> cluster_phase;    // between its arrival and its wait
};

std::mt19937_64 random_engine;
std::vector<void*> free_stacks;
std::vector<Fiber*> runnable;
std::vector<Fiber*> delayed;  // until nothing else can run
Fiber* current = nullptr;
jmp_buf scheduler;
ucontext_t scheduler_context;
size_t alive = 0;
int64_t launch_count = 0;
const std::function<void()>* thread_body;
dim3 current_grid, current_block;

void* take_stack() {
  if (free_stacks.empty()) {
    void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) throw std::bad_alloc();
    return stack;
  }
  void* stack = free_stacks.back();
  free_stacks.pop_back();
  return stack;
}

void end_phase(Barrier& barrier) {
  barrier.arrived = 0;
  ++barrier.phase;
  runnable.insert(runnable.end(), barrier.waiting.begin(), barrier.waiting.end());
  barrier.waiting.clear();
}

// A thread that has ended counts as arrived.
void leave(Barrier& barrier) {
  if (--barrier.expected > 0 && barrier.arrived == barrier.expected) end_phase(barrier);
}

void switch_to_scheduler() {
  if (_setjmp(current->resume) == 0) _longjmp(scheduler, 1);
}

// Returns the phase whose end to wait for.
uint64_t arrive(Barrier& barrier) {
  const uint64_t phase = barrier.phase;
  if (++barrier.arrived == barrier.expected) end_phase(barrier);
  return phase;
}

void wait_for(Barrier& barrier, uint64_t phase) {
  (barrier.phase == phase ? barrier.waiting : runnable).push_back(current);
  switch_to_scheduler();
}

[[noreturn]] void fail(const char* text) {
  std::fprintf(stderr, "%s\n", text);
  std::abort();
}

void fiber_main() {
  (*thread_body)();
  --alive;
  leave(current->block->barrier);
  leave(current->block->cluster->barrier);
  _longjmp(scheduler, 1);
}

void run(Fiber* fiber) {
  current = fiber;
  if (_setjmp(scheduler) != 0) return;
  if (fiber->started) _longjmp(fiber->resume, 1);
  fiber->started = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = fiber->stack;
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  makecontext(&context, fiber_main, 0);
  swapcontext(&scheduler_context, &context);
}

std::unique_ptr<Block> make_block(unsigned linear, size_t shared_bytes) {
  auto block = std::make_unique<Block>();
  block->index = dim3(linear % current_grid.x, linear / current_grid.x % current_grid.y,
                      linear / current_grid.x / current_grid.y);
  block->shared.assign(shared_bytes + 128 + kGuardBytes, kPoison);
  block->shared_begin =
      block->shared.data() + (128 - reinterpret_cast<uintptr_t>(block->shared.data()) % 128) % 128;
  block->shared_bytes = shared_bytes;
  const unsigned threads = current_block.x * current_block.y * current_block.z;
  block->barrier.expected = threads;
  block->warps.resize((threads + 31) / 32);
  for (unsigned i = 0; i < threads; ++i) {
    auto fiber = std::make_unique<Fiber>();
    fiber->block = block.get();
    fiber->linear = i;
    fiber->thread = dim3(i % current_block.x, i / current_block.x % current_block.y,
                         i / current_block.x / current_block.y);
    fiber->stack = take_stack();
    block->fibers.push_back(std::move(fiber));
  }
  return block;
}

void check_guard(const Block& block) {
  const unsigned char* guard = block.shared_begin + block.shared_bytes;
  if (!std::all_of(guard, guard + kGuardBytes, [](unsigned char c) { return c == kPoison; })) {
    throw std::runtime_error("a kernel wrote past the end of its shared memory");
  }
}

// Runs these blocks together, `cluster` neighbors sharing a cluster.
void run_blocks(const std::vector<unsigned>& indices, size_t shared_bytes, unsigned cluster) {
  std::vector<std::unique_ptr<Block>> blocks;
  std::vector<std::unique_ptr<Cluster>> clusters;
  for (size_t i = 0; i < indices.size(); ++i) {
    blocks.push_back(make_block(indices[i], shared_bytes));
    if (i % cluster == 0) clusters.push_back(std::make_unique<Cluster>());
    Block& block = *blocks.back();
    block.cluster = clusters.back().get();
    block.rank = static_cast<unsigned>(i % cluster);
    block.cluster->blocks.push_back(&block);
    block.cluster->barrier.expected += block.fibers.size();
    for (auto& fiber : block.fibers) runnable.push_back(fiber.get());
  }
  alive = runnable.size();
  while (!runnable.empty() || !delayed.empty()) {
    if (runnable.empty()) runnable.swap(delayed);
    std::swap(runnable[random_engine() % runnable.size()], runnable.back());
    Fiber* fiber = runnable.back();
    runnable.pop_back();
    run(fiber);
  }
  current = nullptr;
  for (auto& block : blocks) {
    for (auto& fiber : block->fibers) free_stacks.push_back(fiber->stack);
  }
  if (alive > 0) throw std::runtime_error("deadlock: " + std::to_string(alive) + " threads wait");
  for (auto& block : blocks) check_guard(*block);
}

}  // namespace

int64_t launches() { return launch_count; }

void set_seed(uint64_t seed) { random_engine.seed(seed); }

void run_grid(const std::function<void()>& thread, dim3 grid, dim3 block, size_t shared_bytes,
              bool cooperative, unsigned cluster) {
  ++launch_count;
  thread_body = &thread;
  current_grid = grid;
  current_block = block;
  const unsigned count = grid.x * grid.y * grid.z;
  const unsigned together = cooperative ? count : cluster;
  std::vector<unsigned> groups(count / together);
  std::iota(groups.begin(), groups.end(), 0u);
  std::shuffle(groups.begin(), groups.end(), random_engine);
  for (unsigned group : groups) {
    std::vector<unsigned> indices(together);
    std::iota(indices.begin(), indices.end(), group * together);
    run_blocks(indices, shared_bytes, cluster);
  }
}

const dim3& thread_index() { return current->thread; }
const dim3& block_index() { return current->block->index; }
const dim3& block_size() { return current_block; }
const dim3& grid_size() { return current_grid; }
unsigned char* shared_memory() { return current->block->shared_begin; }

void* cluster_shared(const void* pointer, unsigned rank) {
  const auto offset = static_cast<const unsigned char*>(pointer) - current->block->shared_begin;
  const Block& block = *current->block->cluster->blocks.at(rank);
  if (block.barrier.expected == 0) fail("a store to the shared memory of a block that has ended");
  return block.shared_begin + offset;
}

unsigned cluster_rank() { return current->block->rank; }

void block_barrier() {
  Barrier& barrier = current->block->barrier;
  wait_for(barrier, arrive(barrier));
}

void cluster_arrive() {
  if (current->cluster_phase) fail("a thread arrives twice at the barrier of its cluster");
  Cluster& cluster = *current->block->cluster;
  current->cluster_phase = arrive(cluster.barrier);
  // Before this thread's next store others may be far ahead: each time, all those of other blocks.
  const bool slow = *current->cluster_phase % cluster.blocks.size() == current->block->rank;
  (slow ? delayed : runnable).push_back(current);
  switch_to_scheduler();
}

void cluster_wait() {
  wait_for(current->block->cluster->barrier, current->cluster_phase.value());
  current->cluster_phase.reset();
}

void yield() {
  runnable.push_back(current);
  switch_to_scheduler();
}

void warp_collective(Operation operation, void* argument) {
  Warp& warp = current->block->warps[current->linear / 32];
  if (warp.arrived > 0 && warp.operation != operation) {
    fail("the lanes of a warp are at different instructions");
  }
  warp.operation = operation;
  warp.arguments[current->linear % 32] = argument;
  if (++warp.arrived < 32) {
    switch_to_scheduler();
    return;
  }
  warp.arrived = 0;
  operation(warp.arguments);
  const unsigned first = current->linear / 32 * 32;
  for (unsigned lane = 0; lane < 32; ++lane) {
    Fiber* fiber = current->block->fibers[first + lane].get();
    if (fiber != current) runnable.push_back(fiber);
  }
}

void copy_async(void* destination, const void* source, size_t bytes) {
  current->copies.back().push_back({destination, source, bytes});
}

void commit_copies() { current->copies.emplace_back(); }

void wait_copies(int pending_groups) {
  while (current->copies.size() > static_cast<size_t>(pending_groups) + 1) {
    for (const Copy& copy : current->copies.front()) {
      std::memset(copy.destination, 0, 16);
      std::memcpy(copy.destination, copy.source, copy.bytes);
    }
    current->copies.pop_front();
  }
}

}  // namespace shim
