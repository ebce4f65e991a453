// What the backward pass does for one unit of one row at one step, whichever kernel took dz back
// through the recurrent weights.
#pragma once

#include "core/arena.h"
#include "core/cell.h"
#include "core/problem.h"
#include "cuda/check.h"
#include "cuda/dispatch.h"
#include "cuda/sequences.h"

namespace pylstm::cuda {

// What a step hands on to the one before it. The first two come from masked steps only: the
// gradient of h passes them as it is, that of their output goes to the step whose output they
// repeated.
template <class V>
struct UnitGradient {
  V dh, dy, dc;
};

template <class T>
struct BackwardArrays : Sequences {
  const Gates<Compute<T>>* saved_gates;  // (B, T, H, 4)
  const Compute<T>* saved_c;             // (B, T, H)
  const T* h0;
  const T* c0;
  const T* dy;
  const T* recurrent_dropout;
  UnitGradient<Compute<T>>* state;  // (B, H)
  unsigned* arrivals;               // (B) counters
  T* dz;                            // (B, T, 4, H), x's order of time
  T* exchange;    // kGrid: dz of a step, double buffered, (2, B, 4, H), rows padded with zeros
  T* previous_h;  // see weight_gradients.h
  T* dh0;
  T* dc0;

  // Where dz of `step` is handed from block to block.
  __device__ T& exchanged(int64_t step, int64_t b, int gate, int64_t unit) const {
    return exchange[(((step & 1) * batch + b) * kGates + gate) * padded_units(units) + unit];
  }
  // The next active step in a direction, -1 or `time` if there is none. Over a whole sequence this
  // reads the mask twice, whatever its pattern.
  __device__ int64_t next_active(int64_t b, int64_t step, int direction) const {
    do {
      step += direction;
    } while (step >= 0 && step < time && !active(b, step));
    return step;
  }
  // Of the h that a gate multiplies.
  __device__ Compute<T> multiplier(int gate, int64_t b, int64_t unit) const {
    return recurrent_dropout ? to_compute(recurrent_dropout[(gate * batch + b) * units + unit])
                             : Compute<T>(1);
  }
  // Makes h the value that `step` multiplied by the recurrent kernel.
  __device__ void write_previous_h(int64_t b, int64_t step, int64_t unit, T h) const {
    const int64_t at = row(b, step) * units + unit;
    if (!recurrent_dropout) {
      previous_h[at] = h;
      return;
    }
    for (int g = 0; g < kGates; ++g) {
      previous_h[g * batch * time * units + at] =
          from_compute<T>(to_compute(h) * multiplier(g, b, unit));
    }
  }
};

// Without buffers it only counts the workspace's bytes.
template <class T>
BackwardArrays<T> make_backward_arrays(const Problem& problem, Kernel kernel,
                                       const BackwardBuffers& buffers, void* dz, void* previous_h,
                                       Arena& workspace) {
  BackwardArrays<T> arrays = {sequences(problem, buffers)};
  arrays.state = workspace.take<UnitGradient<Compute<T>>>(problem.state_elements());
  if (kernel == Kernel::kGrid) {
    arrays.exchange = workspace.take<T>(2 * problem.batch * kGates * padded_units(problem.units));
  }
  arrays.arrivals = workspace.take<unsigned>(problem.batch);
  arrays.saved_gates = static_cast<const Gates<Compute<T>>*>(buffers.reserve);
  arrays.saved_c = reinterpret_cast<const Compute<T>*>(arrays.saved_gates +
                                                       problem.time * problem.state_elements());
  arrays.h0 = static_cast<const T*>(buffers.h0);
  arrays.c0 = static_cast<const T*>(buffers.c0);
  arrays.dy = static_cast<const T*>(buffers.dy);
  arrays.recurrent_dropout = static_cast<const T*>(buffers.recurrent_dropout);
  arrays.dz = static_cast<T*>(dz);
  arrays.previous_h = static_cast<T*>(previous_h);
  arrays.dh0 = static_cast<T*>(buffers.dh0);
  arrays.dc0 = static_cast<T*>(buffers.dc0);
  return arrays;
}

// A thread for each unit, with those of the padding.
template <class T>
__global__ void load_state_gradients(BackwardArrays<T> arrays, const T* dh, const T* dc) {
  const int64_t place = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t b = place / padded_units(arrays.units), unit = place % padded_units(arrays.units);
  if (b >= arrays.batch) return;
  if (unit == 0) arrays.arrivals[b] = 0;
  if (unit < arrays.units) {
    const int64_t at = b * arrays.units + unit;
    arrays.state[at] = {dh ? to_compute(dh[at]) : Compute<T>(0), Compute<T>(0),
                        dc ? to_compute(dc[at]) : Compute<T>(0)};
  } else if (arrays.exchange) {
    for (int g = 0; g < kGates; ++g) {
      arrays.exchanged(0, b, g, unit) = arrays.exchanged(1, b, g, unit) = T(0.0f);
    }
  }
}

template <class T>
void prepare_backward(const Problem& problem, const BackwardBuffers& buffers,
                      const BackwardArrays<T>& arrays, cudaStream_t stream) {
  const int64_t places = problem.batch * padded_units(problem.units);
  launch_kernel("load_state_gradients", load_state_gradients<T>,
                {static_cast<unsigned>(ceil_div(places, 256)), 256, 0, stream}, arrays,
                static_cast<const T*>(buffers.dh), static_cast<const T*>(buffers.dc));
}

// What one step of a unit reads; loaded early, to wait for memory while the products run.
template <class T>
struct BackwardInputs {
  Gates<Compute<T>> saved;
  Compute<T> c, c_prev, dy;
  bool active;
};

template <class T>
__device__ inline BackwardInputs<T> load_backward_inputs(const BackwardArrays<T>& arrays, int64_t b,
                                                         int64_t step, int64_t unit) {
  const int64_t units = arrays.units;
  const int64_t at = arrays.row(b, step) * units + unit;
  BackwardInputs<T> inputs;
  inputs.saved = arrays.saved_gates[at];
  inputs.c = arrays.saved_c[at];
  inputs.c_prev = step == 0 ? to_compute(arrays.c0[b * units + unit])
                            : arrays.saved_c[arrays.row(b, step - 1) * units + unit];
  inputs.active = arrays.active(b, step);
  inputs.dy = 0;
  if (arrays.dy && arrays.return_sequences) {
    inputs.dy = to_compute(arrays.dy[(b * arrays.time + step) * units + unit]);
  } else if (arrays.dy && step + 1 == arrays.time) {
    inputs.dy = to_compute(arrays.dy[b * units + unit]);
  }
  return inputs;
}

// What a step of a unit leaves to write: dz, rounded, and the output again.
template <class T>
struct BackwardResult {
  Gates<T> dz;
  T h;
};

// The backward cell: `dh` comes through the recurrent weights, `state` from the later step, and
// what is left of it is for the step before. `cell(saved, c_prev, c, dh, dc)` is the cell.
template <class T, class Cell>
__device__ inline BackwardResult<T> backward_cell(const BackwardArrays<T>& arrays,
                                                  const BackwardInputs<T>& inputs, Compute<T> dh,
                                                  UnitGradient<Compute<T>>& state,
                                                  const Cell& cell) {
  using V = Compute<T>;
  dh += state.dh;
  const V dy = inputs.dy + state.dy;
  if (!inputs.active) {
    state = {dh, arrays.zero_output_for_mask ? V(0) : dy, state.dc};
    return {{{T(0.0f), T(0.0f), T(0.0f), T(0.0f)}}, T(0.0f)};
  }
  const CellBackward<V> result = cell(inputs.saved, inputs.c_prev, inputs.c, dh + dy, state.dc);
  state = {V(0), V(0), result.dc_prev};
  return {{{from_compute<T>(result.dz_i), from_compute<T>(result.dz_f),
            from_compute<T>(result.dz_g), from_compute<T>(result.dz_o)}},
          from_compute<T>(result.h)};
}

// Writes dz and previous_h.
template <class T>
__device__ inline void write_backward(const BackwardArrays<T>& arrays, int64_t b, int64_t step,
                                      int64_t unit, bool active, const BackwardResult<T>& result) {
  if (active) {
    const int64_t next = arrays.next_active(b, step, 1);
    if (next < arrays.time) arrays.write_previous_h(b, next, unit, result.h);
    if (arrays.next_active(b, step, -1) < 0) {
      arrays.write_previous_h(b, step, unit, arrays.h0[b * arrays.units + unit]);
    }
  }
#pragma unroll
  for (int g = 0; g < kGates; ++g) {
    arrays.dz[(arrays.row(b, step) * kGates + g) * arrays.units + unit] = result.dz.value[g];
  }
}

}  // namespace pylstm::cuda
