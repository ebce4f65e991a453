// What one LSTM call is: sizes, element type, options, and the buffers it reads and writes.
// Every size that the shape function, the allocator, forward or backward needs comes from here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/activation_list.h"
#include "core/macros.h"

namespace pylstm {

enum class DType : int32_t { kFloat16, kBFloat16, kFloat32, kFloat64 };

constexpr int64_t element_bytes(DType dtype) {
  return dtype == DType::kFloat64 ? 8 : dtype == DType::kFloat32 ? 4 : 2;
}

// Arithmetic, the cell state and the reserve are kept in this width: 16-bit types accumulate in
// float32.
constexpr int64_t compute_bytes(DType dtype) { return dtype == DType::kFloat64 ? 8 : 4; }

constexpr int64_t kGates = 4;  // Keras' order: input, forget, cell candidate, output

PYLSTM_FN constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// B = batch, T = time, F = features, H = units. Products of them overflow 32 bits.
struct Problem {
  int64_t batch = 0;
  int64_t time = 0;
  int64_t features = 0;
  int64_t units = 0;
  DType dtype = DType::kFloat32;
  Activation activation = Activation::kTanh;
  Activation recurrent_activation = Activation::kSigmoid;
  bool use_bias = true;
  bool has_mask = false;
  bool has_recurrent_dropout = false;
  bool go_backwards = false;          // step k reads x[:, T-1-k]; outputs are in step order
  bool return_sequences = true;       // y is (B, T, H), else (B, H)
  bool zero_output_for_mask = false;  // masked steps give 0, else they repeat the last output
  bool save_for_backward = false;     // forward fills the reserve
  bool input_gradient = true;         // backward gives dx, too
  bool allow_tf32 = false;            // GPU: float32 products may round their operands to TF32

  bool has_default_activations() const {
    return activation == Activation::kTanh && recurrent_activation == Activation::kSigmoid;
  }

  int64_t y_elements() const { return batch * (return_sequences ? time : 1) * units; }
  int64_t state_elements() const { return batch * units; }
  int64_t input_gradient_elements() const { return input_gradient ? batch * time * features : 0; }
  int64_t kernel_elements() const { return features * kGates * units; }
  int64_t recurrent_kernel_elements() const { return units * kGates * units; }

  // Per (b, t): what each gate saves for its derivative (see cell.h) and the cell state.
  int64_t reserve_elements() const {
    return save_for_backward ? batch * time * (kGates + 1) * units : 0;
  }
  int64_t reserve_bytes() const { return reserve_elements() * compute_bytes(dtype); }
};

// All tensors are dense and row-major, of `dtype` unless said otherwise. Nothing aliases.
struct InputBuffers {
  const void* x;                  // (B, T, F)
  const void* h0;                 // (B, H)
  const void* c0;                 // (B, H)
  const void* kernel;             // (F, 4H)
  const void* recurrent_kernel;   // (H, 4H)
  const void* bias;               // (4H), null without bias
  const uint8_t* mask;            // (B, T), 0 = skip the step: any other byte, since arrays of bool
                                  // may hold all 256; null without mask
  const void* recurrent_dropout;  // (4, B, H), multiplies h per gate; null without
};

// The layout of a reserve is up to each device's kernels.
struct ForwardBuffers : InputBuffers {
  void* y;          // (B, T, H) or (B, H)
  void* h;          // (B, H), state after the last step
  void* c;          // (B, H)
  void* reserve;    // reserve_bytes(), on a GPU 64-byte aligned; null unless saved
  void* workspace;  // as the kernel's *_workspace_bytes asks, 64-byte aligned
};

struct BackwardBuffers : InputBuffers {
  const void* reserve;
  const void* dy;           // like y; null means zeros
  const void* dh;           // (B, H); null means zeros
  const void* dc;           // (B, H); null means zeros
  void* dx;                 // (B, T, F), masked steps get 0; null without input_gradient
  void* dh0;                // (B, H)
  void* dc0;                // (B, H)
  void* dkernel;            // (F, 4H)
  void* drecurrent_kernel;  // (H, 4H)
  void* dbias;              // (4H), null without bias
  void* workspace;
};

}  // namespace pylstm
