#include "cpu/huge_pages.h"

#include <sys/mman.h>

#include "cpu/split.h"

namespace pylstm::cpu {

void prefer_huge_pages(void* memory, int64_t bytes) {
  constexpr int64_t kEnough = 4 << 20;
  constexpr uintptr_t kPage = kPageBytes;
  if (!memory || bytes < kEnough) return;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + kPage - 1) / kPage * kPage;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / kPage * kPage;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

}  // namespace pylstm::cpu
