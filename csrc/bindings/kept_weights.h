// Weights as the CPU's forward pass has packed them, kept as long as the variables that they come
// from stay the same. TensorFlow copies a variable that it is to change where anything else refers
// to its buffer (`PrepareToUpdateVariable`): its operations do not change a buffer that is referred
// to here. Once nothing else refers to it, its variable has another, or is gone.
#pragma once

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "cpu/lstm.h"
#include "tensorflow/core/common_runtime/dma_helper.h"
#include "tensorflow/core/framework/tensor.h"

namespace pylstm {

class KeptWeights {
 public:
  using Tensor = tensorflow::Tensor;

  struct Key {
    Tensor kernel, recurrent_kernel;
    cpu::Isa isa;

    bool operator==(const Key& other) const {
      const auto same = [](const Tensor& a, const Tensor& b) {
        return a.data() == b.data() && a.dtype() == b.dtype() && a.shape() == b.shape();
      };
      return isa == other.isa && same(kernel, other.kernel) &&
             same(recurrent_kernel, other.recurrent_kernel);
    }
  };

  // What was packed from these weights, if anything was.
  std::optional<Tensor> find(const Key& key) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto entry = entry_of(key);
    return entry == packed_.end() ? std::nullopt : std::optional<Tensor>(entry->second);
  }

  // Calls at the same time may have packed the same weights: the first's stay.
  void keep(const Key& key, const Tensor& packed) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (entry_of(key) == packed_.end()) packed_.emplace_back(key, packed);
  }

  void drop_changed() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto entry = packed_.begin(); entry != packed_.end();) {
      const Key& key = entry->first;
      const bool changed = only_here(key.kernel) || only_here(key.recurrent_kernel);
      entry = changed ? packed_.erase(entry) : entry + 1;
    }
  }

 private:
  using Buffer = tensorflow::TensorBuffer;

  std::vector<std::pair<Key, Tensor>>::iterator entry_of(const Key& key) {
    return std::find_if(packed_.begin(), packed_.end(),
                        [&](const auto& entry) { return entry.first == key; });
  }

  // Layers may share one of their variables, so that several entries refer to its buffer.
  bool only_here(const Tensor& tensor) const {
    const Buffer* buffer = tensorflow::DMAHelper::buffer(&tensor);
    if (!buffer) return false;  // of no elements
    const auto refers = [buffer](const Tensor& other) {
      return tensorflow::DMAHelper::buffer(&other) == buffer;
    };
    int64_t references = 0;
    for (const auto& [key, packed] : packed_) {
      references += refers(key.kernel) + refers(key.recurrent_kernel);
    }
    return buffer->RefCount() == references;
  }

  std::mutex mutex_;
  std::vector<std::pair<Key, Tensor>> packed_;
};

// One for the process, since all graphs of a model have the same variables. Never freed: a thread
// may still compute while the process ends.
inline KeptWeights& kept_weights() {
  static KeptWeights* const weights = new KeptWeights;
  return *weights;
}

}  // namespace pylstm
