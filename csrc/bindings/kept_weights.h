// Weights as the CPU's forward pass has packed them, kept as long as the variables that they come
// from stay the same. TensorFlow copies a variable that it is to change where anything else refers
// to its buffer (`PrepareToUpdateVariable`): the numbers in a buffer that is referred to here are
// fixed. Once nothing else refers to it, its variable has another, or is gone.
#pragma once

#include <algorithm>
#include <mutex>
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

  // What was packed from these weights; null if nothing was.
  std::unique_ptr<Tensor> find(const Key& key) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [kept, packed] : packed_) {
      if (kept == key) return std::make_unique<Tensor>(packed);
    }
    return nullptr;
  }

  void keep(const Key& key, const Tensor& packed) {
    const std::lock_guard<std::mutex> lock(mutex_);
    packed_.emplace_back(key, packed);
  }

  void drop_changed() {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto only_here = [](const Tensor& tensor) {
      const tensorflow::TensorBuffer* buffer = tensorflow::DMAHelper::buffer(&tensor);
      return buffer && buffer->RefCountIsOne();
    };
    const auto changed = [&](const auto& entry) {
      return only_here(entry.first.kernel) || only_here(entry.first.recurrent_kernel);
    };
    packed_.erase(std::remove_if(packed_.begin(), packed_.end(), changed), packed_.end());
  }

 private:
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
