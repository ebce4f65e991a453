"""What Keras alone refuses, and how far ragged tensors come in its models."""

import keras
import numpy as np
import pytest

import pylstm
from pylstm.diagnosis import diagnose
from tests.data import sequences
from tests.diagnosis.support import LABELS, dense, found, functional
from tests.tolerances import assert_close


@pytest.mark.parametrize(
    ("lstm", "fix"), [(keras.layers.LSTM, "model = pylstm.convert(model)\n"), (pylstm.LSTM, "")]
)
def test_the_layer_in_a_wrapper_is_what_reads(lstm, fix):
    model = keras.Sequential([keras.Input((None, 5)), keras.layers.Bidirectional(lstm(3))])
    finding = found(diagnose(model, sequences(), LABELS), "PYL146")
    assert finding.fix == f"{fix}model.fit(pylstm.dataset(x, y))"


def test_what_keras_alone_refuses():
    plain = keras.Sequential([keras.Input((None, 5)), pylstm.LSTM(3)])
    assert found(diagnose(plain, dense(), LABELS), "PYL146").fix == "np.asarray(y)"
    assert found(diagnose(plain, dense()[:, None], None), "PYL123").level == "error"
    assert found(diagnose(plain, dense()[..., None], None), "PYL123").level == "fixed"
    assert found(diagnose(plain, dense().astype(complex)), "PYL117").level == "warning"
    behind = keras.Sequential([keras.Input((None, 5)), keras.layers.Dense(4), pylstm.LSTM(3)])
    for x in (sequences(), pylstm.dataset(sequences(), LABELS)):
        assert "pylstm.Sequential(model.layers)" in found(diagnose(behind, x), "PYL146").fix
    assert diagnose(plain, pylstm.dataset(sequences(), LABELS)).ok


@pytest.mark.parametrize(
    "front",
    [
        lambda x: keras.layers.Activation("tanh")(x),
        lambda x: keras.layers.LayerNormalization()(keras.layers.ReLU()(x)),
        lambda x: keras.layers.Rescaling(0.5)(x),
        lambda x: x / 2 - 1,
        lambda x: keras.layers.Add()([x, x * 2]),
    ],
)
def test_layers_in_front_that_take_ragged_tensors(front):
    model = functional(lambda x: pylstm.LSTM(3)(front(x)), keras.Model)
    data = pylstm.dataset(sequences(), np.zeros((6, 3)), 2)
    assert diagnose(model, data).ok
    model.compile("sgd", "mse")
    model.fit(data, verbose=0)
    assert "pylstm.dataset" in found(diagnose(model, sequences(), LABELS), "PYL146").fix


@pytest.mark.parametrize("mask_zero", [True, False])
@pytest.mark.parametrize("wrap", [lambda lstm: lstm, keras.layers.Bidirectional])
def test_tokens_in_ragged_tensors(mask_zero, wrap):
    embedding = keras.layers.Embedding(9, 4, mask_zero=mask_zero)
    model = keras.Sequential([keras.Input((None,)), embedding, wrap(pylstm.LSTM(3))])
    tokens = [[1, 2, 3], [4, 5], [6]]
    assert diagnose(model, pylstm.dataset(tokens, [0, 1, 2], 2)).ok
    alone = [model(np.array([each]))[0] for each in tokens]
    together = model.predict(pylstm.dataset(tokens, batch_size=2), verbose=0)
    assert_close(together, np.stack(alone), "float32")
