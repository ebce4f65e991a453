// Formulas of the pointwise activations and their derivatives, written once for float, double and
// SIMD vectors, host and device. Source: keras.activations (TensorFlow backend), default arguments.
#pragma once

#include "core/activation_list.h"
#include "core/macros.h"
#include "core/scalar_math.h"

namespace pylstm::act {

// clang-format off: a formula is a line.

// An activation saves for its derivative either its output or its input, whichever suffices:
//   forward(x)      a(x)
//   save(x, y)      what to keep, given y = a(x)
//   value(s)        a(x) from what was kept
//   derivative(s)   a'(x) from what was kept
struct SavesOutput {
  template <class V>
  PYLSTM_FN static V save(V, V y) { return y; }
  template <class V>
  PYLSTM_FN static V value(V s) { return s; }
};

template <class Formula>
struct SavesInput {
  template <class V>
  PYLSTM_FN static V save(V x, V) { return x; }
  template <class V>
  PYLSTM_FN static V value(V s) { return Formula::forward(s); }
};

struct Linear : SavesOutput {
  template <class V>
  PYLSTM_FN static V forward(V x) { return x; }
  template <class V>
  PYLSTM_FN static V derivative(V) { return V(1); }
};

struct Tanh : SavesOutput {
  template <class V>
  PYLSTM_FN static V forward(V x) { return vtanh(x); }
  template <class V>
  PYLSTM_FN static V derivative(V y) { return V(1) - y * y; }
};

struct Sigmoid : SavesOutput {
  template <class V>
  PYLSTM_FN static V forward(V x) { return vsigmoid(x); }
  template <class V>
  PYLSTM_FN static V derivative(V y) { return y * (V(1) - y); }
};

struct HardSigmoid : SavesOutput {  // relu6(x + 3) / 6
  template <class V>
  PYLSTM_FN static V forward(V x) { return vmin(vmax(x + V(3), V(0)), V(6)) / V(6); }
  template <class V>
  PYLSTM_FN static V derivative(V y) {
    return vselect(V(0) < y, vselect(y < V(1), V(1.0 / 6), V(0)), V(0));
  }
};

struct HardTanh : SavesInput<HardTanh> {  // the derivative at the bounds is 1, as in tf.clip_by_value
  template <class V>
  PYLSTM_FN static V forward(V x) { return vmin(vmax(x, V(-1)), V(1)); }
  template <class V>
  PYLSTM_FN static V derivative(V x) { return vselect(V(1) < vabs(x), V(0), V(1)); }
};

struct Relu : SavesOutput {
  template <class V>
  PYLSTM_FN static V forward(V x) { return vmax(x, V(0)); }
  template <class V>
  PYLSTM_FN static V derivative(V y) { return vselect(V(0) < y, V(1), V(0)); }
};

struct Relu6 : SavesOutput {
  template <class V>
  PYLSTM_FN static V forward(V x) { return vmin(vmax(x, V(0)), V(6)); }
  template <class V>
  PYLSTM_FN static V derivative(V y) {
    return vselect(V(0) < y, vselect(y < V(6), V(1), V(0)), V(0));
  }
};

struct LeakyRelu : SavesOutput {  // negative_slope = 0.2
  template <class V>
  PYLSTM_FN static V forward(V x) { return vselect(V(0) < x, x, x * V(0.2)); }
  template <class V>
  PYLSTM_FN static V derivative(V y) { return vselect(V(0) < y, V(1), V(0.2)); }
};

struct Elu : SavesOutput {  // alpha = 1
  template <class V>
  PYLSTM_FN static V forward(V x) { return vselect(x < V(0), vexpm1(vmin(x, V(0))), x); }
  template <class V>
  PYLSTM_FN static V derivative(V y) { return vselect(y < V(0), y + V(1), V(1)); }
};

struct Celu : SavesOutput {  // alpha = 1: max(x, 0) + expm1(min(x, 0))
  template <class V>
  PYLSTM_FN static V forward(V x) { return vmax(x, V(0)) + vexpm1(vmin(x, V(0))); }
  template <class V>
  PYLSTM_FN static V derivative(V y) { return vselect(y < V(0), y + V(1), V(1)); }
};

struct Selu : SavesOutput {
  static constexpr double kScale = 1.0507009873554804934193349852946;
  static constexpr double kScaleAlpha = 1.7580993408473768599402175208123;
  template <class V>
  PYLSTM_FN static V forward(V x) {
    return vselect(x < V(0), V(kScaleAlpha) * vexpm1(vmin(x, V(0))), V(kScale) * x);
  }
  template <class V>
  PYLSTM_FN static V derivative(V y) {
    return vselect(y < V(0), y + V(kScaleAlpha), V(kScale));
  }
};

struct Softsign : SavesOutput {  // x / (1 + |x|)
  template <class V>
  PYLSTM_FN static V forward(V x) { return x / (V(1) + vabs(x)); }
  template <class V>
  PYLSTM_FN static V derivative(V y) {
    const V r = V(1) - vabs(y);
    return r * r;
  }
};

struct Softplus : SavesInput<Softplus> {  // log(1 + exp(x))
  template <class V>
  PYLSTM_FN static V forward(V x) { return vmax(x, V(0)) + vlog1p(vexp(V(0) - vabs(x))); }
  template <class V>
  PYLSTM_FN static V derivative(V x) { return vsigmoid(x); }
};

struct Squareplus : SavesInput<Squareplus> {  // (x + sqrt(x² + 4)) / 2, without cancellation
  template <class V>
  PYLSTM_FN static V root(V x) { return vsqrt(x * x + V(4)); }
  template <class V>
  PYLSTM_FN static V forward(V x) {
    const V r = root(x);
    return vselect(x < V(0), V(2) / (r - x), (x + r) * V(0.5));
  }
  template <class V>
  PYLSTM_FN static V derivative(V x) { return forward(x) / root(x); }
};

struct SparsePlus : SavesInput<SparsePlus> {  // 0 | (x + 1)²/4 | x, split at -1 and 1
  template <class V>
  PYLSTM_FN static V forward(V x) {
    const V q = V(0.25) * (x + V(1)) * (x + V(1));
    return vselect(x < V(1), vselect(V(-1) < x, q, V(0)), x);
  }
  template <class V>
  PYLSTM_FN static V derivative(V x) {
    return vselect(V(-1) < x, vselect(x < V(1), V(0.5) * (x + V(1)), V(1)), V(0));
  }
};

struct SparseSigmoid : SavesInput<SparseSigmoid> {  // 0 | (x + 1)/2 | 1, split at -1 and 1
  template <class V>
  PYLSTM_FN static V forward(V x) { return vmin(vmax(V(0.5) * (x + V(1)), V(0)), V(1)); }
  template <class V>
  PYLSTM_FN static V derivative(V x) { return vselect(vabs(x) < V(1), V(0.5), V(0)); }
};

struct LogSigmoid : SavesInput<LogSigmoid> {
  template <class V>
  PYLSTM_FN static V forward(V x) { return vmin(x, V(0)) - vlog1p(vexp(V(0) - vabs(x))); }
  template <class V>
  PYLSTM_FN static V derivative(V x) { return vsigmoid(V(0) - x); }
};

struct Silu : SavesInput<Silu> {
  template <class V>
  PYLSTM_FN static V forward(V x) { return x * vsigmoid(x); }
  template <class V>
  PYLSTM_FN static V derivative(V x) {
    const V s = vsigmoid(x);
    return s * (V(1) + x * (V(1) - s));
  }
};

struct HardSilu : SavesInput<HardSilu> {
  template <class V>
  PYLSTM_FN static V forward(V x) { return x * HardSigmoid::forward(x); }
  template <class V>
  PYLSTM_FN static V derivative(V x) {
    const V s = HardSigmoid::forward(x);
    return s + x * HardSigmoid::derivative(s);
  }
};

struct Gelu : SavesInput<Gelu> {  // exact: x (1 + erf(x / √2)) / 2
  template <class V>
  PYLSTM_FN static V cdf(V x) { return V(0.5) * (V(1) + verf(x * V(0.70710678118654752440))); }
  template <class V>
  PYLSTM_FN static V forward(V x) { return x * cdf(x); }
  template <class V>
  PYLSTM_FN static V derivative(V x) {
    return cdf(x) + x * V(0.39894228040143267794) * vexp(V(-0.5) * x * x);
  }
};

struct Mish : SavesInput<Mish> {  // x tanh(softplus(x))
  template <class V>
  PYLSTM_FN static V forward(V x) { return x * vtanh(Softplus::forward(x)); }
  template <class V>
  PYLSTM_FN static V derivative(V x) {
    const V t = vtanh(Softplus::forward(x));
    return t + x * (V(1) - t * t) * vsigmoid(x);
  }
};

struct TanhShrink : SavesInput<TanhShrink> {  // x - tanh(x)
  template <class V>
  PYLSTM_FN static V forward(V x) { return x - vtanh(x); }
  template <class V>
  PYLSTM_FN static V derivative(V x) {
    const V t = vtanh(x);
    return t * t;
  }
};

struct SoftShrink : SavesInput<SoftShrink> {  // threshold = 0.5
  template <class V>
  PYLSTM_FN static V forward(V x) {
    return vselect(V(0.5) < x, x - V(0.5), vselect(x < V(-0.5), x + V(0.5), V(0)));
  }
  template <class V>
  PYLSTM_FN static V derivative(V x) { return vselect(V(0.5) < vabs(x), V(1), V(0)); }
};

struct HardShrink : SavesInput<HardShrink> {  // threshold = 0.5
  template <class V>
  PYLSTM_FN static V forward(V x) { return vselect(V(0.5) < vabs(x), x, V(0)); }
  template <class V>
  PYLSTM_FN static V derivative(V x) { return vselect(V(0.5) < vabs(x), V(1), V(0)); }
};

struct Exponential : SavesOutput {
  template <class V>
  PYLSTM_FN static V forward(V x) { return vexp(x); }
  template <class V>
  PYLSTM_FN static V derivative(V y) { return y; }
};

// The same four functions for an activation that is known only at run time.
struct Runtime {
  Activation kind;

#define PYLSTM_SWITCH(EXPRESSION)                   \
  switch (kind) {                                   \
    PYLSTM_ACTIVATIONS(PYLSTM_CASE_##EXPRESSION)    \
  }                                                 \
  return V(0);
#define PYLSTM_CASE_FORWARD(Name, keras_name) \
  case Activation::k##Name: return Name::forward(x);
#define PYLSTM_CASE_SAVE(Name, keras_name) \
  case Activation::k##Name: return Name::save(x, y);
#define PYLSTM_CASE_VALUE(Name, keras_name) \
  case Activation::k##Name: return Name::value(s);
#define PYLSTM_CASE_DERIVATIVE(Name, keras_name) \
  case Activation::k##Name: return Name::derivative(s);
  template <class V>
  PYLSTM_FN V forward(V x) const { PYLSTM_SWITCH(FORWARD) }
  template <class V>
  PYLSTM_FN V save(V x, V y) const { PYLSTM_SWITCH(SAVE) }
  template <class V>
  PYLSTM_FN V value(V s) const { PYLSTM_SWITCH(VALUE) }
  template <class V>
  PYLSTM_FN V derivative(V s) const { PYLSTM_SWITCH(DERIVATIVE) }
#undef PYLSTM_CASE_FORWARD
#undef PYLSTM_CASE_SAVE
#undef PYLSTM_CASE_VALUE
#undef PYLSTM_CASE_DERIVATIVE
#undef PYLSTM_SWITCH
};

// clang-format on

}  // namespace pylstm::act
