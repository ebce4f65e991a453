"""What the tests of the input contract share: data, layers, references, and ways to call."""

import warnings

import keras
import numpy as np
import tensorflow as tf

import pylstm
from pylstm.errors import ShapeCorrectionWarning
from pylstm.reference import lstm_forward
from tests import tolerances

UNITS = 4


def data(*shape):
    """Standard normal float32 of a shape, the same each time."""
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def lstm(features=None, **options):
    """A `pylstm.LSTM`, built where `features` is given; the same weights each time."""
    keras.utils.set_random_seed(7)
    layer = pylstm.LSTM(UNITS, bias_initializer="random_normal", **options)
    if features is not None:
        layer.build((None, None, features))
    return layer


def last_outputs(layer, sequences, initial_state=None):
    """The last output of each sequence (T_i, F), one by one and unpadded, in float64."""
    h, c = np.zeros((2, len(sequences), UNITS)) if initial_state is None else initial_state
    rows = [
        lstm_forward(
            sequence[None], h[i : i + 1], c[i : i + 1], *_weights(layer), return_sequences=False
        )[0][0]
        for i, sequence in enumerate(sequences)
    ]
    return np.stack(rows)


def masked_outputs(layer, x, mask, **options):
    """The last output of each row of (B, T, F) under a mask, in float64."""
    zeros = np.zeros((len(x), UNITS))
    weights = _weights(layer)
    return lstm_forward(x, zeros, zeros, *weights, mask, return_sequences=False, **options)[0]


def assert_close(actual, expected):
    tolerances.assert_close(actual, expected, "float32")


def eager(layer, x):
    return np.asarray(layer(x))


def graph(layer, x):
    """Calls a built layer in a graph in which the sizes are only known when it runs."""
    x = tf.convert_to_tensor(x)
    signature = tf.TensorSpec([None, *x.shape[1:]], x.dtype)
    return tf.function(layer, input_signature=[signature])(x).numpy()


def predict(layer, x):
    return keras.Sequential([layer]).predict(x, verbose=0)


def fit(layer, x):
    """The weights after one step of training: numbers that show what the layer has read."""
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, np.ones((len(x), UNITS), np.float32), verbose=0)
    return np.concatenate([weight.ravel() for weight in layer.get_weights()])


def corrections_of(call, *args):
    """The result of a call, and the codes of the corrections that it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call(*args)
    messages = [str(w.message) for w in caught if w.category is ShapeCorrectionWarning]
    return result, [message[1:7] for message in messages]


def _weights(layer):
    cell = layer.cell
    return [np.asarray(weight, np.float64) for weight in (cell.kernel, cell.recurrent_kernel)] + [
        np.asarray(cell.bias, np.float64)
    ]
