// Weights as the CPU's forward pass has packed them, kept as long as the variables that they come
// from stay the same. TensorFlow copies a variable that it is to change where anything else refers
// to its buffer (`PrepareToUpdateVariable`): its operations do not change a buffer that is referred
// to here. Once nothing else refers to it, its variable has another, or is gone.
#pragma once

#include <algorithm>
#include <mutex>
#include <optional>
#include <unordered_map>
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
    if (entry_of(key) != packed_.end()) return;
    count(key, 1);
    packed_.emplace_back(key, packed);
  }

  void drop_changed() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto entry = packed_.begin(); entry != packed_.end();) {
      const Key& key = entry->first;
      if (only_here(key.kernel) || only_here(key.recurrent_kernel)) {
        count(key, -1);
        entry = packed_.erase(entry);
      } else {
        ++entry;
      }
    }
  }

 private:
  using Buffer = tensorflow::TensorBuffer;

  static const Buffer* buffer_of(const Tensor& tensor) {
    return tensorflow::DMAHelper::buffer(&tensor);  // null without elements
  }

  std::vector<std::pair<Key, Tensor>>::iterator entry_of(const Key& key) {
    return std::find_if(packed_.begin(), packed_.end(),
                        [&](const auto& entry) { return entry.first == key; });
  }

  void count(const Key& key, int by) {
    for (const Tensor* tensor : {&key.kernel, &key.recurrent_kernel}) {
      const auto of_buffer = references_.try_emplace(buffer_of(*tensor), 0).first;
      if ((of_buffer->second += by) == 0) references_.erase(of_buffer);
    }
  }

  bool only_here(const Tensor& tensor) const {
    const Buffer* buffer = buffer_of(tensor);
    return buffer && buffer->RefCount() == references_.at(buffer);
  }

  std::mutex mutex_;
  std::vector<std::pair<Key, Tensor>> packed_;
  // By the keys to each buffer: several where layers share a variable.
  std::unordered_map<const Buffer*, int> references_;
};

// One for the process, since all graphs of a model have the same variables. Never freed: a thread
// may still compute while the process ends.
inline KeptWeights& kept_weights() {
  static KeptWeights* const weights = new KeptWeights;
  return *weights;
}

}  // namespace pylstm
