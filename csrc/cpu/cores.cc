#include "cpu/cores.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>

namespace pylstm::cpu {
namespace {

struct Calls {
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<int> cores{0};  // of those that run
  double microseconds = 0;    // of one thread, for those that run or wait
};

// Never destroyed: a thread may still compute, or wait, while the process ends.
Calls& calls = *new Calls;

// Calls that other threads were in when a process forked do not run in the child.
const int kForgetCallsInForkedChild = pthread_atfork(nullptr, nullptr, [] { new (&calls) Calls; });

}  // namespace

CoreShare::CoreShare(int concurrency, int wanted, bool waits, double microseconds)
    : concurrency_(concurrency), wanted_(wanted), microseconds_(microseconds) {
  constexpr double kPatience = 4;
  std::unique_lock<std::mutex> lock(calls.mutex);
  const bool soon = calls.microseconds <= kPatience * microseconds;
  calls.microseconds += microseconds;
  const auto free = [&] { return concurrency_ - calls.cores; };
  if (waits && soon && wanted > 1) {
    calls.changed.wait(lock, [&] { return 2 * free() >= wanted_; });
  }
  cores_ = std::clamp(free(), 1, wanted_);
  calls.cores += cores_;
}

CoreShare::~CoreShare() {
  {
    const std::lock_guard<std::mutex> lock(calls.mutex);
    calls.cores -= cores_;
    calls.microseconds -= microseconds_;
  }
  calls.changed.notify_all();
}

int CoreShare::available() const {
  return std::clamp(concurrency_ - (calls.cores - cores_), 1, wanted_);
}

void CoreShare::settle(int cores) {
  {
    const std::lock_guard<std::mutex> lock(calls.mutex);
    calls.cores += cores - cores_;
    cores_ = cores;
  }
  calls.changed.notify_all();
}

}  // namespace pylstm::cpu
