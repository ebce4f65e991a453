"""Mistakes in masks, lengths, states and graphs."""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf

import pylstm
from pylstm import errors
from tests.inputs.support import (
    UNITS,
    assert_close,
    corrections_of,
    data,
    last_outputs,
    lstm,
    masked_outputs,
)

X = data(4, 5, 3)
LENGTHS = [5, 2, 0, 3]
MASK = np.arange(5) < np.array(LENGTHS)[:, None]
HOLES = np.random.default_rng(0).random((4, 5)) < 0.5


def assert_masked(expected, *codes, **arguments):
    layer = lstm(3)
    numbers, warned = corrections_of(lambda: layer(X, **arguments))
    assert tuple(warned) == codes
    assert_close(numbers, masked_outputs(layer, X, expected))


def test_mask_value():
    x = np.where(MASK[..., None], X, -1).astype(np.float32)
    layer = lstm(3, mask_value=-1)
    assert_close(layer(x), masked_outputs(layer, X, MASK))
    model = keras.Sequential([keras.Input((None, 3)), layer])
    assert_close(model.predict(x, verbose=0), masked_outputs(layer, X, MASK))
    masking = keras.Sequential([keras.layers.Masking(-1), lstm(3)])
    assert_close(layer(x), masking(x))


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_float16"])
@pytest.mark.parametrize("kind", [np.asarray, tf.constant, list])
def test_mask_value_of_float64(dtype, kind):
    """0.1 of float64 is not that of float32, in which Keras' models hand it on."""
    x = np.where(MASK[..., None], X, 0.1)
    layer = lstm(3, mask_value=0.1, dtype=dtype)
    assert_close(layer(kind(x)), layer(X, mask=MASK))


@pytest.mark.parametrize("number", [np.float64, np.float32, np.array])
def test_mask_value_as_a_number_of_numpys(number):
    """It would take the comparison to its own dtype, in which 0.1 is another number."""
    x = np.where(MASK[..., None], X, 0.1).astype(np.float32)
    layer = lstm(3, mask_value=number(0.1))
    kept = np.float32(0.1) if number is np.float32 else 0.1
    assert (type(layer.mask_value), layer.mask_value) == (float, kept)
    assert_close(layer(x), masked_outputs(layer, X, MASK))


def test_mask_value_and_mask_both_count():
    x = np.where(MASK[..., None], X, -1).astype(np.float32)
    layer = lstm(3, mask_value=-1)
    assert_close(layer(x, mask=HOLES), masked_outputs(layer, X, MASK & HOLES))


def test_a_mask_takes_the_place_of_the_one_that_the_input_carries():
    layer = lstm(3)
    carried = keras.layers.Masking(-1)(np.where(MASK[..., None], X, -1).astype(np.float32))
    expected = masked_outputs(layer, np.asarray(carried), HOLES)
    assert_close(layer(carried, mask=HOLES), expected)


def test_mask_value_reaches_the_next_layer():
    x = np.where(MASK[..., None], X, -1).astype(np.float32)
    first, second = lstm(3, mask_value=-1, return_sequences=True), lstm(4)
    rows = [second(first(x[i : i + 1, :n]))[0] for i, n in enumerate(LENGTHS) if n]
    model = keras.Sequential([keras.Input((5, 3)), first, second])
    assert_close(model(x)[np.array(LENGTHS) > 0], rows)


def test_nan_masks_nothing():
    with pytest.raises(errors.MaskError, match=r"PYL112.*'gaps'.*mask nothing") as caught:
        lstm(3, mask_value=np.float32("nan"), name="gaps")
    assert caught.value.expected == "mask_value=a number that no real step holds"
    assert caught.value.got == "mask_value=nan"
    assert caught.value.fix == "mask_value=-1.0, with x = np.where(np.isnan(x), -1.0, x)"
    x = np.where(MASK[..., None], X, np.nan).astype(np.float32)
    layer = lstm(3, mask_value=-1.0)
    x = np.where(np.isnan(x), -1.0, x)
    assert_close(layer(x), masked_outputs(layer, X, MASK))


