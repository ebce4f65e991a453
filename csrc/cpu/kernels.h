// The kernels of each instruction set, one namespace per set.
#pragma once

#include "core/problem.h"

namespace pylstm::cpu {

class Executor;
struct PackedWeights;

#define PYLSTM_DECLARE_KERNELS(isa)                                                         \
  namespace isa {                                                                           \
  int64_t packed_weights_bytes(const Problem& problem);                                     \
  int64_t forward_workspace_bytes(const Problem& problem, int threads, bool keeps_weights); \
  int64_t backward_workspace_bytes(const Problem& problem, int threads);                    \
  void forward(const Problem& problem, const ForwardBuffers& buffers, Executor& executor,   \
               int threads, const PackedWeights& packed);                                   \
  void backward(const Problem& problem, const BackwardBuffers& buffers, Executor& executor, \
                int threads);                                                               \
  }
PYLSTM_DECLARE_KERNELS(baseline)
PYLSTM_DECLARE_KERNELS(avx2)
PYLSTM_DECLARE_KERNELS(avx512)
PYLSTM_DECLARE_KERNELS(avx512_bf16)  // bfloat16 only, as the next
PYLSTM_DECLARE_KERNELS(amx_bf16)
#undef PYLSTM_DECLARE_KERNELS

}  // namespace pylstm::cpu
