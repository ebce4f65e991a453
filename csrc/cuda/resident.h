// What the resident kernels share: recurrent weights held on chip for the whole sequence, and the
// ways by which the blocks that share a tile of rows exchange their results every step.
#pragma once

#include "cuda/check.h"
#include "cuda/dispatch.h"
#include "cuda/sequences.h"
#include "cuda/warp_multiply.h"

namespace pylstm::cuda {

enum class Exchange {
  kBlock,    // one block has all units: shared memory
  kCluster,  // each block stores into the shared memory of all blocks of its cluster
  kGrid,     // global memory, and a counter of arrivals per tile
};

// The compile-time half of a ResidentPlan.
template <class Arithmetic_, Exchange kExchange_, int kSteps_, int kSplits_,
          int kMaxWarps_ = ResidentPlan::kMaxWarps>
struct ResidentShape {
  using Arithmetic = Arithmetic_;
  using T = typename Arithmetic::Element;
  static constexpr Exchange kExchange = kExchange_;
  static constexpr int kSteps = kSteps_;    // depths whose weights a warp has in registers
  static constexpr int kSplits = kSplits_;  // warps that share 8 units
  static constexpr int kElements = 4 / kSplits;
  static constexpr int kBuffers = kExchange == Exchange::kGrid ? 1 : 2;
  static constexpr int kMaxThreads = 32 * kMaxWarps_;
  static constexpr bool kSharedWeights = kMaxWarps_ > ResidentPlan::kMaxWarps;
  // Any activations and recurrent dropout, for which 128 registers a thread are too few.
  static constexpr bool kAnyCell = !kSharedWeights;
};

// Where a thread stands, and which (row, unit) pairs are its own: those of its elements of the
// accumulators, of which the warps that share units take kElements each.
template <class Shape>
struct ResidentPlace {
  int lane, warp, split;
  int first_depth;  // of this warp's weights
  int group, slice;
  int first_unit;  // of this warp

  __device__ explicit ResidentPlace(const ResidentPlan& plan) {
    lane = threadIdx.x % 32;
    warp = threadIdx.x / 32;
    split = warp % Shape::kSplits;
    first_depth = split * Shape::kSteps * Shape::Arithmetic::kDepth;
    group = blockIdx.x / plan.slices;
    slice = blockIdx.x % plan.slices;
    first_unit = slice * plan.block_units() + warp / Shape::kSplits * ResidentPlan::kUnitsPerWarp;
  }
  __device__ int row(int element) const {
    return lane / 4 + (split * Shape::kElements + element) / 2 * 8;
  }
  __device__ int unit(int element) const {
    return first_unit + lane % 4 * 2 + (split * Shape::kElements + element) % 2;
  }
  // Whether an element of a tile exists.
  __device__ bool exists(const ResidentPlan& plan, const Sequences& sequences, int tile,
                         int element) const {
    return row(element) < plan.rows && unit(element) < sequences.units &&
           int64_t{tile} * plan.rows + row(element) < sequences.batch;
  }
};

// A block's dynamic shared memory; see ResidentPlan.
template <class Shape>
struct ResidentMemory {
  using T = typename Shape::T;
  T* operand;
  float* partial;
  float* state;
  Gates<uint32_t>* weights;
  int operand_elements;
  int pitch;
  int gate_stride;  // between the operands of two gates

  __device__ ResidentMemory(const ResidentPlan& plan, bool backward) {
    operand = reinterpret_cast<T*>(shared_memory());
    operand_elements = plan.operand_elements(backward);
    pitch = plan.operand_pitch;
    gate_stride = ResidentPlan::kTileRows * pitch;
    partial = reinterpret_cast<float*>(operand + Shape::kBuffers * operand_elements);
    state = partial + plan.partial_floats();
    weights = reinterpret_cast<Gates<uint32_t>*>(state + plan.state_floats(backward));
  }
  __device__ T* buffer(int64_t step) const {
    return operand + (Shape::kBuffers == 1 ? 0 : step % 2) * operand_elements;
  }
  // Value `index` of `count` that an element of a tile (numbered within the group) keeps.
  __device__ float& kept(int tile, int element, int index, int count) const {
    return state[((tile * Shape::kElements + element) * count + index) * blockDim.x + threadIdx.x];
  }
  // What lies beyond the batch and the units must be zero, not NaN. Whole block.
  __device__ void clear_operand() const {
    for (int i = threadIdx.x; i < Shape::kBuffers * operand_elements; i += blockDim.x) {
      operand[i] = T(0.0f);
    }
    __syncthreads();
  }
};

// The first row of a tile, computed anew wherever it is asked for: addresses that depend on it
// would otherwise all be kept for the whole sequence, in registers that the weights need.
__device__ inline int64_t first_row_of(const ResidentPlan& plan, int tile) {
  uint32_t row = static_cast<uint32_t>(tile) * plan.rows;
  hold_in_register(row);
  return row;
}

// One warp's weights: for each gate a (depth × 8) panel, of which kSteps depths are in registers
// and the rest in shared memory, where each thread keeps its own fragments.
template <class Shape>
struct ResidentWeights {
  using Arithmetic = typename Shape::Arithmetic;
  using T = typename Shape::T;
  using Fragments = uint32_t[4][2];  // of the four gates at one depth
  Fragments registers[Shape::kSteps];
  Gates<uint32_t>* shared;  // this thread's first of two per depth, `blockDim.x` apart
  int shared_steps;