@pytest.mark.parametrize("value", ["a", [1, 2], [1.0], 1j])
def test_mask_value_is_one_number(value):
    with pytest.raises(errors.MaskError, match=r"PYL112.*mask_value is not one number") as caught:
        lstm(3, mask_value=value)
    assert caught.value.got == f"mask_value={value!r}"
    for number in (-1, np.float32(-1), np.array(-1.0)):
        lstm(3, mask_value=number)


@pytest.mark.parametrize(
    "mask",
    [
        MASK,
        MASK.tolist(),
        list(MASK),
        MASK.astype(int),
        MASK.astype(np.float32),
        tf.constant(MASK),
        tf.constant(MASK.astype(np.int32)),
        MASK[..., None],
        [MASK],
        [MASK, None, None],
        (tf.constant(MASK), None, None),
        [[True] * n for n in LENGTHS],
        tf.ragged.constant([[True] * n for n in LENGTHS]),
    ],
    ids=lambda mask: type(mask).__name__,
)
def test_masks_that_can_be_read(mask):
    assert_masked(MASK, mask=mask)


def test_the_masks_of_a_layer_that_returns_its_states():
    masks = keras.layers.LSTM(2, return_sequences=True, return_state=True).compute_mask
    assert_masked(MASK, mask=masks(X, tf.constant(MASK)))
    assert_masked(np.ones_like(MASK), mask=masks(X, None))


@pytest.mark.parametrize("lengths", [LENGTHS, np.array(LENGTHS), tf.constant(LENGTHS)])
def test_lengths_as_mask(lengths):
    assert_masked(MASK, "PYL125", mask=lengths)
    with pytest.raises(errors.MaskError, match="PYL125"):
        lstm(3, validate="strict")(X, mask=lengths)


@pytest.mark.parametrize(
    ("mask", "fix"),
    [
        (np.ones((4, 6), bool), "mask[:, :5]     if x was cut"),
        (np.ones((4, 4), bool), "keras.ops.pad(mask, [(0, 0), (0, 1)])     if x was padded"),
        (np.ones((3, 6), bool), "one entry for each time step"),
        (np.ones(5, bool), "np.repeat(mask[None], 4, axis=0)"),
        (np.ones((1, 5), bool), "np.repeat(mask, 4, axis=0)"),
        (np.ones((5, 4), bool), "mask.T"),
        (np.ones((4, 5, 3), bool), "mask.any(axis=-1)"),
        (np.ones((4, 1, 5), bool), "mask[:, 0]"),
        (np.full((4, 5), 2), "mask != 0"),
        (True, "one entry for each time step"),
    ],
)
@pytest.mark.parametrize("convert", [np.asarray, tf.constant])
def test_masks_that_do_not_fit(convert, mask, fix):
    with pytest.raises(errors.MaskError, match=r"PYL112.*does not fit") as caught:
        lstm(3)(X, mask=convert(mask))
    assert caught.value.expected == "bool (batch, time) = (4, 5)"
    assert caught.value.got.startswith(f"mask {np.shape(mask)}")
    assert fix in caught.value.fix


@pytest.mark.parametrize("wrong", ["mask", {"mask": MASK}, map(bool, LENGTHS), [None, MASK]])
def test_masks_and_lengths_that_are_no_arrays(wrong):
    with pytest.raises(errors.MaskError, match=r"PYL112.*the mask") as caught:
        lstm(3)(X, mask=wrong)
    assert caught.value.expected == "bool (batch, time) = (4, 5)"
    with pytest.raises(errors.MaskError, match=r"PYL113.*the lengths") as caught:
        lstm(3)(X, lengths=wrong)
    assert caught.value.expected == "integers (batch=4,) from 0 to 5"


