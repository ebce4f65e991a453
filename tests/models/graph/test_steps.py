"""Inputs with another number of time steps than the model declares."""

import keras
import numpy as np
import pytest

import pylstm
from pylstm import errors


def test_other_steps_of_several_inputs():
    inputs = [keras.Input((5, 3)), keras.Input((5, 3))]
    x = keras.layers.Add(name="joined")(inputs)
    model = pylstm.Model(inputs, pylstm.LSTM(4)(x))
    both = np.ones((6, 7, 3), "float32"), np.ones((6, 7, 3), "float32")
    with pytest.warns(errors.ShapeCorrectionWarning, match="PYL124"):
        assert model.predict(both, verbose=0).shape == (6, 4)
    with pytest.raises(errors.TimestepError, match=r"PYL124.*'joined'") as caught:
        model((both[0][:, :5], both[1]))
    assert caught.value.got == "(6, 7, 3)     axis 1 is 7, not 5"


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "predict_on_batch"])
def test_other_steps_after_the_declared_ones(method):
    """TensorFlow would trace the second number of steps as any."""
    y = () if "predict" in method else (np.zeros((6, 4)),)

    def run(*layers):
        model = pylstm.Sequential([keras.Input((5, 3)), *layers])
        model.compile("sgd", "mse")
        for steps in (5, 7):
            getattr(model, method)(np.ones((6, steps, 3), "float32"), *y)

    with pytest.warns(errors.ShapeCorrectionWarning, match="PYL124"):
        run(pylstm.LSTM(4))
    every, dense = pylstm.LSTM(4, return_sequences=True), keras.layers.Dense(4, name="behind")
    with (
        pytest.warns(errors.ShapeCorrectionWarning, match="PYL124"),
        pytest.raises(errors.TimestepError, match=r"PYL124.*'behind'"),
    ):
        run(every, keras.layers.Flatten(), dense)


def test_other_steps_in_nested_models():
    """What a nested model was built with, it takes for no declaration, as Keras does."""
    lstm = pylstm.LSTM(4, return_sequences=True)
    nested = keras.Sequential([keras.Input((5, 3)), keras.layers.Dense(3)])
    x = np.ones((6, 7, 3), "float32")
    with pytest.warns(errors.ShapeCorrectionWarning, match="PYL124"):
        pylstm.Sequential([keras.Input((5, 3)), nested, lstm]).predict(x, verbose=0)
    head = [keras.layers.Flatten(), keras.layers.Dense(2, name="inner")]
    model = pylstm.Sequential([keras.Input((5, 3)), nested, lstm, keras.Sequential(head)])
    with pytest.raises(errors.TimestepError, match=r"PYL124.*'inner'"):
        model.predict(x, verbose=0)


def test_other_steps_are_not_blamed_for_other_errors():
    class Broken(keras.layers.Layer):
        def compute_output_shape(self, shape):
            return shape

        def call(self, x):
            raise OSError("broken")

    inputs = keras.Input((5, 3))
    model = pylstm.Model(inputs, Broken()(keras.layers.LSTM(4)(inputs)))
    with pytest.warns(match="PYL124"), pytest.raises(OSError, match="broken"):
        model.predict(np.ones((6, 7, 3)), verbose=0)


def test_strict_refuses_other_steps():
    inputs = keras.Input((5, 3))
    x = np.ones((6, 7, 3), "float32")
    lstm = pylstm.LSTM(4, validate="strict")
    for layer in lstm, keras.layers.Bidirectional(lstm):
        model = pylstm.Model(inputs, layer(inputs))
        with pytest.raises(errors.TimestepError, match=r"PYL124(?s:.*)Input\(\(None, 3\)\)"):
            model.predict(x, verbose=0)
        assert [finding.level for finding in pylstm.diagnose(model, x)] == ["error"]
