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
    "Failed to convert a NumPy array to a Tensor (Unsupported object type numpy.ndarray)": lambda: (
        stock()(np.array(RECORDINGS, object))
    ),
    "Invalid dtype: str": lambda: stock().fit(np.ones((4, 7, 6)), np.array(["no", "yes"] * 2)),
    "inhomogeneous shape": lambda: np.array(RECORDINGS),
    "Can't convert non-rectangular Python sequence to Tensor": lambda: (
        tf.data.Dataset.from_tensor_slices(RECORDINGS)
    ),
    "Cannot batch tensors with different shapes in component 0": lambda: stock().fit(
        samples().batch(2)
    ),
    "Cannot add tensor to the batch: number of elements does not match": lambda: next(
        iter(samples().map(lambda x, y: (x / 2, y)).batch(2))
    ),
    "of the corresponding input component": lambda: samples().padded_batch(
        2, padding_values=(0, 0)
    ),
    "Cannot index into an inner ragged dimension": lambda: built_lstm()(
        tf.RaggedTensor.from_row_lengths(np.concatenate(RECORDINGS), [12, 7, 30, 18])
    ),
    "Failed to convert elements of tf.RaggedTensor": lambda: dense_first().fit(
        samples().ragged_batch(4)
    ),
    "object of type 'RaggedTensor' has no len()": lambda: dense_first()(
        tf.RaggedTensor.from_row_lengths(np.concatenate(RECORDINGS), [12, 7, 30, 18])
    ),
    "Matrix size-incompatible": lambda: built_lstm()(np.ones((4, 7, 7), np.float32)),
    "Dimensions must be equal": lambda: tf.function(built_lstm())(np.ones((4, 7, 7), np.float32)),
    "Only input tensors may be passed as positional arguments": lambda: keras.layers.LSTM(4)(
        [r.tolist() for r in RECORDINGS]
    ),
    "Invalid input shape for input": lambda: stock()(np.ones((4, 1, 7, 6))),
    "is incompatible with the layer: expected shape=": lambda: functional()(np.ones((4, 1, 7, 6))),
    "Incompatible shapes": lambda: stateful().fit(np.ones((4, 7, 6)), np.ones((4, 3))),
    "Cannot take the length of shape with unknown rank": lambda: stock().fit(unknown_rank()),
    "as_list() is not defined on an unknown TensorShape": lambda: stock(
        keras.layers.LSTM(4), keras.layers.Dense(2)
    ).fit(unknown_rank()),
    "of dimension 0 out of bounds": lambda: stock(
        keras.Input((None, 6)),
        keras.layers.TimeDistributed(keras.layers.Dense(2)),
        keras.layers.LSTM(2),
    ).fit(samples().map(lambda x, y: (x[:2], y)).padded_batch(4)),
}


def dense_first():
    return stock(keras.Input((None, 6)), keras.layers.Dense(4), keras.layers.LSTM(2))


def built_lstm():
    layer = keras.layers.LSTM(4)
    layer.build((None, None, 6))
    return layer


def functional():
    inputs = keras.Input((None, 6))
    return keras.Model(inputs, keras.layers.LSTM(4)(inputs))


def stateful():
    model = keras.Sequential(
        [keras.Input(batch_shape=(3, None, 6)), keras.layers.LSTM(3, stateful=True)]
    )
    model.compile("sgd", "mse")
    return model
