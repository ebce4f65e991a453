// Names of the pointwise activations, as Keras spells them. A new one is a line here and its
// formula in activations.h.
#pragma once

#include <cstdint>

// X(enumerator and formula struct, Keras name)
#define PYLSTM_ACTIVATIONS(X)        \
  X(Linear, "linear")                \
  X(Tanh, "tanh")                    \
  X(Sigmoid, "sigmoid")              \
  X(HardSigmoid, "hard_sigmoid")     \
  X(HardTanh, "hard_tanh")           \
  X(Relu, "relu")                    \
  X(Relu6, "relu6")                  \
  X(LeakyRelu, "leaky_relu")         \
  X(Elu, "elu")                      \
  X(Celu, "celu")                    \
  X(Selu, "selu")                    \
  X(Softsign, "softsign")            \
  X(Softplus, "softplus")            \
  X(Squareplus, "squareplus")        \
  X(SparsePlus, "sparse_plus")       \
  X(SparseSigmoid, "sparse_sigmoid") \
  X(LogSigmoid, "log_sigmoid")       \
  X(Silu, "silu")                    \
  X(HardSilu, "hard_silu")           \
  X(Gelu, "gelu")                    \
  X(Mish, "mish")                    \
  X(TanhShrink, "tanh_shrink")       \
  X(SoftShrink, "soft_shrink")       \
  X(HardShrink, "hard_shrink")       \
  X(Exponential, "exponential")

namespace pylstm {

#define PYLSTM_ENUMERATOR(Name, keras_name) k##Name,
enum class Activation : int32_t { PYLSTM_ACTIVATIONS(PYLSTM_ENUMERATOR) };
#undef PYLSTM_ENUMERATOR

}  // namespace pylstm
