// An activation known only at run time, applied to vectors. Its functions are calls, not inlined:
// a copy of every formula wherever a gate is computed would be large and no faster.
#pragma once

#include "core/activations.h"
#include "core/problem.h"
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

// Calls function(activation, recurrent activation); the usual pairs are types of their own.
template <class T, class Function>
PYLSTM_FN void with_activations(const Problem& problem, Function function) {
  const bool sigmoid = problem.recurrent_activation == Activation::kSigmoid;
  if (sigmoid && problem.activation == Activation::kTanh) {
    function(act::Tanh{}, act::Sigmoid{});
  } else if (sigmoid && problem.activation == Activation::kRelu) {
    function(act::Relu{}, act::Sigmoid{});
  } else {
    function(RuntimeActivation<T>(problem.activation),
             RuntimeActivation<T>(problem.recurrent_activation));
  }
}

}  // namespace pylstm::cpu::PYLSTM_ISA
