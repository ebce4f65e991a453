"""What depends on a gradient, and forward mode, are as with `keras.layers.LSTM`, in float64."""

import keras
import pytest
from keras import ops

from tests.layer.compare import KERAS_ROUNDS, differentiate, only_tensorflow, pair
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
    return rng.standard_normal((3, 4, 2)), rng.standard_normal((3, 5)), mask


def gradient_penalty(layer, x, state, mask):
    """The gradients of the squared norm of the gradients of all outputs' squared norm."""

    def norm(x, state):
        outputs = layer(x, initial_state=[state, state], mask=mask, training=True)
        return squared_norm(outputs), None

    def penalty(x, state):
        _, gradients = differentiate(norm, [x, state], layer.trainable_variables)
        return squared_norm(gradients), None

    keras.utils.set_random_seed(0)
    return differentiate(penalty, [x, state], layer.trainable_variables)[1]


def squared_norm(tensors):
    return sum(ops.sum(tensor**2) for tensor in tensors)


def assert_same(ours, stock):
    assert len(ours) == len(stock)
    for a, b in zip(ours, stock, strict=True):
        a, b = map(ops.convert_to_numpy, (a, b))
        assert_close(a, b, "float32" if KERAS_ROUNDS else "float64", backward=True)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradient_penalty(options, masked, inputs):
    x, state, mask = inputs
    stock, ours = pair(5, 2, dtype="float64", return_state=True, **options)
    mask = mask if masked else None
    got = gradient_penalty(ours, x, state, mask)
    assert ours.path == "fused"
    assert_same(got, gradient_penalty(stock, x, state, mask))


def test_penalty_of_the_gradient_by_weights(inputs):
    """x is data, as in most models."""
    x, state, mask = inputs

    def penalty_gradients(layer):
        def norm(state):
            outputs = layer(x, initial_state=[state, state], mask=mask)
            return squared_norm(outputs), None

        def penalty(state):
            _, gradients = differentiate(norm, [state], layer.trainable_variables)
            return squared_norm(gradients), None

        return differentiate(penalty, [state], layer.trainable_variables)[1]

    stock, ours = pair(5, 2, dtype="float64", return_state=True)
    assert_same(penalty_gradients(ours), penalty_gradients(stock))


@only_tensorflow
def test_gradient_penalty_in_a_graph(inputs):
    import tensorflow as tf

    stock, ours = pair(5, 2, dtype="float64", return_state=True)
    graph = tf.function(lambda *inputs: gradient_penalty(ours, *inputs))
    assert_same(graph(*inputs), gradient_penalty(stock, *inputs))


@only_tensorflow
def test_forward_mode(inputs):
    import tensorflow as tf

    x, state, mask = inputs
    x = tf.constant(x)
    results = []
    for layer in pair(5, 2, dtype="float64", return_sequences=True):
        with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
            y = layer(x, initial_state=[state, state], mask=mask)
        results.append([accumulator.jvp(y)])
    assert_same(*results)
