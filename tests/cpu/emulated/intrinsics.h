// What csrc/cpu uses of AVX-512, AVX512-BF16 and AMX, in plain C++, and a processor that claims to
// have them: so their code can be tested where there is none. Included before each source;
// compile.py leaves out the options by which the compiler would use the instructions themselves.
#pragma once

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#define EMULATED inline __attribute__((always_inline))

namespace emulated {

using Floats = __m512;
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

// function(i) in the lanes of the mask, `rest` in the others.
template <class V, class Function>
EMULATED V each(unsigned mask, V rest, const Function& function) {
  constexpr int kLanes = sizeof(V) / sizeof(rest[0]);
  for (int i = 0; i < kLanes; ++i) {
    if (mask >> i & 1) rest[i] = function(i);
  }
  return rest;
}

template <class V, class Result = V>
EMULATED Result load(unsigned mask, const void* from) {
  return (Result)each(mask, V{}, [&](int i) {
    auto lane = V{}[0];
    std::memcpy(&lane, static_cast<const char*>(from) + i * sizeof(lane), sizeof(lane));
    return lane;
  });
}
template <class V, class Given = V>
EMULATED void store(void* to, unsigned mask, Given v) {
  each(mask, (V)v, [&](int i) {
    const auto lane = ((V)v)[i];
    std::memcpy(static_cast<char*>(to) + i * sizeof(lane), &lane, sizeof(lane));
    return lane;
  });
}
template <class V>
EMULATED V load_all(const void* from) {
  V v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}
template <class V>
EMULATED void store_all(void* to, V v) {
  std::memcpy(to, &v, sizeof(v));
}

template <class V>
EMULATED V fmadd(V a, V b, V c) {
  return each(~0u, a, [&](int i) { return std::fma(a[i], b[i], c[i]); });
}
// The second operand where one is NaN.
template <class V>
EMULATED V max(V rest, unsigned mask, V a, V b) {
  return each(mask, rest, [&](int i) { return a[i] > b[i] ? a[i] : b[i]; });
}
template <class V>
EMULATED V min(V rest, unsigned mask, V a, V b) {
  return each(mask, rest, [&](int i) { return a[i] < b[i] ? a[i] : b[i]; });
}
template <class V>
EMULATED V sqrt(V rest, unsigned mask, V a) {
  return each(mask, rest, [&](int i) { return std::sqrt(a[i]); });
}
// a 2ⁿ, n rounded down.
template <class V>
EMULATED V scale(V rest, unsigned mask, V a, V n) {
  return each(mask, rest, [&](int i) {
    if (std::isnan(n[i])) return a[i] + n[i];
    const auto limited = std::fmin(std::fmax(n[i], -5000), 5000);
    return std::ldexp(a[i], static_cast<int>(std::floor(limited)));
  });
}

EMULATED float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}
EMULATED uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

// As wrong as the processor's estimate may be, which is within 2⁻¹⁴.
EMULATED Floats reciprocal(unsigned mask, Floats a) {
  return each(mask, Floats{}, [&](int i) { return float_of(bits_of(1 / a[i]) & ~0x1ffu); });
}
template <int kPredicate>
EMULATED __mmask16 compare(Floats a, Floats b) {
  static_assert(kPredicate == _CMP_UNORD_Q);
  unsigned mask = 0;
  for (int i = 0; i < 16; ++i) {
    mask |= static_cast<unsigned>(std::isnan(a[i]) || std::isnan(b[i])) << i;
  }
  return static_cast<__mmask16>(mask);
}
EMULATED Floats look_up(unsigned mask, __m512i index, Floats table) {
  return each(mask, table, [&](int i) { return table[((Words)index)[i] & 15]; });
}
EMULATED Floats look_up(Floats low, __m512i index, Floats high) {
  return each(~0u, low, [&](int i) {
    const uint32_t at = ((Words)index)[i] & 31;
    return at < 16 ? low[at] : high[at - 16];
  });
}

