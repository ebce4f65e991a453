#include "bindings/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace pylstm {
namespace {

using Clock = std::chrono::steady_clock;

// How long a worker looks for more work before it sleeps. Longer than any call that is too short to
// wake a worker: otherwise the workers would fall asleep during such a call, and the next such call
// would have none either.
constexpr std::chrono::microseconds kPatience{200};

class Pool {
 public:
  // Queues `task`; one more thread starts for it where none is idle and there are not `workers`.
  void schedule(std::function<void()> task, int workers) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (stopped_) return;
      const int idle = sleeping_ + looking_.load(std::memory_order_relaxed);
      if (static_cast<int>(tasks_.size()) >= idle) start_worker(workers);
      if (workers_.empty()) return;  // lest the queue grow with each call
      tasks_.push_back(std::move(task));
      waiting_.fetch_add(1, std::memory_order_relaxed);
    }
    wake_.notify_one();
  }

  // Threads that look for work. Where calls follow each other closely and there is none, one is
  // woken for the next call.
  int awake(int workers) {
    const Clock::time_point now = Clock::now();
    const Clock::time_point last = last_asked_.exchange(now, std::memory_order_relaxed);
    const int looking = looking_.load(std::memory_order_relaxed);
    if (looking == 0 && now - last < kPatience) schedule([] {}, workers);
    return looking;
  }

  void stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopped_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

 private:
  void start_worker(int most) {
    try {
      if (static_cast<int>(workers_.size()) < most) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      // The system refuses more threads: the kernels get by with fewer.
    }
  }

  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      ++sleeping_;
      wake_.wait(lock, [this] { return stopped_ || !tasks_.empty(); });
      --sleeping_;
      if (stopped_) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      waiting_.fetch_sub(1, std::memory_order_relaxed);
      lock.unlock();
      task();
      await_briefly();
      lock.lock();
    }
  }

  // Calls often follow each other closely, and waking a thread costs tens of microseconds.
  void await_briefly() {
    looking_.fetch_add(1, std::memory_order_relaxed);
    const auto end = Clock::now() + kPatience;
    while (waiting_.load(std::memory_order_relaxed) == 0 && Clock::now() < end) {
      std::this_thread::yield();  // to those who have work
    }
    looking_.fetch_sub(1, std::memory_order_relaxed);
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> workers_;
  int sleeping_ = 0;
  std::atomic<int> waiting_{0};  // size of tasks_, to be read without the mutex
  std::atomic<int> looking_{0};  // threads in await_briefly
  std::atomic<Clock::time_point> last_asked_{};
  bool stopped_ = false;
};

std::atomic<Pool*> the_pool{nullptr};

// Never destroyed: a thread of the caller may still compute while the process ends, and in a forked
// child the pool's threads are gone without having been joined.
Pool& pool() {
  Pool* current = the_pool.load();
  if (current == nullptr) {
    auto fresh = std::make_unique<Pool>();
    if (the_pool.compare_exchange_strong(current, fresh.get())) current = fresh.release();
  }
  return *current;
}

const int kForgetPoolInForkedChild =
    pthread_atfork(nullptr, nullptr, [] { the_pool.store(nullptr); });

// Asked at each call: one thread may be held to fewer cores than another.
int usable_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

PoolExecutor::PoolExecutor(int threads) : threads_(threads == 0 ? usable_cores() : threads) {
  if (threads < 0 || threads > kMaxThreads) {
    throw std::invalid_argument("pylstm: threads is " + std::to_string(threads) +
                                ", expected 0 (all cores) to " + std::to_string(kMaxThreads));
  }
}

void PoolExecutor::schedule(std::function<void()> task) {
  pool().schedule(std::move(task), concurrency() - 1);
}

int PoolExecutor::awake() {
  return concurrency() == 1 ? 0 : std::min(pool().awake(concurrency() - 1), concurrency() - 1);
}

void stop_pool() {
  if (Pool* current = the_pool.load()) current->stop();
}

}  // namespace pylstm
