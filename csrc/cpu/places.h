// Where a team's threads run. A thread that was woken may be put on the core of the one who woke
// it, and stay there for milliseconds beside an idle core: the call then takes as long as on one
// thread.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstdint>

namespace pylstm::cpu {

class Places {
 public:
  // Each thread of the team calls it, the one who wakes the others first: takes the core that it is
  // on, or moves to one that none has taken, if it may run there. Nothing is done about processors
  // beyond the first `CPU_SETSIZE`. To Linux a thread that has moved is one whose affinity was set:
  // processors that its cpuset is given later are not among those that it may run on.
  void settle();

 private:
  // Whether the core was free, or is one about which nothing is done.
  bool takes(int core);
  std::atomic<uint64_t>& word(int core) { return taken_[core / 64]; }

  std::atomic<uint64_t> taken_[CPU_SETSIZE / 64] = {};
};

}  // namespace pylstm::cpu
