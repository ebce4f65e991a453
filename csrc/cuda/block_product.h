// One block's tile of a matrix product: operands go from global to shared memory in two stages, the
// warps multiply, and the result is left in shared memory for the kernel's own epilogue.
#pragma once

#include "cuda/warp_multiply.h"

namespace pylstm::cuda {

constexpr int kBlockThreads = 128;

// How a block's four warps share its tile: kWarpRows × kWarpColumns of them, each with 16·kRows
// rows and 32 columns; kWarpDepths of them work on different depths of the same tile.
template <int kWarpRows_, int kWarpColumns_, int kWarpDepths_, int kRows_>
struct Shape {
  static constexpr int kWarpRows = kWarpRows_;
  static constexpr int kWarpColumns = kWarpColumns_;
  static constexpr int kWarpDepths = kWarpDepths_;
  static constexpr int kRows = kRows_;
  static constexpr int kTileRows = 16 * kRows * kWarpRows;
  static constexpr int kTileColumns = 32 * kWarpColumns;
  static_assert(kWarpRows * kWarpColumns * kWarpDepths * 32 == kBlockThreads);
};
using LargeShape = Shape<2, 2, 1, 2>;  // 64 × 64: large batches
using SmallShape = Shape<1, 1, 4, 1>;  // 16 × 32: few rows, more blocks

// A matrix in global memory: `lines` lines of `length` contiguous elements, `stride` apart.
template <class T>
struct Operand {
  const T* data;
  int64_t stride;
  int64_t lines;
  int64_t length;
  const uint8_t* used = nullptr;  // (lines): lines that are 0 read as zero, whatever they hold
  bool aligned = false;           // every run that a tile reads starts on 16 bytes
};

// `step`: every line, and every place in it where a kernel starts to read, is a multiple of it away
// from `data`.
template <class T>
Operand<T> make_operand(const T* data, int64_t stride, int64_t lines, int64_t length, int64_t step,
                        const uint8_t* used = nullptr) {
  const bool aligned = reinterpret_cast<uintptr_t>(data) % 16 == 0 && step * sizeof(T) % 16 == 0;
  return {data, stride, lines, length, used, aligned};
}

// Columns of a tile are the operand's, from `first` on.
struct PlainColumns {
  int64_t first;
  // A run of up to 8 tile columns from `column` (a multiple of its length): where it starts in the
  // operand's lines and how many elements of it exist.
  __device__ int64_t offset(int column) const { return first + column; }
  __device__ int64_t count(int column, int64_t length) const { return length - offset(column); }
};

// Columns of a weight matrix (…, 4H), brought into the order in which one lane of a warp tile holds
// all gates of its units: per 32 columns four gates of eight units.
struct GateColumns {
  int64_t first_unit;
  int64_t units;
  unsigned gates = 15;  // bit set of the gates to read; the others are zero
  __device__ int64_t unit(int column) const { return first_unit + column / 32 * 8 + column % 8; }
  __device__ int64_t offset(int column) const { return column / 8 % 4 * units + unit(column); }
  __device__ int64_t count(int column, int64_t) const {
    return gates >> (column / 8 % 4) & 1 ? units - unit(column) : 0;
  }
};

// Brings kLines × kLength elements into shared memory; what lies outside of the operand is zero.
template <int kLines, int kLength, int kPitch, class T, class Columns>
__device__ inline void load_tile(T* tile, const Operand<T>& operand, int64_t first_line,
                                 const Columns& columns) {
  constexpr int kRun = 16 / sizeof(T);
  constexpr int kRuns = kLength / kRun;
  for (int i = threadIdx.x; i < kLines * kRuns; i += kBlockThreads) {
    const int column = i % kRuns * kRun;
    const int64_t line = first_line + i / kRuns;
    T* destination = tile + i / kRuns * kPitch + column;
    int64_t count = columns.count(column, operand.length);
    if (line >= operand.lines || (operand.used && !operand.used[line])) count = 0;
    count = count < 0 ? 0 : count < kRun ? count : kRun;
    const T* source = operand.data + (count ? line * operand.stride + columns.offset(column) : 0);
    if (operand.aligned) {
      copy_async(destination, source, static_cast<int>(count * sizeof(T)));
    } else {
#pragma unroll
      for (int j = 0; j < kRun; ++j) destination[j] = j < count ? source[j] : T(0.0f);
    }
  }
}

template <class Arithmetic, class ShapeT, Contiguous contiguous_a, Contiguous contiguous_b>
struct BlockProduct {
  using T = typename Arithmetic::Element;
  using V = Compute<T>;
  static constexpr int kRows = ShapeT::kRows;
  static constexpr int kDepth = 4 * Arithmetic::kDepth;

  // Pitches keep lines 16-byte aligned and a warp's accesses on different banks.
  static constexpr int pitch(Contiguous contiguous, int outer) {
    return contiguous == Contiguous::kDepth ? kDepth + 16 / sizeof(T)
                                            : outer + (sizeof(T) == 2 ? 8 : 32 / sizeof(T));
  }
  static constexpr int kPitchA = pitch(contiguous_a, ShapeT::kTileRows);
  static constexpr int kPitchB = pitch(contiguous_b, ShapeT::kTileColumns);
  static constexpr int kElementsA =
      contiguous_a == Contiguous::kDepth ? ShapeT::kTileRows * kPitchA : kDepth * kPitchA;
  static constexpr int kElementsB =
      contiguous_b == Contiguous::kDepth ? ShapeT::kTileColumns * kPitchB : kDepth * kPitchB;
  static constexpr int kStageElements = kElementsA + kElementsB;

