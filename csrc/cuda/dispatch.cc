#include "cuda/dispatch.h"

#include <algorithm>
#include <iterator>

namespace pylstm::cuda {
namespace {

constexpr int kMaxTilesPerGroup = 8;  // beyond, large products per step use the device better

// How many depths a warp holds (8 registers of weights each) and how many warps share its units,
// the least registers first.
struct Division {
  int depth_steps;
  int splits;
};
constexpr Division kDivisions[] = {{8, 2}, {16, 2}, {16, 4}};
// The first takes at most kMaxClusterBlocks.
constexpr const Division* kClusterDivision = kDivisions;

// Why no resident kernel takes the problem, or null.
const char* resident_obstacle(const Problem& problem, const DeviceProperties& device) {
  if (device.compute_capability < 80) return "needs compute capability 8.0";
  if (problem.dtype == DType::kFloat64) return "float64 has no tensor-core path";
  if (problem.dtype == DType::kFloat32 && !problem.allow_tf32) {
    return "true float32 has no tensor-core path (TF32 is off)";
  }
  return nullptr;
}

int tensor_core_depth(DType dtype) { return dtype == DType::kFloat32 ? 8 : 16; }

ResidentPlan make_plan(const Problem& problem, int depth_steps, int shared_steps, int splits,
                       int warps) {
  ResidentPlan plan = {};
  plan.depth_steps = depth_steps;
  plan.shared_steps = shared_steps;
  plan.splits = splits;
  plan.warps = warps;
  plan.slices = static_cast<int>(ceil_div(problem.units, plan.block_units()));
  plan.forward_operands = problem.has_recurrent_dropout ? kGates : 1;
  plan.element_bytes = static_cast<int>(element_bytes(problem.dtype));
  plan.operand_pitch = (depth_steps + shared_steps) * splits * tensor_core_depth(problem.dtype) +
                       16 / plan.element_bytes;
  return plan;
}

// Half tiles spread a small batch over more multiprocessors.
void divide_rows(ResidentPlan& plan, const Problem& problem, int groups_that_fit) {
  plan.rows = ceil_div(problem.batch, 8) <= groups_that_fit ? 8 : 16;
  plan.tiles = static_cast<int>(ceil_div(problem.batch, plan.rows));
  plan.groups = plan.tiles;
}

// A wide block's threads have too few registers for any other.
bool has_default_cell(const Problem& problem) {
  return problem.has_default_activations() && !problem.has_recurrent_dropout;
}

bool fits(const ResidentPlan& plan, int buffers, const DeviceProperties& device) {
  return plan.shared_bytes(/*backward=*/true, buffers) <= device.shared_bytes_per_block;
}

}  // namespace

const char* kernel_name(Kernel kernel) {
  switch (kernel) {
    case Kernel::kStep:
      return "step";
    case Kernel::kBlock:
      return "block";
    case Kernel::kCluster:
      return "cluster";
    case Kernel::kGrid:
      return "grid";
  }
  return "";
}

std::string reason(const Choice& choice) {
  const std::string resident = "the recurrent weights fit into the registers ";
  const std::string slices = std::to_string(choice.plan.slices);
  switch (choice.kernel) {
    case Kernel::kStep:
      return std::string("one product per step: ") + choice.obstacle;
    case Kernel::kBlock:
      return resident + (choice.plan.shared_steps > 0 ? "and shared memory " : "") + "of one block";
    case Kernel::kCluster:
      return resident + "of a cluster of " + slices + " blocks";
    case Kernel::kGrid:
      return resident + "of " + slices + " multiprocessors";
  }
  return "";
}

Choice choose_kernel(const Problem& problem, const DeviceProperties& device) {
  // With large tiles a step's result, (B, 4H) or (B, H), should still occupy every multiprocessor.
  const auto wants_small_tiles = [&](int64_t columns) {
    return ceil_div(problem.batch, 64) * ceil_div(columns, 64) < device.multiprocessors;
  };
  const auto because = [&](const char* obstacle) -> Choice {
    return {Kernel::kStep,
            wants_small_tiles(kGates * problem.units),
            wants_small_tiles(problem.units),
            {},
            obstacle};
  };

  if (const char* obstacle = resident_obstacle(problem, device)) return because(obstacle);
  if (problem.batch == 0 || problem.units == 0) return because("nothing to compute");

  const int depth = tensor_core_depth(problem.dtype);
  const int unit_groups = static_cast<int>(ceil_div(problem.units, ResidentPlan::kUnitsPerWarp));
  const bool wide = unit_groups > ResidentPlan::kMaxWarps;
  if (!wide || (unit_groups <= ResidentPlan::kWideBlockWarps && has_default_cell(problem))) {
    const int steps = static_cast<int>(ceil_div(problem.units, depth));
    const int in_registers = wide || steps <= 4 ? 4 : 8;
    ResidentPlan plan =
        make_plan(problem, in_registers, std::max(steps - in_registers, 0), 1, unit_groups);
    divide_rows(plan, problem, device.multiprocessors);
    if (fits(plan, 2, device)) return {Kernel::kBlock, false, false, plan, nullptr};
  }

  const auto division =
      std::find_if(std::begin(kDivisions), std::end(kDivisions), [&](const Division& candidate) {
        return problem.units <= candidate.depth_steps * candidate.splits * depth;
      });
  if (division == std::end(kDivisions)) {
    return because("the recurrent weights do not fit into registers");
  }
  ResidentPlan plan =
      make_plan(problem, division->depth_steps, 0, division->splits, ResidentPlan::kMaxWarps);

  if (division == kClusterDivision && device.clusters[plan.slices] > 0) {
    divide_rows(plan, problem, device.clusters[plan.slices]);
    if (fits(plan, 2, device)) return {Kernel::kCluster, false, false, plan, nullptr};
  }

  if (!device.cooperative) return because("the device has no cooperative launches");
  const int groups_that_fit = device.multiprocessors / plan.slices;
  if (groups_that_fit == 0) return because("too few multiprocessors for the recurrent weights");
  divide_rows(plan, problem, groups_that_fit);
  plan.groups = std::min(plan.tiles, groups_that_fit);
  if (plan.tiles_per_group() > kMaxTilesPerGroup) return because("a large batch fills the device");
  if (!fits(plan, 1, device)) return because("too little shared memory");
  return {Kernel::kGrid, false, false, plan, nullptr};
}

}  // namespace pylstm::cuda