def test_a_mask_as_lengths():
    with pytest.raises(errors.MaskError, match="PYL113") as caught:
        lstm(3)(X, lengths=MASK)
    assert caught.value.fix.startswith("mask=lengths ")
    assert_masked(MASK, mask=MASK)


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("kind", [keras.Sequential, pylstm.Sequential])
def test_a_mask_given_to_a_model(kind, built):
    layer = lstm(3 if built else None)
    model = kind([layer])
    for mask in (MASK, MASK.astype(int)):
        assert_close(model(X, mask=tf.constant(mask)), masked_outputs(layer, X, MASK))
    for wrong in (MASK[:, :4], MASK.tolist()):
        with pytest.raises(errors.MaskError, match="PYL112"):
            model(X, mask=wrong)


def test_a_mask_that_could_be_lengths():
    with pytest.raises(errors.MaskError, match=r"PYL112(?s:.*)not clear"):
        lstm(3)(data(5, 5, 3), mask=[1, 0, 1, 1, 0])


@pytest.mark.parametrize("counts", [0, 1])
def test_a_mask_of_one_step_is_the_same_as_its_length(counts):
    x, layer = data(1, 1, 3), lstm(3)
    numbers, warned = corrections_of(lambda: layer(x, mask=[counts]))
    assert warned == ["PYL125"]
    assert_close(numbers, masked_outputs(layer, x, np.array([[counts]], bool)))


def test_one_recording_with_its_mask():
    layer = lstm(3)
    with pytest.warns(errors.ShapeCorrectionWarning, match="PYL121"):
        numbers = layer(X[1], mask=HOLES[1])
    assert_close(numbers, masked_outputs(layer, X[1:2], HOLES[1:2]))


def test_in_a_graph():
    layer = lstm(3)
    call = tf.function(lambda x, mask: layer(x, mask=mask))
    assert_close(call(X, MASK.astype(np.int32)), masked_outputs(layer, X, MASK))
    with pytest.raises(errors.MaskError, match="PYL112"):
        call(X, np.ones((4, 6), bool))


@pytest.mark.parametrize(
    "mask",
    [MASK, MASK[:, ::-1], HOLES, np.zeros((4, 5), bool)],
    ids=["right", "left", "holes", "0"],
)
@pytest.mark.parametrize("go_backwards", [False, True])
def test_any_mask(mask, go_backwards):
    layer = lstm(3, go_backwards=go_backwards)
    expected = masked_outputs(layer, X, mask, go_backwards=go_backwards)
    assert_close(layer(X, mask=mask), expected)
    assert layer.path == "fused"


@pytest.mark.parametrize(
    "lengths",
    [LENGTHS, np.array(LENGTHS, np.uint8), np.array(LENGTHS, float), tf.constant(LENGTHS)],
)
def test_lengths(lengths):
    assert_masked(MASK, lengths=lengths)
    assert_masked(MASK & HOLES, lengths=lengths, mask=HOLES)


@pytest.mark.parametrize(
    "lengths",
    [[5, 2, 0, 6], [5, 2, 0, -1], [5, 2, 0], 5, [[5], [2], [0], [3]], [1.5] * 4, [True] * 4],
    ids=str,
)
@pytest.mark.parametrize("convert", [np.asarray, tf.constant])
def test_lengths_that_do_not_fit(convert, lengths):
    lengths = convert(lengths)
    with pytest.raises(errors.MaskError, match="PYL113") as caught:
        lstm(3)(X, lengths=lengths)
    assert caught.value.expected == "integers (batch=4,) from 0 to 5"
    fix = caught.value.fix.partition("     ")[0]
    if not fix.startswith("one length"):
        lstm(3)(X, lengths=eval(fix, {"np": np, "keras": keras, "lengths": lengths}))


