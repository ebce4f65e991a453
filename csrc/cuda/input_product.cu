#include "cuda/block_product.h"
#include "cuda/check.h"
#include "cuda/input_product.h"

namespace pylstm::cuda {
namespace {

template <class Arithmetic>
using Product = BlockProduct<Arithmetic, LargeShape, Contiguous::kDepth, Contiguous::kOuter>;

template <class Arithmetic, class T = typename Arithmetic::Element>
__global__ void __launch_bounds__(kBlockThreads)
    input_product(Operand<T> x, Operand<T> kernel, const T* bias, int64_t units,
                  Gates<Compute<T>>* z) {
  const int64_t first_row = int64_t{blockIdx.x} * LargeShape::kTileRows;
  constexpr int kUnits = LargeShape::kTileColumns / 4;
  const int64_t first_unit = int64_t{blockIdx.y} * kUnits;
  Product<Arithmetic> product;
  product.accumulate(x, first_row, kernel, 0, GateColumns{first_unit, units}, 0, x.length);
  product.store_result();
  for (int i = threadIdx.x; i < LargeShape::kTileRows * kUnits; i += kBlockThreads) {
    const int64_t row = first_row + i / kUnits;
    const int64_t unit = first_unit + i % kUnits;
    if (row >= x.lines || unit >= units) continue;
    Gates<Compute<T>> gates;
#pragma unroll
    for (int g = 0; g < 4; ++g) {
      gates.value[g] = product.gate(i / kUnits, i % kUnits, g);
      if (bias) gates.value[g] += to_compute(bias[g * units + unit]);
    }
    z[row * units + unit] = gates;
  }
}

}  // namespace

int compiled_capability() {
  cudaFuncAttributes attributes;
  PYLSTM_CUDA_CHECK(cudaFuncGetAttributes(&attributes, input_product<FusedMultiplyAdd<float>>));
  return attributes.ptxVersion;
}

void launch_input_product(const Problem& problem, const void* x, const void* kernel,
                          const void* bias, void* z, cudaStream_t stream) {
  visit_math(problem, [&](auto arithmetic) {
    using Arithmetic = decltype(arithmetic);
    using T = typename Arithmetic::Element;
    const int64_t rows = problem.batch * problem.time;
    const int64_t features = problem.features, units = problem.units;
    const dim3 grid(static_cast<unsigned>(ceil_div(rows, LargeShape::kTileRows)),
                    static_cast<unsigned>(ceil_div(units, LargeShape::kTileColumns / 4)));
    launch_kernel("input_product", input_product<Arithmetic>,
                  {grid, kBlockThreads, Product<Arithmetic>::kSharedBytes, stream},
                  make_operand(static_cast<const T*>(x), features, rows, features, features),
                  make_operand(static_cast<const T*>(kernel), kGates * units, features,
                               kGates * units, units),
                  static_cast<const T*>(bias), units, static_cast<Gates<Compute<T>>*>(z));
  });
}

}  // namespace pylstm::cuda
