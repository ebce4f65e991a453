// What the forward pass does for one unit of one row at one step, whichever kernel computed the
// products.
#pragma once

#include "core/arena.h"
#include "core/cell.h"
#include "core/problem.h"
#include "cuda/check.h"
#include "cuda/input_product.h"
#include "cuda/sequences.h"

namespace pylstm::cuda {

// Arrays of the whole pass. `state` is `planes` times two arrays (B, H), rows padded with zeros:
// for even and odd steps, the first plane is h, the others, with recurrent dropout, h times each
// gate's multipliers.
template <class T>
struct ForwardArrays : Sequences {
  Gates<Compute<T>>* z;  // (B, T, H, 4), pre-activations without h·R; may be `saved_gates`
  const T* recurrent_dropout;
  Gates<Compute<T>>* saved_gates;  // (B, T, H, 4) or null
  Compute<T>* saved_c;             // (B, T, H) or null
  Compute<T>* c_state;             // (B, H)
  T* state;
  unsigned* arrivals;  // (B) counters
  T* y;
  T* h;
  T* c;

  // The products read the planes [first_plane, planes).
  __device__ int first_plane() const { return recurrent_dropout ? 1 : 0; }
  __device__ int planes() const { return recurrent_dropout ? 1 + kGates : 1; }
  __device__ T* plane(int64_t step, int index) const {
    return state + (2 * index + (step & 1)) * batch * padded_units(units);
  }
  __device__ T& h_state(int64_t step, int64_t b, int64_t unit) const {
    return plane(step, 0)[b * padded_units(units) + unit];
  }
  // h times a gate's multipliers.
  __device__ T dropped(T h_value, int gate, int64_t b, int64_t unit) const {
    return from_compute<T>(to_compute(h_value) *
                           to_compute(recurrent_dropout[(gate * batch + b) * units + unit]));
  }
  // Makes h the input of `step`.
  __device__ void write_state(int64_t step, int64_t b, int64_t unit, T h_value) const {
    h_state(step, b, unit) = h_value;
    for (int g = 1; g < planes(); ++g) {
      plane(step, g)[b * padded_units(units) + unit] = dropped(h_value, g - 1, b, unit);
    }
  }
};

// Without buffers it only counts the workspace's bytes.
template <class T>
ForwardArrays<T> make_forward_arrays(const Problem& problem, const ForwardBuffers& buffers,
                                     Arena& workspace) {
  using V = Compute<T>;
  const int64_t state = problem.state_elements();
  const int64_t steps = problem.time * state;
  ForwardArrays<T> arrays = {sequences(problem, buffers)};
  if (problem.save_for_backward) {
    arrays.saved_gates = static_cast<Gates<V>*>(buffers.reserve);
    arrays.saved_c = reinterpret_cast<V*>(arrays.saved_gates + steps);
    arrays.z = arrays.saved_gates;
  } else {
    arrays.z = workspace.take<Gates<V>>(steps);
  }
  const int planes = problem.has_recurrent_dropout ? 1 + kGates : 1;
  arrays.state = workspace.take<T>(2 * planes * problem.batch * padded_units(problem.units));
  arrays.c_state = workspace.take<V>(state);
  arrays.arrivals = workspace.take<unsigned>(problem.batch);
  arrays.recurrent_dropout = static_cast<const T*>(buffers.recurrent_dropout);
  arrays.y = static_cast<T*>(buffers.y);
  arrays.h = static_cast<T*>(buffers.h);
  arrays.c = static_cast<T*>(buffers.c);
  return arrays;
}

// A thread for each place of a plane of the state.
template <class T>
__global__ void load_states(ForwardArrays<T> arrays, const T* h0, const T* c0) {
  const int64_t place = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t b = place / padded_units(arrays.units), unit = place % padded_units(arrays.units);
  if (b >= arrays.batch) return;
  if (unit == 0) arrays.arrivals[b] = 0;
  if (unit >= arrays.units) {
    for (int index = 0; index < arrays.planes(); ++index) {
      arrays.plane(0, index)[place] = arrays.plane(1, index)[place] = T(0.0f);
    }
    return;
  }
  const int64_t at = b * arrays.units + unit;
  arrays.write_state(0, b, unit, h0[at]);
  arrays.c_state[at] = to_compute(c0[at]);
  // The results of no steps at all.
  arrays.h[at] = h0[at];
  arrays.c[at] = c0[at];
  if (!arrays.return_sequences) arrays.y[at] = T(0.0f);
}

// Queues what comes before the first step: z = x·W + b, the initial states, counters at zero.
template <class T>
void prepare_forward(const Problem& problem, const ForwardBuffers& buffers,
                     const ForwardArrays<T>& arrays, cudaStream_t stream) {
  launch_input_product(problem, buffers.x, buffers.kernel, buffers.bias, arrays.z, stream);
  const int64_t places = problem.batch * padded_units(problem.units);
  launch_kernel("load_states", load_states<T>,
                {static_cast<unsigned>(ceil_div(places, 256)), 256, 0, stream}, arrays,
                static_cast<const T*>(buffers.h0), static_cast<const T*>(buffers.c0));
}

// Computes c and h from the whole pre-activations and returns what backward needs. A masked step
// leaves c and h as they are. `cell(z, c)` is the cell.
template <class T, class Cell>
__device__ inline Gates<Compute<T>> forward_cell(bool active, const Gates<Compute<T>>& z,
                                                 Compute<T>& c, T& h, const Cell& cell) {
  if (!active) return z;
  const CellForward<Compute<T>> result = cell(z, c);
  c = result.c;
  h = from_compute<T>(result.h);
  return {{result.saved_i, result.saved_f, result.saved_g, result.saved_o}};
}

// Writes y and what backward needs, and at the last step the final states.
template <class T>
__device__ inline void write_unit(const ForwardArrays<T>& arrays, int64_t b, int64_t step,
                                  int64_t unit, bool active, const Gates<Compute<T>>& saved,
                                  Compute<T> c, T h) {
  const int64_t units = arrays.units;
  const int64_t at_time = arrays.row(b, step) * units + unit;
  if (active && arrays.saved_gates) arrays.saved_gates[at_time] = saved;
  if (arrays.saved_c) arrays.saved_c[at_time] = c;

  // A masked step repeats the output before it, and zero stands before the first one.
  const int64_t stride = arrays.return_sequences ? units : 0;
  T* y = arrays.y + b * (arrays.return_sequences ? arrays.time : 1) * units + unit + step * stride;
  if (active) {
    *y = h;
  } else {
    *y = step == 0 || arrays.zero_output_for_mask ? T(0.0f) : *(y - stride);
  }
  if (step + 1 == arrays.time) {
    arrays.h[b * units + unit] = h;
    arrays.c[b * units + unit] = from_compute<T>(c);
  }
}

}  // namespace pylstm::cuda