def test_lengths_as_an_input_of_a_model(tmp_path):
    inputs, lengths = keras.Input((None, 3)), keras.Input((), dtype="int32")
    layer = lstm()
    model = keras.Model([inputs, lengths], layer(inputs, lengths=lengths))
    expected = masked_outputs(layer, X, MASK)
    assert_close(model.predict([X, np.array(LENGTHS)], verbose=0), expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_close(loaded([X, np.array(LENGTHS)]), expected)


def test_lengths_and_the_mask_of_an_earlier_layer_both_count():
    x = np.where(HOLES[..., None], X, 0).astype(np.float32)
    masked = keras.layers.Masking()(x)
    layer = lstm(3)
    assert_close(layer(masked, lengths=LENGTHS), masked_outputs(layer, X, MASK & HOLES))
    tokens = keras.layers.Embedding(9, 3, mask_zero=True)(np.array([[1, 2, 0], [3, 0, 0]]))
    expected = masked_outputs(layer, np.asarray(tokens), np.array([[1, 1, 0], [1, 0, 0]], bool))
    assert_close(layer(tokens), expected)


def test_unknown_rank():
    layer = lstm(3)
    unknown = tf.function(layer, input_signature=[tf.TensorSpec(None)])
    with pytest.raises(errors.RankError, match=r"PYL107.*unknown") as caught:
        unknown(X)
    assert "x.set_shape((None, None, 3))" in caught.value.fix
    known = tf.function(lambda x: layer(tf.ensure_shape(x, (None, None, 3))))
    assert_close(known(X), last_outputs(layer, X))


def test_a_partial_batch_of_a_stateful_layer():
    layer = lstm(stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(4, 5, 3)), layer])
    model.compile("sgd", "mse")
    with pytest.raises(errors.BatchMismatchError, match="PYL109") as caught:
        layer(X[:3])
    assert caught.value.expected == "(batch=4, time, features=3)"
    assert caught.value.got.endswith("axis 0 is 3, not 4")
    assert "drop_remainder=True" in caught.value.fix
    # The batch size is only known where the graph runs, and the graph has its own errors.
    with pytest.raises(tf.errors.InvalidArgumentError, match="PYL109") as caught:
        model.fit(data(6, 5, 3), np.ones((6, UNITS)), batch_size=4, verbose=0)
    quoted = errors.quoted_error(str(caught.value))
    assert quoted.layer == layer.name
    assert quoted.fix.endswith("a multiple of 4")


def test_a_stateful_layer_of_unknown_batch_size():
    with pytest.raises(errors.BatchMismatchError, match=r"PYL109.*needs to know the batch size"):
        keras.Sequential([keras.Input((5, 3)), lstm(stateful=True)])


