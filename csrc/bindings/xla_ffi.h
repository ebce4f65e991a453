// The LSTM as handlers of XLA's foreign function interface, for JAX on the CPU.
#pragma once

struct XLA_FFI_CallFrame;
struct XLA_FFI_Error;

extern "C" {

// Arguments:  x, h0, c0, kernel, recurrent_kernel and, where the attributes say so, bias, mask,
//             recurrent_dropout
// Results:    y, h, c, reserve (uint8; without bytes unless save_for_backward)
// Attributes: activation, recurrent_activation: string; use_bias, has_mask, has_recurrent_dropout,
//             go_backwards, return_sequences, zero_output_for_mask, save_for_backward: bool
XLA_FFI_Error* pylstm_xla_forward(XLA_FFI_CallFrame* call);

// Arguments:  those of forward, then reserve, dy, dh, dc
// Results:    dx (without elements unless input_gradient), dh0, dc0, dkernel, drecurrent_kernel
//             and, with bias, dbias
// Attributes: those of forward, where save_for_backward is true, and input_gradient: bool
XLA_FFI_Error* pylstm_xla_backward(XLA_FFI_CallFrame* call);

}  // extern "C"
