#include "cpu/lstm.h"

#include <cstdlib>
#include <stdexcept>

#include "cpu/amx.h"
#include "cpu/huge_pages.h"
#include "cpu/kernels.h"
#include "cpu/split.h"

namespace pylstm::cpu {
namespace {

struct Kernels {
  decltype(&baseline::packed_weights_bytes) packed_weights_bytes;
  decltype(&baseline::forward_workspace_bytes) forward_workspace_bytes;
  decltype(&baseline::backward_workspace_bytes) backward_workspace_bytes;
  decltype(&baseline::forward) forward;
  decltype(&baseline::backward) backward;
};

const Kernels& kernels(const Problem& problem, Isa isa) {
#define PYLSTM_KERNELS(isa)                                                                 \
  {                                                                                         \
    isa::packed_weights_bytes, isa::forward_workspace_bytes, isa::backward_workspace_bytes, \
        isa::forward, isa::backward                                                         \
  }
  static const Kernels table[] = {PYLSTM_KERNELS(baseline), PYLSTM_KERNELS(avx2),
                                  PYLSTM_KERNELS(avx512),
#if defined(PYLSTM_HAS_AVX512_BF16)
                                  PYLSTM_KERNELS(avx512_bf16),
#endif
#if defined(PYLSTM_HAS_AMX_BF16)
                                  PYLSTM_KERNELS(amx_bf16)
#endif
  };
#undef PYLSTM_KERNELS
  return table[static_cast<int>(isa_for(problem.dtype, isa))];
}

std::vector<Isa> find_isas() {
  std::vector<Isa> isas = {Isa::kBaseline};
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return isas;
  isas.push_back(Isa::kAvx2);
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return isas;
  }
  isas.push_back(Isa::kAvx512);
#if defined(PYLSTM_HAS_AVX512_BF16)
  if (!__builtin_cpu_supports("avx512bf16")) return isas;
  // Intel's multiply a pair more slowly than two floats: in all 1.8 times the time, measured on a
  // fifth-generation Xeon.
  const bool has_slow_pairs = __builtin_cpu_is("intel");
  isas.insert(isas.end() - has_slow_pairs, Isa::kAvx512Bf16);
#endif
#if defined(PYLSTM_HAS_AMX_BF16)
  if (has_amx_bf16()) isas.push_back(Isa::kAmxBf16);
#endif
  return isas;
}

// An array without elements may claim any size for its other axes, so loops must not run over it:
// steps without rows, or without units and features; features without steps and units.
Problem without_idle_loops(Problem problem) {
  if (problem.batch == 0 || (problem.units == 0 && problem.features == 0)) problem.time = 0;
  if (problem.time == 0 && problem.units == 0) problem.features = 0;
  return problem;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512_bf16";
    case Isa::kAmxBf16:
      return "amx_bf16";
    default:
      return "baseline";
  }
}

const std::vector<Isa>& available_isas() {
  static const std::vector<Isa> isas = find_isas();  // to ask takes longer than a small step
  return isas;
}

Isa find_isa(const std::string& name, const std::string& option) {
  std::string names;
  for (const Isa isa : available_isas()) {
    if (name == isa_name(isa)) return isa;
    names += std::string(names.empty() ? "" : ", ") + isa_name(isa);
  }
  throw std::invalid_argument(option + "=" + name + ": this processor runs " + names);
}

Isa select_isa() {
  const char* wanted = std::getenv("PYLSTM_ISA");
  return wanted && *wanted ? find_isa(wanted, "PYLSTM_ISA") : available_isas().back();
}

Isa selected_isa() {
  static const Isa isa = select_isa();
  return isa;
}

Isa isa_for(DType dtype, Isa isa) {
  if (isa <= Isa::kAvx512) return isa;
  if (dtype != DType::kBFloat16) return Isa::kAvx512;
#if defined(PYLSTM_HAS_AMX_BF16)
  if (isa == Isa::kAmxBf16 && !may_use_tiles()) return Isa::kAvx512;
#endif
  return isa;
}

int64_t packed_weights_bytes(const Problem& problem, Isa isa) {
  return kernels(problem, isa).packed_weights_bytes(problem);
}

int64_t forward_workspace_bytes(const Problem& given, Isa isa, int concurrency,
                                bool keeps_weights) {
  const Problem problem = without_idle_loops(given);
  return kernels(problem, isa)
      .forward_workspace_bytes(problem, useful_threads(problem, concurrency), keeps_weights);
}

int64_t backward_workspace_bytes(const Problem& given, Isa isa, int concurrency) {
  const Problem problem = without_idle_loops(given);
  return kernels(problem, isa)
      .backward_workspace_bytes(problem, useful_threads(problem, concurrency));
}

void lstm_forward(const Problem& given, const ForwardBuffers& buffers, Isa isa, Executor& executor,
                  const PackedWeights& packed) {
  const Problem problem = without_idle_loops(given);
  const int threads = useful_threads(problem, executor.concurrency());
  const Kernels& own = kernels(problem, isa);
  prefer_huge_pages(buffers.workspace,
                    own.forward_workspace_bytes(problem, threads, packed.memory != nullptr));
  if (!packed.ready) prefer_huge_pages(packed.memory, own.packed_weights_bytes(problem));
  prefer_huge_pages(buffers.reserve, problem.reserve_bytes());
  prefer_huge_pages(buffers.y, problem.y_elements() * element_bytes(problem.dtype));
  own.forward(problem, buffers, executor, threads, packed);
}

void lstm_backward(const Problem& given, const BackwardBuffers& buffers, Isa isa,
                   Executor& executor) {
  const Problem problem = without_idle_loops(given);
  const int threads = useful_threads(problem, executor.concurrency());
  const int64_t element = element_bytes(problem.dtype);
  const Kernels& own = kernels(problem, isa);
  prefer_huge_pages(buffers.workspace, own.backward_workspace_bytes(problem, threads));
  prefer_huge_pages(buffers.dx, problem.input_gradient_elements() * element);
  prefer_huge_pages(buffers.dkernel, problem.kernel_elements() * element);
  prefer_huge_pages(buffers.drecurrent_kernel, problem.recurrent_kernel_elements() * element);
  own.backward(problem, buffers, executor, threads);
}

}  // namespace pylstm::cpu
