"""`pylstm.LSTM`, through its TensorFlow op, in the same harness as `keras.layers.LSTM`."""

import pylstm
from benchmarks.peers import keras_layer


def versions():
    return {"pylstm": pylstm.__version__, **keras_layer.versions()}


refusal = keras_layer.refusal


def prepare(problem, mode):
    return keras_layer.prepare(problem, mode, lstm=_fused)


def _fused(units, **options):
    return pylstm.LSTM(units, kernel="fused", **options)  # an error, never a slower path in silence
