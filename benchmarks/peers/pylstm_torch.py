"""`pylstm.LSTM` in the same harness as `keras.layers.LSTM` on that backend."""

# isort: off
from benchmarks.peers import keras_torch  # first: it chooses Keras' backend
from benchmarks.layers import fused_lstm
# isort: on

versions = keras_torch.versions
refusal = keras_torch.refusal


def prepare(problem, mode):
    return keras_torch.prepare(problem, mode, lstm=fused_lstm)
