"""Every file format that Keras has, also read by a second process; and copies in memory."""

import copy
import os
import pickle
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import pylstm
from tests import backends


def build(lstm, model_type=keras.Sequential):
    return model_type(
        [
            keras.Input((None, 3)),
            keras.layers.Masking(0.5),
            keras.layers.Bidirectional(lstm(4, return_sequences=True, dropout=0.1)),
            lstm(5, activation="relu", recurrent_dropout=0.2),
            keras.layers.Dense(2),
        ]
    )


@pytest.fixture
def x(rng):
    x = rng.standard_normal((4, 6, 3)).astype("float32")
    x[1:, 4:] = 0.5
    return x


def in_another_process(tmp_path, code, x):
    """Runs code that maps the array `x` to `y` in a fresh interpreter. Returns y."""
    np.save(tmp_path / "x.npy", x)
    prelude = "import numpy as np\nx = np.load('x.npy')\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(code) + "\nnp.save('y.npy', y)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return np.load(tmp_path / "y.npy")


def test_keras_file(tmp_path, x):
    model = build(pylstm.LSTM)
    model.compile("adam", "mse")
    model.fit(x, x[:, 0, :2], verbose=0)
    model.save(tmp_path / "model.keras")
    y = in_another_process(
        tmp_path,
        """
        import keras, pylstm
        model = keras.models.load_model("model.keras")
        y = model.predict(x, verbose=0)
        assert model.layers[2].path == "fused"
        assert type(model.layers[1].forward_layer) is pylstm.LSTM
        assert int(model.optimizer.iterations) == 1
        """,
        x,
    )
    np.testing.assert_allclose(y, model.predict(x, verbose=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("writer", "reader"),
    [(keras.layers.LSTM, pylstm.LSTM), (pylstm.LSTM, keras.layers.LSTM)],
    ids=["stock to pylstm", "pylstm to stock"],
)
def test_weights_file_in_both_directions(tmp_path, x, writer, reader):
    source, target = build(writer), build(reader)
    source.save_weights(tmp_path / "model.weights.h5")
    assert not np.allclose(target(x), source(x))
    target.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(target(x), source(x), atol=2e-6)


def test_exported_model(tmp_path, x):
    model = build(pylstm.LSTM)
    model.export(tmp_path / "exported", verbose=False)
    y = in_another_process(
        tmp_path,
        """
        import pylstm, tensorflow as tf
        model = tf.saved_model.load("exported")
        y = model.serve(x)
        """,
        x,
    )
    np.testing.assert_allclose(y, model(x), rtol=1e-5, atol=1e-7)


TORCH_EXPORT = """
import keras, torch, pylstm

x = torch.ones(2, 3, 4)
model = keras.Sequential([keras.Input((3, 4)), pylstm.LSTM(5)]).eval()
torch.export.save(torch.export.export(model, (x,)), "model.pt2")
torch.save(model(x).detach(), "y.pt")
"""
TORCH_LOAD = """
import torch, pylstm

y = torch.export.load("model.pt2").module()(torch.ones(2, 3, 4))
torch.testing.assert_close(y, torch.load("y.pt"))
"""


JAX_EXPORT = """
import jax, keras, numpy as np, pylstm
from jax import export

x = np.ones((2, 3, 4), "float32")
model = keras.Sequential([keras.Input((3, 4)), pylstm.LSTM(5)])
variables = model.trainable_variables, model.non_trainable_variables
state = [[variable.value for variable in group] for group in variables]
call = jax.jit(lambda x: model.stateless_call(*state, x)[0])
allowed = [export.DisabledSafetyCheck.custom_call("pylstm_lstm_forward")]
program = export.export(call, disabled_checks=allowed)(x).serialize()
open("model", "wb").write(program)
np.save("y.npy", call(x))
"""
JAX_LOAD = """
import jax, numpy as np, pylstm
from jax import export

program = open("model", "rb").read()
y = export.deserialize(bytearray(program)).call(np.ones((2, 3, 4), "float32"))
np.testing.assert_allclose(y, np.load("y.npy"), rtol=1e-6)
"""


@pytest.mark.parametrize(
    ("backend", "scripts"),
    [("torch", (TORCH_EXPORT, TORCH_LOAD)), ("jax", (JAX_EXPORT, JAX_LOAD))],
    ids=["torch", "jax"],
)
def test_exported_by_the_backend(backend, scripts, tmp_path):
    for script in scripts:
        backends.run_python(backend, "-W", "ignore", "-c", script, cwd=tmp_path)


def test_exported_as_stock_it_is_served_without_pylstm(tmp_path, x):
    model = build(pylstm.LSTM)
    pylstm.to_keras(model).export(tmp_path / "exported", verbose=False)
    y = in_another_process(
        tmp_path,
        """
        import sys
        sys.modules["pylstm"] = None  # as if it were not installed
        import tensorflow as tf
        served = tf.saved_model.load("exported")
        y = served.serve(x)
        """,
        x,
    )
    np.testing.assert_allclose(y, model(x), atol=2e-6)


def test_saved_model_that_trains_on(tmp_path, x):
    layer = pylstm.LSTM(5, return_sequences=True)
    layer.build(x.shape)

    class Module(tf.Module):
        def __init__(self):
            self.variables_of_layer = [w.value for w in layer.trainable_weights]

        @tf.function(input_signature=[tf.TensorSpec((None, None, 3))])
        def __call__(self, x):
            return layer(x, training=True)

    tf.saved_model.save(Module(), str(tmp_path / "saved"))
    gradient = in_another_process(
        tmp_path,
        """
        import pylstm, tensorflow as tf
        module = tf.saved_model.load("saved")
        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(module(x) ** 2)
        y = tape.gradient(loss, x)
        """,
        x,
    )
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x, training=True) ** 2)
    np.testing.assert_allclose(gradient, tape.gradient(loss, x), rtol=1e-5, atol=1e-6)


def test_clone_model(x):
    model = build(pylstm.LSTM)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert type(clone.layers[2]) is pylstm.LSTM
    np.testing.assert_array_equal(clone(x), model(x))


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_in_memory_keeps_its_classes(how, x):
    model = build(pylstm.LSTM, pylstm.Sequential)
    twin = COPIES[how](model)
    assert type(twin) is pylstm.Sequential
    assert type(twin.layers[2]) is pylstm.LSTM
    np.testing.assert_array_equal(twin.predict(x, verbose=0), model.predict(x, verbose=0))
