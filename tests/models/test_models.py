"""`pylstm.Sequential` and `pylstm.Model`: every way in, and every option of `fit`."""

import os
import pickle
import subprocess
import sys
import textwrap
from collections import OrderedDict

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import pylstm
from pylstm import errors
from pylstm.models.data.entering import strictest_validate
from tests.data import sequences
from tests.models.stock import (
    PADDING,
    assert_fits_like_stock,
    assert_predicts_each_alone,
    classifier,
    each_alone,
    stock_of,
)
from tests.tolerances import assert_close

LABELS = np.array([0, 1, 1, 0, 1, 0])
PLAIN = {"batch_size": 6, "verbose": 0, "shuffle": False}


def assert_same_weights(model, other):
    for got, want in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)


def per_step(seqs):
    return [np.arange(len(seq)) % 2 for seq in seqs]


# Options of fit.


def test_validation_split_takes_the_last_samples():
    seqs = sequences()
    split, explicit = classifier(), classifier()
    got = split.fit(seqs, LABELS, validation_split=0.5, **PLAIN).history
    held_out = (seqs[3:], LABELS[3:])
    want = explicit.fit(seqs[:3], LABELS[:3], validation_data=held_out, **PLAIN).history
    assert {k: v[0] for k, v in got.items()} == pytest.approx(
        {k: v[0] for k, v in want.items()}, rel=1e-5
    )
    assert_same_weights(split, explicit)
    with pytest.raises(errors.BatchMismatchError, match="too few samples"):
        split.fit(seqs, LABELS, validation_split=0.9, **PLAIN)


@pytest.mark.parametrize("form", ["tuple", "with weights", "dataset", "arrays", "generator"])
def test_validation_data(form):
    seqs = sequences()
    model = classifier()
    want = classifier().evaluate(seqs, LABELS, verbose=0)
    model.optimizer.learning_rate = 0.0
    data = {
        "tuple": (seqs, LABELS),
        "with weights": (seqs, LABELS, np.full(6, 1.0)),
        "dataset": pylstm.dataset(seqs, LABELS),
        "arrays": (pylstm.pad(seqs), LABELS.tolist()),
        "generator": ((seqs[i : i + 3], LABELS[i : i + 3]) for i in (0, 3)),
    }[form]
    history = model.fit(seqs, LABELS, validation_data=data, **PLAIN).history
    assert [history["val_loss"][0], history["val_accuracy"][0]] == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "batches"),
    [({}, 1), ({"validation_batch_size": 2}, 3), ({"batch_size": 2, "validation_steps": 2}, 2)],
)
def test_validation_in_batches_of_its_own(options, batches):
    seen = []
    count = keras.callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: seen.append(batch))
    options = {**PLAIN, **options, "callbacks": [count]}
    classifier().fit(sequences(), LABELS, validation_data=(sequences(), LABELS), **options)
    assert len(seen) == batches


def test_held_out_samples_beside_a_split():
    seqs, held_out = sequences(), (sequences(seed=1), LABELS)
    got, want = classifier(), classifier()
    options = {"validation_data": held_out, "epochs": 4, **PLAIN}
    history = got.fit(seqs, LABELS, validation_split=0.5, validation_freq=2, **options).history
    want.fit(seqs, LABELS, **options)
    assert [len(history[name]) for name in ("loss", "val_loss")] == [4, 2]
    assert_same_weights(got, want)


def test_validate_is_that_of_the_strictest_layer():
    for asked in (["auto"], ["auto", "warn"], ["auto", "warn", "strict"]):
        for each in (asked, asked[::-1]):
            model = pylstm.Sequential([pylstm.LSTM(2, validate=v) for v in each])
            assert strictest_validate(model) == asked[-1]


@pytest.mark.parametrize("form", [list, lambda x: (x,), pylstm.pad, pylstm.ragged])
def test_validation_data_without_targets(form):
    data = form(sequences())
    with pytest.raises(errors.RankError, match=r"PYL101.*is not x and y") as caught:
        classifier().fit(sequences(), LABELS, validation_data=data, **PLAIN)
    assert caught.value.fix.startswith("validation_data=(x, y)")


def test_sample_weight():
    seqs = sequences()
    weighted, without = classifier(), classifier()
    weighted.fit(seqs, LABELS, sample_weight=[2, 2, 2, 0, 0, 0], **PLAIN)
    without.fit(seqs[:3], LABELS[:3], batch_size=3, verbose=0, shuffle=False)
    assert_same_weights(weighted, without)


def test_class_weight():
    seqs = sequences()
    by_class, by_sample = classifier(), classifier()
    by_class.fit(seqs, LABELS, class_weight={0: 0.5, 1: 2.0}, **PLAIN)
    by_sample.fit(seqs, LABELS, sample_weight=np.where(LABELS, 2.0, 0.5), **PLAIN)
    assert_same_weights(by_class, by_sample)


def test_class_weight_by_step():
    seqs = sequences()
    steps = per_step(seqs)
    by_class = classifier(return_sequences=True)
    by_step = classifier(return_sequences=True)
    by_class.fit(seqs, steps, class_weight={1: 3.0}, **PLAIN)
    by_step.fit(seqs, steps, sample_weight=[np.where(s, 3.0, 1.0) for s in steps], **PLAIN)
    assert_same_weights(by_class, by_step)
    one_hot = classifier(return_sequences=True)
    one_hot.compile(keras.optimizers.SGD(0.5), keras.losses.CategoricalCrossentropy(True))
    one_hot.fit(seqs, [np.eye(2)[s] for s in steps], class_weight={1: 3.0}, **PLAIN)
    assert_same_weights(one_hot, by_step)
    with pytest.raises(ValueError, match="cannot be given at the same time"):
        by_class.fit(seqs, steps, class_weight={1: 3.0}, sample_weight=[1.0] * 6, **PLAIN)


class Steps(pylstm.Model):
    """A model whose outputs Keras knows only once it computes them."""

    def __init__(self):
        super().__init__()
        self.lstm = pylstm.LSTM(2, return_sequences=True)

    def call(self, x):
        return self.lstm(x)


