"""`TimeDistributed` takes every step of every sequence, or is refused."""

import keras
import numpy as np
import pytest

import pylstm
from pylstm import errors
from tests.data import sequences
from tests.tolerances import assert_close


@pytest.mark.parametrize("wrap", [lambda layer: layer, keras.layers.Bidirectional])
def test_a_time_distributed_lstm(wrap):
    videos = [np.random.default_rng(n).normal(size=(n, 6, 5)).astype("float32") for n in (3, 5, 4)]
    frames = keras.Input((None, 6, 5))
    each = keras.layers.TimeDistributed(wrap(pylstm.LSTM(4)))
    model = pylstm.Model(frames, pylstm.LSTM(3)(each(frames)))
    model.compile(run_eagerly=True)
    alone = np.concatenate([model.predict(video[None], verbose=0) for video in videos])
    assert_close(model.predict(videos, verbose=0), alone, "float32")


def test_time_distributed_never_drops_steps():
    """Keras 3.15 computes as many steps as there are samples where it knows neither."""
    seqs = sequences()
    inner = keras.layers.TimeDistributed(keras.layers.Dense(5), name="each")
    model = pylstm.Sequential([keras.Input((None, 5)), inner, pylstm.LSTM(3)])
    with pytest.raises(errors.TimestepError, match=r"\[PYL129\] layer 'each'") as caught:
        model.predict(seqs)
    assert "keras.layers.Dense without" in caught.value.fix
    plain = pylstm.Sequential([keras.Input((None, 5)), inner.layer, model.layers[1]])
    np.testing.assert_allclose(plain.predict(seqs, verbose=0), model(seqs), atol=1e-6)
    model.compile(run_eagerly=True)
    np.testing.assert_allclose(model.predict(seqs, verbose=0), model(seqs), atol=1e-6)


def test_time_distributed_behind_a_fixed_number_of_steps():
    """As in an encoder and decoder, whose input alone has several lengths."""
    seqs = sequences()
    each = keras.layers.TimeDistributed(keras.layers.Dense(5))
    layers = [pylstm.LSTM(4), keras.layers.RepeatVector(6), each]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers])
    expected = np.concatenate([model(seq[None]) for seq in seqs])
    np.testing.assert_allclose(model.predict(seqs, verbose=0), expected, atol=1e-6)


def test_time_distributed_never_drops_steps_of_arrays_of_several_lengths():
    """The second length is traced as any."""
    layers = [keras.layers.TimeDistributed(keras.layers.Dense(5)), pylstm.LSTM(3)]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers])
    x = np.ones((2, 4, 5), np.float32)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), atol=1e-6)
    with pytest.raises(errors.TimestepError, match=r"\[PYL129\]"):
        model.predict(np.ones((2, 7, 5)), verbose=0)
    model.compile(run_eagerly=True)
    assert model.predict(np.ones((2, 7, 5)), verbose=0).shape == (2, 3)
