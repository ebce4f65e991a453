"""What only TensorFlow has: graphs with unknown sizes, variables."""

import numpy as np
import pytest

import pylstm
from pylstm.errors import FeatureMismatchError
from pylstm.reference import lstm_forward
from tests.cases import Case, make_inputs
from tests.tolerances import assert_close

tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed")


@pytest.mark.parametrize("shape", [(None, None, 3), (None, None, None), None])
def test_unknown_sizes(shape):
    x, h0, c0, *weights = make_inputs(Case(batch=3, time=5, features=3, units=4))[:6]
    variables = [tf.Variable(weight) for weight in weights]

    @tf.function(input_signature=[tf.TensorSpec(shape), tf.TensorSpec((None,), tf.int32)])
    def call(x, lengths):
        return pylstm.lstm(x, *variables, lengths=lengths)

    lengths = np.array([5, 2, 0], np.int32)
    mask = np.arange(5) < lengths[:, None]
    exact, _, _ = lstm_forward(x, 0 * h0, 0 * c0, *weights, mask)
    assert_close(call(x, lengths).numpy(), exact, "float32")


def test_a_list_of_lengths_in_a_graph():
    x, _, _, *weights = map(tf.constant, make_inputs(Case(batch=2, time=5, bias=False))[:5])
    call = tf.function(lambda n: pylstm.lstm(x, *weights, lengths=[n, 5]))
    expected = pylstm.lstm(x, *weights, lengths=[2, 5])
    np.testing.assert_array_equal(call(tf.constant(2)), expected)


def test_gradient_of_a_graph():
    x, _, _, *weights = make_inputs(Case())[:6]
    variables = [tf.Variable(weight) for weight in weights]

    def call(x):
        return pylstm.lstm(x, *variables)

    gradients = []
    for function in (call, tf.function(call)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(function(x))
        gradients.append(tape.gradient(loss, variables))
    for eager, graph in zip(*gradients, strict=True):
        np.testing.assert_array_equal(eager, graph)


def test_shapes_are_checked_while_tracing():
    x, _, _, *weights = make_inputs(Case())[:6]

    @tf.function
    def call(x):
        return pylstm.lstm(x, *map(tf.constant, weights))

    with pytest.raises(FeatureMismatchError, match="axis 2 is 2, not 3"):
        call(x[..., :2])
