// How calls that run at the same time, such as the two directions of a bidirectional layer, divide
// the cores. A call takes all that it can use, since it does not know of those to come. One that
// finds too few waits for its turn: with threads on the same cores both would take longer than one
// after the other.
#pragma once

namespace pylstm::cpu {

// A call's part of the cores, from construction to destruction.
class CoreShare {
 public:
  // Of `concurrency` cores a call has use for `wanted`; it would take one of them `microseconds`.
  // Where `waits`, it begins when half of `wanted` are free, unless many calls, or a much longer
  // one, come first.
  CoreShare(int concurrency, int wanted, bool waits, double microseconds);
  CoreShare(const CoreShare&) = delete;
  ~CoreShare();

  // How many it may have now: at most `wanted`, at least 1.
  int available() const;
  // It has so many from now on.
  void settle(int cores);

 private:
  const int concurrency_, wanted_;
  const double microseconds_;
  int cores_ = 0;
};

}  // namespace pylstm::cpu
