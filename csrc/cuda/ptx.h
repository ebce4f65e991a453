// The machine instructions that the kernels use, one function each. The tests put a file of the
// same name in front of this one to run the kernels on a CPU.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/types.h"

namespace pylstm::cuda {

// The block's dynamic shared memory.
__device__ inline unsigned char* shared_memory() {
  extern __shared__ __align__(128) unsigned char shared_bytes[];
  return shared_bytes;
}

__device__ inline uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Copies 16 bytes to shared memory, of which those past `bytes` become zero. Complete after
// wait_copies and a barrier.
__device__ inline void copy_async(void* shared, const void* global, int bytes) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(bytes)
               : "memory");
#else
  uint4 value = make_uint4(0, 0, 0, 0);
  if (bytes == 16) {
    value = *static_cast<const uint4*>(global);
  } else {
    for (int i = 0; i < bytes; ++i) {
      reinterpret_cast<char*>(&value)[i] = static_cast<const char*>(global)[i];
    }
  }
  *static_cast<uint4*>(shared) = value;
#endif
}

__device__ inline void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most kPending of this thread's newest committed groups are under way.
template <int kPending>
__device__ inline void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

// Four 8×8 matrices of 16-bit elements. Lane l gives the address of row l % 8 of matrix l / 8 and
// gets, in result[j], elements 2(l % 4) and 2(l % 4) + 1 of row l / 4 of matrix j.
__device__ inline void load_matrices(uint32_t (&result)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
               : "r"(shared_address(row))
               : "memory");
}

// The same of the transposed matrices.
__device__ inline void load_matrices_transposed(uint32_t (&result)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
               : "r"(shared_address(row))
               : "memory");
}

#if __CUDA_ARCH__ < 800
// bfloat16 on processors whose tensor cores lack it: the fragments' elements go round by shuffles.
__device__ inline void multiply_by_shuffles(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                            uint32_t b1) {
  const int lane = threadIdx.x % 32;
  for (int pair = 0; pair < 8; ++pair) {
    const int source = pair % 4;
    const bool high = pair >= 4;
    uint32_t rows[2], columns[2];
    for (int i = 0; i < 2; ++i) {
      rows[i] = __shfl_sync(0xffffffff, high ? a[2 + i] : a[i], lane / 4 * 4 + source);
      columns[i] = __shfl_sync(0xffffffff, high ? b1 : b0, (lane % 4 * 2 + i) * 4 + source);
    }
    for (int i = 0; i < 4; ++i) {
      c[i] += __uint_as_float(rows[i / 2] << 16) * __uint_as_float(columns[i % 2] << 16);
      c[i] +=
          __uint_as_float(rows[i / 2] & 0xffff0000) * __uint_as_float(columns[i % 2] & 0xffff0000);
    }
  }
}
#endif

// c += a·b on one 16×8 tile with depth 16; fragment layouts as in the PTX manual, mma.m16n8k16.
__device__ inline void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Half) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%8}, "
      "{%0,%1,%2,%3};\n\t"
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%6,%7}, {%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

__device__ inline void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                           BFloat16) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  multiply_by_shuffles(c, a, b0, b1);
#endif
}

__device__ inline uint32_t round_to_tf32(float x) {
#if __CUDA_ARCH__ >= 800
  uint32_t result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(x));
  return result;
#else
  return __float_as_uint(x);
#endif
}

// The same for TF32 with depth 8, mma.m16n8k8. Only chosen from compute capability 8.0 on.
__device__ inline void mma_tf32(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  __trap();
#endif
}

// Makes a value one that the compiler can neither take apart nor compute again.
__device__ inline void hold_in_register(uint32_t& value) { asm volatile("" : "+r"(value)); }

__device__ inline void prefetch_to_l2(const void* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

// Adds to a counter after everything that this thread, or one it met at a barrier, wrote before.
__device__ inline void add_release(unsigned* counter, unsigned value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(counter), "r"(value) : "memory");
}

// Returns once the counter has reached a value; what was written before it got there is visible.
__device__ inline void wait_acquire(const unsigned* counter, unsigned value) {
  unsigned current;
  do {
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(current) : "l"(counter) : "memory");
  } while (current < value);
}

// All threads of the thread-block cluster; shared memory written before arriving is visible after
// waiting.
__device__ inline void cluster_arrive() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ inline void cluster_wait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
__device__ inline void cluster_barrier() {
  cluster_arrive();
  cluster_wait();
}

// Stores to the same place in the shared memory of the cluster's block `rank`.
template <class T>
__device__ inline void store_to_cluster(T* shared, unsigned rank, T value) {
#if __CUDA_ARCH__ >= 900
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(shared_address(shared)), "r"(rank));
  if constexpr (sizeof(T) == 2) {
    asm volatile("st.shared::cluster.u16 [%0], %1;" ::"r"(address),
                 "h"(reinterpret_cast<const unsigned short&>(value))
                 : "memory");
  } else {
    asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(address),
                 "r"(reinterpret_cast<const uint32_t&>(value))
                 : "memory");
  }
#endif
}

}  // namespace pylstm::cuda