  static constexpr int kResultPitch = ShapeT::kTileColumns + 8;
  static constexpr int kResultElements = ShapeT::kTileRows * kResultPitch;
  static constexpr size_t kOperandBytes = 2 * kStageElements * sizeof(T);
  static constexpr size_t kResultBytes = ShapeT::kWarpDepths * kResultElements * sizeof(V);
  static constexpr size_t kSharedBytes =
      kOperandBytes > kResultBytes ? kOperandBytes : kResultBytes;
  static_assert(kSharedBytes <= 48 * 1024, "needs an opt-in otherwise");

  Accumulator<V, kRows> accumulator = {};

  struct Position {
    int row, column, depth;
  };
  // Where a warp's part of the tile starts, and which of the depths it takes.
  __device__ static Position warp_position() {
    const int warp = threadIdx.x / 32;
    return {warp / ShapeT::kWarpColumns % ShapeT::kWarpRows * 16 * kRows,
            warp % ShapeT::kWarpColumns * 32, warp / (ShapeT::kWarpRows * ShapeT::kWarpColumns)};
  }
  // Where this lane's accumulator[0][0][0] is.
  __device__ static Position position() {
    const int lane = threadIdx.x % 32;
    const Position warp = warp_position();
    return {warp.row + lane / 4, warp.column + lane % 4 * 2, warp.depth};
  }

  // accumulator += A·B over the depths [begin, end), whole block. `columns_b` gives the tile's
  // columns where they are the contiguous index, else they start at line `first_column`. Only
  // column tiles of the gates in the bit set are computed.
  template <class ColumnsB>
  __device__ void accumulate(Operand<T> a, int64_t first_row, Operand<T> b, int64_t first_column,
                             const ColumnsB& columns_b, int64_t begin, int64_t end,
                             unsigned gates = 15) {
    const Position warp = warp_position();
    T* tiles = reinterpret_cast<T*>(shared_memory());
    (contiguous_a == Contiguous::kDepth ? a.length : a.lines) = end;
    (contiguous_b == Contiguous::kDepth ? b.length : b.lines) = end;

    const auto load = [&](int stage, int64_t depth) {
      T* tile_a = tiles + stage * kStageElements;
      T* tile_b = tile_a + kElementsA;
      if constexpr (contiguous_a == Contiguous::kDepth) {
        load_tile<ShapeT::kTileRows, kDepth, kPitchA>(tile_a, a, first_row, PlainColumns{depth});
      } else {
        load_tile<kDepth, ShapeT::kTileRows, kPitchA>(tile_a, a, depth, PlainColumns{first_row});
      }
      if constexpr (contiguous_b == Contiguous::kDepth) {
        load_tile<ShapeT::kTileColumns, kDepth, kPitchB>(tile_b, b, first_column,
                                                         PlainColumns{depth});
      } else {
        load_tile<kDepth, ShapeT::kTileColumns, kPitchB>(tile_b, b, depth, columns_b);
      }
      commit_copies();
    };

    int stage = 0;
    if (begin < end) load(stage, begin);
    for (int64_t depth = begin; depth < end; depth += kDepth, stage ^= 1) {
      if (depth + kDepth < end) {
        load(stage ^ 1, depth + kDepth);
        wait_copies<1>();
      } else {
        wait_copies<0>();
      }
      __syncthreads();
      const T* tile_a = tiles + stage * kStageElements;
      const T* tile_b = tile_a + kElementsA;
#pragma unroll
      for (int i = 0; i < 4 / ShapeT::kWarpDepths; ++i) {
        const int k = (i * ShapeT::kWarpDepths + warp.depth) * Arithmetic::kDepth;
        Arithmetic::template multiply<contiguous_a, contiguous_b>(
            accumulator, element<contiguous_a>(tile_a, kPitchA, warp.row, k), kPitchA,
            element<contiguous_b>(tile_b, kPitchB, warp.column, k), kPitchB, gates);
      }
      __syncthreads();
    }
  }

  // total += accumulator · scale(row, column); the accumulators start again from zero.
  template <class Scale>
  __device__ void move_scaled(Accumulator<V, kRows>& total, const Scale& scale) {
    const Position origin = position();
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
#pragma unroll
      for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          total[m][n][i] += accumulator[m][n][i] *
                            scale(origin.row + 16 * m + i / 2 * 8, origin.column + 8 * n + i % 2);
          accumulator[m][n][i] = V(0);
        }
      }
    }
  }

  // Leaves the block's tile in shared memory; result(row, column) reads it.
  __device__ void store_result() const { store_result(accumulator); }
  __device__ void store_result(const Accumulator<V, kRows>& accumulator) const {
    const Position origin = position();
    V* result = reinterpret_cast<V*>(shared_memory()) + origin.depth * kResultElements;
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
#pragma unroll
      for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          result[(origin.row + 16 * m + i / 2 * 8) * kResultPitch + origin.column + 8 * n + i % 2] =
              accumulator[m][n][i];
        }
      }
    }
    __syncthreads();
  }

  __device__ static V result(int row, int column) {
    const V* result = reinterpret_cast<const V*>(shared_memory()) + row * kResultPitch + column;
    V sum = result[0];
#pragma unroll
    for (int i = 1; i < ShapeT::kWarpDepths; ++i) sum += result[i * kResultElements];
    return sum;
  }

  // A tile of gate columns holds the units [0, kTileColumns / 4).
  __device__ static V gate(int row, int unit, int gate) {
    return result(row, unit / 8 * 32 + gate * 8 + unit % 8);
  }
};

}  // namespace pylstm::cuda
