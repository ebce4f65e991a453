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

struct TeamPlan {
  int threads;          // wanted, the caller included
  int busy;             // how many of them have work all the time
  bool wakes;           // threads that sleep: else the others are those that are awake
  bool waits;           // for its turn where other calls have the cores, rather than begin on fewer
  double microseconds;  // about what one thread would take
};

// Runs `body` on at most `plan.threads`, the caller being rank 0, and returns when all have ended;
// on fewer, or later, where other calls run at the same time.
void run_team(Executor& executor, const TeamPlan& plan, TeamBody body, void* context);

}  // namespace pylstm::cpu
