"""Targets beside the inputs, and labels beside the outputs."""

import keras
import numpy as np
import pytest

import pylstm
from pylstm.diagnosis import diagnose
from tests.data import LENGTHS, sequences
from tests.diagnosis.support import LABELS, dense, found, fused, with_value


def lstm_model(**options):
    return pylstm.Sequential([keras.Input((None, 5)), pylstm.LSTM(1, **options)])


@pytest.mark.parametrize(
    ("y", "fix"),
    [
        (np.arange(24.0).reshape(6, 4, 1), "pylstm.unpad(y"),
        (np.zeros((6, 3, 1)), "a list of one array of y"),
    ],
)
def test_padded_targets(y, fix):
    model = lstm_model(return_sequences=True)
    finding = found(diagnose(model, sequences(), y), "PYL120")
    assert (finding.level, finding.where) == ("error", "y")
    assert fix in finding.fix
    with pytest.raises(pylstm.errors.TimestepError):
        model.fit(sequences(), y)
    assert diagnose(model, sequences(), pylstm.pad([np.ones((t, 1)) for t in LENGTHS]).x).ok


def test_targets_per_step_beside_an_output_per_sample():
    y = [np.zeros((t, 1)) for t in LENGTHS]
    assert found(diagnose(lstm_model(), sequences(), y), "PYL120").level == "error"
    assert found(diagnose(lstm_model(), dense(), np.zeros((6, 4, 1))), "PYL120").level == "warning"
    assert diagnose(lstm_model(return_sequences=True), sequences(), y).ok
    assert diagnose(lstm_model(return_sequences=True), dense(), np.zeros((6, 4, 1))).ok


@pytest.mark.parametrize("is_graph", [True, False])
@pytest.mark.parametrize("by_step", [True, False])
def test_labels_for_which_there_is_no_output(is_graph, by_step):
    layers = [pylstm.LSTM(4, return_sequences=by_step), keras.layers.Dense(2, "softmax")]
    model = pylstm.Sequential(layers)
    if is_graph:
        inputs = keras.Input((None, 5))
        model = pylstm.Model(inputs, layers[1](layers[0](inputs)))
    y = [np.full(t, label) for t, label in zip(LENGTHS, LABELS, strict=True)] if by_step else LABELS
    beyond = [label + 1 for label in y]
    for loss in (
        "sparse_categorical_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(ignore_class=-1),
    ):
        model.compile("adam", loss)
        assert diagnose(model, sequences(), y).ok
        finding = found(diagnose(model, sequences(), beyond), "PYL212")
        assert (finding.level, finding.where) == ("error", "y")
        assert "no output" in finding.what and "labels from 1 to 2" in finding.what
        assert "- 1" in finding.fix
    assert diagnose(model, sequences(), [label * 0 - 1 for label in y]).ok
    model.compile("adam", ["mse"])
    assert "PYL212" not in {f.code for f in diagnose(model, sequences(), beyond)}


@pytest.mark.parametrize("loss", [lambda loss: [loss], lambda loss: {"classes": loss}])
def test_the_only_loss_in_a_list_or_dict(loss):
    model = pylstm.Sequential([pylstm.LSTM(4), keras.layers.Dense(2, name="classes")])
    for each in (
        "sparse_categorical_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(ignore_class=-1),
    ):
        model.compile("adam", loss(each))
        assert diagnose(model, sequences(), LABELS).ok
        assert "y[2] = 2" in found(diagnose(model, sequences(), [0, 1, 2, 0, 1, 0]), "PYL212").what
    assert diagnose(model, sequences(), [-1, *LABELS[1:]]).ok


def test_the_padding_of_labels_is_none_of_them():
    model = lstm_model(return_sequences=True)
    model.add(keras.layers.Dense(2, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    labels = [np.full(t, label) for t, label in zip(LENGTHS, LABELS, strict=True)]
    y = pylstm.pad(labels, value=-1).x
    assert diagnose(model, sequences(), y).ok
    y[1, 1] = -1
    assert "y[1][1] = -1" in found(diagnose(model, sequences(), y), "PYL212").what


def test_negative_labels():
    model = fused()
    model.compile("adam", "sparse_categorical_crossentropy")
    finding = found(diagnose(model, sequences(), [0, 1, 1, 0, 1, -1]), "PYL212")
    assert "y[5] = -1" in finding.what


@pytest.mark.parametrize("x", [dense(), sequences()], ids=["dense", "several lengths"])
@pytest.mark.parametrize("is_built", [True, False])
def test_a_target_per_sample_beside_an_output_per_step(x, is_built):
    front = [keras.Input((None, 5))] * is_built
    steps = pylstm.LSTM(3, return_sequences=True)
    for units, y in ((1, np.zeros(6)), (1, np.zeros((6, 1))), (2, np.eye(2)[LABELS])):
        model = pylstm.Sequential([*front, steps, keras.layers.Dense(units)])
        finding = found(diagnose(model, x, y), "PYL120")
        assert (finding.level, finding.where) == ("warning", "y")
        assert "return_sequences=False" in finding.fix
        model = pylstm.Sequential([*front, pylstm.LSTM(3), keras.layers.Dense(units)])
        assert diagnose(model, x, y).ok
    for y in (np.zeros((6, 4)), np.zeros((6, 4, 2))):
        model = pylstm.Sequential([*front, steps, keras.layers.Dense(2)])
        assert diagnose(model, dense(), y).ok


def test_a_layer_that_refuses_hides_nothing_else():
    model = pylstm.Sequential([pylstm.LSTM(4), keras.layers.Reshape((3,))])
    report = diagnose(model, with_value(np.nan), np.zeros((6, 3)))
    assert found(report, "PYL201").where == "x"
    assert "size of the tensor must be unchanged" in found(report, "PYL209").what


def test_a_model_without_layers_hides_nothing():
    report = diagnose(keras.Sequential(), with_value(np.nan), np.zeros((6, 3)))
    assert found(report, "PYL201").where == "x"
