// Python's global interpreter lock, given up while a kernel runs.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

namespace pylstm {

// Lets other Python threads run while it lives.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  GilRelease(const GilRelease&) = delete;
  ~GilRelease() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      // The interpreter has ended and, before Python 3.14, unwinds this daemon thread. That would
      // destroy arrays without an interpreter, so the thread sleeps until the process ends.
      for (;;) pause();
    }
  }

 private:
  PyThreadState* state_;
};

}  // namespace pylstm
