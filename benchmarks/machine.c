// What the processor reaches at best: one core's multiply-adds and one core's reads from cache.
#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
typedef float Vector __attribute__((vector_size(VECTOR_BYTES), aligned(4)));

enum { kChains = 12 };  // independent, more than latency times throughput, and all in registers

// Returns the number of floating-point operations done.
double multiply_add(int64_t repeats, float* sink) {
  Vector sums[kChains];
  Vector scale = {0}, offset = {0};
  scale += 0.999f;
  offset += 0.001f;
  for (int i = 0; i < kChains; ++i) sums[i] = offset * (float)i;
  for (int64_t r = 0; r < repeats; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * scale + offset;
  }
  for (int i = 0; i < kChains; ++i) *sink += sums[i][0];
  return 2.0 * kChains * (VECTOR_BYTES / sizeof(float)) * (double)repeats;
}

// Reads `count` floats, a multiple of 4 vectors, `repeats` times.
void read_floats(const float* data, int64_t count, int64_t repeats, float* sink) {
  const int64_t width = VECTOR_BYTES / sizeof(float);
  Vector sums[4] = {{0}};
  for (int64_t r = 0; r < repeats; ++r) {
    for (int64_t i = 0; i + 4 * width <= count; i += 4 * width) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sums[j] += *(const Vector*)(data + i + j * width);
    }
    __asm__("" : "+x"(sums[0]), "+x"(sums[1]), "+x"(sums[2]), "+x"(sums[3]) : : "memory");
  }
  for (int j = 0; j < 4; ++j) *sink += sums[j][0];
}
