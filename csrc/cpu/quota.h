#pragma once

#include <string>

namespace pylstm::cpu {

// Cores' worth of time that Linux' control groups (versions 1 and 2) grant this process, rounded
// up: the limit of a container. INT_MAX without one. More threads would use the time up early in
// each period and then all stand still. `root` is before each path that is read, for tests.
int quota_cores(const std::string& root = "");

}  // namespace pylstm::cpu
