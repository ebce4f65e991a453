#include "cuda/backward_unit.h"
#include "cuda/resident.h"
#include "cuda/resident_backward.h"

namespace pylstm::cuda {
namespace {

template <class Shape, class T = typename Shape::T>
__global__ void __launch_bounds__(Shape::kMaxThreads, 1)
    resident_backward(BackwardArrays<T> arrays, ResidentPlan plan, const T* recurrent_kernel) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800  // dispatch chooses it from 8.0 on
  constexpr int kPrefetchSteps = 4;
  const ResidentPlace<Shape> place(plan);
  const ResidentMemory<Shape> memory(plan, /*backward=*/true);
  const int units = static_cast<int>(arrays.units);

  const int column = place.first_unit + place.lane / 4;
  const ResidentWeights<Shape> weights(
      plan, memory.weights, place.first_depth, [&](int gate, int k) {
        return k < units && column < units
                   ? recurrent_kernel[(int64_t{column} * kGates + gate) * units + k]
                   : T(0.0f);
      });

  const auto load_state = [&](int local, int e) {
    return UnitGradient<float>{memory.kept(local, e, 0, 3), memory.kept(local, e, 1, 3),
                               memory.kept(local, e, 2, 3)};
  };
  const auto store_state = [&](int local, int e, const UnitGradient<float>& state) {
    memory.kept(local, e, 0, 3) = state.dh;
    memory.kept(local, e, 1, 3) = state.dy;
    memory.kept(local, e, 2, 3) = state.dc;
  };
  memory.clear_operand();
  for (int tile = place.group, local = 0; tile < plan.tiles; tile += plan.groups, ++local) {
#pragma unroll
    for (int e = 0; e < Shape::kElements; ++e) {
      if (!place.exists(plan, arrays, tile, e)) continue;
      const int64_t b = first_row_of(plan, tile) + place.row(e);
      store_state(local, e, arrays.state[b * units + place.unit(e)]);
    }
  }
  meet<Shape>();

  for (int64_t step = arrays.time - 1; step >= -1; --step) {
    for (int tile = place.group, local = 0; tile < plan.tiles; tile += plan.groups, ++local) {
      const int64_t first_row = first_row_of(plan, tile);
      BackwardInputs<T> inputs[Shape::kElements];
#pragma unroll
      for (int e = 0; e < Shape::kElements; ++e) {
        if (step < 0 || !place.exists(plan, arrays, tile, e)) continue;
        const int64_t b = first_row + place.row(e);
        inputs[e] = load_backward_inputs(arrays, b, step, place.unit(e));
        if (step >= kPrefetchSteps) {
          const int64_t row = arrays.row(b, step - kPrefetchSteps);
          prefetch_to_l2(&arrays.saved_gates[row * units + place.unit(e)]);
        }
      }

      // The operand is dz of the later step; before the last step it is still zero.
      const T* operand = memory.buffer(step + 2);
      if constexpr (Shape::kExchange == Exchange::kGrid) {
        if (step + 1 < arrays.time) {
          const int64_t left = arrays.batch - first_row;
          fetch_operand(memory.buffer(0), memory.pitch,
                        &arrays.exchanged(step + 1, first_row, 0, 0), kGates * padded_units(units),
                        padded_units(units), static_cast<int>(padded_units(units)),
                        left < plan.rows ? static_cast<int>(left) : plan.rows, kGates,
                        arrays.arrivals + tile,
                        static_cast<unsigned>(arrays.time - 1 - step) * plan.slices);
        }
      }
      float accumulator[4][4] = {};
      if (step + 1 < arrays.time) {
        weights.template multiply<false>(accumulator, operand + place.first_depth, memory.pitch,
                                         memory.gate_stride);
      }
      float product[Shape::kElements][4];
      sum_splits(place, memory.partial, accumulator, product);

      BackwardResult<T> results[Shape::kElements];
#pragma unroll
      for (int e = 0; e < Shape::kElements; ++e) {
        if (!place.exists(plan, arrays, tile, e)) continue;
        const int64_t b = first_row + place.row(e);
        const int unit = place.unit(e);
        float dh = 0;
#pragma unroll
        for (int g = 0; g < kGates; ++g) {
          dh += product[e][g] * (Shape::kAnyCell ? arrays.multiplier(g, b, unit) : 1.0f);
        }
        UnitGradient<float> state = load_state(local, e);
        if (step < 0) {
          arrays.dh0[b * units + unit] = from_compute<T>(dh + state.dh);
          arrays.dc0[b * units + unit] = from_compute<T>(state.dc);
          continue;
        }
        results[e] = backward_cell(
            arrays, inputs[e], dh, state,
            [&](const Gates<float>& saved, float c_prev, float c, float dh, float dc) {
              if (Shape::kAnyCell && !arrays.activations.are_default) {
                return runtime_cell_backward(arrays.activations, saved, c_prev, c, dh, dc);
              }
              return cell_backward(act::Tanh(), act::Sigmoid(), saved.value[0], saved.value[1],
                                   saved.value[2], saved.value[3], c_prev, c, act::Tanh::forward(c),
                                   dh, dc);
            });
        store_state(local, e, state);
        if constexpr (Shape::kExchange == Exchange::kBlock) {  // no release to be early for
          write_backward(arrays, b, step, unit, inputs[e].active, results[e]);
        }
        T* next = memory.buffer(step + 1) + place.row(e) * memory.pitch + unit;
#pragma unroll
        for (int g = 0; g < kGates; ++g) {
          if constexpr (Shape::kExchange == Exchange::kGrid) {
            arrays.exchanged(step, b, g, unit) = results[e].dz.value[g];
          } else {
            publish<Shape>(next + g * memory.gate_stride, results[e].dz.value[g], plan.slices);
          }
        }
      }
      arrive<Shape>(arrays.arrivals + tile);
#pragma unroll
      for (int e = 0; e < Shape::kElements; ++e) {
        if (Shape::kExchange == Exchange::kBlock || step < 0 ||
            !place.exists(plan, arrays, tile, e))
          continue;
        write_backward(arrays, first_row + place.row(e), step, place.unit(e), inputs[e].active,
                       results[e]);
      }
      finish_arrival<Shape>();
    }
  }
#else
  __trap();
#endif
}

}  // namespace

void launch_resident_backward(const Problem& problem, const BackwardBuffers& buffers, void* dz,
                              void* previous_h, void* workspace_data, const Choice& choice,
                              cudaStream_t stream) {
  visit_tensor_core(problem, [&](auto arithmetic) {
    using Arithmetic = decltype(arithmetic);
    using T = typename Arithmetic::Element;
    Arena workspace(workspace_data);
    const BackwardArrays<T> arrays =
        make_backward_arrays<T>(problem, choice.kernel, buffers, dz, previous_h, workspace);
    prepare_backward(problem, buffers, arrays, stream);
    visit_resident<Arithmetic>(choice, [&](auto shape) {
      using Shape = decltype(shape);
      launch_kernel("resident_backward", resident_backward<Shape>,
                    resident_launch<Shape>(choice.plan, /*backward=*/true, stream), arrays,
                    choice.plan, static_cast<const T*>(buffers.recurrent_kernel));
    });
  });
}

}  // namespace pylstm::cuda
