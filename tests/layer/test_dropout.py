"""The same seed gives the numbers of stock Keras, over calls, layers and training."""

import keras
import numpy as np
import pytest

import pylstm
from tests.layer.compare import assert_close, pair

RATES = [
    {"dropout": 0.5},
    {"recurrent_dropout": 0.5},
    {"dropout": 0.3, "recurrent_dropout": 0.5},
]


def call(layer, x, training=True, seed=1):
    """Its output for x. On torch, dropout draws from one generator for all layers."""
    if keras.backend.backend() == "torch":
        keras.utils.set_random_seed(seed)
    return keras.ops.convert_to_numpy(layer(x, training=training))


@pytest.mark.parametrize("rates", RATES, ids=str)
def test_every_call_draws_what_stock_draws(rates, rng):
    x = rng.standard_normal((3, 5, 4))
    stock, ours = pair(6, 4, dtype="float64", seed=5, **rates)
    differences = []
    for seed, training in enumerate((True, True, False, True)):
        expected, got = (call(layer, x, training, seed) for layer in (stock, ours))
        assert_close(got, expected)
        differences.append(got)
    assert not np.allclose(differences[0], differences[1])  # dropout did apply


@pytest.mark.parametrize("rates", RATES, ids=str)
def test_a_call_that_fails_leaves_no_mask_for_the_next(rates, rng, monkeypatch):
    layer = pylstm.LSTM(6, **rates)
    call(layer, rng.standard_normal((3, 5, 4)))
    with monkeypatch.context() as patch:
        patch.setattr(layer, "kernel", "fused")
        patch.setattr(layer.cell, "activation", lambda x: x)
        with pytest.raises(pylstm.errors.PylstmError, match="PYL133"):
            call(layer, rng.standard_normal((3, 5, 4)))
    assert call(layer, rng.standard_normal((7, 5, 4))).shape == (7, 6)


@pytest.mark.parametrize("rates", RATES, ids=str)
def test_training_follows_stock(rates, rng):
    x = rng.standard_normal((32, 5, 4))
    y = rng.standard_normal((32, 1))
    losses = []
    for lstm in (keras.layers.LSTM, pylstm.LSTM):
        keras.utils.set_random_seed(11)
        model = keras.Sequential(
            [lstm(7, return_sequences=True, **rates), lstm(5, **rates), keras.layers.Dense(1)]
        )
        model.compile(keras.optimizers.Adam(0.01), "mse")
        losses.append(model.fit(x, y, epochs=4, batch_size=8, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    assert losses[0][-1] < losses[0][0]
    assert [layer.path for layer in model.layers[:2]] == ["fused", "fused"]


def test_four_input_masks_where_stock_fails(rng):
    """implementation=1 with dropout alone: stock can only run it without cuDNN."""
    x = rng.standard_normal((3, 5, 4))
    stock, ours = pair(6, 4, dtype="float64", dropout=0.5, implementation=1)
    with pytest.raises(Exception, match=r"Rank of input|broadcast|expand"):
        stock(x, training=True)
    without_cudnn, ours = pair(
        6, 4, dtype="float64", dropout=0.5, implementation=1, use_cudnn=False
    )
    assert_close(call(ours, x), call(without_cudnn, x))


def test_rates_that_are_set_later(rng):
    """A cell made without recurrent dropout ignores a rate that it gets later."""
    x = rng.standard_normal((3, 5, 4))
    layers = pair(6, 4, dtype="float64")
    for layer in layers:
        layer.cell.dropout = layer.cell.recurrent_dropout = 0.5
    expected, got = (call(layer, x) for layer in layers)
    assert_close(got, expected)
