// How threads that share no barrier even out their work: one that has done its rows asks another,
// whose core was slower, for half of those that it still has.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/macros.h"

namespace pylstm::cpu {

// One for each thread; `all` are those of the team.
class Handoff {
 public:
  static constexpr int64_t kNothing = -1;

  // A thread that works calls these. From now on others can ask it.
  PYLSTM_FN void open() { asker_.store(kNobody, std::memory_order_release); }
  // How many steps it still has to do, of rows that it can hand over.
  PYLSTM_FN void offer(int64_t steps) { offered_.store(steps, std::memory_order_relaxed); }
  PYLSTM_FN bool asked() const { return asker_.load(std::memory_order_relaxed) >= 0; }
  // Who has asked; it sees what is written before the answer.
  int asker() const;
  // Hands over so many rows, from `step` on.
  void answer(Handoff* all, int64_t step, int64_t rows);
  // From now on nobody can ask.
  void close(Handoff* all);

  // A thread that has closed calls this: it asks the one of `threads` with the most steps to do, at
  // least `fewest`. Returns the step from which on it has `*rows` rows to do, or kNothing.
  static int64_t take(Handoff* all, int threads, int rank, int64_t fewest, int64_t* rows);

 private:
  static constexpr int kNobody = -1, kClosed = -2;
  static constexpr int64_t kWaiting = -2;

  alignas(64) std::atomic<int64_t> offered_{0};
  std::atomic<int> asker_{kClosed};
  std::atomic<int64_t> answer_{kNothing};
  int64_t rows_ = 0;
};

}  // namespace pylstm::cpu