  // weight(gate, k) is the element at depth k in this lane's column.
  template <class Weight>
  __device__ ResidentWeights(const ResidentPlan& plan, Gates<uint32_t>* memory, int first_depth,
                             const Weight& weight)
      : shared(memory + threadIdx.x), shared_steps(plan.shared_steps) {
#pragma unroll
    for (int s = 0; s < Shape::kSteps; ++s) {
      load(registers[s], first_depth + s * Arithmetic::kDepth, weight);
    }
    if constexpr (Shape::kSharedWeights) {
#pragma unroll 1
      for (int s = 0; s < shared_steps; ++s) {
        Fragments fragments;
        load(fragments, first_depth + (Shape::kSteps + s) * Arithmetic::kDepth, weight);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          shared[(2 * s + i) * blockDim.x] = {{fragments[2 * i][0], fragments[2 * i][1],
                                               fragments[2 * i + 1][0], fragments[2 * i + 1][1]}};
        }
      }
    }
  }

  // accumulator[g] += operand · weights of gate g. Each gate's operand is `gate_stride` beyond that
  // of the gate before; kOneOperand: they share one.
  template <bool kOneOperand>
  __device__ void multiply(float (&accumulator)[4][4], const T* operand, int pitch,
                           int gate_stride) const {
#pragma unroll
    for (int s = 0; s < Shape::kSteps; ++s) {
      multiply_depth<kOneOperand>(accumulator, operand + s * Arithmetic::kDepth, pitch, gate_stride,
                                  registers[s]);
    }
    if constexpr (Shape::kSharedWeights) {
#pragma unroll 1
      for (int s = 0; s < shared_steps; ++s) {
        Fragments fragments;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const Gates<uint32_t> words = shared[(2 * s + i) * blockDim.x];
#pragma unroll
          for (int w = 0; w < 4; ++w) fragments[2 * i + w / 2][w % 2] = words.value[w];
        }
        multiply_depth<kOneOperand>(accumulator, operand + (Shape::kSteps + s) * Arithmetic::kDepth,
                                    pitch, gate_stride, fragments);
      }
    }
  }

 private:
  template <class Weight>
  __device__ static void load(Fragments& fragments, uint32_t depth, const Weight& weight) {
    // One depth at a time: all addresses at once would need more registers than there are.
    hold_in_register(depth);
#pragma unroll
    for (int g = 0; g < 4; ++g) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        fragments[g][r] = Arithmetic::weight_fragment(
            r, [&](int k) { return weight(g, static_cast<int>(depth) + k); });
        hold_in_register(fragments[g][r]);
      }
    }
  }

  template <bool kOneOperand>
  __device__ static void multiply_depth(float (&accumulator)[4][4], const T* operand, int pitch,
                                        int gate_stride, const Fragments& fragments) {
    uint32_t a[4];
#pragma unroll
    for (int g = 0; g < 4; ++g) {
      if (g == 0 || !kOneOperand) {
        Arithmetic::template load_fragment<Contiguous::kDepth>(a, operand + g * gate_stride, pitch);
      }
      Arithmetic::multiply_fragments(accumulator[g], a, fragments[g][0], fragments[g][1]);
    }
  }
};

// Adds up what the warps that share units have accumulated: result[e][g] for this thread's
// elements. Whole block.
template <class Shape>
__device__ inline void sum_splits(const ResidentPlace<Shape>& place, float* partial,
                                  const float (&accumulator)[4][4],
                                  float (&result)[Shape::kElements][4]) {
  if constexpr (Shape::kSplits == 1) {
#pragma unroll
    for (int g = 0; g < 4; ++g) {
#pragma unroll
      for (int e = 0; e < Shape::kElements; ++e) result[e][g] = accumulator[g][e];
    }
  } else {
#pragma unroll
    for (int g = 0; g < 4; ++g) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        partial[((place.warp * 4 + g) * 4 + i) * 32 + place.lane] = accumulator[g][i];
      }
    }
    __syncthreads();
    const int first_warp = place.warp - place.split;
#pragma unroll
    for (int e = 0; e < Shape::kElements; ++e) {
#pragma unroll
      for (int g = 0; g < 4; ++g) {
        result[e][g] = 0;
#pragma unroll
        for (int s = 0; s < Shape::kSplits; ++s) {
          const int i = place.split * Shape::kElements + e;
          result[e][g] += partial[(((first_warp + s) * 4 + g) * 4 + i) * 32 + place.lane];
        }
      }
    }
  }
}

