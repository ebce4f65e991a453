// How a call is divided among threads: groups of rows, which never wait for each other, and within
// a group ranges of units, which exchange h after every step.
#pragma once

#include <cstdint>

#include "core/problem.h"
#include "cpu/team.h"

namespace pylstm::cpu {

struct Split {
  int row_groups;
  int unit_groups;

  int threads() const { return row_groups * unit_groups; }
};

// Threads that shorten this call, at most `available`, if they are awake.
int useful_threads(const Problem& problem, int available);

// `tile_rows` rows share one reading of the weights; units are divided in vectors of `width`.
Split choose_split(const Problem& problem, int threads, int tile_rows, int width);

// The team of `threads` that makes this split.
TeamPlan plan_team(const Problem& problem, int threads, int tile_rows, int width);

// A small page of the processor. One is left free between what two threads write: a prefetcher
// stops at its end.
constexpr int64_t kPageBytes = 4096;

// How many bytes of weights stay in a core's own cache: three quarters of its second level.
int64_t core_cache_bytes();

// In how many parts of the batch the gradients of weights are summed, to be added up at the end.
// The same for any number of threads, so that results do not depend on it. A thread whose rows are
// a part reads nothing that another wrote.
constexpr int kMaxParts = 2;
int sum_parts(const Problem& problem, int tile_rows);

struct RowPlace {
  int32_t group;
  int32_t part;  // of the sums
  int64_t slot;  // where its states lie: those of a group follow each other
};

// The most groups of rows that `threads` may form.
int64_t most_groups(const Problem& problem, int threads, int tile_rows);

// Slots for all rows, in as many groups as `threads` may form, with a page between groups.
int64_t slots(const Problem& problem, int threads, int tile_rows, int64_t slot_bytes);

// places[b] for each row of the batch, so that at every step each group has about the same number
// of rows left: rows are dealt in the order of their active steps. Parts of the sums likewise.
// Does not allocate; `scratch` is [2][B].
void deal_rows(const Problem& problem, const uint8_t* mask, int groups, int parts,
               int64_t slot_bytes, RowPlace* places, int64_t* scratch);

}  // namespace pylstm::cpu
