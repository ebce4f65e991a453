"""Targets as the model has its outputs: with their axis of one feature, by name or in order."""

import keras
import numpy as np
import pytest

import pylstm
from tests.models.stock import sequences

SEQS = sequences()
LABELS = [(seq[:, 0] > 0).astype(int) for seq in SEQS]
COLUMNS = [labels[:, None] for labels in LABELS]
SCORES = np.arange(6.0)[:, None]
TAGS = [np.arange(len(seq)) % 3 for seq in SEQS]
WEIGHTS = [np.arange(1.0, len(seq) + 1) for seq in SEQS]


def detector(model_type=pylstm.Sequential):
    keras.utils.set_random_seed(7)
    lstm = pylstm.LSTM(4, return_sequences=True)
    model = model_type([keras.Input((None, 5)), lstm, keras.layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", weighted_metrics=["accuracy"])
    return model


def tagger(outputs=list, loss=True):
    """A model of an output per step, `tag`, and one per sample, `score`."""
    keras.utils.set_random_seed(7)
    x = keras.Input((None, 5))
    steps = pylstm.LSTM(4, return_sequences=True)(x)
    tag = keras.layers.Dense(3, "softmax", name="tag")(steps)
    score = keras.layers.Dense(1, name="score")(pylstm.LSTM(3)(steps))
    model = pylstm.Model(x, [tag, score] if outputs is list else {"tag": tag, "score": score})
    losses = {"tag": "sparse_categorical_crossentropy" if loss else None, "score": "mse"}
    model.compile("sgd", losses)
    return model


def alone(model, seqs, labels, weights=None):
    """The binary crossentropy of each step, each sequence by itself, averaged over all."""
    each = [model(seq[None]).numpy()[0, :, 0] for seq in seqs]
    p, y = np.concatenate(each), np.concatenate(labels)
    w = np.ones(len(p)) if weights is None else np.concatenate(weights)
    losses = -np.log(np.where(y == 1, p, 1 - p)) * w
    return losses.sum() / len(losses)


@pytest.mark.parametrize("seqs", [SEQS, [seq[:1] for seq in SEQS]], ids=["several", "equal"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_targets_per_step_beside_an_output_of_one_feature(seqs, weights):
    labels = [y[: len(seq)] for y, seq in zip(LABELS, seqs, strict=True)]
    if weights is not None:
        weights = [w[: len(seq)] for w, seq in zip(weights, seqs, strict=True)]
    want = pytest.approx(alone(detector(), seqs, labels, weights), rel=1e-4)
    assert detector().evaluate(seqs, labels, sample_weight=weights, verbose=0)[0] == want
    assert detector().train_on_batch(seqs, labels, sample_weight=weights)[0] == want
    history = detector().fit(seqs, labels, sample_weight=weights, verbose=0).history
    assert history["loss"][0] == want


@pytest.mark.parametrize("model_type", [keras.Sequential, pylstm.Sequential])
def test_a_dataset_of_targets_per_step_beside_an_output_of_one_feature(model_type):
    want = detector().evaluate(SEQS, COLUMNS, verbose=0)
    got = detector(model_type).evaluate(pylstm.dataset(SEQS, LABELS), verbose=0)
    assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("outputs", [list, dict])
@pytest.mark.parametrize("weighted", [False, True])
def test_targets_by_name_and_in_order(outputs, weighted):
    by_name = {"tag": TAGS, "score": SCORES}
    # As Keras, which takes the outputs of a dict in the order of their names.
    in_order = [TAGS, SCORES] if outputs is list else [SCORES, TAGS]
    w = (WEIGHTS, np.arange(1.0, 7.0)) if weighted else (None, None)
    weights = [{"tag": w[0], "score": w[1]}, w if outputs is list else w[::-1]]
    losses = []
    for y, sample_weight in zip((by_name, in_order), weights, strict=True):
        sample_weight = sample_weight if weighted else None
        model = tagger(outputs)
        losses.append(model.evaluate(SEQS, y, sample_weight=sample_weight, verbose=0))
        losses.append(model.test_on_batch(SEQS, y, sample_weight=sample_weight))
        y = y if isinstance(y, dict) else tuple(y)
        data = pylstm.dataset(SEQS, y, sample_weight=sample_weight)
        losses.append(model.evaluate(data, verbose=0))
        losses.append(list(model.train_on_batch(SEQS, y, sample_weight=sample_weight)))
    np.testing.assert_allclose(losses, [losses[0]] * len(losses), rtol=1e-4)


def test_padded_targets_by_name_of_a_list_of_outputs():
    padded = {"tag": pylstm.pad(TAGS).x, "score": SCORES}
    want = tagger().evaluate(SEQS, [TAGS, SCORES], batch_size=1, verbose=0)
    assert tagger().evaluate(SEQS, padded, batch_size=1, verbose=0) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("y", [[None, SCORES], {"score": SCORES}], ids=["in order", "by name"])
def test_no_target_for_an_output_without_a_loss(y):
    model = tagger(loss=False)
    want = np.mean((np.array([model(seq[None])[1][0] for seq in SEQS]) - SCORES) ** 2)
    assert model.evaluate(SEQS, y, verbose=0) == pytest.approx(want, rel=1e-4)
    assert model.fit(SEQS, y, verbose=0).history["loss"][0] == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("unused", ["weight", "A"])
def test_an_entry_of_x_that_no_input_is_named_as(unused):
    inputs = {"a": keras.Input((None, 5), name="a"), "s": keras.Input((2,), name="s")}
    joined = keras.layers.Concatenate()([pylstm.LSTM(3)(inputs["a"]), inputs["s"]])
    model = pylstm.Model(inputs, keras.layers.Dense(1)(joined))
    x = {"a": np.ones((3, 8, 5), "float32"), "s": np.ones((3, 2), "float32")}
    want = model.predict(x, verbose=0)
    with pytest.warns(UserWarning, match=f"has no input '{unused}'; left out"):
        got = model.predict({**x, unused: np.arange(3.0)}, verbose=0)
    np.testing.assert_array_equal(got, want)
