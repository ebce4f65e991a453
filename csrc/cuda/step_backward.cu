#include "cuda/backward_unit.h"
#include "cuda/block_product.h"
#include "cuda/step_backward.h"
#include "cuda/step_launch.h"

namespace pylstm::cuda {
namespace {

// Takes dz of a step's successor back through the recurrent kernel, then the step's cell; at step
// -1 what is left is the gradient of the initial states. Turn 0 is the last step.
template <class Arithmetic, class ShapeT, class T = typename Arithmetic::Element>
__global__ void __launch_bounds__(kBlockThreads)
    step_backward(BackwardArrays<T> arrays, Operand<T> recurrent_kernel, int64_t first,
                  int64_t last) {
  using V = Compute<T>;
  constexpr int kUnits = ShapeT::kTileColumns;
  const int64_t units = arrays.units;
  const int64_t first_row = int64_t{blockIdx.x} * ShapeT::kTileRows;
  const int64_t first_unit = int64_t{blockIdx.y} * kUnits;

  for (int64_t turn = first; turn < last; ++turn) {
    if (turn > first) grid_barrier(arrays.arrivals, turn - first);
    const int64_t step = arrays.time - 1 - turn;
    BlockProduct<Arithmetic, ShapeT, Contiguous::kDepth, Contiguous::kDepth> product;
    if (step + 1 < arrays.time) {
      const Operand<T> dz{arrays.dz + arrays.input_time(step + 1) * kGates * units,
                          arrays.time * kGates * units,
                          arrays.batch,
                          kGates * units,
                          nullptr,
                          recurrent_kernel.aligned};
      if (arrays.recurrent_dropout) {
        Accumulator<V, ShapeT::kRows> total = {};
        for (int g = 0; g < kGates; ++g) {
          product.accumulate(dz, first_row, recurrent_kernel, first_unit, PlainColumns{0},
                             g * units, (g + 1) * units);
          product.move_scaled(total, [&](int row, int column) {
            const int64_t b = first_row + row, unit = first_unit + column;
            return b < arrays.batch && unit < units
                       ? to_compute(arrays.recurrent_dropout[(g * arrays.batch + b) * units + unit])
                       : V(0);
          });
        }
        product.store_result(total);
      } else {
        product.accumulate(dz, first_row, recurrent_kernel, first_unit, PlainColumns{0}, 0,
                           kGates * units);
        product.store_result();
      }
    } else {
      product.store_result();
    }

    for (int i = threadIdx.x; i < ShapeT::kTileRows * kUnits; i += kBlockThreads) {
      const int64_t b = first_row + i / kUnits;
      const int64_t unit = first_unit + i % kUnits;
      if (b >= arrays.batch || unit >= units) continue;
      const int64_t at = b * units + unit;
      const V dh = product.result(i / kUnits, i % kUnits);
      if (step >= 0) {
        const BackwardInputs<T> inputs = load_backward_inputs(arrays, b, step, unit);
        const BackwardResult<T> result = backward_cell(
            arrays, inputs, dh, arrays.state[at],
            [&](const Gates<V>& saved, V c_prev, V c, V dh, V dc) {
              return runtime_cell_backward(arrays.activations, saved, c_prev, c, dh, dc);
            });
        write_backward(arrays, b, step, unit, inputs.active, result);
      } else {
        arrays.dh0[at] = from_compute<T>(dh + arrays.state[at].dh);
        arrays.dc0[at] = from_compute<T>(arrays.state[at].dc);
      }
    }
  }
}

template <class Arithmetic, class ShapeT, class T>
void launch_tiles(const Problem& problem, const BackwardArrays<T>& arrays,
                  const Operand<T>& recurrent_kernel, const DeviceProperties& device,
                  cudaStream_t stream) {
  using Product = BlockProduct<Arithmetic, ShapeT, Contiguous::kDepth, Contiguous::kDepth>;
  const dim3 grid(static_cast<unsigned>(ceil_div(problem.batch, ShapeT::kTileRows)),
                  static_cast<unsigned>(ceil_div(problem.units, ShapeT::kTileColumns)));
  launch_steps("step_backward", step_backward<Arithmetic, ShapeT>,
               {grid, kBlockThreads, Product::kSharedBytes, stream}, problem.time + 1, device,
               arrays, recurrent_kernel);
}

}  // namespace

int64_t backward_arrays_bytes(const Problem& problem, Kernel kernel) {
  Arena workspace(nullptr);
  visit_math(problem, [&](auto arithmetic) {
    make_backward_arrays<typename decltype(arithmetic)::Element>(problem, kernel, {}, nullptr,
                                                                 nullptr, workspace);
  });
  return workspace.used();
}

void launch_step_backward(const Problem& problem, const BackwardBuffers& buffers, void* dz,
                          void* previous_h, void* workspace_data, const Choice& choice,
                          const DeviceProperties& device, cudaStream_t stream) {
  visit_math(problem, [&](auto arithmetic) {
    using Arithmetic = decltype(arithmetic);
    using T = typename Arithmetic::Element;
    Arena workspace(workspace_data);
    const BackwardArrays<T> arrays =
        make_backward_arrays<T>(problem, choice.kernel, buffers, dz, previous_h, workspace);
    prepare_backward(problem, buffers, arrays, stream);
    const int64_t units = problem.units;
    const Operand<T> recurrent_kernel =
        make_operand(static_cast<const T*>(buffers.recurrent_kernel), kGates * units, units,
                     kGates * units, units);
    if (choice.small_backward_tiles) {
      launch_tiles<Arithmetic, SmallShape>(problem, arrays, recurrent_kernel, device, stream);
    } else {
      launch_tiles<Arithmetic, LargeShape>(problem, arrays, recurrent_kernel, device, stream);
    }
  });
}

}  // namespace pylstm::cuda
