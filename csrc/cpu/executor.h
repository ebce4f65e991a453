// Where the CPU kernels get their threads from: the framework's own pool, never a second one.
#pragma once

#include <functional>

namespace pylstm::cpu {

class Executor {
 public:
  virtual ~Executor() = default;
  // Threads that may work at once, the caller included; at least 1.
  virtual int concurrency() const = 0;
  // How many other threads, below concurrency(), would start a task without being woken.
  virtual int awake() { return 0; }
  // Runs `task` on a pool thread at some later time, or never before the caller needs it: the
  // kernels make progress without it and tolerate late starts.
  virtual void schedule(std::function<void()> task) = 0;
};

}  // namespace pylstm::cpu
