// Cuts one block of memory into aligned arrays. With a null block it only counts, so that a layout
// is written once for its size and for its pointers.
#pragma once

#include "cpu/simd.h"
#include "cpu/split.h"

namespace pylstm::cpu::PYLSTM_ISA {

class Arena {
 public:
  PYLSTM_FN explicit Arena(void* block) : block_(static_cast<char*>(block)) {}

  template <class T>
  PYLSTM_FN T* take(int64_t n) {
    T* p = block_ ? reinterpret_cast<T*>(block_ + used_) : nullptr;
    used_ += (n * static_cast<int64_t>(sizeof(T)) + kAlign - 1) / kAlign * kAlign;
    return p;
  }
  // What comes next is another thread's to write: not within reach of a prefetcher.
  PYLSTM_FN void leave_page() { used_ += kPageBytes; }
  PYLSTM_FN int64_t used() const { return used_; }

 private:
  static constexpr int64_t kAlign = 64;
  char* block_;
  int64_t used_ = 0;
};

}  // namespace pylstm::cpu::PYLSTM_ISA