def by_step(kind):
    """Three ways to make a model of outputs per step."""
    keras.utils.set_random_seed(7)
    layers = [pylstm.LSTM(4, return_sequences=True), keras.layers.Dense(2)]
    front = [keras.Input((None, 5))] if kind == "built" else []
    model = Steps() if kind == "subclassed" else pylstm.Sequential([*front, *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss)
    return model


@pytest.mark.parametrize("lengths", [[6] * 6, [2] * 6, [3]])
@pytest.mark.parametrize("kind", ["built", "unbuilt"])
def test_class_weight_by_step_of_equal_lengths(kind, lengths):
    """Labels are by step where the output is, whatever Keras takes them for."""
    seqs = sequences(lengths)
    steps = per_step(seqs)
    weights = [np.where(s, 3.0, 1.0) for s in steps]
    want = by_step(kind).train_on_batch(seqs, steps, weights)
    for y in steps, np.stack(steps), np.stack(steps)[..., None]:
        got = by_step(kind).train_on_batch(seqs, y, class_weight={1: 3.0})
        assert got == pytest.approx(want, rel=1e-5)
    history = by_step(kind).fit(seqs, steps, class_weight={1: 3.0}, verbose=0).history
    assert history["loss"] == pytest.approx([want], rel=1e-5)


@pytest.mark.parametrize("lengths", [[6] * 6, [3] * 6, [3, 6, 1, 4, 4, 2]])
def test_class_weight_by_step_of_a_dataset(lengths):
    seqs = sequences(lengths)
    steps = per_step(seqs)
    got, want = by_step("built"), by_step("built")
    batches = pylstm.dataset(seqs, steps, batch_size=2, shuffle=False)
    got.fit(batches, class_weight={1: 3.0}, verbose=0)
    want.fit(seqs, steps, batch_size=2, shuffle=False, class_weight={1: 3.0}, verbose=0)
    assert_same_weights(got, want)
    weighted = pylstm.dataset(seqs, steps, sample_weight=[1.0] * 6)
    with pytest.raises(errors.OptionError, match="cannot be given at the same time"):
        got.fit(weighted, class_weight={1: 3.0}, verbose=0)


def test_batches_of_a_dataset_are_ordinary_arrays():
    seqs = sequences([3, 6, 1, 6])
    _, y, weight = pylstm.dataset(seqs, seqs, batch_size=4, shuffle=False)[0]
    padded = pylstm.pad(seqs)
    for got, want in ((y, padded.x), (weight, padded.mask)):
        assert got.shape == np.zeros(got.shape).shape == pickle.loads(pickle.dumps(got)).shape
        assert got.mean() == pytest.approx(want.mean())
        assert got.std() == pytest.approx(want.std())
        assert str(got).startswith("[[")
        np.testing.assert_array_equal(got, want)


def test_a_dataset_of_no_batch():
    with pytest.raises(errors.OptionError, match="drop_remainder=False"):
        pylstm.dataset(sequences(), LABELS, batch_size=7, drop_remainder=True)
    assert len(pylstm.dataset(sequences(), LABELS, batch_size=6, drop_remainder=True)) == 1


@pytest.mark.parametrize("kind", [iter, lambda labels: (label for label in labels)])
def test_labels_of_a_generator(kind):
    got, want = classifier(), classifier()
    got.fit(sequences(), kind(list(LABELS)), **PLAIN)
    want.fit(sequences(), LABELS, **PLAIN)
    assert_same_weights(got, want)


@pytest.mark.parametrize("more", [1, -1])
def test_labels_of_one_step_too_many_or_few(more):
    """The fix cuts what goes on where the other has ended."""
    x = sequences([3, 6, 2])
    y = [np.zeros(len(s) + more, int) for s in x]
    model = classifier(return_sequences=True)
    with pytest.raises(errors.TimestepError, match="PYL120") as caught:
        model.fit(x, y, verbose=0)
    names = {"x": x, "y": y}
    exec(caught.value.fix.partition("     ")[0], names)
    model.fit(names["x"], names["y"], verbose=0)


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


def test_a_time_distributed_lstm():
    videos = [np.random.default_rng(n).normal(size=(n, 6, 5)).astype("float32") for n in (3, 5, 4)]
    frames, each = keras.Input((None, 6, 5)), keras.layers.TimeDistributed(pylstm.LSTM(4))
    model = pylstm.Model(frames, pylstm.LSTM(3)(each(frames)))
    model.compile(run_eagerly=True)
    alone = np.concatenate([model.predict(video[None], verbose=0) for video in videos])
    assert_close(model.predict(videos, verbose=0), alone, "float32")


@pytest.mark.parametrize("struct", [dict, tuple])
def test_class_weight_of_several_outputs(struct):
    signal = keras.Input((None, 5))
    steps = pylstm.LSTM(2, return_sequences=True)(signal)
    outputs = {"steps": steps, "last": pylstm.LSTM(2)(steps)}
    y = {"steps": per_step(sequences()), "last": LABELS}
    if struct is tuple:
        outputs, y = list(outputs.values()), tuple(y.values())
    model = pylstm.Model(signal, outputs)
    model.compile("sgd", "mse")
    with pytest.raises(errors.RankError, match=r"\[PYL101\].* of a single output") as caught:
        model.fit(sequences(), y, class_weight={1: 3.0})
    assert caught.value.got == "targets of 2 outputs"


def test_class_weight_leaves_the_held_out_samples_alone():
    model = by_step("built")
    model.optimizer.learning_rate = 0.0
    options = {"class_weight": {1: 3.0}, "validation_split": 0.5, "verbose": 0}
    for lengths in ([3] * 6, (3, 2, 4, 2, 3, 1)):
        seqs = sequences(lengths)
        want = model.evaluate(seqs[3:], per_step(seqs)[3:], verbose=0)
        history = model.fit(seqs, per_step(seqs), **options).history
        assert history["val_loss"] == pytest.approx([want], rel=1e-5)


def test_class_weight_of_one_hot_targets_stays_keras():
    seqs, one_hot = sequences([2] * 6), np.eye(2)[LABELS]
    models = classifier(), classifier()
    for model, y in zip(models, (one_hot, list(one_hot)), strict=True):
        model.compile(keras.optimizers.SGD(0.5), keras.losses.CategoricalCrossentropy(True))
        model.fit(seqs, y, class_weight={1: 3.0}, **PLAIN)
    assert_same_weights(*models)


def test_class_weight_of_targets_that_can_be_read_in_two_ways():
    seqs = sequences([2] * 6)
    with pytest.raises(errors.RankError, match=r"\[PYL102\].*per step or one-hot") as caught:
        by_step("subclassed").fit(seqs, per_step(seqs), class_weight={1: 3.0})
    assert caught.value.got == "6 targets (2,), and outputs of unknown shape"
    y, class_weight = per_step(seqs), {1: 3.0}
    weights = eval(caught.value.fix.split("     ")[0].removeprefix("sample_weight="), locals())
    assert by_step("subclassed").fit(seqs, y, sample_weight=weights, verbose=0)


def test_callbacks_and_progress_see_the_batches():
    seen = []
    callback = keras.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: seen.append(batch))
    classifier().fit(sequences(), LABELS, batch_size=4, callbacks=[callback], verbose=0)
    assert seen == [0, 1]


