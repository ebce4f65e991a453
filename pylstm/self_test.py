"""Computes a small LSTM and its gradient with every kernel that can run here, and compares them
with the float64 reference."""

import dataclasses

import keras
import ml_dtypes
import numpy as np
from keras import ops

from pylstm import reference
from pylstm._library import load_core
from pylstm.ops import KERAS_BACKENDS, load_ops

# Largest error allowed, relative to the largest value of an array.
TOLERANCES = {ml_dtypes.bfloat16: 0.01, np.float16: 2e-3, np.float32: 1e-5, np.float64: 1e-12}


@dataclasses.dataclass(frozen=True)
class Check:
    """One kernel's result. `error` is NaN where the kernel gave NaN."""

    kernel: str
    dtype: str
    error: float
    tolerance: float

    @property
    def passed(self):
        return bool(self.error <= self.tolerance)


def run_checks():
    """Yields a `Check` for each kernel and dtype, and for the operation of Keras' backend.

    Raises:
        BackendLoadError: A library is absent or cannot be loaded.
    """
    core = load_core()
    backend = keras.backend.backend()
    if backend in KERAS_BACKENDS:
        load_ops(backend)
    for dtype, tolerance in TOLERANCES.items():
        call = _Call(dtype)
        for isa in core.isas():
            yield _check(f"cpu {isa}", call, call.with_core(core, isa), tolerance)
        if backend in KERAS_BACKENDS and call.exists_on_backend():
            yield _check(f"{backend} op", call, call.with_backend(backend), tolerance)


def _check(kernel, call, results, tolerance):
    errors = [
        np.max(np.abs(got - right)) / np.max(np.abs(right))
        for got, right in zip(results, call.expected, strict=True)
    ]
    return Check(kernel, np.dtype(call.dtype).name, float(np.max(errors)), tolerance)


class _Call:
    """One masked call of odd sizes with initial states, and the gradient of sum(y·dy)."""

    def __init__(self, dtype):
        random = np.random.default_rng(0)
        batch, time, features, units = 5, 9, 7, 33

        def normal(*shape):
            return (random.normal(size=shape) / np.sqrt(shape[0])).astype(dtype)

        self.dtype = dtype
        self.inputs = (
            normal(batch, time, features),
            normal(batch, units),
            normal(batch, units),
            normal(features, 4 * units),
            normal(units, 4 * units),
            normal(4 * units),
        )
        self.mask = random.random((batch, time)) < 0.8
        self.dy = normal(batch, time, units)
        self.expected = (
            *reference.lstm_forward(*self.inputs, mask=self.mask),
            *reference.lstm_backward(*self.inputs, mask=self.mask, dy=self.dy),
        )

    def with_core(self, core, isa):
        *outputs, reserve = core.forward(*self.inputs, self.mask, isa=isa, save_for_backward=True)
        gradients = core.backward(
            *self.inputs, self.mask, None, reserve, self.dy, None, None, isa=isa
        )
        return (*outputs, *gradients)

    def exists_on_backend(self):
        """Whether Keras' backend has the dtype: JAX has float64 only if that was enabled."""
        dtype = keras.backend.standardize_dtype(self.dtype)
        # Not `ops.zeros`, which would warn where it has not.
        zero = ops.convert_to_tensor(np.zeros((), self.dtype))
        return keras.backend.standardize_dtype(zero.dtype) == dtype

    def with_backend(self, backend):
        mask = ops.convert_to_tensor(self.mask)

        def lstm(*inputs):
            return load_ops(backend).lstm(*inputs, mask=mask)

        inputs = [ops.convert_to_tensor(array) for array in self.inputs]
        differentiate = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[backend]
        outputs, gradients = differentiate(lstm, inputs, ops.convert_to_tensor(self.dy))
        return [ops.convert_to_numpy(tensor) for tensor in (*outputs, *gradients)]


# For each backend: the outputs of a function of tensors, and the gradients of its first, given dy.


def _tensorflow(function, inputs, dy):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(*inputs)
    return outputs, tape.gradient(outputs[0], inputs, output_gradients=dy)


def _jax(function, inputs, dy):
    import jax

    outputs, pullback = jax.vjp(function, *inputs)
    zeros = map(jax.numpy.zeros_like, outputs[1:])
    return outputs, pullback((dy, *zeros))


def _torch(function, inputs, dy):
    import torch

    inputs = [tensor.requires_grad_() for tensor in inputs]
    outputs = function(*inputs)
    return outputs, torch.autograd.grad(outputs[0], inputs, dy)
