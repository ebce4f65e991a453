// Elementary functions on SIMD vectors, under the names that core/activations.h calls. Largest
// errors in units of the last place, over all arguments (tests/cpu/test_vector_math.py): float32
// exp 1.1, sigmoid 1.6, tanh 2, and by the tables of AVX-512 0.9, 1.6 and 1; without FMA sigmoid 2,
// tanh 2.3; NaN gives NaN, infinities are right, denormals count as zero (team.cc).
#pragma once

#include "cpu/simd.h"
#include "cpu/tables.h"

namespace pylstm::cpu::PYLSTM_ISA {

template <class T>
PYLSTM_FN Vec<T> from_bits(typename Vec<T>::Mask bits) {
  Vec<T> v;
  __builtin_memcpy(&v.raw, &bits, kVectorBytes);
  return v;
}

template <class T>
PYLSTM_FN typename Vec<T>::Mask to_bits(Vec<T> v) {
  typename Vec<T>::Mask bits;
  __builtin_memcpy(&bits, &v.raw, kVectorBytes);
  return bits;
}

// A NaN in `a` survives. (The x86 instructions give their second operand where one is NaN.)
template <class T>
PYLSTM_FN Vec<T> vmax(Vec<T> a, Vec<T> b) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return _mm512_mask_max_ps(a.raw, 0xffff, b.raw, a.raw);
  else
    return _mm512_mask_max_pd(a.raw, 0xff, b.raw, a.raw);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return _mm256_max_ps(b.raw, a.raw);
  else
    return _mm256_max_pd(b.raw, a.raw);
#else
  if constexpr (sizeof(T) == 4)
    return _mm_max_ps(b.raw, a.raw);
  else
    return _mm_max_pd(b.raw, a.raw);
#endif
}
template <class T>
PYLSTM_FN Vec<T> vmin(Vec<T> a, Vec<T> b) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return _mm512_mask_min_ps(a.raw, 0xffff, b.raw, a.raw);
  else
    return _mm512_mask_min_pd(a.raw, 0xff, b.raw, a.raw);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return _mm256_min_ps(b.raw, a.raw);
  else
    return _mm256_min_pd(b.raw, a.raw);
#else
  if constexpr (sizeof(T) == 4)
    return _mm_min_ps(b.raw, a.raw);
  else
    return _mm_min_pd(b.raw, a.raw);
#endif
}

// a / (c + e) for |e| <= c, c + e in [1, 2], a = 1 or a = e: the quotient is corrected by the
// remainder, where a - q c is as good as exact, so that the rounding of c + e does not count.
template <class T>
PYLSTM_FN Vec<T> divide_by_sum(Vec<T> a, Vec<T> c, Vec<T> e) {
  const Vec<T> b = c + e;
#if defined(__FMA__)
  Vec<T> r;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    r = _mm512_maskz_rcp14_ps(0xffff, b.raw);
  } else {
    r = Vec<T>(1) / b;
  }
#else
  r = Vec<T>(1) / b;
#endif
  const Vec<T> q = a * r;
  return q + ((a - q * c) - q * e) * r;
#else  // a - q b would round
  const Vec<T> lost = e - (b - c);
  const Vec<T> q = a / b;
  return q - q * lost / b;
#endif
}

template <class T>
PYLSTM_FN typename Vec<T>::Mask sign_bits(Vec<T> x) {
  return to_bits(x) & to_bits(Vec<T>(-0.0));
}
template <class T>
PYLSTM_FN Vec<T> vabs(Vec<T> x) {
  return from_bits<T>(to_bits(x) & ~to_bits(Vec<T>(-0.0)));
}

template <class T>
PYLSTM_FN Vec<T> negative_abs(Vec<T> x) {
  return from_bits<T>(to_bits(x) | to_bits(Vec<T>(-0.0)));
}

template <class T>
PYLSTM_FN Vec<T> vsqrt(Vec<T> x) {
#if defined(__AVX512F__)  // masked: GCC 12 warns of the unmasked ones
  if constexpr (sizeof(T) == 4)
    return _mm512_mask_sqrt_ps(x.raw, 0xffff, x.raw);
  else
    return _mm512_mask_sqrt_pd(x.raw, 0xff, x.raw);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return _mm256_sqrt_ps(x.raw);
  else
    return _mm256_sqrt_pd(x.raw);
#else
  if constexpr (sizeof(T) == 4)
    return _mm_sqrt_ps(x.raw);
  else
    return _mm_sqrt_pd(x.raw);
#endif
}