def test_shuffle_draws_each_epoch_anew():
    lengths = np.arange(1, 65)
    seqs = sequences(lengths)
    seen = []

    def flat():
        return [length for batch in seen for length in batch]

    class Spy(pylstm.Sequential):
        def train_step(self, data):
            seen.append(data[0].row_lengths().numpy().tolist())
            return super().train_step(data)

    model = Spy([keras.Input((None, 5)), pylstm.LSTM(2), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(seqs, np.zeros(64), epochs=2, batch_size=8, verbose=0)
    first, second = flat()[:64], flat()[64:]
    assert sorted(first) == sorted(second) == lengths.tolist()
    assert first != second
    assert all(max(batch) - min(batch) < 8 for batch in seen)  # of similar length
    seen.clear()
    model.fit(seqs, np.zeros(64), batch_size=8, verbose=0, shuffle=False)
    assert flat() == lengths.tolist()


# Targets by step.


def test_targets_by_step():
    seqs = sequences()
    padded_labels = pylstm.pad(per_step(seqs)).x
    model = classifier(return_sequences=True)
    assert_fits_like_stock(model, seqs, per_step(seqs), seqs, stock_y=padded_labels)


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


def test_ragged_targets_of_a_dataset():
    seqs = sequences()
    y = tf.ragged.constant([list(steps) for steps in per_step(seqs)])
    data = tf.data.Dataset.from_tensor_slices((pylstm.ragged(seqs), y)).batch(3)
    model = classifier(return_sequences=True)
    for run in (model.fit, model.evaluate, lambda data: model.fit(seqs, y, validation_data=data)):
        with pytest.raises(errors.RaggedError, match=r"PYL114.*targets are ragged") as caught:
            run(data)
    padded = eval(caught.value.fix.splitlines()[-1], {"dataset": data})
    want = model.evaluate(seqs, per_step(seqs), batch_size=3, verbose=0)
    assert model.evaluate(padded, verbose=0) == pytest.approx(want, rel=1e-5)


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


def test_outputs_by_step_come_back_without_padding():
    seqs = sequences()
    model = classifier(return_sequences=True)
    assert_predicts_each_alone(model, seqs, seqs, return_sequences=True)
    outputs = model.predict(seqs, batch_size=2, verbose=0)
    assert [output.shape for output in outputs] == [(len(seq), 2) for seq in seqs]
    on_batch = model.predict_on_batch(seqs)
    for got, want in zip(on_batch, outputs, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)
    for batches in (pylstm.dataset(seqs, batch_size=2), iter([(seqs[:2],), (seqs[2:],)])):
        for got, want in zip(model.predict(batches, verbose=0), outputs, strict=True):
            assert isinstance(got, np.ndarray)
            np.testing.assert_allclose(got, want, atol=1e-6)
    even = model.predict(sequences([3] * 4), verbose=0)
    assert even.shape == (4, 3, 2)


def test_steps_alone_say_how_large_the_batches_are():
    """As Keras does for arrays."""
    lengths = np.arange(1, 41)
    seqs, model, seen = sequences(lengths), classifier(), []
    count = keras.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: seen.append(batch))
    model.fit(seqs, np.zeros(40), steps_per_epoch=10, callbacks=[count], verbose=0)
    assert seen == list(range(10))
    np.testing.assert_allclose(
        model.predict(seqs, steps=3, verbose=0), model.predict(seqs, verbose=0), atol=1e-6
    )


def predict_by_batch(lengths, batch=None, options=None, stateful=False, **lstm_options):
    """The lengths in each batch, and what must be the same for each sequence: predicted, alone."""
    seqs, seen = sequences(lengths), []

    class Spy(pylstm.Sequential):
        def predict_step(self, data):
            seen.append(data[0].row_lengths().numpy().tolist())
            return super().predict_step(data)

    lstm = pylstm.LSTM(2, stateful=stateful, **lstm_options)
    model = Spy([keras.Input((None, 5), batch_size=batch), lstm])
    model.compile(run_eagerly=True)
    outputs = model.predict(seqs, batch_size=4, verbose=0, **options or {})
    alone = pylstm.Sequential([keras.Input((None, 5)), pylstm.LSTM(2, **lstm_options)])
    alone.set_weights(model.get_weights())
    return seen, outputs, [alone(seq[None])[0] for seq in seqs[: len(outputs)]]


@pytest.mark.parametrize("return_sequences", [False, True])
def test_predict_takes_similar_lengths_together(return_sequences):
    lengths = np.random.default_rng(1).permutation(np.arange(1, 13))
    seen, outputs, alone = predict_by_batch(lengths, return_sequences=return_sequences)
    assert seen == [[12, 11, 10, 9], [8, 7, 6, 5], [4, 3, 2, 1]]
    for output, want in zip(outputs, alone, strict=True):
        np.testing.assert_allclose(output, want, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"steps": 1}, {"callbacks": [keras.callbacks.LambdaCallback()]}]
)
def test_predict_keeps_the_order_that_someone_sees(options):
    seen, outputs, alone = predict_by_batch((3, 2, 4, 2, 3, 1), options=options)
    assert seen == [[3, 2, 4, 2], [3, 1]][: options.get("steps", 2)]
    np.testing.assert_allclose(outputs, alone, atol=1e-6)


def test_predict_keeps_the_order_of_outputs_that_are_not_by_sample():
    class Pairs(pylstm.Model):
        def __init__(self, lstm):
            super().__init__()
            self.lstm = lstm

        def call(self, x):
            y = self.lstm(x)
            return {"twice": keras.ops.concatenate([y, -y]), "once": y}

    seqs = sequences((1, 2, 3, 4, 5, 6))
    lstm = pylstm.LSTM(2)
    outputs = Pairs(lstm).predict(seqs, batch_size=3, verbose=0)
    want = pylstm.Sequential([lstm]).predict(seqs, verbose=0)
    np.testing.assert_allclose(outputs["once"], want, atol=1e-6)
    twice = np.concatenate([want[:3], -want[:3], want[3:], -want[3:]])
    np.testing.assert_allclose(outputs["twice"], twice, atol=1e-6)


def test_predict_keeps_the_order_of_a_stateful_layer():
    seen, _, _ = predict_by_batch((3, 2, 4, 2, 5, 4, 1, 6), 4, stateful=True)
    assert seen == [[3, 2, 4, 2], [5, 4, 1, 6]]


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("options", [{"front": [keras.layers.Masking(0.0)]}, {"mask_value": 0.0}])
def test_a_step_that_a_layer_masks_has_its_row(options, step):
    seqs = sequences()
    seqs[2][step] = 0
    outputs = classifier(return_sequences=True, **options).predict(seqs, verbose=0)
    assert [len(rows) for rows in outputs] == [len(seq) for seq in seqs]
    np.testing.assert_array_equal(outputs[2][step], outputs[2][step - 1])


def test_outputs_by_step_of_two_inputs_have_each_its_own_length():
    inputs = [keras.Input((None, 5)), keras.Input((None, 5))]
    model = pylstm.Model(inputs, [pylstm.LSTM(2, return_sequences=True)(x) for x in inputs])
    x = sequences(), sequences([2, 3, 4, 1, 2, 1])
    for rows, seqs in zip(model.predict(x, verbose=0), x, strict=True):
        assert [len(row) for row in rows] == [len(seq) for seq in seqs]


