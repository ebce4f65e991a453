// Threads for callers that bring none: the NumPy binding. TensorFlow's op uses TensorFlow's own.
#pragma once

#include <functional>

#include "cpu/executor.h"

namespace pylstm {

// A share of the process-wide pool, for one call. The pool's threads start when first needed, sleep
// when idle, and start anew in a forked child.
class PoolExecutor final : public cpu::Executor {
 public:
  // Throws std::invalid_argument unless 0 <= threads <= kMaxThreads; 0 means one for each core
  // that the caller's thread may use.
  explicit PoolExecutor(int threads);

  int awake() override;
  void schedule(std::function<void()> task) override;

  static constexpr int kMaxThreads = 1024;

 private:
  int threads() const override { return threads_; }

  int threads_;
};

// Joins the pool's threads. For the end of the process: calls after it run on their caller's thread
// alone.
void stop_pool();

}  // namespace pylstm
