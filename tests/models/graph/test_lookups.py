"""Layers in front that look up each number of a sequence."""

import warnings

import keras
import numpy as np
import pytest

import pylstm
from pylstm import errors

LENGTHS = (3, 2, 4, 1)
TOKENS = [np.random.default_rng(t).choice([7, 8, 9], t) for t in LENGTHS]
NUMBERS = [np.random.default_rng(t).normal(size=t) for t in LENGTHS]


def lookup(kind, **options):
    if kind == "tokens":
        return keras.layers.IntegerLookup(vocabulary=[7, 9], **options)
    if kind == "known tokens":
        return keras.layers.IntegerLookup(vocabulary=[7, 8, 9], num_oov_indices=0, **options)
    if kind == "hashed tokens":
        return keras.layers.Hashing(4, **options)
    return keras.layers.Discretization([-0.5, 0.5], **options)


@pytest.mark.parametrize("is_built", [True, False])
@pytest.mark.parametrize("kind", ["tokens", "known tokens", "hashed tokens", "numbers"])
def test_lists_are_each_looked_up_alone(kind, is_built):
    x = NUMBERS if kind == "numbers" else TOKENS
    dtype = None if kind == "numbers" else "int64"
    front = [keras.Input((None,), dtype=dtype)] * is_built
    layers = [keras.layers.Embedding(4, 3), pylstm.LSTM(2)]
    model = pylstm.Sequential([*front, lookup(kind), *layers])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.predict(x[0][None], verbose=0)
    want = np.concatenate([model.predict(each[None], verbose=0) for each in x])
    assert len({*want[:, 0]}) == len(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(model.predict(x, verbose=0), want, atol=1e-6)
        np.testing.assert_allclose(model(x), want, atol=1e-6)
        assert model.evaluate(x, want, verbose=0) < 1e-10
        assert model.fit(x, want, verbose=0).history["loss"][0] < 1e-10


def test_a_lookup_that_counts_over_the_steps():
    layers = [keras.Input((None,)), lookup("numbers", output_mode="count")]
    model = pylstm.Sequential([*layers, keras.layers.Dense(2)])
    with pytest.raises(errors.RaggedError, match=r"PYL130.*'discretization"):
        model.predict(NUMBERS, verbose=0)


@pytest.mark.parametrize("kind", ["tokens", "known tokens", "hashed tokens"])
def test_an_embedding_behind_a_lookup_need_not_mask_zeros(kind):
    layers = [lookup(kind), keras.layers.Embedding(4, 3, mask_zero=True), pylstm.LSTM(2)]
    with pytest.raises(errors.RaggedError, match=r"PYL130.*'embedding") as caught:
        pylstm.Sequential(layers).predict(TOKENS, verbose=0)
    assert caught.value.fix.startswith(f"mask_zero=False in '{layers[1].name}'")
    layers[1] = keras.layers.Embedding(4, 3, mask_zero=False)
    assert pylstm.Sequential(layers).predict(TOKENS, verbose=0).shape == (4, 2)