# Batches.


def test_on_batch():
    seqs = sequences()
    model, other = classifier(), classifier()
    want = other.fit(seqs, LABELS, **PLAIN).history
    got = model.train_on_batch(seqs, LABELS.tolist(), return_dict=True)
    assert got["loss"] == pytest.approx(want["loss"][0], rel=1e-5)
    assert_same_weights(model, other)
    evaluated = other.evaluate(seqs, LABELS, verbose=0)
    assert model.test_on_batch(seqs, LABELS) == pytest.approx(evaluated, rel=1e-5)
    predicted = other.predict(seqs, verbose=0)
    np.testing.assert_allclose(model.predict_on_batch(seqs), predicted, atol=1e-6)


def test_train_on_batch_with_targets_by_step():
    seqs = sequences()
    model, other = classifier(return_sequences=True), classifier(return_sequences=True)
    model.train_on_batch(seqs, per_step(seqs), class_weight={1: 3.0})
    other.fit(seqs, per_step(seqs), class_weight={1: 3.0}, **PLAIN)
    assert_same_weights(model, other)


# What Keras takes by itself stays Keras'.


def test_arrays_and_tf_data_train_as_in_stock_keras():
    x, y = np.stack(sequences([3] * 6)), LABELS
    for data in [(x, y), (tf.data.Dataset.from_tensor_slices((x, y)).batch(3), None)]:
        model = classifier()
        stock = stock_of(model)
        options = {"epochs": 2, "verbose": 0}
        if data[1] is not None:
            options.update(batch_size=3, shuffle=False)
        model.fit(*data, **options)
        stock.fit(*data, **options)
        for got, want in zip(model.get_weights(), stock.get_weights(), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-5)


def test_an_array_reaches_keras_as_the_same_object(monkeypatch):
    x = np.stack(sequences([3] * 6))
    seen = []
    monkeypatch.setattr(keras.Sequential, "fit", lambda self, *args, **kwargs: seen.extend(args))
    classifier().fit(x, LABELS)
    assert seen[0] is x
    assert seen[1] is LABELS


def test_another_rank_than_in_an_earlier_call():
    x = np.stack(sequences([3] * 6))
    model = classifier()
    for y in (LABELS, LABELS[:, None], pd.Series(LABELS), pd.DataFrame(LABELS)):
        model.fit(x, y, verbose=0)
        model.evaluate(x, y, verbose=0)
        model.train_on_batch(x, y)
        model.test_on_batch(x, y)
    series = pylstm.Sequential([keras.Input((None, 1)), pylstm.LSTM(2)])
    want = series(x[..., :1])
    for same in (x[..., 0], x[..., :1], x[..., :1, None], x[..., 0]):
        np.testing.assert_allclose(series.predict(same, verbose=0), want, atol=1e-6)
        np.testing.assert_allclose(series.predict_on_batch(same), want, atol=1e-6)


class Halves(keras.utils.PyDataset):
    """Two batches."""

    def __init__(self, x, y):
        super().__init__()
        self.parts = x, y

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return tuple(part[3 * index : 3 * index + 3] for part in self.parts)


@pytest.mark.parametrize(
    "batches",
    [Halves, lambda *xy: tf.data.Dataset.from_tensor_slices(xy).batch(3)],
    ids=["pydataset", "tf.data"],
)
def test_batches_of_another_rank_than_in_an_earlier_call(batches):
    traces = []

    class Spy(pylstm.Sequential):
        def train_step(self, data):
            traces.append(data[0].shape)
            return super().train_step(data)

    x = np.stack(sequences([3] * 6, features=1))
    model = Spy([keras.Input((None, 1)), pylstm.LSTM(2)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = model(x).numpy() + 1.0
    for same in (x, x[..., 0], x, x[..., 0]):
        history = model.fit(batches(same, y), validation_data=batches(same, y), verbose=0).history
        assert history["loss"] + history["val_loss"] == pytest.approx([1.0, 1.0])
        assert model.evaluate(batches(same, y), verbose=0) == pytest.approx(1.0)
        np.testing.assert_allclose(model.predict(batches(same, y), verbose=0), y - 1.0, atol=1e-6)
    assert [len(shape) for shape in traces] == [3, 2]  # each traced once


def test_the_fix_after_an_error_in_the_first_fit():
    seqs = sequences()
    model = classifier(front=[keras.layers.Conv1D(5, 2, padding="causal")])
    with pytest.raises(errors.RaggedError, match=r"PYL130") as caught:
        model.fit(seqs, LABELS, verbose=0)
    assert "pylstm.pad(sequences).x" in caught.value.fix
    for _ in range(2):
        model.fit(pylstm.pad(seqs).x, LABELS, verbose=0)


def test_another_rank_without_a_feature_axis_in_the_input():
    with pytest.warns(errors.ShapeCorrectionWarning, match="PYL122"):
        model = pylstm.Sequential([keras.Input((20,)), pylstm.LSTM(4)])
    assert model.predict(np.zeros((5, 20)), verbose=0).shape == (5, 4)
    assert model.predict(np.zeros((5, 20, 1)), verbose=0).shape == (5, 4)


SENTENCES = ["the cat sat", "a dog", "bird is here now"]


def vectorizer():
    layer = keras.layers.TextVectorization()
    layer.adapt(SENTENCES)
    return layer


def test_a_dict_of_one_input_before_the_model_is_built():
    seqs = sequences()
    model = pylstm.Sequential([keras.layers.Dense(4), pylstm.LSTM(3)])
    model.compile("sgd", "mse")
    model.fit({"a": seqs}, np.zeros((6, 3)), verbose=0)
    np.testing.assert_array_equal(
        model.predict({"a": seqs}, verbose=0), model.predict(seqs, verbose=0)
    )
    model = pylstm.Sequential([keras.layers.Dense(4), pylstm.LSTM(3)])
    with pytest.raises(errors.RankError, match=r"PYL101.*has 1 input"):
        model.predict({"a": seqs, "b": seqs}, verbose=0)


@pytest.mark.parametrize("declare", [True, False])
@pytest.mark.parametrize(
    "convert",
    [tf.constant, list, np.array, lambda text: np.array(text, object), pd.Series],
    ids=["tensor", "list", "array", "objects", "series"],
)
def test_text_reaches_a_layer_that_takes_it(declare, convert):
    layers = [vectorizer(), keras.layers.Embedding(20, 4, mask_zero=True), pylstm.LSTM(3)]
    front = [keras.Input((1,), dtype="string")]
    want = keras.Sequential(front + layers).predict(tf.constant(SENTENCES), verbose=0)
    model = pylstm.Sequential(front + layers if declare else layers)
    x = convert(SENTENCES)
    for run in (lambda x: model.predict(x, verbose=0), model, model.predict_on_batch):
        np.testing.assert_allclose(run(x), want, atol=1e-6)
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((3, 3)), batch_size=2, verbose=0)


class Reader(pylstm.Model):
    """A model whose inputs Keras does not know."""

    def __init__(self):
        super().__init__()
        self.layer_list = [vectorizer(), keras.layers.Embedding(20, 4, mask_zero=True)]
        self.lstm = pylstm.LSTM(3)

    def call(self, x):
        for layer in self.layer_list:
            x = layer(x)
        return self.lstm(x)


@pytest.mark.parametrize(
    "convert",
    [tf.constant, list, np.array, lambda text: np.array(text, object)[:, None], pd.Series],
    ids=["tensor", "list", "array", "objects", "series"],
)
def test_text_reaches_a_model_that_declares_no_input(convert):
    model = Reader()
    want = model(tf.constant(SENTENCES))
    x = convert(SENTENCES)
    data = tf.data.Dataset.from_tensor_slices(SENTENCES).batch(3)
    for run in (lambda x: model.predict(x, verbose=0), model, model.predict_on_batch):
        np.testing.assert_allclose(run(x), want, atol=1e-6)
    np.testing.assert_allclose(model.predict(data, verbose=0), want, atol=1e-6)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history = model.fit(x, want + 1.0, batch_size=3, verbose=0).history
    assert history["loss"] == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("x", "got"),
    [
        (["text", None], "1 of 2 values are no strings; the first is None"),
        (pd.Series([np.nan, "text"]), "1 of 2 values are no strings; the first is nan"),
        (
            [["some", "words"], ["text"]],
            "2 of 2 values are no strings; the first is ['some'",
        ),
    ],
)
def test_text_that_does_not_hold_strings_alone(x, got):
    layers = [keras.layers.StringLookup(vocabulary=["text"], mask_token="")]
    layers += [keras.layers.Embedding(9, 4, mask_zero=True), pylstm.LSTM(3)]
    model = pylstm.Sequential([keras.Input((None,), dtype="string"), *layers])
    for run in (model.predict, model):
        with pytest.raises(errors.DTypeError, match=r"PYL118.*does not hold strings") as caught:
            run(x)
        assert caught.value.got.startswith(got)
    fixed = eval(caught.value.fix.partition("     ")[0], None, {"x": x, "tf": tf})
    alone = model.predict(np.array([["text"]]), verbose=0)[0]
    if isinstance(x[0], list):
        np.testing.assert_allclose(model.predict(fixed, verbose=0)[1], alone, atol=1e-6)
    else:
        assert model.predict(np.array(fixed)[:, None], verbose=0).shape == (2, 3)