// c[0] + c[1] x + ... by Estrin's scheme: parts of the sum do not wait for each other.
template <int kBegin, int kEnd, class T, int N>
PYLSTM_FN Vec<T> estrin(const Vec<T>* powers, const double (&c)[N]) {
  if constexpr (kEnd - kBegin == 1) {
    return Vec<T>(c[kBegin]);
  } else {
    constexpr int kLog = 31 - __builtin_clz(kEnd - kBegin - 1);
    constexpr int kMiddle = kBegin + (1 << kLog);
    return estrin<kBegin, kMiddle>(powers, c) + powers[kLog] * estrin<kMiddle, kEnd>(powers, c);
  }
}
template <class T, int N>
PYLSTM_FN Vec<T> polynomial(Vec<T> x, const double (&c)[N]) {
  constexpr int kPowers = 32 - __builtin_clz(N - 1);
  Vec<T> powers[kPowers] = {x};  // x^(2^i)
#pragma GCC unroll 8
  for (int i = 1; i < kPowers; ++i) powers[i] = powers[i - 1] * powers[i - 1];
  return estrin<0, N>(powers, c);
}

template <class T>
struct Coefficients;

template <>
struct Coefficients<float> {
  static constexpr double kRound = 0x1.8p23;  // adding it rounds to an integer
  static constexpr int kMantissaBits = 23;
  static constexpr double kLn2High = 0.693359375, kLn2Low = -2.12194440054690583e-4;
  static constexpr double kExpMin = -104, kExpMax = 89;
  static constexpr double kExpZero = -88;   // n is -127, for which power_of_two is 0
  static constexpr double kExpm1Min = -18;  // expm1 is -1 from here on down
  static constexpr double kErfOne = 4;      // erf is 1 from here on
  // (exp(r) - 1 - r) / r² for |r| <= ln(2)/2
  static constexpr double kExp[] = {0.4999999815, 0.16666543424, 0.041667200714, 0.0083665472342,
                                    0.0013882516507};
  // atanh(s)/s in s², s <= 1/3
  static constexpr double kAtanh[] = {1, 1. / 3, 1. / 5, 1. / 7, 1. / 9, 1. / 11, 1. / 13, 1. / 15};
  // √π/2 erf(x)/x in x², |x| <= 1: (-1)ⁿ / (n! (2n + 1))
  static constexpr double kErf[] = {1,           -1. / 3,       1. / 10,      -1. / 42,
                                    1. / 216,    -1. / 1320,    1. / 9360,    -1. / 75600,
                                    1. / 685440, -1. / 6894720, 1. / 76204800};
  // exp(x²) erfc(x) in (x - 2.5)/(x + 2.5), 1 <= x <= 4
  static constexpr double kErfcx[] = {0.2108063643,    -0.3717367285,  0.2517131119,
                                      -0.1250336918,   0.03992594812,  -0.003971679954,
                                      -0.002667191661, 0.0006357461886};
};

