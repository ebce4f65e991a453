#include "cpu/handoff.h"

#include <immintrin.h>

#include "cpu/spin.h"

namespace pylstm::cpu {

int Handoff::asker() const { return asker_.load(std::memory_order_acquire); }

void Handoff::answer(Handoff* all, int64_t step, int64_t rows) {
  Handoff& asker = all[this->asker()];
  asker_.store(kNobody, std::memory_order_relaxed);
  asker.rows_ = rows;
  asker.answer_.store(step, std::memory_order_release);
}

void Handoff::close(Handoff* all) {
  offer(0);
  const int asker = asker_.exchange(kClosed, std::memory_order_acq_rel);
  if (asker >= 0) all[asker].answer_.store(kNothing, std::memory_order_release);
}

int64_t Handoff::take(Handoff* all, int threads, int rank, int64_t fewest, int64_t* rows) {
  for (;;) {
    int giver = -1;
    for (int64_t i = 0, most = fewest; i < threads; ++i) {
      const int64_t offered = all[i].offered_.load(std::memory_order_relaxed);
      if (offered < most) continue;
      most = offered;
      giver = static_cast<int>(i);
    }
    if (giver < 0) return kNothing;
    Handoff& own = all[rank];
    own.answer_.store(kWaiting, std::memory_order_relaxed);
    int nobody = kNobody;
    if (!all[giver].asker_.compare_exchange_strong(nobody, rank, std::memory_order_acq_rel)) {
      _mm_pause();  // another has asked
      continue;
    }
    spin_until([&] { return own.answer_.load(std::memory_order_acquire) != kWaiting; });
    const int64_t step = own.answer_.load(std::memory_order_relaxed);
    *rows = own.rows_;
    if (step != kNothing) return step;
  }
}

}  // namespace pylstm::cpu
