#include "cpu/team.h"

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "cpu/cores.h"
#include "cpu/executor.h"
#include "cpu/places.h"
#include "cpu/spin.h"

namespace pylstm::cpu {
namespace {

struct alignas(64) Barrier {
  std::atomic<int> arrived{0};
  std::atomic<unsigned> generation{0};

  void wait(int members) {
    const unsigned current = generation.load(std::memory_order_relaxed);
    if (arrived.fetch_add(1, std::memory_order_acq_rel) == members - 1) {
      arrived.store(0, std::memory_order_relaxed);
      generation.store(current + 1, std::memory_order_release);
    } else {
      spin_until([&] { return generation.load(std::memory_order_acquire) != current; });
    }
  }
};

// Gradients that vanish over many steps, and states that decay, become denormal numbers, with which
// arithmetic takes many times as long: they count as zero, as in TensorFlow and XLA. All threads of
// a call compute alike, whatever mode each came in.
class ArithmeticMode {
 public:
  ArithmeticMode() : before_(_mm_getcsr()) { _mm_setcsr(kNoExceptions | kFlush); }
  ArithmeticMode(const ArithmeticMode&) = delete;
  ~ArithmeticMode() { _mm_setcsr(before_); }

 private:
  static constexpr unsigned kNoExceptions = 0x1f80;  // and to the nearest, as a process begins
  static constexpr unsigned kFlush = 0x8040;         // results, and what is read
  const unsigned before_;
};

class ClosedTeam final : public Team {
 public:
  ClosedTeam(int wanted, TeamBody body, void* context)
      : body_(body), context_(context), barriers_(wanted + 1) {
    places_.settle();
  }

  int size() const override { return size_; }
  void barrier() override {
    if (size_ > 1) barriers_.back().wait(size_);
  }
  void barrier(int group, int members) override {
    if (members > 1) barriers_[group].wait(members);
  }

  // On a pool thread; or on the leader's, where the pool's queue is full and runs a task at once.
  void join() {
    if (std::this_thread::get_id() == leader_) return;  // it would wait for itself
    int joined = joined_.load(std::memory_order_relaxed);
    do {
      if (joined < 0) return;  // closed
    } while (!joined_.compare_exchange_weak(joined, joined + 1, std::memory_order_acq_rel));
    places_.settle();
    spin_until([&] { return joined_.load(std::memory_order_acquire) < 0; });
    if (joined >= size_) return;  // too many
    work(joined);
    running_.fetch_sub(1, std::memory_order_release);
  }

  // On the caller's thread. `busy`: how many threads have work all the time.
  void lead(CoreShare* share, int busy, std::chrono::microseconds patience) {
    const auto end = std::chrono::steady_clock::now() + patience;
    spin_until([&] {
      return joined_.load(std::memory_order_relaxed) >= share->available() ||
             std::chrono::steady_clock::now() >= end;
    });
    // The size must be visible before the closing: members cannot read joined_ any more.
    int joined = joined_.load(std::memory_order_relaxed);
    do {
      size_ = std::min(joined, share->available());
      running_.store(size_ - 1, std::memory_order_relaxed);
    } while (!joined_.compare_exchange_weak(joined, -1, std::memory_order_acq_rel));
    share->settle(std::min(size_, busy));
    work(0);
    spin_until([&] { return running_.load(std::memory_order_acquire) == 0; });
  }

 private:
  void work(int rank) {
    const ArithmeticMode mode;
    body_(context_, *this, rank);
  }

  const TeamBody body_;
  void* const context_;
  const std::thread::id leader_ = std::this_thread::get_id();
  std::vector<Barrier> barriers_;
  Places places_;
  int size_ = 1;
  std::atomic<int> joined_{1};  // the next rank; negative once the team is closed
  std::atomic<int> running_{0};
};

}  // namespace

void run_team(Executor& executor, const TeamPlan& plan, TeamBody body, void* context) {
  // How long to wait for the threads to start: a fraction of what the call will take.
  constexpr double kFraction = 0.125;
  const std::chrono::microseconds patience(
      static_cast<int>(std::clamp(plan.microseconds * kFraction, 5.0, 2000.0)));
  const bool wakes = plan.wakes || plan.threads == 1;
  const int wanted = wakes ? plan.threads : std::min(plan.threads, 1 + executor.awake());
  CoreShare share(executor.concurrency(), wanted, plan.waits, plan.microseconds);
  const int threads = share.available();
  // Shared with the pool: a task may start after the call has returned.
  const auto team = std::make_shared<ClosedTeam>(threads, body, context);
  try {
    for (int i = 1; i < threads; ++i) executor.schedule([team] { team->join(); });
  } catch (...) {
    // Those that were scheduled wait for the team to close; it does without the others.
  }
  team->lead(&share, plan.busy, patience);
}

}  // namespace pylstm::cpu