@pytest.mark.parametrize(
    ("state", "got"),
    [
        (data(4, UNITS), "one tensor (4, 4)"),
        ([data(4, UNITS)], "1 state"),
        ([data(4, UNITS)] * 3, "3 states"),
        ([data(4, 5), data(4, UNITS)], "axis 1 is 5, not 4"),
        ([data(4, UNITS), data(3, UNITS)], "axis 0 is 3, not 4"),
        ([data(5), data(UNITS)], "h (5,) float32"),
        ([None, data(4, UNITS)], "h is None"),
        ("hc", "one str"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_states_that_do_not_fit(state, got):
    with pytest.raises(errors.StateError, match=r"PYL116.*initial state") as caught:
        lstm(3)(X, initial_state=state)
    assert caught.value.expected == "[h, c], each (batch=4, units=4)"
    assert got in caught.value.got
    assert caught.value.fix


def test_the_lines_to_write():
    x = keras.Input((5, 3))
    outputs = lstm(return_state=True)(x)
    with pytest.raises(errors.StateError, match="PYL116") as caught:
        lstm()(x, initial_state=outputs)
    assert caught.value.fix.startswith("outputs[1:] ")
    lstm()(x, initial_state=outputs[1:])

    states = keras.layers.Bidirectional(lstm(return_state=True))(x)[1:]
    with pytest.raises(errors.StateError, match="PYL116") as caught:
        lstm()(x, initial_state=states)
    states = eval(caught.value.fix.partition("     ")[0], {"keras": keras, "states": states})
    with pytest.raises(errors.StateError, match="PYL116") as caught:
        lstm()(x, initial_state=states)
    assert caught.value.fix.startswith("LSTM(8, ...)")
    pylstm.LSTM(8)(x, initial_state=states)


def test_states_that_fit():
    layer = lstm(3)
    state = [data(4, UNITS), data(UNITS, 4).T]
    expected = last_outputs(layer, X, state)
    for given in (state, tuple(state), [s.tolist() for s in state], list(map(tf.constant, state))):
        assert_close(layer(X, initial_state=given), expected)
    whole = [np.ones((4, UNITS), int)] * 2
    assert_close(layer(X, initial_state=whole), last_outputs(layer, X, whole))


def test_one_state_for_all_sequences():
    layer = lstm(3)
    state = [data(1, UNITS), data(1, UNITS) / 2]
    expected = last_outputs(layer, X, [np.repeat(part, 4, axis=0) for part in state])
    for given in (state, [part[0] for part in state], list(map(tf.constant, state))):
        assert_close(layer(X, initial_state=given), expected)


@pytest.mark.parametrize(
    "state, code, got",
    [
        (["a", "b"], "PYL142", "h: str"),
        ([np.full((4, UNITS), "a")] * 2, "PYL118", "h: (4, 4) str32"),
        ([data(4, UNITS), data(4, UNITS) + 1j], "PYL117", "c: (4, 4) complex64"),
    ],
)
def test_states_that_are_no_numbers(state, code, got):
    with pytest.raises(errors.DTypeError, match=f"{code}.* does not hold real numbers") as caught:
        lstm(3)(X, initial_state=state)
    assert caught.value.expected == "[h, c], each (batch=4, units=4)"
    assert caught.value.got == got


class Nested(keras.Model):
    """A model in a model, whose layer refuses the input."""

    def __init__(self):
        super().__init__()
        self.inner = keras.Sequential([lstm(6)])

    def call(self, x):
        return self.inner(x)


@pytest.mark.parametrize("eagerly", [True, False])
@pytest.mark.parametrize("run", ["fit", "evaluate", "predict", "train_on_batch", "map"])
def test_errors_keep_type_and_parts_on_their_way_out(run, eagerly):
    model = Nested()
    model.compile("sgd", "mse", run_eagerly=eagerly)
    calls = {
        "fit": lambda: model.fit(X, np.ones((4, UNITS)), verbose=0),
        "evaluate": lambda: model.evaluate(X, np.ones((4, UNITS)), verbose=0),
        "predict": lambda: model.predict(X, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(X, np.ones((4, UNITS))),
        "map": lambda: tf.data.Dataset.from_tensors(X).map(model),
    }
    with pytest.raises(errors.FeatureMismatchError, match=r"\A\[PYL103\] layer 'lstm") as caught:
        calls[run]()
    error = caught.value
    assert error.expected.startswith("(batch, time, features=6)")
    assert "axis 2 is 3, not 6" in error.got
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert vars(twin) == {name: vars(error)[name] for name in vars(twin)}


def test_errors_pass_through_autograph():
    layer = lstm(6)

    @tf.function
    def call(x):
        if tf.reduce_sum(x) > 0:
            return layer(x)
        return layer(-x)

    with pytest.raises(errors.FeatureMismatchError, match=r"\A\[PYL103\]"):
        call(X)


def test_prepare_is_what_the_layer_calls(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "pylstm.layer.prepare", lambda *a, **k: seen.append(k) or pylstm.inputs.prepare(*a, **k)
    )
    lstm(3)(X, lengths=LENGTHS)
    assert [call["lengths"] for call in seen] == [LENGTHS]


@pytest.mark.parametrize(
    ("argument", "got"),
    [
        ("mask", "mask a masked array (2, 3)"),
        ("lengths", "lengths a masked array (2,)"),
        ("initial_state", "h: a masked array (2, 5)"),
    ],
)
def test_masked_arguments_are_named(argument, got):
    array = {"mask": np.ones((2, 3), bool), "lengths": np.array([1, 2])}.get(argument)
    array = np.ones((2, 5), "float32") if array is None else array
    array = np.ma.masked_array(array, mask=np.arange(array.size).reshape(array.shape) == 1)
    value = [array, array] if argument == "initial_state" else array
    with pytest.raises(errors.PylstmError) as caught:
        pylstm.LSTM(5)(np.ones((2, 3, 4), "float32"), **{argument: value})
    assert caught.value.got == got
