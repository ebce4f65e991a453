"""The axes of an input beside those that a model declares."""

import keras
import numpy as np
import pytest

import pylstm
from pylstm.diagnosis import diagnose
from tests.data import sequences
from tests.diagnosis.support import dense, found


def test_more_than_twice_as_many_features_as_steps():
    model = keras.Sequential([pylstm.LSTM(3)])
    assert not list(diagnose(model, dense(5, 10)))
    assert found(diagnose(model, dense(5, 11)), "PYL207").level == "note"


@pytest.mark.parametrize(
    ("front", "keeps_axes"),
    [
        ([keras.layers.Dropout(0.1), keras.layers.BatchNormalization()], True),
        ([keras.layers.Masking(0.0), keras.layers.Dense(4)], True),
        ([keras.layers.Permute((2, 1))], False),
        ([keras.layers.Lambda(lambda x: keras.ops.transpose(x, (0, 2, 1)))], False),
    ],
)
def test_axes_that_may_be_swapped_in_front_of_other_layers(front, keeps_axes):
    model = pylstm.Sequential([*front, pylstm.LSTM(3)])
    codes = [finding.code for finding in diagnose(model, dense(5, 11))]
    assert codes == ["PYL207"] * keeps_axes
    model.predict(dense(5, 11), verbose=0)  # of a model that is built for them, they are right
    assert not list(diagnose(model, dense(5, 11)))


def test_axes_that_may_be_swapped_in_a_subclassed_model():
    class Classifier(pylstm.Model):
        def __init__(self):
            super().__init__()
            self.lstm = pylstm.LSTM(3)

        def call(self, x):
            return self.lstm(x)

    model = Classifier()
    assert found(diagnose(model, dense(5, 11)), "PYL207").level == "note"
    assert not list(diagnose(model, dense(5, 10)))


def test_steps_that_nobody_declared():
    model = pylstm.Sequential([pylstm.LSTM(3)])
    model.compile("sgd", "mse")
    model.fit(dense(4), np.zeros((6, 3)), verbose=0)
    assert list(diagnose(model, dense(3))) == []


def test_other_shapes_than_a_functional_model_declares():
    signal, meta = keras.Input((5, 5)), keras.Input((2,))
    joined = keras.layers.Concatenate()([pylstm.LSTM(3)(signal), meta])
    model = pylstm.Model([signal, meta], joined)
    report = diagnose(model, (dense(4), np.zeros((6, 3))))
    assert found(report, "PYL124")[:3] == ("fixed", "PYL124", "x[0]")
    assert found(report, "PYL103").where == "x[1]"
    plain = keras.Model([signal, meta], joined)
    assert found(diagnose(plain, (dense(4), np.zeros((6, 2)))), "PYL124").level == "error"
    assert found(diagnose(model, (dense(5), np.zeros((6, 2, 2)))), "PYL101").where == "x[1]"
    assert diagnose(model, (dense(5), np.zeros((6, 2)))).ok


def test_ragged_sequences_have_any_number_of_steps():
    model = pylstm.Sequential([keras.Input((5, 5)), pylstm.LSTM(3)])
    assert [finding.code for finding in diagnose(model, sequences())] == ["PYL126"]
