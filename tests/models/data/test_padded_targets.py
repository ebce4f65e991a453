"""Targets by step, padded: they lose their padding, as the sequences have."""

import keras
import numpy as np
import pytest

import pylstm
from pylstm import errors
from tests.data import sequences
from tests.models.stock import by_step, classifier, per_step


@pytest.mark.parametrize("model_type", [classifier, lambda **_: by_step("unbuilt")])
@pytest.mark.parametrize("longest", [4, 9])
def test_padded_targets_by_step(model_type, longest):
    """They lose their padding: each batch is as long as its own longest sequence."""
    seqs = sequences()
    steps = per_step(seqs)
    weights = [np.full(len(seq), 1.0 + i) for i, seq in enumerate(seqs)]
    options = {"batch_size": 2, "verbose": 0}
    want = model_type(return_sequences=True).evaluate(seqs, steps, sample_weight=weights, **options)
    padded = pylstm.pad(steps, maxlen=longest, value=-1).x, pylstm.pad(weights, maxlen=longest).x
    for y, sample_weight in (padded, (steps, padded[1])):
        got = model_type(return_sequences=True).evaluate(
            seqs, y, sample_weight=sample_weight, **options
        )
        assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("padding", ["post", "pre"])
def test_targets_padded_another_way_than_behind_the_steps(padding):
    seqs = sequences()
    steps = [np.ones((len(seq), 2)) for seq in seqs]
    y = pylstm.pad(steps, padding=padding).x
    y = y[:, :3] if padding == "post" else y
    model = classifier(return_sequences=True)
    model.compile("sgd", "mse")
    with pytest.raises(errors.TimestepError, match=r"\[PYL120\] layer") as caught:
        model.fit(seqs, y)
    assert caught.value.expected.startswith("one entry of y per step of x")
    assert caught.value.got == f"y {y.shape}; the sequences have 1 to 4 steps"
    if padding == "pre":
        fix = caught.value.fix.split("\n")[1].split("     ")[0]
        fixed = eval(fix, {"x": seqs, "y": y})
        for got, want in zip(fixed, steps, strict=True):
            np.testing.assert_array_equal(got, want)


def test_targets_that_are_not_by_step_stay_as_they_are():
    """As many numbers as the longest sequence has steps: by chance, or always."""
    seqs = sequences()
    lstm = pylstm.LSTM(4)
    for layers, shape in [
        ([lstm], (6, 4)),
        ([lstm, keras.layers.RepeatVector(4)], (6, 4, 4)),
    ]:
        model = pylstm.Sequential([keras.Input((None, 5)), *layers])
        model.compile("sgd", "mse")
        y = np.random.default_rng(0).normal(size=shape)
        want = np.mean((model.predict(seqs, verbose=0) - y) ** 2)
        assert model.evaluate(seqs, y, verbose=0) == pytest.approx(want, rel=1e-5)


def test_a_single_step_behind_the_lengths_does_not_tell_padding():
    seqs = sequences((4, 3))
    layers = [keras.Input((None, 5)), pylstm.LSTM(4), keras.layers.RepeatVector(4)]
    model = pylstm.Sequential(layers)
    model.compile("sgd", "mse")
    y = np.random.default_rng(0).normal(size=(2, 4, 4))
    want = np.mean((model.predict(seqs, verbose=0) - y) ** 2)
    assert model.evaluate(seqs, y, verbose=0) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("struct", [dict, tuple])
def test_padded_targets_of_one_output_of_several(struct):
    signal = keras.Input((None, 5))
    steps = pylstm.LSTM(3, return_sequences=True)(signal)
    outputs = {"steps": steps, "last": pylstm.LSTM(4)(steps)}
    y = {"steps": [np.full((len(seq), 3), 2.0) for seq in sequences()], "last": np.ones((6, 4))}
    padded = {**y, "steps": pylstm.pad(y["steps"]).x}
    if struct is tuple:
        outputs, y, padded = (tuple(parts.values()) for parts in (outputs, y, padded))
    model = pylstm.Model(signal, outputs)
    model.compile("sgd", {"steps": "mse", "last": "mse"} if struct is dict else ["mse", "mse"])
    want = model.evaluate(sequences(), y, batch_size=2, verbose=0)
    got = model.evaluate(sequences(), padded, batch_size=2, verbose=0)
    assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("is_built", [True, False])
@pytest.mark.parametrize("kind", [np.array, np.ndarray.tolist])
def test_labels_cut_shorter_than_the_longest_sequence(kind, is_built):
    """Only the losses that compare no entries take a sequence of labels of its own length."""
    seqs, y = sequences(), kind(np.zeros((6, 3), int))
    model = classifier(return_sequences=True) if is_built else by_step("unbuilt")
    with pytest.raises(errors.TimestepError, match=r"\[PYL120\] layer") as caught:
        model.fit(seqs, y)
    assert caught.value.got == "y (6, 3); the sequences have 1 to 4 steps"
    model = classifier(return_sequences=True) if is_built else by_step("unbuilt")
    findings = pylstm.diagnose(model, seqs, y)
    assert [f.level for f in findings if f.code == "PYL120"] == ["error"]
    model.compile("sgd", "ctc")
    assert not [f for f in pylstm.diagnose(model, seqs, y) if f.code == "PYL120"]


class EverySecond(keras.layers.Layer):
    def call(self, x):
        return x[:, ::2]

    def compute_mask(self, x, mask):
        return mask if mask is None else mask[:, ::2]


def test_labels_of_an_output_that_has_fewer_steps():
    layers = [EverySecond(), pylstm.LSTM(3, return_sequences=True), keras.layers.Softmax()]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers])
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert model.fit(sequences((3, 4)), np.zeros((2, 2), int), verbose=0)
