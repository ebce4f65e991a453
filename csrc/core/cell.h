// The LSTM cell's pointwise maths, forward and backward, once for every kernel: V is float, double
// or a SIMD vector. Source: keras.layers.LSTMCell; Hochreiter & Schmidhuber 1997, Gers et al. 2000.
#pragma once

#include "core/activations.h"

namespace pylstm {

template <class V>
struct CellState {
  V c, o;
  V saved_i, saved_f, saved_g, saved_o;  // for cell_backward
};

// The new cell state and the output gate. z_*: pre-activations of the gates in Keras' order i, f,
// g (candidate), o.
template <class V, class Act, class Rec>
PYLSTM_FN CellState<V> cell_state(const Act& act, const Rec& rec, V z_i, V z_f, V z_g, V z_o,
                                  V c_prev) {
  const V i = rec.forward(z_i);
  const V f = rec.forward(z_f);
  const V g = act.forward(z_g);
  const V o = rec.forward(z_o);
  return {f * c_prev + i * g, o, rec.save(z_i, i), rec.save(z_f, f), act.save(z_g, g),
          rec.save(z_o, o)};
}

template <class V, class Act>
PYLSTM_FN V cell_output(const Act& act, V o, V c) {
  return o * act.forward(c);
}

template <class V>
struct CellForward : CellState<V> {
  V h;
};

// cell_state and cell_output in one.
template <class V, class Act, class Rec>
PYLSTM_FN CellForward<V> cell_forward(const Act& act, const Rec& rec, V z_i, V z_f, V z_g, V z_o,
                                      V c_prev) {
  const CellState<V> state = cell_state(act, rec, z_i, z_f, z_g, z_o, c_prev);
  return {state, cell_output(act, state.o, state.c)};
}

template <class V>
struct CellBackward {
  V dz_i, dz_f, dz_g, dz_o;
  V dc_prev;
  V h;  // this step's output again, for the recurrent weight gradient
};

// a_c: act of this step's c, of which the step's output was made. dh: gradient of this step's h,
// from the output and from later steps. dc: of this step's c, from later steps.
template <class V, class Act, class Rec>
PYLSTM_FN CellBackward<V> cell_backward(const Act& act, const Rec& rec, V saved_i, V saved_f,
                                        V saved_g, V saved_o, V c_prev, V c, V a_c, V dh, V dc) {
  const V i = rec.value(saved_i);
  const V f = rec.value(saved_f);
  const V g = act.value(saved_g);
  const V o = rec.value(saved_o);
  const V dc_total = dc + dh * o * act.derivative(act.save(c, a_c));
  CellBackward<V> out;
  out.dz_i = dc_total * g * rec.derivative(saved_i);
  out.dz_f = dc_total * c_prev * rec.derivative(saved_f);
  out.dz_g = dc_total * i * act.derivative(saved_g);
  out.dz_o = dh * a_c * rec.derivative(saved_o);
  out.dc_prev = dc_total * f;
  out.h = o * a_c;
  return out;
}

}  // namespace pylstm
