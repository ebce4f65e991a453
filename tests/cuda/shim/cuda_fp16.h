// IEEE binary16 with conversions rounded to nearest even.
#pragma once

#include <immintrin.h>

#include <cstdint>

struct __half {
  uint16_t bits = 0;
  __half() = default;
  __half(float x) : bits(_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT)) {}
};

inline float __half2float(__half x) { return _cvtsh_ss(x.bits); }
inline __half __float2half_rn(float x) { return __half(x); }