def test_numbers_where_text_is_declared():
    layers = [keras.layers.StringLookup(vocabulary=["1"]), keras.layers.Embedding(9, 4)]
    model = pylstm.Sequential([keras.Input((None,), dtype="string"), *layers, pylstm.LSTM(3)])
    for x in (tf.zeros((2, 1)), np.zeros((2, 3)), [[1, 2], [3]]):
        for run in (model.predict, model):
            with pytest.raises(errors.DTypeError, match=r"PYL118.*does not hold strings"):
                run(x)


def test_one_string_is_no_batch_of_text():
    model = pylstm.Sequential([vectorizer(), keras.layers.Embedding(20, 4), pylstm.LSTM(3)])
    for run in (model.predict, model):
        with pytest.raises(errors.RankError, match=r"PYL101.*single string is no batch"):
            run(SENTENCES[0])
    assert model.predict([SENTENCES[0]], verbose=0).shape == (1, 3)


def test_a_dict_without_an_input():
    signal, meta = keras.Input((None, 5), name="signal"), keras.Input((2,), name="meta")
    joined = keras.layers.Concatenate()([pylstm.LSTM(3)(signal), meta])
    x = {"signal": sequences(), "mta": np.zeros((6, 2))}
    by_name = "{'meta': ..., 'signal': ...}"  # in the order of Keras, which sorts the keys
    in_order = "{'signal': ..., 'meta': ...}"
    for inputs, fix in (
        ({"signal": signal, "meta": meta}, by_name),
        ([signal, meta], in_order),
    ):
        model = pylstm.Model(inputs, joined)
        for run in (model.predict, model):
            with pytest.raises(errors.RankError, match=r"PYL101.* lacks an input") as caught:
                run(x)
            assert caught.value.got == "the keys 'signal', 'mta'"
            assert caught.value.fix == fix


def test_a_dict_of_one_input_takes_it_alone():
    x = {"x": keras.Input((None, 5), name="x")}
    model = pylstm.Model(x, pylstm.LSTM(3)(x["x"]))
    want = model.predict({"x": sequences()}, verbose=0)
    for same in (sequences(), pylstm.pad(sequences())):
        np.testing.assert_allclose(model.predict(same, verbose=0), want, atol=1e-6)


def test_a_dict_that_keeps_its_order():
    x = OrderedDict((name, keras.Input((None, 5), name=name)) for name in "ba")
    lstm = pylstm.LSTM(3)
    model = pylstm.Model(x, lstm(x["b"]) + 0.0 * pylstm.LSTM(3)(x["a"]))
    one, other = sequences(), sequences(seed=1)
    want = pylstm.Sequential([lstm]).predict(one, verbose=0)
    for given in ({"a": other, "b": one}, OrderedDict(b=one, a=other)):
        np.testing.assert_allclose(model.predict(given, verbose=0), want, atol=1e-6)
        np.testing.assert_allclose(model(given), want, atol=1e-6)


def test_a_dict_without_values():
    with pytest.raises(errors.DTypeError, match=r"PYL118.*there is no x"):
        classifier().fit({"x": None}, LABELS)


def test_a_tuple_for_a_model_of_a_dict():
    x = {"signal": keras.Input((None, 5)), "meta": keras.Input((2,))}
    model = pylstm.Model(x, keras.layers.Concatenate()([pylstm.LSTM(3)(x["signal"]), x["meta"]]))
    for run in (model.predict, model):
        with pytest.raises(errors.RankError, match=r"PYL101.*takes a dict") as caught:
            run((sequences(), np.zeros((6, 2))))
        assert caught.value.got == "a tuple or list of 2"


@pytest.mark.parametrize("model_type", [keras.Model, pylstm.Model])
def test_other_inputs_than_the_model_has(model_type):
    signal, meta = keras.Input((None, 5), name="signal"), keras.Input((2,), name="meta")
    one = model_type(signal, pylstm.LSTM(3)(signal))
    two = model_type([signal, meta], [pylstm.LSTM(3)(signal), meta])
    x = np.zeros((6, 3, 5))
    for model, wrong in ((two, x), (one, {"sound": x}), (two, {"signal": x})):
        (finding,) = pylstm.diagnose(model, wrong)
        assert (finding.level, finding.code) == ("error", "PYL101")
        if model_type is pylstm.Model:
            with pytest.raises(errors.RankError, match=r"PYL101.* (has 2 inputs|lacks an input)"):
                model.predict(wrong)


