#include "cpu/places.h"

namespace pylstm::cpu {

void Places::settle() {
  if (takes(sched_getcpu())) return;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  cpu_set_t free = allowed;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (word(i).load(std::memory_order_relaxed) >> i % 64 & 1) CPU_CLR(i, &free);
  }
  // Fails where none is left. Being forbidden its core moves a thread at once; a sandbox may only
  // pretend to, so there is no second attempt.
  if (sched_setaffinity(0, sizeof(free), &free) != 0) return;
  takes(sched_getcpu());
  cpu_set_t now;
  const bool is_ours = sched_getaffinity(0, sizeof(now), &now) == 0 && CPU_EQUAL(&now, &free);
  if (is_ours) sched_setaffinity(0, sizeof(allowed), &allowed);  // else another has set it since
}

bool Places::takes(int core) {
  if (core < 0 || core >= CPU_SETSIZE) return true;
  const uint64_t bit = uint64_t{1} << core % 64;
  return !(word(core).fetch_or(bit, std::memory_order_relaxed) & bit);
}

}  // namespace pylstm::cpu
