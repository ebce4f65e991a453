"""Calls of the TensorFlow operation, and the float64 reference's results for them."""

import numpy as np
import tensorflow as tf

from pylstm.ops.tensorflow import lstm
from pylstm.reference import lstm_backward, lstm_forward
from tests.cases import GRADIENTS, RESULTS
from tests.tolerances import assert_close


class Call:
    """Random inputs of one call, with output gradients.

    Attributes:
        tensors: x, h0, c0, kernel, recurrent_kernel and, with bias, bias.
        keywords: mask and recurrent_dropout as tensors, and the options.
    """

    def __init__(
        self,
        batch=3,
        time=5,
        features=4,
        units=6,
        dtype="float32",
        *,
        bias=True,
        mask=False,
        recurrent_dropout=False,
        seed=0,
        **options,
    ):
        random = np.random.default_rng(seed)

        def normal(*shape, scale=1.0):
            # Rounded to the dtype: the reference gets the very numbers that the kernel gets.
            return tf.constant(random.normal(scale=scale, size=shape), dtype)

        shapes = [(batch, time, features), (batch, units), (batch, units)]
        shapes += [(features, 4 * units), (units, 4 * units)]
        self.dtype = dtype
        self.tensors = [normal(*shape, scale=0.5) for shape in shapes]
        if bias:
            self.tensors.append(normal(4 * units, scale=0.5))
        self.keywords = dict(options)
        if mask:
            self.keywords["mask"] = tf.constant(random.random((batch, time)) < 0.6)
        if recurrent_dropout:
            kept = random.random((4, batch, units)) < 0.7
            self.keywords["recurrent_dropout"] = tf.constant(kept / 0.7, dtype)
        self.output_gradients = [
            normal(*shape) for shape in self._output_shapes(batch, time, units)
        ]

    def _output_shapes(self, batch, time, units):
        y = (batch, time, units) if self.keywords.get("return_sequences", True) else (batch, units)
        return y, (batch, units), (batch, units)

    def run(self, **keywords):
        return lstm(*self.tensors, **self.keywords, **keywords)

    def run_with_gradients(self, **keywords):
        """Outputs, and the gradients of sum(outputs·output_gradients)."""
        return differentiate(self.tensors, self.output_gradients, {**self.keywords, **keywords})

    def check(self, outputs, gradients=()):
        """Asserts that results and gradients are the reference's."""
        inputs = [exact(tensor) for tensor in self.tensors]
        keywords = {
            key: value.numpy() if tf.is_tensor(value) else value
            for key, value in self.keywords.items()
        }
        expected = lstm_forward(*inputs, **keywords)
        for name, got, right in zip(RESULTS, outputs, expected, strict=True):
            assert_close(exact(got), right, self.dtype, what=name)
        if not gradients:
            return
        dy, dh, dc = (exact(gradient) for gradient in self.output_gradients)
        expected = lstm_backward(*inputs, dy=dy, dh=dh, dc=dc, **keywords)
        for name, got, right in zip(GRADIENTS, gradients, expected, strict=False):
            assert_close(exact(got), right, self.dtype, backward=True, what=name)


def differentiate(tensors, output_gradients, keywords):
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = lstm(*tensors, **keywords)
    return outputs, tape.gradient(outputs, tensors, output_gradients)


def exact(tensor):
    return tf.cast(tensor, tf.float64).numpy()
