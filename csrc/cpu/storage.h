// Element types as they lie in memory, and their conversion to the type of the arithmetic.
#pragma once

#include "core/problem.h"
#include "cpu/simd.h"

namespace pylstm::cpu::PYLSTM_ISA {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// The type of the arithmetic, the cell state and the reserve.
template <class S>
struct ComputeType {
  using type = float;
};
template <>
struct ComputeType<double> {
  using type = double;
};
template <class S>
using Compute = typename ComputeType<S>::type;

PYLSTM_FN uint32_t float_bits(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return bits;
}

PYLSTM_FN float bits_float(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}

PYLSTM_FN float widen(float x) { return x; }
PYLSTM_FN double widen(double x) { return x; }
PYLSTM_FN float widen(BFloat16 x) { return bits_float(uint32_t{x.bits} << 16); }

PYLSTM_FN float widen(Half x) {
  const uint32_t sign = (x.bits & 0x8000u) << 16;
  const uint32_t magnitude = (x.bits & 0x7fffu) << 13;
  // The exponent's bias goes from 15 to 127.
  const uint32_t normal = magnitude + 0x38000000u;
  // Denormals follow 2⁻¹⁴; a product would take them for float32's, which are flushed.
  const uint32_t denormal = float_bits(bits_float(magnitude + 0x38800000u) - 0x1p-14f);
  const uint32_t inf_or_nan = magnitude >= 0x0f800000u ? 0x7f800000u : 0u;
  return bits_float((magnitude < 0x00800000u ? denormal : normal) | inf_or_nan | sign);
}

PYLSTM_FN void narrow(float x, float* out) { *out = x; }
PYLSTM_FN void narrow(double x, double* out) { *out = x; }

// To the nearest, ties to even; a NaN stays one.
PYLSTM_FN void narrow(float x, BFloat16* out) {
  const uint32_t bits = float_bits(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t nan = (bits >> 16) | 0x40u;
  out->bits = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

PYLSTM_FN void narrow(float x, Half* out) {
  const uint32_t bits = float_bits(x);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  // Normal results: rebias the exponent and round in place; a carry into infinity is right.
  const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Denormal results: adding 0.5 aligns the last place with float16's and rounds.
  const uint32_t denormal = float_bits(bits_float(magnitude) + 0.5f) - 0x3f000000u;
  uint32_t result = magnitude < 0x38800000u ? denormal : normal;
  if (magnitude >= 0x47800000u) result = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  out->bits = static_cast<uint16_t>(result | sign);
}

#if defined(__AVX512BW__) && defined(__AVX512VL__)
#define PYLSTM_VECTOR_CONVERSIONS

PYLSTM_FN Vec<float> widen_vector(__m256i bits, Half) {
  return _mm512_maskz_cvtph_ps(0xffff, bits);
}
PYLSTM_FN Vec<float> widen_vector(__m256i bits, BFloat16) {
  return _mm512_castsi512_ps(
      _mm512_maskz_slli_epi32(0xffff, _mm512_maskz_cvtepu16_epi32(0xffff, bits), 16));
}

PYLSTM_FN __m256i narrow_vector(Vec<float> v, Half) {
  return _mm512_maskz_cvtps_ph(0xffff, v.raw, _MM_FROUND_TO_NEAREST_INT);
}
PYLSTM_FN __m256i narrow_vector(Vec<float> v, BFloat16) {
#if defined(__AVX512BF16__)
  return (__m256i)_mm512_cvtneps_pbh(v.raw);
#else
  const __m512i bits = _mm512_castps_si512(v.raw);
  const __m512i odd =
      _mm512_and_si512(_mm512_maskz_srli_epi32(0xffff, bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(v.raw, v.raw, _CMP_UNORD_Q);
  const __m512i result = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  return _mm512_maskz_cvtepi32_epi16(0xffff, _mm512_maskz_srli_epi32(0xffff, result, 16));
#endif
}
#endif

// The first n lanes of a vector from and to memory.
template <class S>
PYLSTM_FN Vec<Compute<S>> load_lanes(const S* p, int64_t n) {
  using V = Vec<Compute<S>>;
  if constexpr (sizeof(S) == sizeof(Compute<S>)) {
    return V::load_n(p, n);
  } else {
#if defined(PYLSTM_VECTOR_CONVERSIONS)
    return widen_vector(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1), p), S{});
#else
    alignas(kVectorBytes) float lanes[V::kWidth] = {};
    for (int64_t i = 0; i < n; ++i) lanes[i] = widen(p[i]);
    return V::load(lanes);
#endif
  }
}

// One element in all lanes.
template <class S>
PYLSTM_FN Vec<Compute<S>> broadcast(const S* p) {
  const Compute<S> value = widen(*p);
  return Vec<Compute<S>>::broadcast(&value);
}

template <class S>
PYLSTM_FN void store_lanes(Vec<Compute<S>> v, S* p, int64_t n) {
  if constexpr (sizeof(S) == sizeof(Compute<S>)) {
    v.store_n(p, n);
  } else {
#if defined(PYLSTM_VECTOR_CONVERSIONS)
    _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1u << n) - 1), narrow_vector(v, S{}));
#else
    alignas(kVectorBytes) float lanes[Vec<float>::kWidth];
    v.store(lanes);
    for (int64_t i = 0; i < n; ++i) narrow(lanes[i], p + i);
#endif
  }
}

// n elements from one type to another with the same arithmetic.
template <class S, class E>
PYLSTM_FN void convert_row(const S* from, int64_t n, E* to) {
  constexpr int64_t kWidth = Vec<Compute<S>>::kWidth;
  for (int64_t i = 0; i < n; i += kWidth) {
    const int64_t lanes = n - i < kWidth ? n - i : kWidth;
    store_lanes(load_lanes(from + i, lanes), to + i, lanes);
  }
}

// Calls function(S{}) with the storage type S of a dtype.
template <class Function>
PYLSTM_FN auto with_storage([[maybe_unused]] DType dtype, Function function) {
#if defined(PYLSTM_STORAGE)  // the one type that this instruction set is for
  return function(PYLSTM_STORAGE{});
#else
  switch (dtype) {
    case DType::kFloat16:
      return function(Half{});
    case DType::kBFloat16:
      return function(BFloat16{});
    case DType::kFloat64:
      return function(double{});
    default:
      return function(float{});
  }
#endif
}

}  // namespace pylstm::cpu::PYLSTM_ISA
