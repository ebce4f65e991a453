"""What stock Keras computes: on each sequence alone, and trained on padding it masks."""

import keras
import numpy as np

import pylstm

PADDING = -99.0  # a value that no sequence holds


def classifier(
    model_type=pylstm.Sequential, lstm=pylstm.LSTM, front=(), built=True, **lstm_options
):
    """An LSTM and a Dense layer with fixed weights, compiled for plain gradient descent."""
    keras.utils.set_random_seed(7)
    layers = [keras.Input((None, 5)), *front, lstm(4, **lstm_options), keras.layers.Dense(2)]
    model = model_type(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, weighted_metrics=["accuracy"])
    return model


def stock_of(model, **options):
    """The same weights in stock Keras, behind a layer that masks `PADDING`."""
    stock = classifier(
        keras.Sequential, keras.layers.LSTM, [keras.layers.Masking(PADDING)], **options
    )
    stock.set_weights(model.get_weights())
    return stock


def each_alone(stock, seqs):
    """The stock model's output for each sequence by itself, without any padding."""
    return [stock(np.asarray(seq, np.float32)[None]).numpy()[0] for seq in seqs]


def assert_predicts_each_alone(model, x, seqs, **options):
    """Checks `predict` and the call on x against each sequence alone."""
    expected = each_alone(stock_of(model, **options), seqs)
    for got, want in zip(model.predict(x, batch_size=4, verbose=0), expected, strict=True):
        np.testing.assert_allclose(got, want, atol=2e-6)
    called = model(x).numpy()
    for got, want in zip(called, expected, strict=True):
        np.testing.assert_allclose(got[: len(want)], want, atol=2e-6)


def assert_fits_like_stock(model, x, y, seqs, stock_y=None):
    """Checks two epochs of `fit` on x against stock Keras on padded and masked arrays."""
    return_sequences = model.layers[-2].return_sequences
    weights, want = _trained_stock(
        seqs, np.asarray(y if stock_y is None else stock_y), return_sequences
    )
    got = model.fit(x, y, **_options(seqs)).history
    for name, values in want.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-4, err_msg=name)
    for new, old in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


_trained = {}


def _trained_stock(seqs, y, return_sequences):
    """The weights and the history of stock Keras; trained once for the same data."""
    x = pylstm.pad(seqs, value=PADDING).x
    key = (x.tobytes(), y.tobytes(), return_sequences)
    if key not in _trained:
        stock = stock_of(
            classifier(return_sequences=return_sequences), return_sequences=return_sequences
        )
        history = stock.fit(x, y, **_options(seqs)).history
        _trained[key] = stock.get_weights(), history
    return _trained[key]


def _options(seqs):
    return {"batch_size": len(seqs), "epochs": 2, "verbose": 0, "shuffle": False}
