#pragma once

#include <cstdint>

namespace pylstm::cpu {

// Asks for huge pages where a large buffer is about to be written for the first time: frameworks
// map large buffers anew for each call, and on small pages the faults take longer than the kernel.
// Only a hint.
void prefer_huge_pages(void* memory, int64_t bytes);

}  // namespace pylstm::cpu
