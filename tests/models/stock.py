"""The models that several tests take, and what stock Keras computes in their place: on each
sequence alone, and trained on padding that it masks."""

import keras
import numpy as np

import pylstm

PADDING = -99.0  # a value that no sequence holds
LABELS = np.array([0, 1, 1, 0, 1, 0])  # of the samples of `sequences()`
PLAIN = {"batch_size": 6, "verbose": 0, "shuffle": False}  # one batch


def per_step(seqs):
    """Labels 0 and 1 of every step."""
    return [np.arange(len(seq)) % 2 for seq in seqs]


def classifier(model_type=pylstm.Sequential, lstm=pylstm.LSTM, front=(), **lstm_options):
    """An LSTM and a Dense layer with fixed weights, compiled for plain gradient descent."""
    keras.utils.set_random_seed(7)
    layers = [keras.Input((None, 5)), *front, lstm(4, **lstm_options), keras.layers.Dense(2)]
    model = model_type(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, weighted_metrics=["accuracy"])
    return model


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


def two_inputs(struct):
    signal, meta = keras.Input((None, 5), name="signal"), keras.Input((2,), name="meta")
    keras.utils.set_random_seed(2)
    joined = keras.layers.Concatenate()([pylstm.LSTM(3)(signal), meta])
    inputs = {"signal": signal, "meta": meta} if struct is dict else [signal, meta]
    model = pylstm.Model(inputs, keras.layers.Dense(1)(joined))
    model.compile(keras.optimizers.SGD(0.1), "mse")
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


def assert_same_weights(model, other):
    for got, want in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)


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
