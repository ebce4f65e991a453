"""Computes a small LSTM and its gradient with every kernel that can run here, and compares them
with the float64 reference."""

import dataclasses

import ml_dtypes
import numpy as np

from pylstm import reference
from pylstm._library import load_core, load_tensorflow_ops

# Largest error allowed, relative to the largest value of an array.
TOLERANCES = {ml_dtypes.bfloat16: 0.01, np.float32: 1e-5, np.float64: 1e-12}


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
    """Yields a `Check` for each kernel and dtype.

    Raises:
        BackendLoadError: A library is absent or cannot be loaded.
    """
    core = load_core()
    load_tensorflow_ops()
    for dtype, tolerance in TOLERANCES.items():
        call = _Call(dtype)
        for isa in core.isas():
            yield _check(f"cpu {isa}", call, call.with_core(core, isa), tolerance)
        yield _check("tensorflow op", call, call.with_tensorflow(), tolerance)


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
        self.zeros = np.zeros((batch, units), dtype)
        self.expected = (
            *reference.lstm_forward(*self.inputs, mask=self.mask),
            *reference.lstm_backward(*self.inputs, mask=self.mask, dy=self.dy),
        )

    def with_core(self, core, isa):
        *outputs, reserve = core.forward(*self.inputs, self.mask, isa=isa, save_for_backward=True)
        gradients = core.backward(
            *self.inputs, self.mask, None, reserve, self.dy, self.zeros, self.zeros, isa=isa
        )
        return (*outputs, *gradients)

    def with_tensorflow(self):
        import tensorflow as tf

        from pylstm.ops.tensorflow import lstm

        inputs = [tf.constant(array) for array in self.inputs]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = lstm(*inputs, mask=tf.constant(self.mask), save_for_backward=True)
        gradients = tape.gradient(outputs[0], inputs, output_gradients=tf.constant(self.dy))
        return [tensor.numpy() for tensor in (*outputs, *gradients)]