template <>
struct Coefficients<double> {
  static constexpr double kRound = 0x1.8p52;
  static constexpr int kMantissaBits = 52;
  static constexpr double kLn2High = 6.93145751953125e-1, kLn2Low = 1.42860682030941723212e-6;
  static constexpr double kExpMin = -746, kExpMax = 710;
  static constexpr double kExpZero = -709;
  static constexpr double kExpm1Min = -38;
  static constexpr double kErfOne = 6;
  static constexpr double kExp[] = {1. / 2,       1. / 6,        1. / 24,         1. / 120,
                                    1. / 720,     1. / 5040,     1. / 40320,      1. / 362880,
                                    1. / 3628800, 1. / 39916800, 1. / 479001600., 1. / 6227020800.};
  static constexpr double kAtanh[] = {1,       1. / 3,  1. / 5,  1. / 7,  1. / 9,  1. / 11,
                                      1. / 13, 1. / 15, 1. / 17, 1. / 19, 1. / 21, 1. / 23,
                                      1. / 25, 1. / 27, 1. / 29, 1. / 31, 1. / 33};
  static constexpr double kErf[] = {1,
                                    -1. / 3,
                                    1. / 10,
                                    -1. / 42,
                                    1. / 216,
                                    -1. / 1320,
                                    1. / 9360,
                                    -1. / 75600,
                                    1. / 685440,
                                    -1. / 6894720,
                                    1. / 76204800,
                                    -1. / 918086400,
                                    1. / 11975040000.,
                                    -1. / 168129561600.,
                                    1. / 2528170444800.,
                                    -1. / 40537905408000.,
                                    1. / 690452066304000.,
                                    -1. / 12449059983360000.,
                                    1. / 236887827111936000.};
  static constexpr double kErfcx[] = {
      0.21080636406114358393,     -0.37173673394897296033,     0.25171319321744876591,
      -0.12503305237891781154,    0.039922539075465231919,     -0.0039937011601230292147,
      -0.0026423659518134548579,  0.00087591528757743274652,   0.00022837996332576430022,
      -0.00012887483134837841838, -0.000034175718896856292589, 0.000018596747731144528634,
      7.4997350507632986703e-6,   -2.2328516517555214358e-6,   -1.5876338931273440237e-6};
};

// x = n ln(2) + r, |r| <= ln(2)/2; r holds exp(r) - 1 on return.
template <class T>
struct ExpParts {
  Vec<T> n;
  Vec<T> expm1_r;
};
template <class T>
PYLSTM_FN ExpParts<T> exp_parts(Vec<T> x) {
  using C = Coefficients<T>;
  const Vec<T> round(C::kRound);
  const Vec<T> n = (x * Vec<T>(1.44269504088896340736) + round) - round;
  const Vec<T> r = (x - n * Vec<T>(C::kLn2High)) - n * Vec<T>(C::kLn2Low);
  return {n, r + r * r * polynomial(r, C::kExp)};
}

// 2ⁿ for an integral n in the normal range, and 0 for the one below it.
template <class T>
PYLSTM_FN Vec<T> power_of_two(Vec<T> n) {
  using C = Coefficients<T>;
  constexpr int kBias = (1 << (sizeof(T) * 8 - 2 - C::kMantissaBits)) - 1;
  return from_bits<T>(to_bits(n + Vec<T>(C::kRound + kBias)) << C::kMantissaBits);
}

// x 2ⁿ, rounded once; n may leave the normal range.
template <class T>
PYLSTM_FN Vec<T> scale(Vec<T> x, Vec<T> n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return _mm512_mask_scalef_ps(x.raw, 0xffff, x.raw, n.raw);
  else
    return _mm512_mask_scalef_pd(x.raw, 0xff, x.raw, n.raw);
#else
  const Vec<T> round(Coefficients<T>::kRound);
  const Vec<T> half = (n * Vec<T>(0.5) + round) - round;
  return (x * power_of_two(half)) * power_of_two(n - half);
#endif
}

// Without the upper bound, for x <= kExpMax.
template <class T>
PYLSTM_FN Vec<T> exp_below_max(Vec<T> x) {
  const ExpParts<T> p = exp_parts(vmax(x, Vec<T>(Coefficients<T>::kExpMin)));
  return scale(Vec<T>(1) + p.expm1_r, p.n);
}

// For x <= 0, where a denormal result is 0.
template <class T>
PYLSTM_FN Vec<T> exp_nonpositive(Vec<T> x) {
  const ExpParts<T> p = exp_parts(vmax(x, Vec<T>(Coefficients<T>::kExpZero)));
  return power_of_two(p.n) * (Vec<T>(1) + p.expm1_r);
}

