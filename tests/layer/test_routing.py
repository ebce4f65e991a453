"""Which path a call takes, what the layer says about it, and that both paths agree."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import pylstm
from pylstm import routing
from pylstm.errors import BackendLoadError, PylstmError
from pylstm.ops import tensorflow as op


@pytest.fixture
def x(rng):
    return rng.standard_normal((4, 6, 3)).astype("float32")


def test_nothing_is_said_before_a_call():
    layer = pylstm.LSTM(4)
    assert layer.path is None
    assert layer.path_reason is None


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "relu"},
        {"activation": None, "use_bias": False},
        {"recurrent_activation": keras.activations.hard_sigmoid},
        {"recurrent_dropout": 0.5, "dropout": 0.5},
        {"unroll": True},
        {"use_cudnn": True},
        {"use_cudnn": False},
        {"implementation": 1},
        {"kernel": "fused"},
    ],
    ids=lambda options: ", ".join(options) or "default",
)
def test_fused(options, x, fused_calls):
    layer = pylstm.LSTM(4, **options)
    layer(x, training=True)
    assert len(fused_calls) == 1
    assert layer.path == "fused"
    assert layer.path_reason == "The fused kernel covers every option of this layer."


def scaled_tanh(x):
    return 1.7159 * keras.ops.tanh(x * 2 / 3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"activation": scaled_tanh}, "activation=scaled_tanh is not one of"),
        ({"recurrent_activation": tf.sigmoid}, "recurrent_activation=sigmoid is not one of"),
        ({"activation": keras.layers.PReLU()}, "activation=PReLU is not one of"),
        ({"activation": "softmax"}, "activation=softmax is not one of Keras' pointwise"),
        ({"kernel": "keras"}, 'the layer has kernel="keras"'),
    ],
)
def test_keras_loop(options, reason, x, fused_calls):
    layer = pylstm.LSTM(4, **options)
    y = layer(x)
    assert not fused_calls
    assert layer.path == "keras"
    assert layer.path_reason.startswith("Keras' loop ran: ")
    assert reason in layer.path_reason
    options.pop("kernel", None)
    stock = keras.layers.LSTM(4, **options)
    stock.build(x.shape)
    stock.set_weights(layer.get_weights())
    np.testing.assert_allclose(y, stock(x), rtol=1e-5)


class DoublingCell(keras.layers.LSTMCell):
    def call(self, inputs, states, training=False):
        h, states = super().call(inputs, states, training=training)
        return 2 * h, states


def test_another_cell_runs_keras_loop(x):
    outputs = []
    for lstm in (keras.layers.LSTM, pylstm.LSTM):
        keras.utils.set_random_seed(3)
        layer = lstm(4)
        layer.cell = DoublingCell(4)
        outputs.append(layer(x))
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-5)
    assert layer.path == "keras"
    assert "the layer's cell is a DoublingCell" in layer.path_reason


def test_what_a_gradient_needs_is_kept_where_a_graph_decides(x, fused_calls):
    layer = pylstm.LSTM(4)
    for training in (False, True):
        layer(x, training=training)
    tf.function(lambda training: layer(x, training=training))(tf.constant(False))
    assert [call["save_for_backward"] for call in fused_calls] == [False, True, True]


def test_path_is_that_of_the_newest_call(x):
    layer = pylstm.LSTM(4)
    layer(x)
    layer.kernel = "keras"
    layer(x)
    assert layer.path == "keras"


def test_fused_is_demanded_but_cannot_run(x):
    layer = pylstm.LSTM(4, kernel="fused", activation="softmax", name="mine")
    with pytest.raises(PylstmError, match=r"PYL133.*layer 'mine'") as caught:
        layer(x)
    assert "activation=softmax" in caught.value.got
    assert 'kernel="auto"' in caught.value.fix


def test_xla_runs_keras_loop(x, fused_calls):
    layer = pylstm.LSTM(4)
    expected = layer(x)
    fused_calls.clear()
    compiled = tf.function(lambda x: layer(x), jit_compile=True)
    np.testing.assert_allclose(compiled(x), expected, atol=1e-6)
    assert layer.path == "keras"
    assert "jit_compile=True" in layer.path_reason
    assert not fused_calls


@pytest.mark.parametrize(("jit_compile", "path"), [("auto", "fused"), (True, "keras")])
def test_compiled_model(jit_compile, path, x):
    losses = []
    for lstm in (keras.layers.LSTM, pylstm.LSTM):
        keras.utils.set_random_seed(2)
        model = keras.Sequential([keras.Input((6, 3)), lstm(4), keras.layers.Dense(1)])
        model.compile("adam", "mse", jit_compile=jit_compile)
        losses.append(model.fit(x, x[:, 0, :1], epochs=3, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert model.layers[0].path == path


def test_accelerator_leaves_automatic_xla_off(monkeypatch):
    """Keras resolves jit_compile="auto" to XLA where there is a GPU and every layer allows it."""
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: [gpu])
    assert not pylstm.LSTM(4).supports_jit
    assert pylstm.LSTM(4, kernel="keras").supports_jit


def test_gpu_without_a_fused_kernel(monkeypatch, x):
    """Keras' loop on the GPU beats the fused kernel on the CPU; who wants that says so."""
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [gpu])
    monkeypatch.setattr(op, "devices", lambda: ["CPU"])
    automatic, demanded = pylstm.LSTM(4), pylstm.LSTM(4, kernel="fused")
    automatic(x)
    demanded(x)
    assert automatic.path == "keras"
    assert "TensorFlow has a GPU" in automatic.path_reason
    assert demanded.path == "fused"
    monkeypatch.setattr(op, "devices", lambda: ["CPU", "GPU"])
    automatic(x)
    assert automatic.path == "fused"


def test_other_backends_run_keras_loop(tmp_path):
    """The numpy backend comes with Keras."""
    code = (
        "import numpy as np, pylstm\n"
        "layer = pylstm.LSTM(4)\n"
        "assert layer(np.ones((2, 3, 5), 'float32')).shape == (2, 4)\n"
        "assert layer.path == 'keras', layer.path\n"
        "print(layer.path_reason)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "numpy", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "one of Keras' backends tensorflow, jax, torch, not numpy" in done.stdout


@pytest.fixture
def no_library(monkeypatch):
    error = BackendLoadError("PYL131", fix="pip install pylstm")
    monkeypatch.setattr(routing, "_load_error", lambda backend: error)
    routing._warn_of_keras_loop.cache_clear()


def test_missing_library_warns_once(no_library, x):
    layer = pylstm.LSTM(4)
    with pytest.warns(RuntimeWarning, match="PYL131") as caught:
        layer(x)
        layer(x)
        pylstm.LSTM(2)(x)
    assert len(caught) == 1
    assert layer.path == "keras"
    assert "library is missing" in layer.path_reason


def test_missing_library_raises_where_fused_is_demanded(no_library, x):
    with pytest.raises(BackendLoadError, match="pip install pylstm"):
        pylstm.LSTM(4, kernel="fused")(x)
