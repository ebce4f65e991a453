"""Models, and data with mistakes in them, for the tests of `pylstm.diagnose`."""

import keras
import numpy as np

import pylstm
from tests.data import sequences

LABELS = [0, 1, 1, 0, 1, 0]


def dense(steps=4, features=5):
    return np.stack(sequences([steps] * 6, features))


def stock(*front, **lstm_options):
    return keras.Sequential([keras.Input((None, 5)), *front, keras.layers.LSTM(3, **lstm_options)])


def fused(*front, features=5, **lstm_options):
    layers = [keras.Input((None, features)), *front, pylstm.LSTM(3, **lstm_options)]
    return pylstm.Sequential(layers)


def found(report, code):
    """The one finding of a code."""
    (finding,) = [finding for finding in report if finding.code == code]
    return finding


def with_value(value, index=2, at=(1, 3)):
    seqs = sequences()
    seqs[index][at] = value
    return seqs


def functional(build, model=pylstm.Model):
    inputs = keras.Input((None, 5))
    return model(inputs, build(inputs))
