// The threads of one call. They may wait for each other, so a team is closed before it works: it
// holds those threads that have started by then, and never waits for one that has not.
#pragma once

#include <cstdint>

namespace pylstm::cpu {

class Executor;

class Team {
 public:
  virtual int size() const = 0;
  // Waits until all `members` threads that pass the same `group` have arrived; group < size().
  virtual void barrier(int group, int members) = 0;
  // Waits for the whole team.
  virtual void barrier() = 0;

 protected:
  ~Team() = default;
};

using TeamBody = void (*)(void* context, Team& team, int rank);

// Runs `body` on at most `wanted` threads, the caller (rank 0) included, and returns when all have
// ended; on fewer where other calls run at the same time. Without `wakes` the others are those that
// are awake. `microseconds` is about what one thread would take.
void run_team(Executor& executor, int wanted, bool wakes, double microseconds, TeamBody body,
              void* context);

}  // namespace pylstm::cpu