// Stores an element of the next operand where the blocks that need it will read it; kGrid has its
// own arrays in global memory.
template <class Shape, class T>
__device__ inline void publish(T* shared, T value, int slices) {
  if constexpr (Shape::kExchange == Exchange::kBlock) *shared = value;
  if constexpr (Shape::kExchange == Exchange::kCluster) {
    for (int rank = 0; rank < slices; ++rank) store_to_cluster(shared, rank, value);
  }
}

// Whole block, or cluster: what was stored in shared memory before is visible after.
template <class Shape>
__device__ inline void meet() {
  if constexpr (Shape::kExchange == Exchange::kCluster) {
    cluster_barrier();
  } else {
    __syncthreads();
  }
}

// Ends a tile's step in two halves: all that the block published before the first is visible to
// whoever waits for it. What is stored between the halves, nobody waits for.
template <class Shape>
__device__ inline void arrive(unsigned* arrivals) {
  if constexpr (Shape::kExchange == Exchange::kCluster) cluster_arrive();
  if constexpr (Shape::kExchange == Exchange::kGrid) {
    __syncthreads();
    if (threadIdx.x == 0) add_release(arrivals, 1);
  }
}
template <class Shape>
__device__ inline void finish_arrival() {
  if constexpr (Shape::kExchange == Exchange::kCluster) cluster_wait();
  if constexpr (Shape::kExchange == Exchange::kBlock) __syncthreads();
}

// kGrid: waits until `count` blocks have arrived, then brings `operands` times `rows` rows of
// `padded` elements (see padded_units) into shared memory. Whole block.
template <class T>
__device__ inline void fetch_operand(T* shared, int pitch, const T* global, int64_t row_stride,
                                     int64_t operand_stride, int padded, int rows, int operands,
                                     const unsigned* arrivals, unsigned count) {
  if (threadIdx.x == 0) wait_acquire(arrivals, count);
  __syncthreads();
  // A row to a warp: nothing to divide by but a constant, and contiguous copies.
  constexpr int kRun = 16 / sizeof(T);
  for (int line = threadIdx.x / 32; line < rows * operands; line += blockDim.x / 32) {
    const int row = operands == 1 ? line : line / kGates;
    const int operand = operands == 1 ? 0 : line % kGates;
    T* to = shared + (operand * ResidentPlan::kTileRows + row) * pitch;
    const T* from = global + row * row_stride + operand * operand_stride;
    for (int column = threadIdx.x % 32 * kRun; column < padded; column += 32 * kRun) {
      copy_async(to + column, from + column, 16);
    }
  }
  commit_copies();
  wait_copies<0>();
  __syncthreads();
}

// Calls f with the shape of a choice.
template <class Arithmetic, class F>
void visit_resident(const Choice& choice, F&& f) {
  switch (choice.kernel) {
    case Kernel::kStep:
      break;
    case Kernel::kBlock:
      if (choice.plan.warps > ResidentPlan::kMaxWarps) {
        return f(
            ResidentShape<Arithmetic, Exchange::kBlock, 4, 1, ResidentPlan::kWideBlockWarps>());
      }
      if constexpr (Arithmetic::kDepth < 16) {  // eight depths of 16 are more than a block's units
        if (choice.plan.depth_steps == 8) {
          return f(ResidentShape<Arithmetic, Exchange::kBlock, 8, 1>());
        }
      }
      return f(ResidentShape<Arithmetic, Exchange::kBlock, 4, 1>());
    case Kernel::kCluster:
      return f(ResidentShape<Arithmetic, Exchange::kCluster, 8, 2>());
    case Kernel::kGrid:
      return choice.plan.depth_steps == 8 ? f(ResidentShape<Arithmetic, Exchange::kGrid, 8, 2>())
             : choice.plan.splits == 2    ? f(ResidentShape<Arithmetic, Exchange::kGrid, 16, 2>())
                                          : f(ResidentShape<Arithmetic, Exchange::kGrid, 16, 4>());
  }
}

// Calls f with the tensor-core arithmetic of a problem.
template <class F>
void visit_tensor_core(const Problem& problem, F&& f) {
  switch (problem.dtype) {
    case DType::kFloat16:
      return f(TensorCore<Half>());
    case DType::kBFloat16:
      return f(TensorCore<BFloat16>());
    case DType::kFloat32:
      return f(TensorCoreTf32());
    case DType::kFloat64:
      break;
  }
}

template <class Shape>
Launch resident_launch(const ResidentPlan& plan, bool backward, cudaStream_t stream) {
  Launch launch;
  launch.grid = dim3(static_cast<unsigned>(plan.groups * plan.slices));
  launch.block = dim3(static_cast<unsigned>(plan.block_threads()));
  launch.shared_bytes = plan.shared_bytes(backward, Shape::kBuffers);
  launch.stream = stream;
  launch.cooperative = Shape::kExchange == Exchange::kGrid;
  launch.cluster = Shape::kExchange == Exchange::kCluster ? plan.slices : 1;
  return launch;
}

}  // namespace pylstm::cuda
