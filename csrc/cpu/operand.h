// The operands of the matrix products. Where the processor multiplies pairs of bfloat16, an operand
// is two successive k: it is as large as a float, and a product has half as many.
#pragma once

#include "cpu/storage.h"

namespace pylstm::cpu::PYLSTM_ISA {

// What an operand consists of, in how many k, and the type of their sums.
template <class O>
struct OperandParts {
  using Element = O;
  using Sum = O;
  static constexpr int64_t kDepth = 1;
};

// Of the products with tensors of type S.
template <class S>
struct OperandType {
  using type = Compute<S>;
};

template <class T>
PYLSTM_FN void accumulate(Vec<T> a, Vec<T> b, Vec<T>* sum) {
  *sum += a * b;
}

// kDepth vectors, one for each k, as operands.
template <class T>
PYLSTM_FN void store_operands(const Vec<T>* parts, T* to) {
  parts->store(to);
}

#if defined(__AVX512BF16__)
struct BFloat16Pair {
  BFloat16 k[2];
};

template <>
struct OperandParts<BFloat16Pair> {
  using Element = BFloat16;
  using Sum = float;
  static constexpr int64_t kDepth = 2;
};

template <>
struct OperandType<BFloat16> {
  using type = BFloat16Pair;
};

template <>
struct Vec<BFloat16Pair> {
  static constexpr int kWidth = Vec<float>::kWidth;

  __m512bh raw;

  PYLSTM_FN static Vec load(const BFloat16Pair* p) {
    Vec v;
    __builtin_memcpy(&v.raw, p, kVectorBytes);
    return v;
  }
  PYLSTM_FN static Vec broadcast(const BFloat16Pair* p) {
    int pair;
    __builtin_memcpy(&pair, p, sizeof(pair));
    // set1 instead makes Clang 16 crash.
    return {(__m512bh)_mm512_broadcastd_epi32(_mm_cvtsi32_si128(pair))};
  }
};

PYLSTM_FN void accumulate(Vec<BFloat16Pair> a, Vec<BFloat16Pair> b, Vec<float>* sum) {
  sum->raw = _mm512_dpbf16_ps(sum->raw, a.raw, b.raw);
}

// The parts come from bfloat16: their lower halves are zero.
PYLSTM_FN void store_operands(const Vec<float>* parts, BFloat16Pair* to) {
  const __m512i first = _mm512_srli_epi32(_mm512_castps_si512(parts[0].raw), 16);
  const __m512i pairs = _mm512_or_si512(first, _mm512_castps_si512(parts[1].raw));
  __builtin_memcpy(to, &pairs, kVectorBytes);
}
#endif

template <class S>
using Operand = typename OperandType<S>::type;
template <class O>
using Element = typename OperandParts<O>::Element;
template <class O>
using Sum = typename OperandParts<O>::Sum;
template <class O>
constexpr int64_t kDepth = OperandParts<O>::kDepth;

// How many operands k elements make; the last may be filled up with zeros.
template <class O>
PYLSTM_FN constexpr int64_t operands(int64_t k) {
  return ceil_div(k, kDepth<O>);
}

}  // namespace pylstm::cpu::PYLSTM_ISA