#if defined(__AVX512F__)
// x = (n + i / 16) ln(2) + r, |r| <= ln(2)/32: a shorter polynomial.
PYLSTM_FN Vec<float> exp_below_max(Vec<float> x) {
  using C = Coefficients<float>;
  using Table = Exp2Table;
  const Vec<float> round(C::kRound / 16), ln2(0x1.62e43p-1), ln2_rest(-1.904654299957768e-9);
  const Vec<float> a = vmax(x, Vec<float>(C::kExpMin));
  const Vec<float> rounded = a * Vec<float>(1.44269504088896340736) + round;
  const __m512i i = _mm512_castps_si512(rounded.raw);  // its last four bits
  const Vec<float> n = rounded - round;                // with i / 16
  const Vec<float> r = a - n * ln2;
  const Vec<float> rest = look_up(Table::kRests, i) + (r - n * ln2_rest);
  const Vec<float> expm1_r =
      (r * r) * (r * Vec<float>(Table::kExp[1]) + Vec<float>(Table::kExp[0])) + rest;
  const Vec<float> entry = look_up(Table::kEntries, i);
  return scale(entry + entry * expm1_r, n);  // by 2 to the floor of n
}
PYLSTM_FN Vec<float> exp_nonpositive(Vec<float> x) { return exp_below_max(x); }
#endif

template <class T>
PYLSTM_FN Vec<T> vexp(Vec<T> x) {
  return exp_below_max(vmin(x, Vec<T>(Coefficients<T>::kExpMax)));
}

// For x <= 0, all that the activations need.
template <class T>
PYLSTM_FN Vec<T> vexpm1(Vec<T> x) {
  const ExpParts<T> p = exp_parts(vmax(x, Vec<T>(Coefficients<T>::kExpm1Min)));
  const Vec<T> s = power_of_two(p.n);
  return s * p.expm1_r + (s - Vec<T>(1));
}

// For 0 <= x <= 1, all that the activations need: log(1 + x) = 2 atanh(x / (2 + x)).
template <class T>
PYLSTM_FN Vec<T> vlog1p(Vec<T> x) {
  const Vec<T> s = x / (Vec<T>(2) + x);
  return (s + s) * polynomial(s * s, Coefficients<T>::kAtanh);
}

// tanh(|x|) = -e / (2 + e) with e = expm1(-2|x|) keeps the small arguments' digits.
template <class T>
PYLSTM_FN Vec<T> vtanh(Vec<T> x) {
  const Vec<T> e = vexpm1(negative_abs(x + x));
  const Vec<T> t = divide_by_sum(e, Vec<T>(2), e);
  return from_bits<T>((to_bits(t) & ~to_bits(Vec<T>(-0.0))) | sign_bits(x));
}

#if defined(__AVX512F__)
// Without the division. Of a NaN the index is arbitrary, and d is NaN.
PYLSTM_FN Vec<float> vtanh(Vec<float> x) {
  using Table = TanhTable;
  const Vec<float> a = vmin(vabs(x), Vec<float>(Table::kEnd));
  const __m512i index =
      _mm512_subs_epu16(_mm512_srli_epi32(_mm512_castps_si512(a.raw), Table::kShift),
                        _mm512_set1_epi32(Table::kFirst));
  const Vec<float> d = a - look_up(Table::kCentre, index);
  Vec<float> t = look_up(Table::kPolynomial[Table::kDegree], index);
#pragma GCC unroll 8
  for (int i = Table::kDegree; i-- > 0;) t = t * d + look_up(Table::kPolynomial[i], index);
  return from_bits<float>(to_bits(t) | sign_bits(x));
}
#endif

// exp(-|x|) cannot overflow.
template <class T>
PYLSTM_FN Vec<T> vsigmoid(Vec<T> x) {
  const Vec<T> e = exp_nonpositive(negative_abs(x));
  return divide_by_sum(vselect(to_bits(x) < 0, e, Vec<T>(1)), Vec<T>(1), e);
}

template <class T>
PYLSTM_FN Vec<T> verf(Vec<T> x) {
  using C = Coefficients<T>;
  const Vec<T> a = vmin(vabs(x), Vec<T>(C::kErfOne));
  const Vec<T> near = a * Vec<T>(1.1283791670955125739) * polynomial(a * a, C::kErf);
  const Vec<T> t = (a - Vec<T>(2.5)) / (a + Vec<T>(2.5));
  const Vec<T> far = Vec<T>(1) - vexp(Vec<T>(0) - a * a) * polynomial(t, C::kErfcx);
  return from_bits<T>(to_bits(vselect(a < Vec<T>(1), near, far)) | sign_bits(x));
}

}  // namespace pylstm::cpu::PYLSTM_ISA
