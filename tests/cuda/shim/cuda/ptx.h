// Stands in front of csrc/cuda/ptx.h: the same functions on a CPU, with the fragment layouts of the
// PTX manual.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "cuda/types.h"

namespace pylstm::cuda {

inline unsigned char* shared_memory() { return ::shim::shared_memory(); }

inline void copy_async(void* shared, const void* global, int bytes) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 || reinterpret_cast<uintptr_t>(global) % 16) {
    throw std::runtime_error("misaligned asynchronous copy");
  }
  ::shim::copy_async(shared, global, bytes);
}
inline void commit_copies() { ::shim::commit_copies(); }
template <int kPending>
void wait_copies() {
  ::shim::wait_copies(kPending);
}

struct MatrixLoad {
  uint32_t* result;
  const void* row;
};

template <bool transposed>
void load_matrices_of_warp(void* const (&lanes)[32]) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int j = 0; j < 4; ++j) {
      uint16_t pair[2];
      for (int i = 0; i < 2; ++i) {
        const int row = transposed ? lane % 4 * 2 + i : lane / 4;
        const int column = transposed ? lane / 4 : lane % 4 * 2 + i;
        const auto* source = static_cast<MatrixLoad*>(lanes[8 * j + row])->row;
        pair[i] = static_cast<const uint16_t*>(source)[column];
      }
      std::memcpy(&static_cast<MatrixLoad*>(lanes[lane])->result[j], pair, 4);
    }
  }
}

template <bool transposed>
void load_matrices_any(uint32_t (&result)[4], const void* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16) throw std::runtime_error("misaligned ldmatrix");
  MatrixLoad load = {result, row};
  ::shim::warp_collective(load_matrices_of_warp<transposed>, &load);
}

inline void load_matrices(uint32_t (&result)[4], const void* row) {
  load_matrices_any<false>(result, row);
}
inline void load_matrices_transposed(uint32_t (&result)[4], const void* row) {
  load_matrices_any<true>(result, row);
}

struct Fragments {
  float* c;
  const uint32_t* a;
  uint32_t b[2];
};

template <class T>
float unpack(uint32_t word, int index) {
  T value;
  value.bits = static_cast<uint16_t>(word >> (16 * index));
  return to_compute(value);
}

// a (16×16): register r of lane l holds row l/4 + 8(r%2), columns 2(l%4) + 8(r/2) and the next.
// b (16×8): register r of lane l holds column l/4, rows 2(l%4) + 8r and the next.
template <class T>
void multiply_fragments(void* const (&lanes)[32]) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& fragments = *static_cast<Fragments*>(lanes[lane]);
    for (int r = 0; r < 4; ++r) {
      for (int i = 0; i < 2; ++i) {
        a[lane / 4 + 8 * (r % 2)][lane % 4 * 2 + 8 * (r / 2) + i] = unpack<T>(fragments.a[r], i);
        if (r < 2) b[lane % 4 * 2 + 8 * r + i][lane / 4] = unpack<T>(fragments.b[r], i);
      }
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* c = static_cast<Fragments*>(lanes[lane])->c;
    for (int i = 0; i < 4; ++i) {
      for (int k = 0; k < 16; ++k)
        c[i] += a[lane / 4 + 8 * (i / 2)][k] * b[k][lane % 4 * 2 + i % 2];
    }
  }
}

template <class T>
void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, T) {
  Fragments fragments = {c, a, {b0, b1}};
  ::shim::warp_collective(multiply_fragments<T>, &fragments);
}

inline uint32_t round_to_tf32(float x) {
  uint32_t word;
  std::memcpy(&word, &x, 4);
  return (word + 0x1000) & 0xffffe000;  // to nearest, ties away from zero
}

// a (16×8): register r of lane l is row l/4 + 8(r%2), column l%4 + 4(r/2).
// b (8×8): register r of lane l is row l%4 + 4r, column l/4.
inline void multiply_tf32_fragments(void* const (&lanes)[32]) {
  const auto value = [](uint32_t word) {
    if (word & 0x1fff) throw std::runtime_error("an operand was not rounded to TF32");
    float x;
    std::memcpy(&x, &word, 4);
    return x;
  };
  float a[16][8], b[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& fragments = *static_cast<Fragments*>(lanes[lane]);
    for (int r = 0; r < 4; ++r) {
      a[lane / 4 + 8 * (r % 2)][lane % 4 + 4 * (r / 2)] = value(fragments.a[r]);
    }
    for (int r = 0; r < 2; ++r) b[lane % 4 + 4 * r][lane / 4] = value(fragments.b[r]);
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* c = static_cast<Fragments*>(lanes[lane])->c;
    for (int i = 0; i < 4; ++i) {
      for (int k = 0; k < 8; ++k) c[i] += a[lane / 4 + 8 * (i / 2)][k] * b[k][lane % 4 * 2 + i % 2];
    }
  }
}

inline void mma_tf32(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  Fragments fragments = {c, a, {b0, b1}};
  ::shim::warp_collective(multiply_tf32_fragments, &fragments);
}

inline void hold_in_register(uint32_t&) {}
inline void prefetch_to_l2(const void*) {}

inline void add_release(unsigned* counter, unsigned value) { *counter += value; }
inline void wait_acquire(const unsigned* counter, unsigned value) {
  while (*static_cast<const volatile unsigned*>(counter) < value) ::shim::yield();
}

inline void cluster_arrive() { ::shim::cluster_arrive(); }
inline void cluster_wait() { ::shim::cluster_wait(); }
inline void cluster_barrier() {
  cluster_arrive();
  cluster_wait();
}
template <class T>
void store_to_cluster(T* shared, unsigned rank, T value) {
  *static_cast<T*>(::shim::cluster_shared(shared, rank)) = value;
}

}  // namespace pylstm::cuda
