// Memory for the buffers that kernels want aligned: workspace and reserve.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace pylstm {

inline constexpr std::align_val_t kBufferAlignment{64};

struct AlignedDelete {
  void operator()(void* memory) const { ::operator delete(memory, kBufferAlignment); }
};
using AlignedMemory = std::unique_ptr<void, AlignedDelete>;

inline AlignedMemory allocate_aligned(int64_t bytes) {
  return AlignedMemory(::operator new(static_cast<size_t>(bytes), kBufferAlignment));
}

inline bool is_aligned(const void* memory) {
  return reinterpret_cast<uintptr_t>(memory) % static_cast<size_t>(kBufferAlignment) == 0;
}

}  // namespace pylstm
