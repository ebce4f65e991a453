"""What the model itself tells: stacking, its steps, and which code computes."""

import keras
import pytest

import pylstm
from pylstm.diagnosis import diagnose
from tests.data import sequences
from tests.diagnosis.support import LABELS, dense, found, fused


def test_time_distributed_drops_steps():
    model = fused(keras.layers.TimeDistributed(keras.layers.Dense(5), name="each"))
    assert found(diagnose(model, sequences()), "PYL129").where == "layer 'each'"
    assert diagnose(model, dense()).ok
    windows = keras.utils.timeseries_dataset_from_array(dense()[0], None, 3)
    assert found(diagnose(model, windows), "PYL129").where == "layer 'each'"
    model.compile(run_eagerly=True)  # the fix for other layers in it
    assert diagnose(model, sequences()).ok
    assert diagnose(model, windows).ok


def test_steps_that_a_layer_refuses():
    inputs = keras.Input((5, 5))
    flat = keras.layers.Flatten()(pylstm.LSTM(3, return_sequences=True)(inputs))
    outputs = keras.layers.Dense(2, name="behind")(flat)
    functional = pylstm.Model(inputs, outputs)
    layers = functional.layers
    for model in functional, pylstm.Sequential(layers), keras.Sequential(layers):
        finding = found(diagnose(model, dense(4), LABELS), "PYL124")
        assert finding[:3] == ("error", "PYL124", "layer 'behind'")
        assert "keras.Input((4, 5))" in finding.fix
        assert diagnose(model, dense(5)).ok


def test_settings_that_raise():
    assert found(diagnose(fused(validate="strict"), dense()[:, None]), "PYL123").level == "error"
    model = fused(kernel="fused", activation=lambda x: x, name="own")
    assert found(diagnose(model, dense()), "PYL133").where == "layer 'own'"
    steps = pylstm.Sequential([pylstm.LSTM(3, return_sequences=True)])
    assert diagnose(steps, dense()[:, :0]).ok  # no steps in, none out


def test_stacked_with_other_layers_between():
    layers = [pylstm.LSTM(3, name="a"), keras.layers.Dropout(0.1), pylstm.LSTM(3)]
    assert "in 'a'" in found(diagnose(pylstm.Sequential(layers), dense()), "PYL106").fix
    layers[1] = keras.layers.RepeatVector(4)
    assert diagnose(pylstm.Sequential(layers), dense()).ok


@pytest.mark.parametrize("sequential", [pylstm.Sequential, keras.Sequential])
def test_states_between_layers(sequential):
    layers = [pylstm.LSTM(3, return_state=True, name="a"), keras.layers.Dense(2)]
    finding = found(diagnose(sequential(layers), dense(), LABELS), "PYL211")
    assert (finding.level, finding.where) == ("error", "layer 'a'")
    assert "return_state=False" in finding.fix
    assert diagnose(sequential(layers[:1]), dense()).ok
