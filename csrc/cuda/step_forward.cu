#include "cuda/block_product.h"
#include "cuda/forward_unit.h"
#include "cuda/lstm.h"
#include "cuda/step_forward.h"
#include "cuda/step_launch.h"

namespace pylstm::cuda {
namespace {

template <class Arithmetic, class ShapeT, class T = typename Arithmetic::Element>
__global__ void __launch_bounds__(kBlockThreads)
    step_forward(ForwardArrays<T> arrays, Operand<T> recurrent_kernel, int64_t first,
                 int64_t last) {
  using V = Compute<T>;
  constexpr int kUnits = ShapeT::kTileColumns / 4;
  const int64_t units = arrays.units;
  const int64_t first_row = int64_t{blockIdx.x} * ShapeT::kTileRows;
  const int64_t first_unit = int64_t{blockIdx.y} * kUnits;

  for (int64_t step = first; step < last; ++step) {
    if (step > first) grid_barrier(arrays.arrivals, step - first);
    // Without recurrent dropout one pass over all gates, else one pass each: their h differ.
    BlockProduct<Arithmetic, ShapeT, Contiguous::kDepth, Contiguous::kOuter> product;
    const int planes = arrays.planes();
    for (int plane = arrays.first_plane(); plane < planes; ++plane) {
      const unsigned gates = plane ? 1u << (plane - 1) : 15u;
      const Operand<T> h{
          arrays.plane(step, plane), padded_units(units), arrays.batch, units, nullptr,
          recurrent_kernel.aligned};
      product.accumulate(h, first_row, recurrent_kernel, 0, GateColumns{first_unit, units, gates},
                         0, units, gates);
    }
    product.store_result();

    for (int i = threadIdx.x; i < ShapeT::kTileRows * kUnits; i += kBlockThreads) {
      const int64_t b = first_row + i / kUnits;
      const int64_t unit = first_unit + i % kUnits;
      if (b >= arrays.batch || unit >= units) continue;
      const int64_t at = b * units + unit;
      Gates<V> z = arrays.z[arrays.row(b, step) * units + unit];
#pragma unroll
      for (int g = 0; g < kGates; ++g) z.value[g] += product.gate(i / kUnits, i % kUnits, g);
      T h = arrays.h_state(step, b, unit);
      const bool active = arrays.active(b, step);
      const Gates<V> saved = forward_cell(
          active, z, arrays.c_state[at], h,
          [&](const Gates<V>& z, V c) { return runtime_cell_forward(arrays.activations, z, c); });
      write_unit(arrays, b, step, unit, active, saved, arrays.c_state[at], h);
      arrays.write_state(step + 1, b, unit, h);
    }
  }
}

template <class Arithmetic, class ShapeT, class T>
void launch_tiles(const Problem& problem, const ForwardArrays<T>& arrays,
                  const Operand<T>& recurrent_kernel, const DeviceProperties& device,
                  cudaStream_t stream) {
  using Product = BlockProduct<Arithmetic, ShapeT, Contiguous::kDepth, Contiguous::kOuter>;
  const dim3 grid(static_cast<unsigned>(ceil_div(problem.batch, ShapeT::kTileRows)),
                  static_cast<unsigned>(ceil_div(problem.units, ShapeT::kTileColumns / 4)));
  launch_steps("step_forward", step_forward<Arithmetic, ShapeT>,
               {grid, kBlockThreads, Product::kSharedBytes, stream}, problem.time, device, arrays,
               recurrent_kernel);
}

}  // namespace

int64_t forward_workspace_bytes(const Problem& problem) {
  Arena workspace(nullptr);
  visit_math(problem, [&](auto arithmetic) {
    make_forward_arrays<typename decltype(arithmetic)::Element>(problem, ForwardBuffers{},
                                                                workspace);
  });
  return workspace.used();
}

void launch_step_forward(const Problem& problem, const ForwardBuffers& buffers,
                         const Choice& choice, const DeviceProperties& device,
                         cudaStream_t stream) {
  visit_math(problem, [&](auto arithmetic) {
    using Arithmetic = decltype(arithmetic);
    using T = typename Arithmetic::Element;
    Arena workspace(buffers.workspace);
    const ForwardArrays<T> arrays = make_forward_arrays<T>(problem, buffers, workspace);
    prepare_forward(problem, buffers, arrays, stream);
    const int64_t units = problem.units;
    const Operand<T> recurrent_kernel =
        make_operand(static_cast<const T*>(buffers.recurrent_kernel), kGates * units, units,
                     kGates * units, units);
    if (choice.small_forward_tiles) {
      launch_tiles<Arithmetic, SmallShape>(problem, arrays, recurrent_kernel, device, stream);
    } else {
      launch_tiles<Arithmetic, LargeShape>(problem, arrays, recurrent_kernel, device, stream);
    }
  });
}

}  // namespace pylstm::cuda
