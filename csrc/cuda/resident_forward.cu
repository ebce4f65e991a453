#include "cuda/forward_unit.h"
#include "cuda/resident.h"
#include "cuda/resident_forward.h"

namespace pylstm::cuda {
namespace {

constexpr int kPrefetchSteps = 4;

template <class Shape, class T = typename Shape::T>
__global__ void __launch_bounds__(Shape::kMaxThreads, 1)
    resident_forward(ForwardArrays<T> arrays, ResidentPlan plan, const T* recurrent_kernel) {
  const ResidentPlace<Shape> place(plan);
  const ResidentMemory<Shape> memory(plan, /*backward=*/false);
  const int units = static_cast<int>(arrays.units);

  const int column = place.first_unit + place.lane / 4;
  const ResidentWeights<Shape> weights(
      plan, memory.weights, place.first_depth, [&](int gate, int k) {
        return k < units && column < units
                   ? recurrent_kernel[(int64_t{k} * kGates + gate) * units + column]
                   : T(0.0f);
      });

  // Whether an element of a tile exists.
  const auto exists = [&](int tile, int e) {
    return place.row(e) < plan.rows && place.unit(e) < units &&
           int64_t{tile} * plan.rows + place.row(e) < arrays.batch;
  };
  memory.clear_operand();
  for (int tile = place.group, local = 0; tile < plan.tiles; tile += plan.groups, ++local) {
    const int64_t first_row = first_row_of(plan, tile);
#pragma unroll
    for (int e = 0; e < Shape::kElements; ++e) {
      if (!exists(tile, e)) continue;
      memory.kept(local, e) = arrays.c_state[(first_row + place.row(e)) * units + place.unit(e)];
    }
    if constexpr (Shape::kExchange != Exchange::kGrid) {
      for (int i = threadIdx.x; i < plan.rows * units; i += blockDim.x) {
        if (first_row + i / units >= arrays.batch) break;
        memory.buffer(0)[i / units * memory.pitch + i % units] =
            arrays.h_state(0, first_row + i / units, i % units);
      }
    }
  }
  meet<Shape>();

  // The products are added to z, each element's by the thread that owns it. The loads have the wait
  // for the other blocks, or the barrier at the end of a step, to arrive in.
  float accumulator[4][4];
  const auto start = [&](int tile, int64_t step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int e = i % Shape::kElements;
      Gates<float> z = {};
      if (i / Shape::kElements == place.split && exists(tile, e)) {
        const int64_t b = first_row_of(plan, tile) + place.row(e);
        z = arrays.z[arrays.row(b, step) * units + place.unit(e)];
        if (step + kPrefetchSteps < arrays.time) {
          prefetch_to_l2(&arrays.z[arrays.row(b, step + kPrefetchSteps) * units + place.unit(e)]);
        }
      }
#pragma unroll
      for (int g = 0; g < kGates; ++g) accumulator[g][i] = z.value[g];
    }
  };
  if constexpr (Shape::kExchange != Exchange::kGrid) {
    if (arrays.time > 0) start(place.group, 0);
  }
  for (int64_t step = 0; step < arrays.time; ++step) {
    for (int tile = place.group, local = 0; tile < plan.tiles; tile += plan.groups, ++local) {
      const int64_t first_row = first_row_of(plan, tile);
      if constexpr (Shape::kExchange == Exchange::kGrid) start(tile, step);
      T* operand = memory.buffer(step);
      if constexpr (Shape::kExchange == Exchange::kGrid) {
        const int64_t left = arrays.batch - first_row;
        fetch_operand(operand, memory.pitch, &arrays.h_state(step, first_row, 0),
                      static_cast<int>(padded_units(units)),
                      left < plan.rows ? static_cast<int>(left) : plan.rows, 1,
                      arrays.arrivals + tile, static_cast<unsigned>(step) * plan.slices);
      }
      weights.template multiply<true>(accumulator, operand + place.first_depth, memory.pitch, 0);
      float sums[Shape::kElements][4];
      sum_splits(place, memory.partial, accumulator, sums);

#pragma unroll
      for (int e = 0; e < Shape::kElements; ++e) {
        if (!exists(tile, e)) continue;
        const int64_t b = first_row_of(plan, tile) + place.row(e);
        const int unit = place.unit(e);
        const int at = place.row(e) * memory.pitch + unit;
        const Gates<float> z = {{sums[e][0], sums[e][1], sums[e][2], sums[e][3]}};
        T h = operand[at];
        forward_unit(arrays, b, step, unit, arrays.active(b, step), z, memory.kept(local, e), h,
                     [](const Gates<float>& z, float c) {
                       return cell_forward(act::Tanh(), act::Sigmoid(), z.value[0], z.value[1],
                                           z.value[2], z.value[3], c);
                     });
        if constexpr (Shape::kExchange == Exchange::kGrid) {
          arrays.h_state(step + 1, b, unit) = h;
        } else {
          publish<Shape>(memory.buffer(step + 1) + at, h, plan.slices);
        }
      }
      if constexpr (Shape::kExchange != Exchange::kGrid) {
        if (step + 1 < arrays.time) start(tile, step + 1);
      }
      arrive<Shape>(arrays.arrivals + tile);
    }
  }
}

}  // namespace

void launch_resident_forward(const Problem& problem, const ForwardBuffers& buffers,
                             const Choice& choice, cudaStream_t stream) {
  visit_tensor_core(problem, [&](auto arithmetic) {
    using Arithmetic = decltype(arithmetic);
    using T = typename Arithmetic::Element;
    Workspace workspace(buffers.workspace);
    const ForwardArrays<T> arrays = make_forward_arrays<T>(problem, buffers, workspace);
    prepare_forward(problem, buffers, arrays, stream);
    visit_resident<Arithmetic>(choice, [&](auto shape) {
      using Shape = decltype(shape);
      launch_kernel("resident_forward", resident_forward<Shape>,
                    resident_launch<Shape>(choice.plan, /*backward=*/false, stream), arrays,
                    choice.plan, static_cast<const T*>(buffers.recurrent_kernel));
    });
  });
}

}  // namespace pylstm::cuda
