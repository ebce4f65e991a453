#include "cuda/forward_unit.h"
#include "cuda/resident.h"
#include "cuda/resident_forward.h"

namespace pylstm::cuda {
namespace {

template <class Shape, class T = typename Shape::T>
__global__ void __launch_bounds__(Shape::kMaxThreads, 1)
    resident_forward(ForwardArrays<T> arrays, ResidentPlan plan, const T* recurrent_kernel) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800  // dispatch chooses it from 8.0 on
  constexpr int kPrefetchSteps = 4;
  const ResidentPlace<Shape> place(plan);
  const ResidentMemory<Shape> memory(plan, /*backward=*/false);
  const int units = static_cast<int>(arrays.units);
  const int padded = static_cast<int>(padded_units(units));
  const int operands = Shape::kAnyCell ? arrays.planes() - arrays.first_plane() : 1;

  const int column = place.first_unit + place.lane / 4;
  const ResidentWeights<Shape> weights(
      plan, memory.weights, place.first_depth, [&](int gate, int k) {
        return k < units && column < units
                   ? recurrent_kernel[(int64_t{k} * kGates + gate) * units + column]
                   : T(0.0f);
      });

  memory.clear_operand();
  for (int tile = place.group, local = 0; tile < plan.tiles; tile += plan.groups, ++local) {
    const int64_t first_row = first_row_of(plan, tile);
#pragma unroll
    for (int e = 0; e < Shape::kElements; ++e) {
      if (!place.exists(plan, arrays, tile, e)) continue;
      const int64_t b = first_row + place.row(e);
      memory.kept(local, e, 0, 2) = arrays.c_state[b * units + place.unit(e)];
      memory.kept(local, e, 1, 2) = to_compute(arrays.h_state(0, b, place.unit(e)));
    }
    if constexpr (Shape::kExchange != Exchange::kGrid) {
      for (int i = threadIdx.x; i < plan.rows * units; i += blockDim.x) {
        if (first_row + i / units >= arrays.batch) break;
        for (int g = 0; g < operands; ++g) {
          memory.buffer(0)[g * memory.gate_stride + i / units * memory.pitch + i % units] =
              arrays.plane(0,
                           arrays.first_plane() + g)[(first_row + i / units) * padded + i % units];
        }
      }
    }
  }
  meet<Shape>();

  // The products are added to z, each element's by the thread that owns it. While the loads are
  // under way, the block waits for the others, or at the barrier that ends a step.
  float accumulator[4][4];
  const auto start = [&](int tile, int64_t step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int e = i % Shape::kElements;
      Gates<float> z = {};
      if (i / Shape::kElements == place.split && place.exists(plan, arrays, tile, e)) {
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
        fetch_operand(operand, memory.pitch,
                      arrays.plane(step, arrays.first_plane()) + first_row * padded, padded,
                      2 * arrays.batch * padded, padded,
                      left < plan.rows ? static_cast<int>(left) : plan.rows, operands,
                      arrays.arrivals + tile, static_cast<unsigned>(step) * plan.slices);
      }
      if (operands == 1) {
        weights.template multiply<true>(accumulator, operand + place.first_depth, memory.pitch, 0);
      } else {
        weights.template multiply<false>(accumulator, operand + place.first_depth, memory.pitch,
                                         memory.gate_stride);
      }
      float sums[Shape::kElements][4];
      sum_splits(place, memory.partial, accumulator, sums);

      Gates<float> saved[Shape::kElements];
#pragma unroll
      for (int e = 0; e < Shape::kElements; ++e) {
        if (!place.exists(plan, arrays, tile, e)) continue;
        const int64_t b = first_row_of(plan, tile) + place.row(e);
        const int unit = place.unit(e);
        const Gates<float> z = {{sums[e][0], sums[e][1], sums[e][2], sums[e][3]}};
        T h = from_compute<T>(memory.kept(local, e, 1, 2));
        saved[e] = forward_cell(arrays.active(b, step), z, memory.kept(local, e, 0, 2), h,
                                [&](const Gates<float>& z, float c) {
                                  if (Shape::kAnyCell && !arrays.activations.are_default) {
                                    return runtime_cell_forward(arrays.activations, z, c);
                                  }
                                  return cell_forward(act::Tanh(), act::Sigmoid(), z.value[0],
                                                      z.value[1], z.value[2], z.value[3], c);
                                });
        if constexpr (Shape::kExchange == Exchange::kGrid) {
          arrays.write_state(step + 1, b, unit, h);
        } else {
          T* next = memory.buffer(step + 1) + place.row(e) * memory.pitch + unit;
          if (operands == 1) {
            publish<Shape>(next, h, plan.slices);
          } else {
            for (int g = 0; g < kGates; ++g) {
              publish<Shape>(next + g * memory.gate_stride, arrays.dropped(h, g, b, unit),
                             plan.slices);
            }
          }
        }
        memory.kept(local, e, 1, 2) = to_compute(h);
      }
      arrive<Shape>(arrays.arrivals + tile);
#pragma unroll
      for (int e = 0; e < Shape::kElements; ++e) {
        if (!place.exists(plan, arrays, tile, e)) continue;
        const int64_t b = first_row_of(plan, tile) + place.row(e);
        write_unit(arrays, b, step, place.unit(e), arrays.active(b, step), saved[e],
                   memory.kept(local, e, 0, 2), from_compute<T>(memory.kept(local, e, 1, 2)));
      }
      if constexpr (Shape::kExchange != Exchange::kGrid) {
        if (step + 1 < arrays.time) start(tile, step + 1);
      }
      finish_arrival<Shape>();
    }
  }
#else
  __trap();
#endif
}

}  // namespace

int resident_clusters(int blocks) {
  using Shape = ResidentShape<TensorCore<Half>, Exchange::kCluster, 8, 2>;
  const auto kernel = resident_forward<Shape>;
  Launch launch;
  launch.cluster = blocks;
  launch.grid = launch.cluster;
  launch.block = Shape::kMaxThreads;
  launch.shared_bytes = allow_all_shared_memory("resident_forward", kernel);
  int clusters = 0;
  const LaunchConfig made(launch);
  if (cudaOccupancyMaxActiveClusters(&clusters, kernel, &made.config) == cudaSuccess) {
    return clusters;
  }
  cudaGetLastError();  // where clusters are not supported it is no error of ours
  return 0;
}

void launch_resident_forward(const Problem& problem, const ForwardBuffers& buffers,
                             const Choice& choice, cudaStream_t stream) {
  visit_tensor_core(problem, [&](auto arithmetic) {
    using Arithmetic = decltype(arithmetic);
    using T = typename Arithmetic::Element;
    Arena workspace(buffers.workspace);
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
