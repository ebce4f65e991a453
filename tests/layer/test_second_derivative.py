"""What depends on a gradient, and forward mode, are as with `keras.layers.LSTM`, in float64."""

import pytest
import tensorflow as tf

from tests.layer.compare import pair
from tests.tolerances import assert_close

OPTIONS = [
    {},
    {"return_sequences": True, "go_backwards": True, "zero_output_for_mask": True},
    {"return_sequences": True, "dropout": 0.2, "recurrent_dropout": 0.3},
    {"use_bias": False, "activation": "softplus"},
]


@pytest.fixture
def inputs(rng):
    """x, a state for both h and c, and a mask with holes."""
    mask = rng.random((3, 4)) < 0.6
    return (
        tf.constant(rng.standard_normal((3, 4, 2))),
        tf.constant(rng.standard_normal((3, 5))),
        mask,
    )


def gradient_penalty(layer, x, state, mask):
    """The gradients of the squared norm of the gradients of all outputs' squared norm."""
    sources = [x, state, *(w.value for w in layer.trainable_weights)]
    with tf.GradientTape() as outer:
        outer.watch([x, state])
        with tf.GradientTape() as inner:
            inner.watch([x, state])
            outputs = layer(x, initial_state=[state, state], mask=mask, training=True)
            norm = squared_norm(outputs)
        penalty = squared_norm(inner.gradient(norm, sources))
    return outer.gradient(penalty, sources)


def squared_norm(tensors):
    return tf.add_n([tf.reduce_sum(tensor**2) for tensor in tensors])


def assert_same(ours, stock):
    assert len(ours) == len(stock)
    for a, b in zip(ours, stock, strict=True):
        assert_close(a, b, "float64", backward=True)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradient_penalty(options, masked, inputs):
    x, state, mask = inputs
    stock, ours = pair(5, 2, dtype="float64", return_state=True, **options)
    mask = mask if masked else None
    got = gradient_penalty(ours, x, state, mask)
    assert ours.path == "fused"
    assert_same(got, gradient_penalty(stock, x, state, mask))


def test_gradient_penalty_in_a_graph(inputs):
    stock, ours = pair(5, 2, dtype="float64", return_state=True)
    graph = tf.function(lambda *inputs: gradient_penalty(ours, *inputs))
    assert_same(graph(*inputs), gradient_penalty(stock, *inputs))


def test_forward_mode(inputs):
    x, state, mask = inputs
    results = []
    for layer in pair(5, 2, dtype="float64", return_sequences=True):
        with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
            y = layer(x, initial_state=[state, state], mask=mask)
        results.append([accumulator.jvp(y)])
    assert_same(*results)
