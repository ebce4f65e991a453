// The left side of the matrix product of every kernel. Rows are given by pointers, so that any set
// of rows is a dense tile.
#pragma once

#include <type_traits>

#include "cpu/right.h"

namespace pylstm::cpu::PYLSTM_ISA {

constexpr int kMaxLefts = 2;

// The left side: operand (row, k, v) lies at rows[row][offset + (k / run) run_stride + k % run +
// v / shared copy_stride]: so many of a tile's vectors share an operand. Here k and all distances
// count operands.
template <class O>
struct Left {
  const Element<O>* const* rows;
  int64_t run;   // how many k follow each other
  int64_t runs;  // k = run · runs
  int64_t run_stride = 0;
  int64_t copy_stride = 0;
  int64_t offset = 0;
  bool apart = false;  // summed from 0, and then added to what there is

  // It can be cut between runs, or anywhere in a single run.
  PYLSTM_FN int64_t pieces() const { return runs == 1 ? run : runs; }
  PYLSTM_FN int64_t piece() const { return runs == 1 ? 1 : run; }
  PYLSTM_FN Left slice(int64_t first, int64_t count) const {
    Left part = *this;
    (runs == 1 ? part.run : part.runs) = count;
    part.offset += first * (runs == 1 ? 1 : run_stride);
    part.apart |= first > 0;
    return part;
  }
};

// function(vectors, shared) with these as constants: how many vectors a tile has, and how many of
// them share an operand of the left side.
template <class Function>
PYLSTM_FN auto with_tile_shape(int vectors, int shared, Function function) {
  constexpr std::integral_constant<int, 1> one;
  constexpr std::integral_constant<int, 2> two;
  constexpr std::integral_constant<int, 3> three;
  constexpr std::integral_constant<int, 4> four;
  if (vectors == 1) return function(one, one);
  if (vectors == 2) return function(two, two);
  if (vectors == 3) return function(three, three);
  if (shared == 1) return function(four, one);
  if (shared == 2) return function(four, two);
  return function(four, four);
}

// A distance of at least n: an odd number of lines, lest many rows fall into the same cache sets.
template <class E>
PYLSTM_FN int64_t odd_lines(int64_t n) {
  return (ceil_div(n, kLine<E>) | 1) * kLine<E>;
}

}  // namespace pylstm::cpu::PYLSTM_ISA
