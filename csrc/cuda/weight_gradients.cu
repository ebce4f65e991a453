#include <algorithm>

#include "core/arena.h"
#include "cuda/block_product.h"
#include "cuda/check.h"
#include "cuda/weight_gradients.h"

namespace pylstm::cuda {
namespace {

// out (rows, columns) = a·b with the depth contiguous in both: dx = dz·Wᵀ.
template <class Arithmetic>
using InputProduct = BlockProduct<Arithmetic, LargeShape, Contiguous::kDepth, Contiguous::kDepth>;

// The tiles are all on one axis of the grid: the second has 65535 blocks, and F may need more.
template <class Arithmetic, class T = typename Arithmetic::Element>
__global__ void __launch_bounds__(kBlockThreads)
    input_gradient(Operand<T> dz, Operand<T> kernel, int64_t row_tiles, T* dx) {
  constexpr int kRows = LargeShape::kTileRows, kColumns = LargeShape::kTileColumns;
  const int64_t first_row = blockIdx.x % row_tiles * kRows;
  const int64_t first_column = blockIdx.x / row_tiles * kColumns;
  InputProduct<Arithmetic> product;
  product.accumulate(dz, first_row, kernel, first_column, PlainColumns{0}, 0, dz.length);
  product.store_result();
  for (int i = threadIdx.x; i < kRows * kColumns; i += kBlockThreads) {
    const int64_t row = first_row + i / kColumns;
    const int64_t column = first_column + i % kColumns;
    if (row < dz.lines && column < kernel.lines) {
      dx[row * kernel.lines + column] = from_compute<T>(product.result(i / kColumns, i % kColumns));
    }
  }
}

// partial[s] (rows, columns) = aᵀ·b over the s-th part of the lines: dW = xᵀ·dz, dR = hᵀ·dz.
template <class Arithmetic>
using WeightProduct = BlockProduct<Arithmetic, LargeShape, Contiguous::kOuter, Contiguous::kOuter>;

template <class Arithmetic, class T = typename Arithmetic::Element>
__global__ void __launch_bounds__(kBlockThreads)
    weight_gradient(Operand<T> a, Operand<T> b, int64_t lines_per_part, Compute<T>* partial) {
  constexpr int kRows = LargeShape::kTileRows, kColumns = LargeShape::kTileColumns;
  const int64_t first_row = int64_t{blockIdx.x} * kRows;
  const int64_t first_column = int64_t{blockIdx.y} * kColumns;
  const int64_t begin = int64_t{blockIdx.z} * lines_per_part;
  const int64_t end = begin + lines_per_part < a.lines ? begin + lines_per_part : a.lines;
  WeightProduct<Arithmetic> product;
  product.accumulate(a, first_row, b, 0, PlainColumns{first_column}, begin, end);
  product.store_result();
  partial += int64_t{blockIdx.z} * a.length * b.length;
  for (int i = threadIdx.x; i < kRows * kColumns; i += kBlockThreads) {
    const int64_t row = first_row + i / kColumns;
    const int64_t column = first_column + i % kColumns;
    if (row < a.length && column < b.length) {
      partial[row * b.length + column] = product.result(i / kColumns, i % kColumns);
    }
  }
}

constexpr int kBiasColumns = 32;

// partial[s] (columns) = column sums of the s-th part of dz (lines, columns). A lane has a column,
// a warp every fourth line, of which it loads kTogether before it adds them: one by one, each would
// wait for memory.
template <class T>
__global__ void __launch_bounds__(kBlockThreads)
    bias_gradient(Operand<T> dz, int64_t lines_per_part, Compute<T>* partial) {
  constexpr int kWarps = kBlockThreads / kBiasColumns, kTogether = 8;
  const int lane = threadIdx.x % kBiasColumns, warp = threadIdx.x / kBiasColumns;
  const int64_t column = int64_t{blockIdx.x} * kBiasColumns + lane;
  const int64_t begin = int64_t{blockIdx.y} * lines_per_part;
  const int64_t end = begin + lines_per_part < dz.lines ? begin + lines_per_part : dz.lines;
  Compute<T> sum = 0;
  for (int64_t first = begin + warp; first < end; first += kTogether * kWarps) {
    T values[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int64_t line = first + i * kWarps;
      const bool exists = line < end && column < dz.length;
      values[i] = exists ? dz.data[line * dz.stride + column] : T(0.0f);
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) sum += to_compute(values[i]);
  }
  auto* sums = reinterpret_cast<Compute<T>*>(shared_memory());
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (warp > 0 || column >= dz.length) return;
  for (int i = 1; i < kWarps; ++i) sum += sums[i * kBiasColumns + lane];
  partial[int64_t{blockIdx.y} * dz.length + column] = sum;
}

// out (rows, columns), lines `stride` apart, = the sum of the parts, always in the same order.
template <class T>
__global__ void sum_parts(const Compute<T>* partial, int64_t parts, int64_t rows, int64_t columns,
                          int64_t stride, T* out) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= rows * columns) return;
  Compute<T> sum = 0;
  for (int64_t part = 0; part < parts; ++part) sum += partial[part * rows * columns + i];
  out[i / columns * stride + i % columns] = from_compute<T>(sum);
}

