// Waiting for another thread. Not for sources that are compiled once per instruction set.
#pragma once

#include <immintrin.h>

#include <chrono>
#include <thread>

namespace pylstm::cpu {

// Spins, then yields: the one waited for may need this core, where threads outnumber the cores or
// one was woken here. By the clock, for processors differ in how long a pause takes.
template <class Condition>
void spin_until(Condition condition) {
  constexpr std::chrono::microseconds kSpin{10};
  if (condition()) return;
  const auto start = std::chrono::steady_clock::now();
  while (!condition()) {
    if (std::chrono::steady_clock::now() - start < kSpin) {
      _mm_pause();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace pylstm::cpu
