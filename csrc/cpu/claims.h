// Pieces of work that threads take one by one: each its own, then those of slower threads.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/macros.h"

namespace pylstm::cpu {

// How many of one thread's pieces have been begun, in each of several sets.
class Claims {
 public:
  // The number of the next piece of a set.
  PYLSTM_FN int64_t next(int64_t set) {
    return begun_[set].fetch_add(1, std::memory_order_relaxed);
  }
  // To be called between two barriers that all threads that take pieces of the set pass.
  PYLSTM_FN void reset(int64_t set) { begun_[set].store(0, std::memory_order_relaxed); }

 private:
  alignas(64) std::atomic<int64_t> begun_[8] = {};  // 64 bytes: no two threads share a line
};

}  // namespace pylstm::cpu