EMULATED __m512i shift_left(unsigned mask, __m512i a, int bits) {
  return (__m512i)each(mask, Words{}, [&](int i) { return ((Words)a)[i] << bits; });
}
EMULATED __m512i shift_right(unsigned mask, __m512i a, int bits) {
  return (__m512i)each(mask, Words{}, [&](int i) { return ((Words)a)[i] >> bits; });
}
EMULATED __m512i either(__m512i rest, unsigned mask, __m512i a, __m512i b) {
  return (__m512i)each(mask, (Words)rest, [&](int i) { return ((Words)a)[i] | ((Words)b)[i]; });
}
// Of halves, not below 0.
EMULATED __m512i subtract(__m512i a, __m512i b) {
  const auto less = [](uint32_t from, uint32_t by) { return from > by ? from - by : 0; };
  return (__m512i)each(~0u, (Words)a, [&](int i) {
    const uint32_t x = ((Words)a)[i], y = ((Words)b)[i];
    return less(x >> 16, y >> 16) << 16 | less(x & 0xffff, y & 0xffff);
  });
}

EMULATED __m512i widen(unsigned mask, __m256i a) {
  return (__m512i)each(mask, Words{}, [&](int i) { return uint32_t{((Halves)a)[i]}; });
}
EMULATED __m256i narrow(unsigned mask, __m512i a) {
  return (__m256i)each(mask, Halves{}, [&](int i) { return static_cast<uint16_t>(((Words)a)[i]); });
}
EMULATED Floats from_float16(unsigned mask, __m256i a) {
  return each(mask, Floats{}, [&](int i) {
    const uint16_t bits = ((Halves)a)[i];
    _Float16 x;
    std::memcpy(&x, &bits, sizeof(x));
    return static_cast<float>(x);
  });
}
EMULATED __m256i to_float16(unsigned mask, Floats a) {
  return (__m256i)each(mask, Halves{}, [&](int i) {
    const auto x = static_cast<_Float16>(a[i]);
    uint16_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits;
  });
}
EMULATED __m256bh to_bfloat16(Floats a) {
  return (__m256bh)each(~0u, Halves{}, [&](int i) {
    const uint32_t bits = bits_of(a[i]);
    const uint32_t result = std::isnan(a[i]) ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
    return static_cast<uint16_t>(result >> 16);
  });
}

// sum + the products of two pairs of bfloat16.
EMULATED float multiply_add(float sum, uint32_t a, uint32_t b) {
  sum = std::fma(float_of(a & 0xffff0000u), float_of(b & 0xffff0000u), sum);
  return std::fma(float_of(a << 16), float_of(b << 16), sum);
}
EMULATED Floats multiply_add(Floats sum, __m512bh a, __m512bh b) {
  return each(~0u, sum, [&](int i) { return multiply_add(sum[i], ((Words)a)[i], ((Words)b)[i]); });
}

class Tiles {
 public:
  void configure(bool on) { configured_ = on; }
  void load(int tile, const void* from, int64_t distance) {
    check();
    for (int row = 0; row < 16; ++row) {
      std::memcpy(tiles_[tile][row], static_cast<const char*>(from) + row * distance, 64);
    }
  }
  void store(int tile, void* to, int64_t distance) {
    check();
    for (int row = 0; row < 16; ++row) {
      std::memcpy(static_cast<char*>(to) + row * distance, tiles_[tile][row], 64);
    }
  }
  void zero(int tile) {
    check();
    std::memset(tiles_[tile], 0, sizeof(tiles_[tile]));
  }
  void multiply_add(int sums, int a, int b) {
    check();
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 16; ++column) {
        float sum = float_of(tiles_[sums][row][column]);
        for (int k = 0; k < 16; ++k) {
          sum = emulated::multiply_add(sum, tiles_[a][row][k], tiles_[b][k][column]);
        }
        tiles_[sums][row][column] = bits_of(sum);
      }
    }
  }

 private:
  void check() const {
    if (!configured_) __builtin_trap();  // as the processor does
  }

  uint32_t tiles_[8][16][16];
  bool configured_;
};
inline thread_local Tiles tiles;

inline long arch_prctl(long, uint64_t* features) {
  *features = ~uint64_t{0};
  return 0;
}
inline long arch_prctl(long, long) { return 0; }

}  // namespace emulated

#define __builtin_cpu_supports(feature) 1
#define __builtin_cpu_is(maker) 0
#define __get_cpuid_count(leaf, subleaf, a, b, c, d) (*(d) = ~0u, 1)
#define syscall(number, ...) emulated::arch_prctl(__VA_ARGS__)

