#include "cpu/quota.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <fstream>

namespace pylstm::cpu {
namespace {

// The limit that one group states.
double cores_of(const std::string& group) {
  const auto ratio = [](std::istream& quota_file, std::istream& period_file) {
    double quota = 0, period = 0;
    // "max" in version 2 is no number, and version 1 says -1.
    const bool limited = quota_file >> quota && period_file >> period && quota > 0 && period > 0;
    return limited ? quota / period : INT_MAX;
  };
  std::ifstream max(group + "/cpu.max");  // both, in version 2
  std::ifstream quota(group + "/cpu.cfs_quota_us"), period(group + "/cpu.cfs_period_us");
  return std::min(ratio(max, max), ratio(quota, period));
}

}  // namespace

int quota_cores(const std::string& root) {
  double cores = INT_MAX;
  std::ifstream own(root + "/proc/self/cgroup");
  std::string number, controllers, path;
  while (std::getline(own, number, ':') && std::getline(own, controllers, ':') &&
         std::getline(own, path)) {
    const bool is_v2 = controllers.empty();
    const bool is_v1 = ("," + controllers + ",").find(",cpu,") != std::string::npos;
    if (!is_v1 && !is_v2) continue;
    const std::string mount = root + "/sys/fs/cgroup" + (is_v1 ? "/cpu" : "");
    // A group may not use more than the ones that it is in. Those outside a container are not seen,
    // and the container's own is then at the mount point.
    for (;; path.resize(path.rfind('/'))) {
      cores = std::min(cores, cores_of(mount + path));
      if (path.find('/') == std::string::npos) break;
    }
  }
  return static_cast<int>(std::ceil(std::max(1.0, cores)));
}

}  // namespace pylstm::cpu
