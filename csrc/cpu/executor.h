// Where the CPU kernels get their threads from: the framework's own pool, never a second one.
#pragma once

#include <algorithm>
#include <functional>

#include "cpu/quota.h"

namespace pylstm::cpu {

class Executor {
 public:
  virtual ~Executor() = default;
  // Threads that may work at once, the caller included; at least 1.
  int concurrency() const {
    static const int quota = quota_cores();
    return std::clamp(threads(), 1, quota);
  }
  // How many other threads, below concurrency(), would start a task without being woken.
  virtual int awake() { return 0; }
  // Runs `task` on a pool thread at some later time, even after the call that scheduled it: the
  // kernels make progress without it and tolerate late starts.
  virtual void schedule(std::function<void()> task) = 0;

 protected:
  // Of the pool, the caller included.
  virtual int threads() const = 0;
};

}  // namespace pylstm::cpu
