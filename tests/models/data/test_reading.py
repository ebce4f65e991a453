"""Sequences as a whole model reads them: their axes, and how strictly."""

import keras
import numpy as np
import pytest

import pylstm
from pylstm import errors
from pylstm.models.data.entering import strictest_validate
from tests.data import sequences
from tests.models.stock import LABELS, classifier, each_alone
from tests.tolerances import assert_close


def test_validate_is_that_of_the_strictest_layer():
    for asked in (["auto"], ["auto", "warn"], ["auto", "warn", "strict"]):
        for each in (asked, asked[::-1]):
            model = pylstm.Sequential([pylstm.LSTM(2, validate=v) for v in each])
            assert strictest_validate(model) == asked[-1]


LISTS = {
    "univariate": ([], lambda s: s[:, 0], 1),
    "an axis behind the steps": ([keras.Input((None, 5))], lambda s: s[:, None], 5),
}


@pytest.mark.parametrize("name", LISTS)
def test_lines_for_lists_do_what_was_done(name):
    front, change, features = LISTS[name]
    model = pylstm.Sequential([*front, pylstm.LSTM(3)])
    seqs = [change(s) for s in sequences()]
    with pytest.warns(errors.ShapeCorrectionWarning) as caught:
        got = model(seqs)
    line = str(caught[-1].message).partition("Better: ")[2].removesuffix(".")
    fixed = eval(line, {"np": np, "x": seqs})
    assert {s.shape[1:] for s in fixed} == {(features,)}
    assert_close(model(fixed), np.asarray(got), "float32")


def test_sequences_with_axes_of_1_on_both_sides():
    model = pylstm.Sequential([keras.Input((None, 5)), pylstm.LSTM(3)])
    with pytest.warns(errors.ShapeCorrectionWarning):
        got = model.predict([s[None, :, None] for s in sequences()], verbose=0)
    assert_close(got, model.predict(sequences(), verbose=0), "float32")


def test_another_rank_without_a_feature_axis_in_the_input():
    with pytest.warns(errors.ShapeCorrectionWarning, match="PYL122"):
        model = pylstm.Sequential([keras.Input((20,)), pylstm.LSTM(4)])
    assert model.predict(np.zeros((5, 20)), verbose=0).shape == (5, 4)
    assert model.predict(np.zeros((5, 20, 1)), verbose=0).shape == (5, 4)


def test_a_dict_without_values():
    with pytest.raises(errors.StructureError, match="PYL146"):
        classifier().fit({"x": None}, LABELS)


def test_windows_without_a_feature_axis():
    """`timeseries_dataset_from_array` leaves their number of steps open, and features are named."""
    windows = keras.utils.timeseries_dataset_from_array(np.arange(9.0), np.arange(7.0), 3)
    model = pylstm.Sequential([pylstm.LSTM(3)])
    model.compile("sgd", "mse")
    with pytest.raises(errors.RankError, match=r"\[PYL101\]") as caught:
        model.fit(windows, verbose=0)
    assert "keras.ops.expand_dims(x, -1), keras.Input((None, 1)) " in caught.value.fix
    assert "keras.ops.expand_dims(x, 1), keras.Input((1, features)) " in caught.value.fix


def test_an_unbuilt_model_builds_from_a_list():
    keras.utils.set_random_seed(1)
    model = pylstm.Sequential([keras.layers.Dense(3), pylstm.LSTM(2)])
    seqs = sequences()
    outputs = model.predict(seqs, verbose=0)
    assert model.input_shape[2] == 5
    for got, want in zip(outputs, each_alone(model, seqs), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_well_formed_calls_keep_a_callers_mask():
    seqs = sequences()
    model = classifier()
    batch = pylstm.pad(seqs, value=3.0)
    got = model(batch.x, mask=batch.mask)
    np.testing.assert_allclose(got, model(seqs), atol=1e-6)


@pytest.mark.parametrize("method", ["__call__", "predict", "fit"])
def test_series_without_a_feature_axis_need_no_built_model(method):
    """That their lengths differ says which axis is time; no weights have to."""
    seqs = sequences(features=1)
    series = [seq[:, 0] for seq in seqs]
    model = pylstm.Sequential([pylstm.LSTM(4)])
    model.compile("sgd", "mse")
    arguments = {"__call__": (), "predict": (), "fit": (np.zeros((6, 4)),)}[method]
    with pytest.warns(errors.ShapeCorrectionWarning, match="PYL122"):
        getattr(model, method)(series, *arguments)
    built = keras.Sequential([keras.Input((None, 1)), keras.layers.LSTM(4)])
    built.set_weights(model.get_weights())
    got = model.predict(series, verbose=0)
    np.testing.assert_allclose(got, each_alone(built, seqs), atol=2e-6)


@pytest.mark.parametrize("kind", ["pack_sequence", "nested_tensor"])
def test_targets_and_weights_in_torchs_containers(kind):
    torch = pytest.importorskip("torch", reason="torch is not installed")

    def held(arrays):
        tensors = [torch.from_numpy(array) for array in arrays]
        if kind == "nested_tensor":
            return torch.nested.nested_tensor(tensors)
        return torch.nn.utils.rnn.pack_sequence(tensors, enforce_sorted=False)

    seqs, model = sequences(), pylstm.Sequential([pylstm.LSTM(1, return_sequences=True)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    steps = [np.ones((len(seq), 1), np.float32) for seq in seqs]
    weights = [np.arange(1.0, len(seq) + 1) for seq in seqs]
    want = model.evaluate(seqs, steps, sample_weight=weights, verbose=0)
    parts = x, y, sample_weight = held(seqs), held(steps), held(weights)
    got = model.evaluate(x, y, sample_weight=sample_weight, verbose=0)
    assert got == pytest.approx(want, rel=1e-5)
    assert model.evaluate(iter([parts]), verbose=0) == pytest.approx(want, rel=1e-5)
    assert pylstm.diagnose(model, x, y).ok
    outputs = model.predict(seqs, verbose=0)
    for got, want in zip(model.predict(iter([x]), verbose=0), outputs, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)
