// Memory for the buffers that kernels want aligned: workspace and reserve.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>

namespace pylstm {

inline constexpr std::align_val_t kBufferAlignment{64};

struct AlignedDelete {
  void operator()(void* memory) const { ::operator delete(memory, kBufferAlignment); }
};
using AlignedMemory = std::unique_ptr<void, AlignedDelete>;

class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(int64_t bytes)
      : message_("pylstm: no memory for " + std::to_string(bytes) + " bytes") {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

inline AlignedMemory allocate_aligned(int64_t bytes) {
  void* memory = ::operator new(static_cast<size_t>(bytes), kBufferAlignment, std::nothrow);
  if (!memory) throw OutOfMemory(bytes);
  return AlignedMemory(memory);
}

}  // namespace pylstm