def test_a_dict_for_a_sequential_model():
    seqs, model = sequences(), classifier()
    for run in (model, lambda x: model.predict(x, verbose=0)):
        np.testing.assert_allclose(run({"x": seqs}), run(seqs), atol=1e-6)
        with pytest.raises(errors.RankError, match=r"PYL101.*the model has 1 input") as caught:
            run({"x": seqs, "y": seqs})
        assert caught.value.fix.startswith("x['x']\n")
    assert pylstm.diagnose(model, {"x": seqs}).ok
    assert not pylstm.diagnose(model, {"x": seqs, "y": seqs}).ok


def test_text_beside_sequences():
    text, signal = keras.Input((), dtype="string"), keras.Input((None, 5))
    words = keras.layers.Embedding(20, 4)(vectorizer()(text))
    outputs = keras.layers.Concatenate()([pylstm.LSTM(3)(words), pylstm.LSTM(2)(signal)])
    model = pylstm.Model([text, signal], outputs)
    seqs = sequences()[:3]
    got = model.predict([SENTENCES, seqs], verbose=0)
    for i, seq in enumerate(seqs):
        # One batch of text has the steps of its longest.
        alone = model([SENTENCES, np.stack([seq] * 3)])[i]
        np.testing.assert_allclose(got[i], alone, atol=1e-6)
    with pytest.raises(errors.DTypeError, match=r"PYL118.*does not hold numbers"):
        pylstm.Sequential([keras.Input((None, 1)), pylstm.LSTM(2)]).predict(SENTENCES)


# The mask, through the layers in front.


class MaskSpy(keras.layers.Layer):
    """Keeps the mask it is given."""

    def __init__(self):
        super().__init__()
        self.supports_masking = True
        self.seen = None

    def call(self, x, mask=None):
        self.seen = mask
        return x


@pytest.mark.parametrize(
    "front",
    [
        lambda: [keras.layers.Dense(5)],
        lambda: [keras.layers.TimeDistributed(keras.layers.Dense(5))],
        lambda: [keras.layers.Bidirectional(pylstm.LSTM(3, return_sequences=True))],
        lambda: [pylstm.LSTM(3, return_sequences=True), keras.layers.Dropout(0.1)],
    ],
)
def test_layers_in_front_see_the_mask_that_masking_gives(front):
    seqs = sequences()
    spy = MaskSpy()
    keras.utils.set_random_seed(0)
    model = pylstm.Sequential([keras.Input((None, 5)), *front(), spy, pylstm.LSTM(3)])
    model(seqs)
    np.testing.assert_array_equal(spy.seen, pylstm.pad(seqs).mask)
    masking = keras.Sequential([keras.layers.Masking(PADDING), *model.layers])
    want = masking.predict(pylstm.pad(seqs, value=PADDING).x, verbose=0)
    np.testing.assert_allclose(model(seqs), want, atol=1e-6)


def test_a_masking_layer_masks_the_padding():
    """It makes a mask of its own from the values, whatever mask comes in."""
    seqs = sequences()
    model = classifier(front=[keras.layers.Masking(PADDING)])
    assert_predicts_each_alone(model, seqs, seqs)
    tokens = [[1, 2, 3], [4]]
    words = pylstm.Sequential([keras.layers.Embedding(5, 4, mask_zero=True), pylstm.LSTM(3)])
    alone = words(np.array([[4]]))[0]
    np.testing.assert_allclose(words.predict(tokens, verbose=0)[1], alone, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 9.0, PADDING])
def test_a_padded_batch_is_masked_whatever_it_is_padded_with(value):
    seqs = sequences()
    batch = pylstm.pad(seqs, value=value)
    assert_predicts_each_alone(classifier(), batch, seqs)
    for masked in (0.0, PADDING):
        assert_predicts_each_alone(classifier(front=[keras.layers.Masking(masked)]), batch, seqs)


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int64"])
def test_padding_has_the_masked_value_where_the_dtype_has_not(dtype):
    seqs = [seq > 0 for seq in sequences((2, 4))]
    model = classifier(front=[keras.layers.Masking(-0.5)])
    assert_predicts_each_alone(model, [seq.astype(dtype) for seq in seqs], seqs)


def test_each_input_is_padded_with_the_value_that_its_own_layers_mask():
    seqs, others = sequences((2, 4, 3)), sequences((5, 2, 3), seed=1)
    words = [[1, 2], [3], [0, 4, 2, 1]]
    inputs = [keras.Input((None, 5)), keras.Input((None, 5)), keras.Input((None,))]
    inner = keras.Sequential([keras.layers.Masking(-2.0), pylstm.LSTM(2)])
    branches = [
        pylstm.LSTM(2)(keras.layers.Masking(-1.0)(inputs[0])),
        inner(inputs[1]),
        pylstm.LSTM(2)(keras.layers.Embedding(5, 4, mask_zero=True)(inputs[2])),
    ]
    model = pylstm.Model(inputs, branches)
    outputs = model.predict((seqs, others, words), verbose=0)
    for row, parts in enumerate(zip(seqs, others, words, strict=True)):
        alone = model([np.asarray(part)[None] for part in parts])
        for output, want in zip(outputs, alone, strict=True):
            np.testing.assert_allclose(output[row], want[0], atol=1e-6)


@pytest.mark.parametrize("functional", [False, True])
def test_a_masking_layer_must_see_the_padding_as_it_was_made(functional):
    masking = keras.layers.Masking(0.0, name="late")
    layers = [keras.layers.Rescaling(2.0, offset=1.0), masking, pylstm.LSTM(2)]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers])
    if functional:
        model = pylstm.Model(model.inputs, model.outputs)
    model(np.ones((2, 3, 5)))  # no padding
    for run in (model, model.predict):
        with pytest.raises(errors.RaggedError, match="changes the padding") as caught:
            run(sequences())
        assert caught.value.layer == "late"
        assert caught.value.expected == "a Masking layer that reads the model's input itself"
        assert caught.value.got == "sequences of different lengths, behind another layer"
        assert caught.value.fix == "'late' as the first layer, and no other that masks a value"
    pylstm.Sequential([masking, *layers[::2]]).predict(sequences(), verbose=0)


def test_a_masking_layer_may_follow_where_the_steps_have_ended():
    seqs = sequences()
    front = [pylstm.LSTM(5), keras.layers.RepeatVector(3), keras.layers.Masking(0.0)]
    model = pylstm.Sequential([keras.Input((None, 5)), *front, pylstm.LSTM(2)])
    for got, seq in zip(model.predict(seqs, verbose=0), seqs, strict=True):
        np.testing.assert_allclose(got, model(seq[None])[0], atol=1e-6)