// Enough parts to occupy the device about twice, none shorter than 256 lines.
int64_t part_count(int64_t lines, int64_t tiles, int multiprocessors) {
  return std::max<int64_t>(1, std::min(ceil_div(2 * multiprocessors, tiles), lines / 256));
}

// Lines per part, a multiple of every tile depth.
int64_t part_lines(int64_t lines, int64_t parts) {
  return std::max<int64_t>(1, ceil_div(ceil_div(lines, parts), 64)) * 64;
}

int64_t weight_parts(const Problem& problem, int64_t rows, int64_t columns, int multiprocessors) {
  const int64_t tiles =
      ceil_div(rows, LargeShape::kTileRows) * ceil_div(columns, LargeShape::kTileColumns);
  return part_count(problem.batch * problem.time, std::max<int64_t>(1, tiles), multiprocessors);
}

// Four times as many, since the blocks are small and all that they do is wait for memory.
int64_t bias_parts(const Problem& problem, int multiprocessors) {
  return part_count(problem.batch * problem.time,
                    std::max<int64_t>(1, ceil_div(kGates * problem.units, kBiasColumns)),
                    4 * multiprocessors);
}

template <class T>
void launch_sum_parts(const Compute<T>* partial, int64_t parts, int64_t rows, int64_t columns,
                      int64_t stride, T* out, cudaStream_t stream) {
  launch_kernel("sum_parts", sum_parts<T>,
                {static_cast<unsigned>(ceil_div(rows * columns, 256)), 256, 0, stream}, partial,
                parts, rows, columns, stride, out);
}

// out (a.length, b.length) = aᵀ·b, its lines 4H apart.
template <class Arithmetic, class T = typename Arithmetic::Element>
void launch_weight_product(const Problem& problem, const Operand<T>& a, const Operand<T>& b,
                           Compute<T>* partial, T* out, int multiprocessors, cudaStream_t stream) {
  const int64_t rows = a.length, columns = b.length;
  const int64_t lines = part_lines(a.lines, weight_parts(problem, rows, columns, multiprocessors));
  const int64_t parts = ceil_div(a.lines, lines);
  const dim3 grid(static_cast<unsigned>(ceil_div(rows, LargeShape::kTileRows)),
                  static_cast<unsigned>(ceil_div(columns, LargeShape::kTileColumns)),
                  static_cast<unsigned>(parts));
  launch_kernel("weight_gradient", weight_gradient<Arithmetic>,
                {grid, kBlockThreads, WeightProduct<Arithmetic>::kSharedBytes, stream}, a, b, lines,
                partial);
  launch_sum_parts(partial, parts, rows, columns, kGates * problem.units, out, stream);
}

