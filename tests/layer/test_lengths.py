"""`lengths` and ragged input are masks, for the layer and for those that follow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import pylstm

LENGTHS = np.array([7, 3, 0, 5])


@pytest.fixture
def x(rng):
    return rng.standard_normal((4, 7, 3)).astype("float32")


@pytest.fixture
def mask():
    return np.arange(7) < LENGTHS[:, None]


@pytest.fixture
def layer():
    layer = pylstm.LSTM(5, return_sequences=True)
    layer.build((None, None, 3))
    return layer


@pytest.mark.parametrize("kernel", ["auto", "keras"])
def test_a_stateless_call_takes_them_too(kernel, layer, x, mask):
    layer.kernel = kernel
    variables = layer.trainable_variables, layer.non_trainable_variables
    rows = [row[:length] for row, length in zip(x, LENGTHS, strict=True)]
    want = layer(x, mask=mask)
    np.testing.assert_array_equal(layer.stateless_call(*variables, x, lengths=LENGTHS)[0], want)
    np.testing.assert_array_equal(layer.stateless_call(*variables, rows)[0], want)
    model = pylstm.Sequential([layer])
    model(rows)
    np.testing.assert_array_equal(model.stateless_call(*variables, rows)[0], want)
    with pytest.raises(pylstm.errors.StateError, match="PYL116"):
        layer.stateless_call(*variables, x, initial_state=[np.zeros((4, 2))] * 2)


def test_lengths_are_a_mask(layer, x, mask):
    expected, got = layer(x, mask=mask), layer(x, lengths=LENGTHS)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(got._keras_mask, mask)
    assert not np.allclose(got, layer(x))


def test_lengths_and_mask_both_count(layer, x, mask, rng):
    holes = rng.random((4, 7)) < 0.5
    expected = layer(x, mask=mask & holes)
    np.testing.assert_array_equal(layer(x, mask=holes, lengths=LENGTHS), expected)


def test_a_bidirectional_wrapper_does_not_pass_the_mask_value_by(monkeypatch, x):
    """On a GPU Keras hands both layers to cuDNN at once, with torch and with JAX."""
    calls = []
    monkeypatch.setattr(
        "keras.src.backend.bidirectional_lstm", lambda *a, **k: calls.append(a), raising=False
    )
    wrapper = keras.layers.Bidirectional(pylstm.LSTM(5, mask_value=-1.0))
    for _ in range(2):  # the first builds it
        wrapper(x)
    assert wrapper.forward_layer.path == "fused"
    assert not calls


def test_lengths_and_the_mask_value_both_count(layer, x, mask):
    masking = pylstm.LSTM(5, return_sequences=True, mask_value=-1.0)
    masking.build((None, None, 3))
    masking.set_weights(layer.get_weights())
    x[:, 1], mask[:, 1] = -1.0, False
    np.testing.assert_array_equal(masking(x, lengths=LENGTHS), layer(x, mask=mask))


def test_lengths_and_the_ends_of_a_list_both_count(layer, x):
    recordings = [row[:end] for row, end in zip(x, (7, 3, 2, 5), strict=True)]
    expected = layer(x, lengths=[2, 3, 1, 5])
    np.testing.assert_array_equal(layer(recordings, lengths=[2, 7, 1, 6]), expected)


def test_ragged_input_is_a_mask(layer, x, mask):
    ragged = tf.RaggedTensor.from_tensor(x, lengths=LENGTHS)
    expected, got = layer(x, mask=mask), layer(ragged)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(got._keras_mask, mask)


def test_lengths_in_a_graph(layer, x):
    graph = tf.function(lambda x, lengths: layer(x, lengths=lengths))
    np.testing.assert_allclose(
        graph(tf.constant(x), tf.constant(LENGTHS)), layer(x, lengths=LENGTHS), atol=1e-6
    )


def test_lengths_as_a_model_input(layer, x):
    inputs, lengths = keras.Input((None, 3)), keras.Input((), dtype="int32")
    model = keras.Model([inputs, lengths], layer(inputs, lengths=lengths))
    np.testing.assert_allclose(
        model.predict([x, LENGTHS], verbose=0), layer(x, lengths=LENGTHS), atol=1e-6
    )


def test_following_layers_see_the_mask(x):
    """As after `keras.layers.Masking`, in a model that is built, trained and predicts."""
    x[np.arange(7) >= LENGTHS[:, None]] = 9.0
    ragged = tf.RaggedTensor.from_tensor(x, lengths=LENGTHS)
    tail = [pylstm.LSTM(5, return_sequences=True), pylstm.LSTM(4), keras.layers.Dense(1)]
    masked = keras.Sequential([keras.layers.Masking(9.0), *tail])
    expected = masked.predict(x, verbose=0)
    model = keras.Sequential(tail)
    np.testing.assert_allclose(model(ragged), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(ragged, verbose=0), expected, atol=1e-6)
