"""What stock Keras does on the input that each section of docs/errors.md is about."""

import keras
import numpy as np
import tensorflow as tf

RECORDINGS = [np.ones((steps, 6), np.float32) for steps in (12, 7, 30, 18)]
LABELS = np.array([0, 1, 1, 0])


def stock(*layers, features=6):
    """A compiled stock model; of given layers, or an LSTM and a Dense layer."""
    layers = layers or (keras.Input((None, features)), keras.layers.LSTM(4), keras.layers.Dense(2))
    model = keras.Sequential(layers)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def samples():
    """A tf.data.Dataset of (recording, label)."""
    signature = (tf.TensorSpec((None, 6), tf.float32), tf.TensorSpec((), tf.int32))
    return tf.data.Dataset.from_generator(
        lambda: zip(RECORDINGS, LABELS, strict=True), output_signature=signature
    )


def unknown_rank():
    return samples().map(
        lambda x, y: (tf.ensure_shape(tf.py_function(lambda a: a[None], [x], tf.float32), None), y)
    )


FAILURES = {
    "expected ndim=3, found ndim=2": lambda: keras.layers.LSTM(4)(RECORDINGS[0]),
    "Full shape received: (None, 4)": lambda: stock(
        keras.Input((None, 6)), keras.layers.LSTM(4), keras.layers.LSTM(4)
    ),
    "Data cardinality is ambiguous": lambda: stock().fit(RECORDINGS, LABELS),
    "Unrecognized data type: x=": lambda: stock().fit(np.ones((4, 7, 6)), [0, 1, 1, 0]),
    "expects 1 input(s), but it received 4 input tensors": lambda: keras.layers.LSTM(4)(RECORDINGS),
    "Invalid dtype: object": lambda: stock().fit(np.array(RECORDINGS, object), LABELS),
    "inhomogeneous shape": lambda: np.array(RECORDINGS),
    "Can't convert non-rectangular Python sequence to Tensor": lambda: (
        tf.data.Dataset.from_tensor_slices(RECORDINGS)
    ),
    "Cannot batch tensors with different shapes in component 0": lambda: stock().fit(
        samples().batch(2)
    ),
    "of the corresponding input component": lambda: samples().padded_batch(
        2, padding_values=(0, 0)
    ),
    "Cannot index into an inner ragged dimension": lambda: built_lstm()(
        tf.RaggedTensor.from_row_lengths(np.concatenate(RECORDINGS), [12, 7, 30, 18])
    ),
    "Matrix size-incompatible": lambda: built_lstm()(np.ones((4, 7, 7), np.float32)),
    "Dimensions must be equal": lambda: tf.function(built_lstm())(np.ones((4, 7, 7), np.float32)),
    "Only input tensors may be passed as positional arguments": lambda: keras.layers.LSTM(4)(
        [r.tolist() for r in RECORDINGS]
    ),
    "Invalid input shape for input": lambda: stock()(np.ones((4, 1, 7, 6))),
    "Incompatible shapes": lambda: stateful().fit(np.ones((4, 7, 6)), np.ones((4, 3))),
    "Cannot take the length of shape with unknown rank": lambda: stock().fit(unknown_rank()),
    "of dimension 0 out of bounds": lambda: stock(
        keras.Input((None, 6)),
        keras.layers.TimeDistributed(keras.layers.Dense(2)),
        keras.layers.LSTM(2),
    ).fit(samples().map(lambda x, y: (x[:2], y)).padded_batch(4)),
}


def built_lstm():
    layer = keras.layers.LSTM(4)
    layer.build((None, None, 6))
    return layer


def stateful():
    model = keras.Sequential(
        [keras.Input(batch_shape=(3, None, 6)), keras.layers.LSTM(3, stateful=True)]
    )
    model.compile("sgd", "mse")
    return model
