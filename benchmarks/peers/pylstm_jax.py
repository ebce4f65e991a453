"""`pylstm.LSTM` in the same harness as `keras.layers.LSTM` on that backend."""

# isort: off
from benchmarks.peers import keras_jax  # first: it chooses Keras' backend
from benchmarks.layers import fused_lstm
# isort: on

versions = keras_jax.versions
refusal = keras_jax.refusal


def prepare(problem, mode):
    return keras_jax.prepare(problem, mode, lstm=fused_lstm)
