// Cuts one block of memory into aligned arrays. With a null block it only counts, so that a layout
// is written once for its size and for its pointers.
#pragma once

#include <cstdint>

#include "core/macros.h"

namespace pylstm {

class Arena {
 public:
  PYLSTM_FN explicit Arena(void* block) : block_(static_cast<char*>(block)) {}

  template <class T>
  PYLSTM_FN T* take(int64_t n) {
    T* p = block_ ? reinterpret_cast<T*>(block_ + used_) : nullptr;
    used_ += (n * static_cast<int64_t>(sizeof(T)) + kAlign - 1) / kAlign * kAlign;
    return p;
  }
  PYLSTM_FN void skip(int64_t bytes) { used_ += bytes; }
  PYLSTM_FN int64_t used() const { return used_; }

 private:
  static constexpr int64_t kAlign = 64;
  char* block_;
  int64_t used_ = 0;
};

}  // namespace pylstm
