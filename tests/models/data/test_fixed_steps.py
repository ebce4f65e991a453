"""Targets per step beside an output that has a fixed number of steps."""

import keras
import numpy as np
import pytest

import pylstm
from pylstm import errors
from tests.data import sequences


def autoencoder(steps=5, features=5):
    layers = [keras.Input((None, 5)), pylstm.LSTM(3), keras.layers.RepeatVector(steps)]
    layers += [pylstm.LSTM(3, return_sequences=True), keras.layers.Dense(features)]
    model = pylstm.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


@pytest.mark.parametrize("lengths", [(3, 1, 4, 2), (2, 2)])
@pytest.mark.parametrize("weighted", [False, True])
def test_lists_are_padded_to_the_steps_of_the_output(lengths, weighted):
    seqs, model = sequences(lengths), autoencoder()
    weights = [np.arange(1.0, len(seq) + 1) for seq in seqs] if weighted else None
    x, mask, _ = pylstm.pad(seqs, maxlen=5)
    mask = pylstm.pad(weights, maxlen=5).x if weighted else mask
    squares = np.square(model.predict(seqs, verbose=0) - x).mean(axis=-1)
    want = pytest.approx(np.mean(squares * mask), rel=1e-5)
    options = {"sample_weight": weights, "verbose": 0}
    assert model.evaluate(seqs, seqs, batch_size=1, **options) == want
    assert model.fit(seqs, seqs, **options).history["loss"] == [want]
    assert model.evaluate(pylstm.dataset(seqs, seqs, 1, sample_weight=weights), verbose=0) == want
    parts = (seqs, seqs, weights) if weighted else (seqs, seqs)
    batches = [tuple(part[i : i + 1] for part in parts) for i in range(len(seqs))]
    assert model.evaluate(iter(batches), verbose=0) == want
    assert model.test_on_batch(*parts) == want
    assert pylstm.diagnose(model, seqs, seqs).ok


def test_labels_with_class_weights():
    seqs, model = sequences(), autoencoder(features=3)
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    model.layers[-1].activation = keras.activations.softmax
    y = [np.arange(len(seq)) % 3 for seq in seqs]
    weights = [np.array([1.0, 2.0, 1.0])[labels] for labels in y]
    want = model.evaluate(seqs, y, sample_weight=weights, batch_size=2, verbose=0)
    got = model.fit(seqs, y, class_weight={1: 2.0}, batch_size=2, verbose=0).history["loss"][0]
    assert got == pytest.approx(want, rel=1e-5)


def test_one_output_of_several():
    inputs = keras.Input((None, 5))
    last = pylstm.LSTM(4)(inputs)
    steps = pylstm.LSTM(5, return_sequences=True)(keras.layers.RepeatVector(5)(last))
    model = pylstm.Model(inputs, [steps, last])
    model.compile("sgd", ["mse", "mse"])
    seqs, other = sequences(), np.ones((6, 4))
    x, mask, _ = pylstm.pad(seqs, maxlen=5)
    want = model.evaluate(seqs, (x, other), sample_weight=(mask * 1.0, np.ones(6)), verbose=0)
    got = model.evaluate(seqs, (seqs, other), batch_size=2, verbose=0)
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("lengths", [(2, 4, 1), (4, 4)])
def test_more_steps_than_the_output_has(lengths):
    seqs, model = sequences(lengths), autoencoder(steps=3)
    with pytest.raises(errors.TimestepError, match=r"PYL120.* more steps than") as caught:
        model.fit(seqs, seqs, verbose=0)
    assert caught.value.got == "y of up to 4 steps"
    data = {"x": seqs, "y": seqs}
    exec(caught.value.fix.split("     ")[0], data)
    assert model.fit(data["x"], data["y"], verbose=0)
    assert [f.level for f in pylstm.diagnose(model, seqs, seqs) if f.code == "PYL120"] == ["error"]


@pytest.mark.parametrize("x", [sequences((3, 4, 2)), np.ones((3, 4, 5))], ids=["list", "array"])
@pytest.mark.parametrize("kind", [np.array, list])
@pytest.mark.parametrize("steps", [24, 2])
def test_a_stack_of_other_steps_than_the_output_has(x, kind, steps):
    model, y = autoencoder(steps=8, features=3), kind(np.ones((3, steps, 3)))
    for run in (
        lambda: model.fit(x, y, verbose=0),
        lambda: model.evaluate(pylstm.dataset(x, y), verbose=0),
        lambda: model.evaluate(iter([(x, y)]), verbose=0),
        lambda: model.train_on_batch(x, y),
    ):
        with pytest.raises(errors.TimestepError, match=r"PYL120.* other steps than") as caught:
            run()
        error = caught.value
        assert error.expected == "y (batch, time=8, features=3), as the output (None, 8, 3)"
        assert error.got == f"y (3, {steps}, 3)"
    assert [f.level for f in pylstm.diagnose(model, x, y) if f.code == "PYL120"] == ["error"]
    fixed = eval(error.fix.partition("     ")[0], {"np": np, "keras": keras, "y": y})
    if steps < 8:
        layers, fixed = [*model.layers, fixed], y
        model = pylstm.Sequential([keras.Input((None, 5)), *layers])
        model.compile("sgd", "mse")
    assert model.fit(x, fixed, verbose=0)


def test_labels_of_other_steps_than_the_output_has():
    model = autoencoder(steps=8, features=3)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(errors.TimestepError, match=r"PYL120.* other steps than") as caught:
        model.fit(sequences(), np.zeros((6, 9), int), verbose=0)
    assert caught.value.expected == "y (batch, time=8), as the output (None, 8, 3)"


@pytest.mark.parametrize("x", [np.ones((3, 6, 5)), sequences((6, 2, 4))], ids=["array", "list"])
def test_steps_that_follow_an_input_declared_with_others(x):
    layers = [keras.Input((4, 5)), pylstm.LSTM(3, return_sequences=True)]
    model = pylstm.Model(layers[0], layers[1](layers[0]))
    model.compile("sgd", "mse")
    assert np.isfinite(model.evaluate(x, [np.ones((len(s), 3)) for s in x], verbose=0))
    if isinstance(x, np.ndarray):
        assert np.isfinite(model.evaluate(x, np.ones((3, 6, 3)), verbose=0))
        with pytest.raises(errors.TimestepError, match="PYL120") as caught:
            model.evaluate(x, np.ones((3, 5, 3)), verbose=0)
        assert caught.value.expected.startswith("y (batch, time=6, features=3)")


def test_batches_of_lists_that_fill_the_output_or_do_not():
    """They have weights alike, as Keras wants them; their padding counts in none."""
    model = autoencoder()
    batches = [sequences((5, 5)), sequences((5, 5), seed=1), sequences((2, 5), seed=2)]
    for order in (batches, batches[::-1]):
        seqs = [seq for batch in order for seq in batch]
        want = model.evaluate(seqs, seqs, batch_size=2, verbose=0)
        got = model.evaluate(iter([(batch, batch) for batch in order]), verbose=0)
        assert got == pytest.approx(want, rel=1e-5)
