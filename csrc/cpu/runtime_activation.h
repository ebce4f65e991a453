// An activation known only at run time, applied to vectors. Its functions are calls, not inlined:
// a copy of every formula wherever a gate is computed would be large and no faster.
#pragma once

#include "core/activations.h"
#include "cpu/vector_math.h"

namespace pylstm::cpu::PYLSTM_ISA {

template <class T>
struct RuntimeActivation {
  act::Runtime kind;

  explicit RuntimeActivation(Activation activation) : kind{activation} {}

  __attribute__((noinline)) Vec<T> forward(Vec<T> x) const { return kind.forward(x); }
  __attribute__((noinline)) Vec<T> save(Vec<T> x, Vec<T> y) const { return kind.save(x, y); }
  __attribute__((noinline)) Vec<T> value(Vec<T> s) const { return kind.value(s); }
  __attribute__((noinline)) Vec<T> derivative(Vec<T> s) const { return kind.derivative(s); }
};

}  // namespace pylstm::cpu::PYLSTM_ISA