def test_one_input_cannot_be_padded_with_two_values():
    x = keras.Input((None, 5))
    branches = [pylstm.LSTM(2)(keras.layers.Masking(value)(x)) for value in (-1.0, -2.0)]
    with pytest.raises(errors.RaggedError, match="several values") as caught:
        pylstm.Model(x, branches).predict(sequences())
    assert caught.value.expected == "one mask_value"
    assert caught.value.got == "mask_value=-2.0, mask_value=-1.0"
    assert caught.value.fix == "keras.layers.Masking(-1.0) instead of each"


def test_time_distributed_never_drops_steps():
    """Keras 3.15 computes as many steps as there are samples where it knows neither."""
    seqs = sequences()
    inner = keras.layers.TimeDistributed(keras.layers.Dense(5), name="each")
    model = pylstm.Sequential([keras.Input((None, 5)), inner, pylstm.LSTM(3)])
    with pytest.raises(errors.TimestepError, match=r"\[PYL129\] layer 'each'") as caught:
        model.predict(seqs)
    assert "keras.layers.Dense without" in caught.value.fix
    plain = pylstm.Sequential([keras.Input((None, 5)), inner.layer, model.layers[1]])
    np.testing.assert_allclose(plain.predict(seqs, verbose=0), model(seqs), atol=1e-6)
    model.compile(run_eagerly=True)
    np.testing.assert_allclose(model.predict(seqs, verbose=0), model(seqs), atol=1e-6)


def test_time_distributed_behind_a_fixed_number_of_steps():
    """As in an encoder and decoder, whose input alone has several lengths."""
    seqs = sequences()
    each = keras.layers.TimeDistributed(keras.layers.Dense(5))
    layers = [pylstm.LSTM(4), keras.layers.RepeatVector(6), each]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers])
    expected = np.concatenate([model(seq[None]) for seq in seqs])
    np.testing.assert_allclose(model.predict(seqs, verbose=0), expected, atol=1e-6)


def test_time_distributed_never_drops_steps_of_arrays_of_several_lengths():
    """The second length is traced as any."""
    layers = [keras.layers.TimeDistributed(keras.layers.Dense(5)), pylstm.LSTM(3)]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers])
    x = np.ones((2, 4, 5), np.float32)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), atol=1e-6)
    with pytest.raises(errors.TimestepError, match=r"\[PYL129\]"):
        model.predict(np.ones((2, 7, 5)), verbose=0)
    model.compile(run_eagerly=True)
    assert model.predict(np.ones((2, 7, 5)), verbose=0).shape == (2, 3)


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


# Functional and subclassed models.


def two_inputs(struct):
    signal, meta = keras.Input((None, 5), name="signal"), keras.Input((2,), name="meta")
    keras.utils.set_random_seed(2)
    joined = keras.layers.Concatenate()([pylstm.LSTM(3)(signal), meta])
    inputs = {"signal": signal, "meta": meta} if struct is dict else [signal, meta]
    model = pylstm.Model(inputs, keras.layers.Dense(1)(joined))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


@pytest.mark.parametrize("struct", [dict, list, tuple])
def test_several_inputs_one_of_them_sequences(struct):
    seqs, meta = sequences(), np.linspace(0, 1, 12).reshape(6, 2)
    model = two_inputs(struct)
    x = {"signal": seqs, "meta": meta} if struct is dict else struct([seqs, meta])
    outputs = model.predict(x, verbose=0)
    for i, output in enumerate(outputs):
        parts = {"signal": seqs[i][None], "meta": meta[i : i + 1]}
        want = model(parts if struct is dict else list(parts.values()))[0]
        np.testing.assert_allclose(output, want, atol=1e-5)
    history = model.fit(x, np.ones(6), epochs=3, validation_split=0.5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    np.testing.assert_allclose(model(x), model.predict(x, verbose=0), atol=1e-5)


class Shifted(keras.layers.Layer):
    def call(self, x, by=None):
        return x if by is None else x + by


def test_the_first_of_two_inputs_is_absent():
    by = keras.Input((None, 3), name="by", optional=True)
    signal = keras.Input((None, 5), name="signal")
    lstm = pylstm.LSTM(3)
    model = pylstm.Model([by, signal], Shifted()(lstm(signal), by))
    want = pylstm.Sequential([lstm]).predict(sequences(), verbose=0)
    x = (None, sequences())
    np.testing.assert_allclose(model.predict(x, verbose=0), want, atol=1e-6)
    np.testing.assert_allclose(model(x), want, atol=1e-6)
    assert not [f for f in pylstm.diagnose(model, x) if f.level == "error"]


@pytest.mark.parametrize("struct", [tuple, dict])
def test_an_optional_input_that_is_absent(struct):
    signal, by = keras.Input((None, 5), name="signal"), keras.Input((3,), name="by", optional=True)
    inputs = [signal, by] if struct is tuple else {"signal": signal, "by": by}
    model = pylstm.Model(inputs, Shifted()(pylstm.LSTM(3)(signal), by))
    model.compile("sgd", "mse")
    seqs = sequences()
    x = (seqs, None) if struct is tuple else {"signal": seqs, "by": None}
    want = pylstm.Sequential([model.layers[1]]).predict(seqs, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), want, atol=1e-6)
    np.testing.assert_allclose(model(x), want, atol=1e-6)
    np.testing.assert_allclose(model.predict_on_batch(x), want, atol=1e-6)
    assert model.evaluate(x, want, verbose=0) < 1e-10
    given = (seqs, np.ones((6, 3))) if struct is tuple else {**x, "by": np.ones((6, 3))}
    np.testing.assert_allclose(model.predict(given, verbose=0), want + 1, atol=1e-6)


def test_too_many_inputs_are_counted():
    with pytest.raises(errors.RankError, match="the model has 2 inputs") as caught:
        two_inputs(list).predict([sequences(), np.zeros((6, 2)), np.zeros((6, 2))])
    assert caught.value.got == "a list of 3"
    assert "(x1, x2)     a part for each input of the model" in str(caught.value)


def test_several_outputs():
    signal = keras.Input((None, 5))
    steps = pylstm.LSTM(3, return_sequences=True)(signal)
    outputs = {"steps": keras.layers.Dense(1)(steps), "last": pylstm.LSTM(2)(steps)}
    model = pylstm.Model(signal, outputs)
    model.compile("sgd", {"steps": "mse", "last": "mse"})
    seqs = sequences()
    y = {"steps": [np.zeros((len(seq), 1)) for seq in seqs], "last": np.zeros((6, 2))}
    model.fit(seqs, y, verbose=0)
    predicted = model.predict(seqs, verbose=0)
    assert [len(rows) for rows in predicted["steps"]] == [len(seq) for seq in seqs]
    assert predicted["last"].shape == (6, 2)


