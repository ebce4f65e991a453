// The fused CPU kernels: checks are the caller's, threads the executor's, memory the buffers'.
#pragma once

#include <string>
#include <vector>

#include "core/problem.h"
#include "cpu/executor.h"

namespace pylstm::cpu {

enum class Isa : int { kBaseline, kAvx2, kAvx512, kAvx512Bf16, kAmxBf16 };

const char* isa_name(Isa isa);  // "baseline", "avx2", "avx512", "avx512_bf16", "amx_bf16"
// Those that this processor can run, best last.
const std::vector<Isa>& available_isas();
// By its name, the value of `option`. Throws std::invalid_argument if it names none that this
// processor has.
Isa find_isa(const std::string& name, const std::string& option);
// The best available, or the one named by the environment variable PYLSTM_ISA.
Isa select_isa();
// The first result of select_isa(), for threads beside which another may change the environment.
Isa selected_isa();
// The one that computes a dtype where `isa` is selected: some are for bfloat16 alone, and Linux may
// refuse a process the registers that they need.
Isa isa_for(DType dtype, Isa isa);

// The weights as the forward pass reads them, for a caller that knows when they are still the same.
struct PackedWeights {
  void* memory = nullptr;  // packed_weights_bytes, 64-byte aligned; null: packed in the workspace
  bool ready = false;      // by an earlier call on the same weights and instruction set
};
// 0 where they cannot be kept: short calls read the weights where they lie, and recurrent dropout
// needs another order.
int64_t packed_weights_bytes(const Problem& problem, Isa isa);

// `keeps_weights`: they come as PackedWeights.
int64_t forward_workspace_bytes(const Problem& problem, Isa isa, int concurrency,
                                bool keeps_weights = false);
int64_t backward_workspace_bytes(const Problem& problem, Isa isa, int concurrency);

void lstm_forward(const Problem& problem, const ForwardBuffers& buffers, Isa isa,
                  Executor& executor, const PackedWeights& packed = {});
void lstm_backward(const Problem& problem, const BackwardBuffers& buffers, Isa isa,
                   Executor& executor);

}  // namespace pylstm::cpu
