"""Values and all gradients are those of `keras.layers.LSTM`, compared in float64."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pylstm._library import load_core
from tests.layer.compare import assert_same, only_tensorflow, outputs_and_gradients, pair

ACTIVATIONS = load_core().activations()
# TensorFlow rounds the constants of these to float32, in float64 too.
ROUNDED = {"gelu", "leaky_relu"}
# Over several steps these stay small enough to compare; `exponential` magnifies every rounding.
TAME = [name for name in ACTIVATIONS if name != "exponential"]


def random_mask(rng, kind, batch, time):
    """A mask of one kind: where the steps that do not count lie."""
    if kind == "none":
        return None
    lengths = rng.integers(0, time + 1, (batch, 1))
    steps = np.arange(time)
    return {
        "right": steps < lengths,
        "left": steps >= lengths,
        "holes": rng.random((batch, time)) < 0.6,
        "everything": np.zeros((batch, time), bool),
    }[kind]


def check(batch, time, features, units, *, mask="none", initial_state=True, seed=0, **options):
    rng = np.random.default_rng(seed)
    stock, ours = pair(units, features, seed=seed, dtype="float64", **options)
    x = rng.standard_normal((batch, time, features))
    states = [rng.standard_normal((batch, units)) for _ in range(2)] if initial_state else None
    mask = random_mask(rng, mask, batch, time)
    expected = outputs_and_gradients(stock, x, states, mask=mask)
    got = outputs_and_gradients(ours, x, states, mask=mask)
    assert ours.path == "fused"
    activations = {ours.activation.__name__, ours.recurrent_activation.__name__}
    rounded = bool(ROUNDED & activations)
    assert_same(got, expected, rounded)


@pytest.mark.parametrize("mask", ["none", "right", "left", "holes", "everything"])
@pytest.mark.parametrize(
    ("return_sequences", "go_backwards", "zero_output_for_mask"),
    list(itertools.product([False, True], repeat=3)),
)
def test_masks_directions_and_outputs(mask, return_sequences, go_backwards, zero_output_for_mask):
    check(
        4,
        6,
        3,
        5,
        mask=mask,
        return_sequences=return_sequences,
        return_state=True,
        go_backwards=go_backwards,
        zero_output_for_mask=zero_output_for_mask,
    )


@pytest.mark.parametrize(("role"), ["activation", "recurrent_activation"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, role):
    check(3, 4, 2, 3, mask="holes", return_sequences=True, **{role: name})


@pytest.mark.parametrize("size", [1, 3, 15, 17, 33, 50, 65])
@pytest.mark.parametrize("axis", ["batch", "time", "features", "units"])
def test_odd_sizes(axis, size):
    sizes = {"batch": 2, "time": 3, "features": 4, "units": 5, axis: size}
    check(**sizes, mask="holes", return_sequences=True, return_state=True)


@pytest.mark.parametrize("mask", ["none", "holes"])
@pytest.mark.parametrize(
    "options",
    [
        {"use_bias": False},
        {"unroll": True, "return_sequences": True},
        {"implementation": 1},
        {"dropout": 0.4},
        {"recurrent_dropout": 0.4},
        {"dropout": 0.3, "recurrent_dropout": 0.4, "return_sequences": True},
        {"dropout": 0.3, "implementation": 1, "use_cudnn": False},
        {"dropout": 0.3, "recurrent_dropout": 0.4, "go_backwards": True, "use_bias": False},
        {"return_sequences": 1, "go_backwards": np.True_, "zero_output_for_mask": None},
    ],
    ids=str,
)
def test_options(options, mask):
    check(4, 5, 3, 6, mask=mask, seed=3, **options)


@settings(max_examples=40)
@given(
    batch=st.integers(1, 7),
    time=st.integers(1, 9),
    features=st.integers(1, 9),
    units=st.integers(1, 20),
    mask=st.sampled_from(["none", "right", "left", "holes"]),
    initial_state=st.booleans(),
    activation=st.sampled_from(TAME),
    recurrent_activation=st.sampled_from(TAME),
    flags=st.fixed_dictionaries(
        {
            name: st.booleans()
            for name in (
                "use_bias",
                "go_backwards",
                "return_sequences",
                "return_state",
                "zero_output_for_mask",
            )
        }
    ),
    dropout=st.sampled_from([0.0, 0.0, 0.5]),
    recurrent_dropout=st.sampled_from([0.0, 0.0, 0.5]),
    seed=st.integers(0, 2**16),
)
@example(
    batch=1,
    time=1,
    features=1,
    units=1,
    mask="none",
    initial_state=False,
    activation="tanh",
    recurrent_activation="sigmoid",
    flags={},
    dropout=0.0,
    recurrent_dropout=0.0,
    seed=0,
)
def test_random_configurations(flags, **case):
    check(**case, **flags)


@only_tensorflow
def test_dynamic_batch_and_time_in_a_graph(rng):
    import tensorflow as tf

    stock, ours = pair(5, 3, dtype="float64", return_sequences=True)
    signature = [
        tf.TensorSpec((None, None, 3), tf.float64),
        tf.TensorSpec((None, None), tf.bool),
    ]
    ours_graph = tf.function(lambda x, mask: ours(x, mask=mask), input_signature=signature)
    for batch, time in [(2, 7), (4, 1), (1, 3)]:
        x = rng.standard_normal((batch, time, 3))
        mask = rng.random((batch, time)) < 0.7
        np.testing.assert_allclose(ours_graph(x, mask), stock(x, mask=mask), rtol=1e-10)
    node_types = {node.type for node in ours_graph.get_concrete_function().graph.get_operations()}
    assert "PylstmLstm" in node_types
    assert "While" not in node_types


@pytest.mark.parametrize("kernel", ["fused", "keras"])
def test_one_initial_state_for_all_sequences(rng, kernel):
    """As the same state in each row, which the loops of some backends ask for; the gradient is the
    sum over the rows."""
    stock, ours = pair(5, 3, dtype="float64", return_sequences=True, return_state=True)
    ours.kernel = kernel
    x, mask = rng.standard_normal((3, 6, 3)), random_mask(rng, "holes", 3, 6)
    states = rng.standard_normal((2, 1, 5))
    outputs, gradients = outputs_and_gradients(ours, x, list(states), mask=mask)
    expected = outputs_and_gradients(stock, x, list(np.repeat(states, 3, axis=1)), mask=mask)
    expected[1][1:3] = [g.sum(axis=0, keepdims=True) for g in expected[1][1:3]]
    assert_same((outputs, gradients), expected)


@only_tensorflow
@pytest.mark.parametrize("shape", [(1, 5), (5,)])
def test_a_trained_initial_state_as_in_stock(rng, shape):
    import tensorflow as tf

    stock, ours = pair(5, 3, dtype="float64")
    x, state = rng.standard_normal((3, 6, 3)), tf.Variable(rng.standard_normal(shape))

    def gradient(layer):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, initial_state=[state, 2 * state]) ** 2)
        return tape.gradient(loss, state)

    np.testing.assert_allclose(gradient(ours), gradient(stock), rtol=1e-9)
    signature = [tf.TensorSpec((None, None, 3), tf.float64)]
    in_graph = tf.function(lambda x: ours(x, initial_state=[state] * 2), input_signature=signature)
    np.testing.assert_allclose(in_graph(x), stock(x, initial_state=[state] * 2), rtol=1e-9)


def test_time_zero_keeps_the_initial_state(rng):
    ours = pair(5, 3, dtype="float64", return_sequences=True, return_state=True)[1]
    states = [rng.standard_normal((2, 5)) for _ in range(2)]
    outputs, h, c = ours(np.zeros((2, 0, 3)), initial_state=states)
    assert outputs.shape == (2, 0, 5)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(h), states[0])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(c), states[1])


def test_batch_zero_is_empty():
    ours = pair(5, 3, return_sequences=True)[1]
    assert ours(np.zeros((0, 4, 3), "float32")).shape == (0, 4, 5)


def test_gradient_of_an_inference_call(rng):
    stock, ours = pair(4, 3, dtype="float64", return_sequences=True)
    x = rng.standard_normal((2, 5, 3))
    assert_same(
        outputs_and_gradients(ours, x, training=False),
        outputs_and_gradients(stock, x, training=False),
    )
