"""Inputs of strings, for the layers that take them."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import pylstm
from pylstm import errors
from tests.data import sequences

SENTENCES = ["the cat sat", "a dog", "bird is here now"]


def vectorizer():
    layer = keras.layers.TextVectorization()
    layer.adapt(SENTENCES)
    return layer


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
        with pytest.raises(errors.DTypeError, match=r"PYL148.*does not hold text") as caught:
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
            with pytest.raises(errors.DTypeError, match=r"PYL148.*does not hold text"):
                run(x)


def test_one_string_is_no_batch_of_text():
    model = pylstm.Sequential([vectorizer(), keras.layers.Embedding(20, 4), pylstm.LSTM(3)])
    for run in (model.predict, model):
        with pytest.raises(errors.RankError, match=r"PYL101.*single string is no batch"):
            run(SENTENCES[0])
    assert model.predict([SENTENCES[0]], verbose=0).shape == (1, 3)


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
