"""The same seed gives the numbers of stock Keras, over calls, layers and training."""

import keras
import numpy as np
import pytest

import pylstm
from tests.layer.compare import pair

RATES = [
    {"dropout": 0.5},
    {"recurrent_dropout": 0.5},
    {"dropout": 0.3, "recurrent_dropout": 0.5},
]


@pytest.mark.parametrize("rates", RATES, ids=str)
def test_every_call_draws_what_stock_draws(rates, rng):
    x = rng.standard_normal((3, 5, 4))
    stock, ours = pair(6, 4, dtype="float64", seed=5, **rates)
    differences = []
    for training in (True, True, False, True):
        expected, got = (layer(x, training=training) for layer in (stock, ours))
        np.testing.assert_allclose(got, expected, rtol=1e-10)
        differences.append(np.asarray(got))
    assert not np.allclose(differences[0], differences[1])  # dropout did apply


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


def test_four_input_masks_where_stock_fails(rng):
    """implementation=1 with dropout alone: stock can only run it without cuDNN."""
    x = rng.standard_normal((3, 5, 4))
    stock, ours = pair(6, 4, dtype="float64", dropout=0.5, implementation=1)
    with pytest.raises(Exception, match="Rank of input"):
        stock(x, training=True)
    without_cudnn, ours = pair(
        6, 4, dtype="float64", dropout=0.5, implementation=1, use_cudnn=False
    )
    np.testing.assert_allclose(ours(x, training=True), without_cudnn(x, training=True), rtol=1e-10)


def test_rates_that_are_set_later(rng):
    """A cell made without recurrent dropout ignores a rate that it gets later."""
    x = rng.standard_normal((3, 5, 4))
    layers = pair(6, 4, dtype="float64")
    for layer in layers:
        layer.cell.dropout = layer.cell.recurrent_dropout = 0.5
    expected, got = (layer(x, training=True) for layer in layers)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
