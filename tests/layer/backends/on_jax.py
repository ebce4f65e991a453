"""JAX's transformations of a layer, its exports, and where Keras' loop runs instead."""

import jax
import keras
import numpy as np
import pytest
from jax.test_util import check_grads

import pylstm
from pylstm.ops import jax as op
from tests.cases import Case, make_inputs
from tests.layer.compare import assert_close, pair


@pytest.fixture
def x(rng):
    return rng.standard_normal((3, 4, 2))


def outputs_of(layer):
    """A function of x without state."""
    trainable = [v.value for v in layer.trainable_variables]
    others = [v.value for v in layer.non_trainable_variables]
    return lambda x: layer.stateless_call(trainable, others, x)[0]


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: jax.jit(f),
        lambda f: jax.grad(lambda x: f(x).sum()),
        lambda f: jax.jit(jax.grad(jax.checkpoint(lambda x: f(x).sum()))),
        lambda f: jax.jacrev(f),
        lambda f: jax.hessian(lambda x: f(x).sum()),
        lambda f: jax.vmap(jax.grad(lambda x: f(x[None]).sum())),
        lambda f: lambda x: jax.lax.scan(lambda sum, _: (sum + f(x), None), f(x), length=2)[0],
    ],
    ids=["jit", "grad", "checkpoint", "jacrev", "hessian", "vmap", "scan"],
)
def test_transformations(transform, x):
    stock, ours = pair(5, 2, dtype="float64")
    assert_close(transform(outputs_of(ours))(x), transform(outputs_of(stock))(x))
    assert ours.path == "fused"


@pytest.mark.parametrize("return_sequences", [False, True])
def test_second_derivatives_of_the_function(return_sequences):
    """By the initial state, too, where masked steps come first."""
    case = Case(batch=2, time=3, features=2, units=2, dtype="float64", mask="left")
    x, h0, c0, *weights = (np.nan_to_num(value) for value in make_inputs(case)[:6])
    mask = np.array([[False, True, False], [False, False, False]])

    def call(*inputs):
        x, h0, c0, *weights = inputs
        options = {"mask": mask, "return_sequences": return_sequences, "return_state": True}
        return pylstm.lstm(x, *weights, initial_state=[h0, c0], **options)

    check_grads(call, tuple(map(jax.numpy.asarray, (x, h0, c0, *weights))), order=2, modes=["rev"])


@pytest.mark.parametrize("trained", ["original", "copy"])
def test_converted_models_are_independent(trained, x):
    """JAX's training donates the buffers of a model's variables."""
    original = keras.Sequential([keras.Input((4, 2)), keras.layers.LSTM(3), keras.layers.Dense(1)])
    original.compile("adam", "mse")
    original.fit(x, np.ones((3, 1)), verbose=0)
    copy = pylstm.convert(original)
    expected = original.predict(x, verbose=0)
    train, keep = (original, copy) if trained == "original" else (copy, original)
    train.fit(x, np.ones((3, 1)), epochs=2, verbose=0)
    np.testing.assert_allclose(keep.predict(x, verbose=0), expected, atol=1e-6)
    keep.fit(x, np.ones((3, 1)), verbose=0)


def test_rematerialized(x):
    """Stock Keras' layer raises here, of a bool that JAX traces."""
    plain = pylstm.LSTM(3, dtype="float64")
    with keras.RematScope(mode="full"):
        rematerialized = pylstm.LSTM(3, dtype="float64")
    for layer in (plain, rematerialized):
        layer.build(x.shape)
    rematerialized.set_weights(plain.get_weights())
    assert_close(
        jax.grad(lambda x: outputs_of(rematerialized)(x).sum())(x),
        jax.grad(lambda x: outputs_of(plain)(x).sum())(x),
    )
    assert rematerialized.path == "fused"


def test_export_of_any_batch_runs_keras_loop(x):
    layer = pylstm.LSTM(3)
    layer.build(x.shape)
    (batch,) = jax.export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, 4, 2), "float32")
    exported = jax.export.export(jax.jit(outputs_of(layer)))(shape)
    assert layer.path == "keras"
    assert "JAX traces the call without them" in layer.path_reason
    x = x.astype("float32")
    np.testing.assert_allclose(exported.call(x), layer(x), atol=1e-6)
    assert layer.path == "fused"


def test_distribution_runs_keras_loop(x):
    layer = pylstm.LSTM(3)
    expected = layer(x)
    with keras.distribution.DataParallel(devices=["cpu:0"]).scope():
        np.testing.assert_allclose(layer(x), expected, atol=1e-6)
    assert layer.path == "keras"
    assert "keras.distribution" in layer.path_reason


def test_vmap_over_an_explicit_mesh_runs_keras_loop(x):
    layer = pylstm.LSTM(3, dtype="float64")
    expected = layer(x)
    with jax.set_mesh(jax.make_mesh((1,), ("batch",))):
        divided = jax.device_put(x, jax.sharding.PartitionSpec("batch"))
        each = jax.vmap(lambda row: outputs_of(layer)(row[None])[0])
        assert_close(jax.jit(each)(divided), expected)
        assert "explicit axes" in layer.path_reason
        assert_close(layer(divided), expected)
        assert layer.path == "fused"


def test_gpu_runs_keras_loop(monkeypatch, x):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "JAX computes on gpu" in op.obstacle(x)


def test_a_warning_below_jax_points_at_the_users_line(x):
    layer = pylstm.LSTM(3)
    layer.build(x.shape)
    with pytest.warns(pylstm.errors.ShapeCorrectionWarning) as caught:
        jax.jit(layer)(x[:, None].astype("float32"))
    assert caught[0].filename == __file__
