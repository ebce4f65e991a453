// SIMD vectors of the instruction set that this file is compiled for, over the compiler's vector
// extensions. Included only by sources that are compiled once per instruction set; everything lives
// in that set's namespace so that the linker cannot mix the copies.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "core/macros.h"

#ifndef PYLSTM_ISA
#error "define PYLSTM_ISA, the namespace of the instruction set"
#endif

namespace pylstm::cpu::PYLSTM_ISA {

// Of the products: the rows of a tile of all vectors, and how many vectors right.h has in a group.
#if defined(__AMX_BF16__)
constexpr int kVectorBytes = 64;
constexpr int kTileRows = 16;  // of a tile register
constexpr int kGroupVectors = 4;
#elif defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kTileRows = 6;  // 6 x 4 accumulators, 4 weights, 1 broadcast: 29 of 32 registers
constexpr int kGroupVectors = 4;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kTileRows = 3;      // 3 x 4 accumulators of 16 registers, or
constexpr int kGroupVectors = 2;  // 6 x 2, which reads half as much of the panel
#else  // SSE2, which all have
constexpr int kVectorBytes = 16;
constexpr int kTileRows = 3;
constexpr int kGroupVectors = 2;
#endif

template <class T>
struct Integer;
template <>
struct Integer<float> {
  using type = int32_t;
};
template <>
struct Integer<double> {
  using type = int64_t;
};

template <class T>
struct Vec {
  typedef T Raw __attribute__((vector_size(kVectorBytes)));
  typedef typename Integer<T>::type Mask __attribute__((vector_size(kVectorBytes)));
  static constexpr int kWidth = kVectorBytes / sizeof(T);

  Raw raw;

  Vec() = default;
  PYLSTM_FN Vec(Raw r) : raw(r) {}
  PYLSTM_FN explicit Vec(double value) : raw(static_cast<T>(value) - Raw{}) {}

  PYLSTM_FN static Vec load(const T* p) {
    Vec v;
    __builtin_memcpy(&v.raw, p, kVectorBytes);
    return v;
  }
  PYLSTM_FN static Vec broadcast(const T* p) { return Vec(*p - Raw{}); }
  PYLSTM_FN void store(T* p) const { __builtin_memcpy(p, &raw, kVectorBytes); }

  // The first n lanes, 0 <= n <= kWidth; the others read as 0 and are not written.
  PYLSTM_FN static Vec load_n(const T* p, int64_t n);
  PYLSTM_FN void store_n(T* p, int64_t n) const;

  PYLSTM_FN friend Vec operator+(Vec a, Vec b) { return a.raw + b.raw; }
  PYLSTM_FN friend Vec operator-(Vec a, Vec b) { return a.raw - b.raw; }
  PYLSTM_FN friend Vec operator*(Vec a, Vec b) { return a.raw * b.raw; }
  PYLSTM_FN friend Vec operator/(Vec a, Vec b) { return a.raw / b.raw; }
  PYLSTM_FN friend Mask operator<(Vec a, Vec b) { return a.raw < b.raw; }
  PYLSTM_FN Vec& operator+=(Vec b) {
    raw += b.raw;
    return *this;
  }
};

template <class T>
PYLSTM_FN Vec<T> Vec<T>::load_n(const T* p, int64_t n) {
  if (n == kWidth) return load(p);
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return Vec(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p));
  } else {
    return Vec(_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p));
  }
#elif defined(__AVX2__)  // stores by a mask are slow
  if constexpr (sizeof(T) == 4) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return Vec(_mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes)));
  } else {
    const __m256i lanes = _mm256_setr_epi64x(0, 1, 2, 3);
    return Vec(_mm256_maskload_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lanes)));
  }
#else
  Vec v{Raw{}};
  for (int64_t i = 0; i < n; ++i) v.raw[i] = p[i];
  return v;
#endif
}

template <class T>
PYLSTM_FN void Vec<T>::store_n(T* p, int64_t n) const {
  if (n == kWidth) return store(p);
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), raw);
  } else {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), raw);
  }
#else
  for (int64_t i = 0; i < n; ++i) p[i] = raw[i];
#endif
}

// a b + c, rounded once where the processor can. For sums that must be the same in each copy of a
// loop: of those that are written out, compilers do not contract the same ones in all.
#if defined(__AVX512F__)
PYLSTM_FN Vec<float> multiply_add(Vec<float> a, Vec<float> b, Vec<float> c) {
  return Vec<float>(_mm512_fmadd_ps(a.raw, b.raw, c.raw));
}
PYLSTM_FN Vec<double> multiply_add(Vec<double> a, Vec<double> b, Vec<double> c) {
  return Vec<double>(_mm512_fmadd_pd(a.raw, b.raw, c.raw));
}
#elif defined(__FMA__)
PYLSTM_FN Vec<float> multiply_add(Vec<float> a, Vec<float> b, Vec<float> c) {
  return Vec<float>(_mm256_fmadd_ps(a.raw, b.raw, c.raw));
}
PYLSTM_FN Vec<double> multiply_add(Vec<double> a, Vec<double> b, Vec<double> c) {
  return Vec<double>(_mm256_fmadd_pd(a.raw, b.raw, c.raw));
}
#else
template <class T>
PYLSTM_FN Vec<T> multiply_add(Vec<T> a, Vec<T> b, Vec<T> c) {
  return a * b + c;
}
#endif

template <class T>
PYLSTM_FN Vec<T> vselect(typename Vec<T>::Mask m, Vec<T> a, Vec<T> b) {
  return Vec<T>(m ? a.raw : b.raw);
}

// Lane i is lane `lanes[i]` of a and b, b's numbered on from a's. `lanes` are constants.
template <class T>
PYLSTM_FN Vec<T> shuffle(Vec<T> a, Vec<T> b, typename Vec<T>::Mask lanes) {
#if defined(__clang__)
  constexpr int kWidth = Vec<T>::kWidth;
  Vec<T> v;
#pragma GCC unroll 16
  for (int i = 0; i < kWidth; ++i) {
    v.raw[i] = lanes[i] < kWidth ? a.raw[lanes[i]] : b.raw[lanes[i] - kWidth];
  }
  return v;
#else
  return Vec<T>(__builtin_shuffle(a.raw, b.raw, lanes));
#endif
}

}  // namespace pylstm::cpu::PYLSTM_ISA
