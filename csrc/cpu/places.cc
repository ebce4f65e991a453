#include "cpu/places.h"

namespace pylstm::cpu {

void Places::settle() {
  for (;;) {
    const int core = sched_getcpu();
    if (core < 0 || core >= CPU_SETSIZE) return;
    const uint64_t bit = uint64_t{1} << core % 64;
    if (!(word(core).fetch_or(bit, std::memory_order_relaxed) & bit)) return;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
    cpu_set_t free = allowed;
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (word(i).load(std::memory_order_relaxed) >> i % 64 & 1) CPU_CLR(i, &free);
    }
    // Fails where none is left. Being forbidden its core moves a thread at once.
    if (sched_setaffinity(0, sizeof(free), &free) != 0) return;
    sched_setaffinity(0, sizeof(allowed), &allowed);
  }
}

}  // namespace pylstm::cpu