class Subclassed(pylstm.Model):
    def __init__(self):
        super().__init__()
        self.lstm = pylstm.LSTM(3)

    def call(self, x, training=False):
        return self.lstm(x, training=training)


def test_subclassed_model():
    seqs = sequences()
    model = Subclassed()
    model.compile("sgd", "mse")
    model.fit(seqs, np.zeros((6, 3)), verbose=0)
    for got, seq in zip(model.predict(seqs, verbose=0), seqs, strict=True):
        np.testing.assert_allclose(got, model(seq[None])[0], atol=1e-6)


@pytest.mark.parametrize("kind", [tuple, dict])
@pytest.mark.parametrize("lengths", [(3, 2, 4), (3, 3, 3)])
def test_subclassed_model_of_several_inputs(kind, lengths):
    class Joined(pylstm.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.lstm = keras.layers.Dense(3), pylstm.LSTM(3)

        def call(self, x):
            meta, signal = x.values() if kind is dict else x
            return self.dense(meta) + self.lstm(signal)

    seqs, meta = sequences(lengths), np.linspace(0, 1, 6).reshape(3, 2)
    x = {"a": meta, "b": seqs} if kind is dict else (meta, seqs)
    model = Joined()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit(x, np.ones((3, 3)), epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    want = [model.dense(meta[i : i + 1]) + model.lstm(seqs[i][None]) for i in range(3)]
    np.testing.assert_allclose(model.predict(x, verbose=0), np.concatenate(want), atol=1e-6)
    if kind is tuple:
        with pytest.raises(errors.RankError, match="the model has 2 inputs"):
            model.predict((meta, seqs, seqs))


def test_subclass_of_a_functional_model_leaves_the_base_alone():
    class Encoder(pylstm.Model):
        def __init__(self):
            signal = keras.Input((None, 5))
            super().__init__(signal, pylstm.LSTM(3)(signal))

    assert Encoder().predict(sequences(), verbose=0).shape == (6, 3)
    assert Subclassed().predict(sequences(), verbose=0).shape == (6, 3)


def test_a_functional_model_at_the_end_of_several_classes():
    class Named:
        pass

    class Base(Named, pylstm.Model):
        pass

    class Reversed(Base):
        def __init__(self):
            signal = keras.Input((None, 5))
            super().__init__(signal, pylstm.LSTM(3)(keras.ops.flip(signal, 1)))

    model = Reversed()
    assert isinstance(model, Base)
    with pytest.raises(errors.RaggedError, match="PYL130"):
        model.predict(sequences(), verbose=0)
    assert Subclassed().predict(sequences(), verbose=0).shape == (6, 3)
    assert "Functional" not in str(pylstm.Model.__mro__)


def test_inputs_by_their_name():
    seqs, model = sequences(), Subclassed()
    expected = model(seqs)
    np.testing.assert_array_equal(model(x=seqs), expected)
    np.testing.assert_array_equal(model(training=False, x=seqs), expected)
    variables = model.trainable_variables, model.non_trainable_variables
    np.testing.assert_array_equal(model.stateless_call(*variables, x=seqs)[0], expected)
    with pytest.raises(TypeError, match="'x'"):
        model(training=False)


def test_a_list_that_can_be_inputs_or_sequences_is_refused():
    x = [np.zeros((2, 5), np.float32)] * 2
    with pytest.raises(errors.RankError, match=r"\[PYL102\].*inputs or the sequences") as caught:
        Subclassed().predict(x)
    assert "np.stack(x)" in caught.value.fix
    assert "tuple(x)" in caught.value.fix


@pytest.mark.parametrize("lengths", [(3, 2), (4, 4)])
def test_a_list_of_batches_of_one_that_can_be_inputs_or_sequences_is_refused(lengths):
    """Where there are targets, these tell."""
    seqs = sequences(lengths)
    x = [seq[None] for seq in seqs]
    for run in (Subclassed().predict, Subclassed()):
        with pytest.raises(
            errors.RankError, match=r"\[PYL102\].*inputs or the sequences"
        ) as caught:
            run(x)
    fixed = eval(caught.value.fix.partition("     ")[0], {"np": np, "x": x})
    model = Subclassed()
    got = model.predict(fixed, verbose=0)
    want = np.concatenate([model(seq[None]) for seq in seqs])
    np.testing.assert_allclose(got, want, atol=1e-6)
    model = Subclassed()
    model.compile("sgd", "mse")
    with pytest.warns(errors.ShapeCorrectionWarning, match="PYL123"):
        assert model.fit(x, np.zeros((2, 3)), verbose=0)


@pytest.mark.parametrize("front", [[], [keras.layers.Masking(PADDING)]])
def test_jit_compile_has_no_ragged_tensors(front):
    seqs = sequences()
    model = classifier(front=front, return_sequences=True)
    model.jit_compile = True
    assert_predicts_each_alone(model, seqs, seqs, return_sequences=True)
    outputs = model.predict(seqs, verbose=0)
    in_batches = model.predict(pylstm.dataset(seqs, batch_size=2), verbose=0)
    for got, want in zip(in_batches, outputs, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)
    assert np.isfinite(model.fit(seqs, per_step(seqs), verbose=0).history["loss"]).all()
    batches = tf.data.Dataset.from_tensor_slices((pylstm.ragged(seqs), LABELS)).batch(3)
    for run in (model.fit, model.evaluate, model.predict):
        with pytest.raises(errors.RaggedError, match=r"PYL114.*XLA \(jit_compile=True\)") as caught:
            run(batches, verbose=0)
        assert caught.value.fix.startswith("pylstm.dataset(x, y)")
    assert "PYL114" in [finding.code for finding in pylstm.diagnose(model, batches)]


# Saving.


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_save_and_load_in_a_second_process(kind, tmp_path):
    model = classifier()
    if kind == "functional":
        model = pylstm.Model(model.inputs, model.outputs)
    expected = model.predict(sequences(), verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", *sequences(), expected=expected)
    script = f"""
        import keras, numpy as np, pylstm
        model = keras.saving.load_model("model.keras")
        assert isinstance(model, pylstm.{"Sequential" if kind == "sequential" else "Model"})
        data = np.load("data.npz")
        got = model.predict([data[f"arr_{{i}}"] for i in range(6)], verbose=0)
        np.testing.assert_allclose(got, data["expected"], atol=1e-6)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_functional_model_clones_to_its_own_kind():
    model = two_inputs(dict)
    clone = keras.models.clone_model(model)
    assert type(clone) is type(model)
    clone.set_weights(model.get_weights())
    x = {"signal": sequences(), "meta": np.zeros((6, 2))}
    np.testing.assert_allclose(clone.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)


def test_a_sequential_model_copies_by_its_config():
    """keras.models.clone_model makes a keras.Sequential of every Sequential."""
    model = classifier()
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    np.testing.assert_allclose(
        copy.predict(sequences(), verbose=0), model.predict(sequences(), verbose=0), atol=1e-6
    )


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
