// Keras' names of the activations, for bindings.
#pragma once

#include <optional>
#include <string_view>

#include "core/activation_list.h"

namespace pylstm {

#define PYLSTM_NAME(Name, keras_name) keras_name,
inline constexpr const char* kActivationNames[] = {PYLSTM_ACTIVATIONS(PYLSTM_NAME)};
#undef PYLSTM_NAME

inline std::optional<Activation> find_activation(std::string_view keras_name) {
  int index = 0;
  for (const char* name : kActivationNames) {
    if (keras_name == name) return static_cast<Activation>(index);
    ++index;
  }
  return std::nullopt;
}

}  // namespace pylstm
