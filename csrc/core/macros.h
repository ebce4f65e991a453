// Function qualifiers shared by host and device code.
#pragma once

// Cell maths is always inlined: the CPU sources are compiled once per instruction set, and an
// out-of-line copy from the AVX-512 build must never be the one that the linker keeps.
#if defined(__CUDACC__)
#define PYLSTM_FN __host__ __device__ __forceinline__
#else
#define PYLSTM_FN inline __attribute__((always_inline))
#endif
