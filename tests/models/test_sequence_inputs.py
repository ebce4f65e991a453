"""Every option of `fit`, `predict` and `*_on_batch`, and what they leave to Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import pylstm
from pylstm import errors
from tests.data import sequences
from tests.models.stock import (
    LABELS,
    PADDING,
    PLAIN,
    assert_predicts_each_alone,
    assert_same_weights,
    classifier,
    per_step,
    stock_of,
)


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
    with pytest.raises(errors.OptionError, match=r"PYL144(?s:.*)each side of validation_split"):
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


@pytest.mark.parametrize("form", [list, lambda x: (x,), pylstm.pad, pylstm.ragged])
def test_validation_data_without_targets(form):
    data = form(sequences())
    with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)validation_data") as caught:
        classifier().fit(sequences(), LABELS, validation_data=data, **PLAIN)
    assert caught.value.fix.startswith("validation_data=(x, y)")


def test_sample_weight():
    seqs = sequences()
    weighted, without = classifier(), classifier()
    weighted.fit(seqs, LABELS, sample_weight=[2, 2, 2, 0, 0, 0], **PLAIN)
    without.fit(seqs[:3], LABELS[:3], batch_size=3, verbose=0, shuffle=False)
    assert_same_weights(weighted, without)


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


def test_a_model_without_layers_is_as_keras():
    model = pylstm.Sequential()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="has no layers"):
        model.fit(np.ones((2, 3, 4)), np.ones(2), verbose=0)
