"""`pylstm.LSTM`, through its TensorFlow op, in the same harness as `keras.layers.LSTM`."""

# isort: off
from benchmarks.peers import keras_layer  # first: it chooses Keras' backend
from benchmarks.layers import fused_lstm
import pylstm
# isort: on


def versions():
    return {"pylstm": pylstm.__version__, **keras_layer.versions()}


refusal = keras_layer.refusal


def prepare(problem, mode):
    return keras_layer.prepare(problem, mode, lstm=fused_lstm)