template <class Arithmetic>
void launch_all(const Problem& problem, const BackwardBuffers& buffers, const void* dz_data,
                const void* previous_h, void* workspace, int multiprocessors, cudaStream_t stream) {
  using T = typename Arithmetic::Element;
  const int64_t features = problem.features, units = problem.units;
  const int64_t columns = kGates * units;
  const int64_t rows = problem.batch * problem.time;
  auto* partial = static_cast<Compute<T>*>(workspace);
  const auto* dz = static_cast<const T*>(dz_data);

  if (features > 0) {
    const Operand<T> all_dz = make_operand(dz, columns, rows, columns, columns);
    if (problem.input_gradient) {
      const Operand<T> kernel =
          make_operand(static_cast<const T*>(buffers.kernel), columns, features, columns, columns);
      const int64_t row_tiles = ceil_div(rows, LargeShape::kTileRows);
      const int64_t tiles = row_tiles * ceil_div(features, LargeShape::kTileColumns);
      launch_kernel("input_gradient", input_gradient<Arithmetic>,
                    {static_cast<unsigned>(tiles), kBlockThreads,
                     InputProduct<Arithmetic>::kSharedBytes, stream},
                    all_dz, kernel, row_tiles, static_cast<T*>(buffers.dx));
    }
    const Operand<T> x = make_operand(static_cast<const T*>(buffers.x), features, rows, features,
                                      features, buffers.mask);
    launch_weight_product<Arithmetic>(problem, x, all_dz, partial, static_cast<T*>(buffers.dkernel),
                                      multiprocessors, stream);
  }

  const int planes = problem.has_recurrent_dropout ? kGates : 1;
  const int64_t plane_columns = columns / planes;
  for (int plane = 0; plane < planes; ++plane) {
    const Operand<T> h = make_operand(static_cast<const T*>(previous_h) + plane * rows * units,
                                      units, rows, units, units, buffers.mask);
    const Operand<T> plane_dz =
        make_operand(dz + plane * plane_columns, columns, rows, plane_columns, plane_columns);
    launch_weight_product<Arithmetic>(
        problem, h, plane_dz, partial,
        static_cast<T*>(buffers.drecurrent_kernel) + plane * plane_columns, multiprocessors,
        stream);
  }

  if (buffers.dbias) {
    const Operand<T> all_dz = make_operand(dz, columns, rows, columns, columns);
    const int64_t lines = part_lines(rows, bias_parts(problem, multiprocessors));
    const int64_t parts = ceil_div(rows, lines);
    const dim3 grid(static_cast<unsigned>(ceil_div(columns, kBiasColumns)),
                    static_cast<unsigned>(parts));
    launch_kernel("bias_gradient", bias_gradient<T>,
                  {grid, kBlockThreads, kBlockThreads * sizeof(Compute<T>), stream}, all_dz, lines,
                  partial);
    launch_sum_parts(partial, parts, 1, columns, columns, static_cast<T*>(buffers.dbias), stream);
  }
}

}  // namespace

int64_t weight_gradients_workspace_bytes(const Problem& problem, int multiprocessors) {
  const int64_t columns = kGates * problem.units;
  const int64_t plane_columns = problem.has_recurrent_dropout ? problem.units : columns;
  const int64_t elements =
      std::max({weight_parts(problem, problem.features, columns, multiprocessors) *
                    problem.features * columns,
                weight_parts(problem, problem.units, plane_columns, multiprocessors) *
                    problem.units * plane_columns,
                bias_parts(problem, multiprocessors) * columns});
  return elements * compute_bytes(problem.dtype);
}

void launch_weight_gradients(const Problem& problem, const BackwardBuffers& buffers, const void* dz,
                             const void* previous_h, void* workspace, int multiprocessors,
                             cudaStream_t stream) {
  visit_math(problem, [&](auto arithmetic) {
    launch_all<decltype(arithmetic)>(problem, buffers, dz, previous_h, workspace, multiprocessors,
                                     stream);
  });
}

}  // namespace pylstm::cuda
