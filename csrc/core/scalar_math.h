// Elementary functions on float and double, host and device. A SIMD vector type brings functions of
// the same names in its own namespace; activations.h and cell.h find either by overloading.
#pragma once

#include <math.h>

#include "core/macros.h"

namespace pylstm {

PYLSTM_FN float vexp(float x) { return ::expf(x); }
PYLSTM_FN double vexp(double x) { return ::exp(x); }
PYLSTM_FN float vexpm1(float x) { return ::expm1f(x); }
PYLSTM_FN double vexpm1(double x) { return ::expm1(x); }
PYLSTM_FN float vlog1p(float x) { return ::log1pf(x); }
PYLSTM_FN double vlog1p(double x) { return ::log1p(x); }
PYLSTM_FN float vtanh(float x) { return ::tanhf(x); }
PYLSTM_FN double vtanh(double x) { return ::tanh(x); }
PYLSTM_FN float verf(float x) { return ::erff(x); }
PYLSTM_FN double verf(double x) { return ::erf(x); }
PYLSTM_FN float vsqrt(float x) { return ::sqrtf(x); }
PYLSTM_FN double vsqrt(double x) { return ::sqrt(x); }
PYLSTM_FN float vabs(float x) { return ::fabsf(x); }
PYLSTM_FN double vabs(double x) { return ::fabs(x); }

// exp(-|x|) cannot overflow.
template <class T>
PYLSTM_FN T scalar_sigmoid(T x) {
  const T e = vexp(-vabs(x));
  const T s = T(1) / (T(1) + e);
  return x < T(0) ? e * s : s;
}
PYLSTM_FN float vsigmoid(float x) { return scalar_sigmoid(x); }
PYLSTM_FN double vsigmoid(double x) { return scalar_sigmoid(x); }

// A NaN in `a` survives, as in the max and min of TensorFlow.
PYLSTM_FN float vmax(float a, float b) { return a < b ? b : a; }
PYLSTM_FN double vmax(double a, double b) { return a < b ? b : a; }
PYLSTM_FN float vmin(float a, float b) { return b < a ? b : a; }
PYLSTM_FN double vmin(double a, double b) { return b < a ? b : a; }

PYLSTM_FN float vselect(bool m, float a, float b) { return m ? a : b; }
PYLSTM_FN double vselect(bool m, double a, double b) { return m ? a : b; }

}  // namespace pylstm
