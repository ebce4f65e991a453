// Scratch memory of one call. The system maps, clears and unmaps a large block at each call, which
// takes as long as a small call's arithmetic: so one block is kept for the next call.
#pragma once

#include <atomic>
#include <memory>

#include "bindings/aligned_memory.h"

namespace pylstm {

// Calls at the same time have a block each, and the last to end keeps its own. A block is given up
// when a call wants more, or many in turn want less than a quarter of it: layers of several sizes
// take turns.
class KeptMemory {
 public:
  explicit KeptMemory(int64_t bytes) {
    block_.reset(kept().exchange(nullptr));
    if (block_) {
      block_->too_large = bytes < block_->bytes / 4 ? block_->too_large + 1 : 0;
      if (block_->too_large == kPatience) {
        block_.reset();
      } else if (bytes < kWorthKeeping) {
        keep();  // for a larger call
      } else if (bytes <= block_->bytes) {
        return;
      }
    }
    block_.reset();
    block_ = std::make_unique<Block>(Block{allocate_aligned(bytes), bytes, 0});
  }
  KeptMemory(const KeptMemory&) = delete;
  ~KeptMemory() {
    if (block_->bytes >= kWorthKeeping) keep();
  }

  void* get() const { return block_->memory.get(); }

 private:
  struct Block {
    AlignedMemory memory;
    int64_t bytes;
    int too_large;  // for so many calls in turn
  };
  static constexpr int64_t kWorthKeeping = 1 << 20;
  static constexpr int kPatience = 100;

  void keep() { delete kept().exchange(block_.release()); }

  // Never freed: a thread may still compute while the process ends.
  static std::atomic<Block*>& kept() {
    static std::atomic<Block*> block{nullptr};
    return block;
  }

  std::unique_ptr<Block> block_;
};

}  // namespace pylstm
