#include "cpu/amx.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace pylstm::cpu {
namespace {

// Documentation/arch/x86/xstate.rst; older headers lack the names.
constexpr long kGetSupported = 0x1021, kRequestPermission = 0x1023, kTileData = 18;

}  // namespace

bool has_amx_bf16() {
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  if (!(edx & kBf16) || !(edx & kTile)) return false;
  uint64_t supported = 0;
  if (syscall(SYS_arch_prctl, kGetSupported, &supported) != 0) return false;
  return supported >> kTileData & 1;
}

bool may_use_tiles() {
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}

}  // namespace pylstm::cpu
