// Carves one workspace into arrays. The same list of calls, made on a null base, gives its size.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pylstm::cuda {

class Workspace {
 public:
  explicit Workspace(void* base) : base_(static_cast<unsigned char*>(base)) {}

  template <class T>
  T* take(int64_t elements) {
    T* array = base_ ? reinterpret_cast<T*>(base_ + bytes_) : nullptr;
    bytes_ +=
        (elements * static_cast<int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    return array;
  }
  int64_t bytes() const { return bytes_; }

 private:
  static constexpr int64_t kAlignment = 64;
  unsigned char* base_;
  int64_t bytes_ = 0;
};

}  // namespace pylstm::cuda