// compile.py's, of the options that it leaves out.
#if defined(EMULATED_AVX512F)
#define __AVX512F__ 1
#endif
#if defined(EMULATED_AVX512BW)
#define __AVX512BW__ 1
#endif
#if defined(EMULATED_AVX512VL)
#define __AVX512VL__ 1
#endif
#if defined(EMULATED_AVX512BF16)
#define __AVX512BF16__ 1
#endif
#if defined(EMULATED_AMX_BF16)
#define __AMX_BF16__ 1
#endif

#undef _mm512_cmp_ps_mask
#undef _mm512_srli_epi32
#undef _mm512_maskz_srli_epi32
#undef _mm512_maskz_slli_epi32
#undef _mm512_maskz_cvtps_ph
#define _mm512_fmadd_ps emulated::fmadd<__m512>
#define _mm512_fmadd_pd emulated::fmadd<__m512d>
#define _mm512_mask_max_ps emulated::max<__m512>
#define _mm512_mask_max_pd emulated::max<__m512d>
#define _mm512_mask_min_ps emulated::min<__m512>
#define _mm512_mask_min_pd emulated::min<__m512d>
#define _mm512_mask_sqrt_ps emulated::sqrt<__m512>
#define _mm512_mask_sqrt_pd emulated::sqrt<__m512d>
#define _mm512_mask_scalef_ps emulated::scale<__m512>
#define _mm512_mask_scalef_pd emulated::scale<__m512d>
#define _mm512_maskz_rcp14_ps emulated::reciprocal
#define _mm512_cmp_ps_mask(a, b, predicate) emulated::compare<predicate>(a, b)
#define _mm512_maskz_permutexvar_ps emulated::look_up
#define _mm512_permutex2var_ps emulated::look_up

#define _mm512_load_ps emulated::load_all<__m512>
#define _mm512_maskz_loadu_ps emulated::load<__m512>
#define _mm512_maskz_loadu_pd emulated::load<__m512d>
#define _mm512_maskz_loadu_epi32 emulated::load<emulated::Words, __m512i>
#define _mm256_maskz_loadu_epi16 emulated::load<emulated::Halves, __m256i>
#define _mm512_store_si512 emulated::store_all<__m512i>
#define _mm512_storeu_si512 emulated::store_all<__m512i>
#define _mm512_mask_storeu_ps emulated::store<__m512>
#define _mm512_mask_storeu_pd emulated::store<__m512d>
#define _mm512_mask_storeu_epi32 emulated::store<emulated::Words, __m512i>
#define _mm256_mask_storeu_epi16 emulated::store<emulated::Halves, __m256i>

#define _mm512_castps_si512(a) ((__m512i)(a))
#define _mm512_castsi512_ps(a) ((__m512)(a))
#define _mm512_set1_epi32(value) ((__m512i)(emulated::Words{} + static_cast<uint32_t>(value)))
#define _mm512_broadcastd_epi32(a) _mm512_set1_epi32(_mm_cvtsi128_si32(a))
#define _mm512_and_si512(a, b) ((a) & (b))
#define _mm512_or_si512(a, b) ((a) | (b))
#define _mm512_add_epi32(a, b) ((__m512i)((emulated::Words)(a) + (emulated::Words)(b)))
#define _mm512_srli_epi32(a, bits) emulated::shift_right(~0u, a, bits)
#define _mm512_maskz_srli_epi32 emulated::shift_right
#define _mm512_maskz_slli_epi32 emulated::shift_left
#define _mm512_mask_or_epi32 emulated::either
#define _mm512_subs_epu16 emulated::subtract

#define _mm512_maskz_cvtepu16_epi32 emulated::widen
#define _mm512_maskz_cvtepi32_epi16 emulated::narrow
#define _mm512_maskz_cvtph_ps emulated::from_float16
#define _mm512_maskz_cvtps_ph(mask, a, rounding) emulated::to_float16(mask, a)
#define _mm512_cvtneps_pbh emulated::to_bfloat16
#define _mm512_dpbf16_ps emulated::multiply_add

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig(shapes) emulated::tiles.configure((shapes) != nullptr)
#define _tile_release() emulated::tiles.configure(false)
#define _tile_zero(tile) emulated::tiles.zero(tile)
#define _tile_loadd(tile, from, distance) emulated::tiles.load(tile, from, distance)
#define _tile_stored(tile, to, distance) emulated::tiles.store(tile, to, distance)
#define _tile_dpbf16ps(sums, a, b) emulated::tiles.multiply_add(sums, a, b)
