#include "cpu/split.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace pylstm::cpu {

namespace {

double weight_bytes(const Problem& p) {
  return double(p.kernel_elements() + p.recurrent_kernel_elements()) * compute_bytes(p.dtype);
}

// Microseconds of work that make another thread worth it, where it sleeps and where it is awake.
constexpr double kWaking = 20, kSharing = 10;

// Roughly what one core takes: for the arithmetic, or to read weights that its cache does not hold.
double microseconds(const Problem& p) {
  constexpr double kOperations = 1e5, kBytes = 5e4;  // a microsecond
  constexpr double kCacheBytes = 1 << 20;
  const double operations = 2.0 * p.batch * p.time * kGates * p.units * (p.features + p.units);
  const double read = weight_bytes(p) > kCacheBytes ? p.time * weight_bytes(p) : 0.0;
  return std::max(operations / kOperations, read / kBytes);
}

bool wakes_threads(const Problem& p) { return microseconds(p) >= 2 * kWaking; }

double recurrent_bytes(const Problem& p) {
  return double(p.recurrent_kernel_elements()) * compute_bytes(p.dtype);
}

int64_t slots_of_page(int64_t slot_bytes) {
  return ceil_div(kPageBytes, std::max<int64_t>(1, slot_bytes));
}

}  // namespace

int64_t core_cache_bytes() {
  constexpr long kUsual = 2 << 20;  // where the system does not tell
  static const long second_level = sysconf(_SC_LEVEL2_CACHE_SIZE);
  return (second_level > 0 ? second_level : kUsual) / 4 * 3;
}

int useful_threads(const Problem& problem, int available) {
  const double limit = std::max(1, available);
  const double time = microseconds(problem);
  const double worth = time / (wakes_threads(problem) ? kWaking : kSharing);
  return static_cast<int>(std::clamp(worth, 1.0, limit));
}

Split choose_split(const Problem& problem, int threads, int tile_rows, int width) {
  // An R larger than a core's cache is read again at every step. For groups of few rows that takes
  // longer than the arithmetic, so they do better with parts of R that stay in their caches; with
  // an R larger than all caches, so does any group.
  constexpr double kCachesBytes = 4 << 20;
  const auto cache_bytes = static_cast<double>(core_cache_bytes());
  const double recurrent_bytes = cpu::recurrent_bytes(problem);
  const int64_t tiles = ceil_div(problem.batch, tile_rows);
  const int64_t panels = ceil_div(problem.units, width);
  const auto at_most = [threads](int64_t limit, int divisor) {
    return static_cast<int>(std::clamp<int64_t>(threads / divisor, 1, std::max<int64_t>(1, limit)));
  };
  const int64_t group_rows = ceil_div(problem.batch, at_most(tiles, 1));
  const bool few_rows = group_rows <= 2 * tile_rows;
  if (recurrent_bytes >= (few_rows ? cache_bytes : kCachesBytes)) {
    const int parts = at_most(panels, 1);
    const double fitting = std::min(std::ceil(recurrent_bytes / cache_bytes), double(parts));
    const int row_groups = at_most(tiles, static_cast<int>(fitting));
    return {row_groups, at_most(panels, row_groups)};
  }
  // Fewer units are computed sooner than threads wait for each other.
  constexpr int64_t kFewestUnits = 32;
  const auto unit_groups = [&](int row_groups) {
    return at_most(std::min(panels, problem.units / kFewestUnits), row_groups);
  };
  Split best{at_most(tiles, 1), 1};
  if (best.row_groups == threads) return best;
  // Fewer groups of rows may leave fewer threads without work.
  int64_t least = std::numeric_limits<int64_t>::max();
  for (int row_groups = best.row_groups; row_groups > 0; --row_groups) {
    const int ranges = unit_groups(row_groups);
    const int64_t work = ceil_div(problem.batch, row_groups) * ceil_div(panels, ranges);
    if (work >= least) continue;
    least = work;
    best = {row_groups, ranges};
  }
  return best;
}

TeamPlan plan_team(const Problem& problem, int threads, int tile_rows, int width) {
  // To wait costs a waking. Threads that share rows wait for each other at every step, and two
  // calls do better on one core each, unless weights are larger than a core's cache.
  constexpr double kTurn = 200;
  const Split split = choose_split(problem, threads, tile_rows, width);
  const double time = microseconds(problem);
  const bool shares_well = split.unit_groups > 1 && recurrent_bytes(problem) < core_cache_bytes();
  return {threads, split.threads(), wakes_threads(problem), time >= kTurn && !shares_well, time};
}

int sum_parts(const Problem& problem, int tile_rows) {
  // With larger weights the arithmetic hides what is read, and two sums leave no room in the cache.
  constexpr double kLargest = 512 << 10;
  return problem.batch > tile_rows && weight_bytes(problem) <= kLargest ? kMaxParts : 1;
}

int64_t most_groups(const Problem& problem, int threads, int tile_rows) {
  return std::clamp<int64_t>(ceil_div(problem.batch, tile_rows), 1, std::max(1, threads));
}

int64_t slots(const Problem& problem, int threads, int tile_rows, int64_t slot_bytes) {
  const int64_t groups = most_groups(problem, threads, tile_rows);
  return problem.batch + groups * (1 + slots_of_page(slot_bytes));
}

void deal_rows(const Problem& problem, const uint8_t* mask, int groups, int parts,
               int64_t slot_bytes, RowPlace* places, int64_t* scratch) {
  const int64_t batch = problem.batch;
  const int64_t stride = ceil_div(batch, groups) + slots_of_page(slot_bytes);  // of the groups
  const auto place = [&](int64_t row, int64_t group, int64_t part, int64_t i) {
    places[row] = {static_cast<int32_t>(group), static_cast<int32_t>(part), group * stride + i};
  };
  if (!mask) {
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t group = b * groups / batch;
      place(b, group, b * parts / batch, b - ceil_div(group * batch, groups));
    }
    return;
  }
  int64_t *steps = scratch, *order = scratch + batch;
  for (int64_t b = 0; b < batch; ++b) {
    const uint8_t* row = mask + b * problem.time;
    steps[b] = problem.time - std::count(row, row + problem.time, 0);
  }
  std::iota(order, order + batch, int64_t{0});
  std::sort(order, order + batch, [&](int64_t a, int64_t b) {
    return steps[a] != steps[b] ? steps[a] > steps[b] : a < b;
  });
  const auto turn = [](int64_t i, int64_t n) {  // 0 1 2 2 1 0 0 1 2 ...
    const int64_t at = i % (2 * n);
    return at < n ? at : 2 * n - 1 - at;
  };
  for (int64_t i = 0; i < batch; ++i) {
    place(order[i], turn(i, groups), turn(i, parts), i / groups);
  }
}

}  // namespace pylstm::cpu
