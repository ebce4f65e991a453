"""Guards against `keras.layers.TimeDistributed`, which counts the wrong steps in a graph.

Where neither the batch nor the number of steps is known when the graph is made, as for
sequences of different lengths, Keras 3.15 computes as many steps as there are samples: it
drops steps without a word, or fails with "slice index out of bounds".
"""

import functools

import keras

from pylstm.errors import TimestepError
from pylstm.keras_graph import layers_of, nodes_of


def check_time_distributed(model):
    """Raises where a model has a `TimeDistributed` layer that would drop steps.

    Raises:
        TimestepError: It has one, and this version of Keras is wrong.
    """
    for layer in layers_of(model):
        if not isinstance(layer, keras.layers.TimeDistributed) or _knows_steps(layer):
            continue
        if not _counts_steps():
            inner = type(layer.layer).__name__
            raise TimestepError(
                "PYL129",
                layer=layer.name,
                expected="a number of steps that is known when the graph is made",
                got="sequences, a dataset or several calls that leave it open",
                fix=f"keras.layers.{inner} without TimeDistributed: it computes each step by itself"
                if isinstance(layer.layer, keras.layers.Dense)
                else "model.compile(..., run_eagerly=True)",
            )


def _knows_steps(layer):
    """Whether all its calls in a model's graph get a fixed number of steps, as of RepeatVector."""
    inputs = [tensor for node in nodes_of(layer) for tensor in node.input_tensors]
    return bool(inputs) and all(tensor.shape[1] is not None for tensor in inputs)


@functools.cache
def _counts_steps():
    """Whether this Keras gives one sequence of two steps two steps."""
    import tensorflow as tf

    layer = keras.layers.TimeDistributed(keras.layers.Identity())
    open_shape = [tf.TensorSpec((None, None, 1), tf.float32)]
    with tf.init_scope():
        output = tf.function(layer, input_signature=open_shape)(tf.zeros((1, 2, 1)))
        return output.shape[1] == 2
