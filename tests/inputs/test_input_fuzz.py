"""Random input to the layer: every outcome is a right number or a `PylstmError`.

What is right is said here a second time, by brute force on NumPy arrays and with the float64
reference. `PYLSTM_FUZZ_EXAMPLES=20000` makes a long run of it.
"""

import functools
import itertools
import os

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pylstm.errors import CODES, PylstmError
from pylstm.reference import lstm_forward
from tests.data import object_array
from tests.inputs.support import UNITS, lstm
from tests.tolerances import assert_close

EXAMPLES = int(os.environ.get("PYLSTM_FUZZ_EXAMPLES", "240"))  # in all three tests together
OPTIONS = ("return_sequences", "go_backwards", "zero_output_for_mask")
NUMBERS = ("float16", "float32", "float64", "int8", "int64", "uint8", "bool")
OTHERS = ("complex64", "str", "object", "datetime64[s]")


def fuzz(test):
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    test = settings(max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=quiet)(test)
    return pytest.mark.filterwarnings("ignore")(given(st.data())(test))


# What is drawn.


def draw_layer(draw):
    features = draw(st.sampled_from([None, 1, 2, 3]))
    options = tuple(draw(st.booleans()) for _ in OPTIONS)
    return built_layer(features, options) if features else new_layer(None, options)


def new_layer(features, options):
    return lstm(features, **dict(zip(OPTIONS, options, strict=True)))


built_layer = functools.lru_cache(new_layer)


def draw_values(draw, shape, dtype):
    if dtype == "object":
        return np.full(shape, None)
    values = 2 * np.random.default_rng(draw(st.integers(0, 9))).standard_normal(shape)
    whole = dtype in ("uint8", "datetime64[s]")
    return np.asarray(np.abs(values).astype(int) if whole else values).astype(dtype)


def draw_array(draw):
    """An array of 0 to 5 axes: (batch, time, features), or that with an axis more or less."""
    shape = [draw(st.integers(0, 4)), draw(st.integers(0, 5)), draw(st.integers(1, 3))]
    change = draw(st.sampled_from(["none", "none", "drop", "add", "add two", "swap", "any"]))
    if change == "drop":
        del shape[draw(st.integers(0, 2))]
    elif change == "swap":
        shape[1:] = shape[:0:-1]
    elif change == "any":
        shape = draw(st.lists(st.integers(0, 4), max_size=5))
    for _ in range({"add": 1, "add two": 2}.get(change, 0)):
        shape.insert(draw(st.integers(0, len(shape))), 1)
    return draw_values(draw, tuple(shape), draw(st.sampled_from(NUMBERS * 4 + OTHERS)))


def draw_sequences(draw):
    """Arrays of several lengths: (time, features), or that with an axis more or less."""
    features = draw(st.integers(1, 3))
    shapes = [[draw(st.integers(0, 5)), features] for _ in range(draw(st.integers(0, 4)))]
    change = draw(st.sampled_from(["none"] * 4 + ["flat", "batch", "inner", "features", "one"]))
    for i, shape in enumerate(shapes):
        if change == "flat":
            del shape[1]
        elif change == "batch":
            shape.insert(0, 1)
        elif change == "inner":
            shape.insert(1, 1)
        elif change == "features":
            shape[1] = draw(st.integers(1, 3))
        elif change == "one" and i == 0:
            shape.insert(draw(st.integers(0, 2)), 1)
    dtype = draw(st.sampled_from(NUMBERS * 4 + OTHERS))
    return [draw_values(draw, tuple(shape), dtype) for shape in shapes]


def draw_mask(draw, batch, steps):
    shapes = [(batch, steps)] * 9 + [(batch,), (steps,), (1, steps), (batch, steps, 1)]
    shapes += [(batch, steps + 1), (batch + 1, steps), (batch, steps - 1), (1, batch, steps)]
    highest = draw(st.sampled_from([1, 1, 2, steps]))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    mask = rng.integers(0, highest + 1, draw(st.sampled_from(shapes)))
    return mask.astype(draw(st.sampled_from(["bool", "int32", "float32"])))


def draw_lengths(draw, batch, steps):
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    lowest, highest = draw(st.sampled_from([(0, steps)] * 6 + [(-1, steps), (0, steps + 1)]))
    size = draw(st.sampled_from([(batch,)] * 9 + [(batch + 1,), (batch, 1), ()]))
    lengths = rng.integers(lowest, highest + 1, size)
    return np.asarray(lengths).astype(draw(st.sampled_from(["int32", "int64", "float32"])))


def draw_state(draw, batch):
    sizes = [(batch, UNITS)] * 15 + [(1, UNITS), (batch, UNITS - 1), (UNITS,)]
    count = draw(st.sampled_from([2] * 9 + [1, 3]))
    return [draw_values(draw, draw(st.sampled_from(sizes)), "float32") for _ in range(count)]


def is_without_objects(array):
    """Whether there is no object in an object array, and so none that is wrong."""
    return array.dtype == object and not array.size


def nested(value):
    return [nested(v) for v in value] if isinstance(value, list) else value.tolist()


DENSE_CONTAINERS = {
    "array": lambda x: x,
    "strided array": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "tensor": tf.constant,
}
LIST_CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "nested list": lambda s: nested(list(s)),
    "object array": object_array,
    "series": lambda s: pd.Series(list(s)),
    "tensors": lambda s: [tf.constant(array) for array in s],
    "ragged": lambda s: tf.ragged.stack([tf.constant(array) for array in s]),
}
LOSES_SIZES = ("nested list", "ragged")  # of what has no elements


def draw_container(draw, containers, value):
    """A container's name and the value in it, None where it cannot hold such a value."""
    name = draw(st.sampled_from(list(containers)))
    try:
        return name, containers[name](value)
    except (TypeError, ValueError, IndexError, NotImplementedError, tf.errors.OpError):
        return name, None


# What is right.


def array_readings(x, features):
    """Every (batch, time, features) that an array may stand for."""
    if x.ndim == 2:
        readings = [x[None], x[..., None]]
    elif x.ndim >= 3:
        ones = [axis for axis, size in enumerate(x.shape) if size == 1]
        choices = list(itertools.combinations(ones, x.ndim - 3))
        choices = [axes for axes in choices if 0 not in axes] or choices  # The batch axis stays.
        readings = {np.squeeze(x, axes).shape: np.squeeze(x, axes) for axes in choices}.values()
    else:
        readings = []
    return [r for r in readings if features in (None, r.shape[2])]


def sequence_readings(sequences, features):
    """The same, with its mask, for sequences of several lengths: time is their first axis."""
    if all(s.ndim == 3 and len(s) == 1 for s in sequences):
        sequences = [s[0] for s in sequences]
    inner = {s.shape[1:] for s in sequences}
    if len(inner) != 1:
        return []
    lengths = np.array([len(s) for s in sequences])
    x = np.zeros((len(sequences), lengths.max(), *inner.pop()))
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    mask = np.arange(x.shape[1]) < lengths[:, None]
    # A second axis in front keeps time where it is.
    readings = [x[..., None]] if x.ndim == 2 else array_readings(x, None)
    return [(r, mask) for r in readings if features in (None, r.shape[2])]


def read_mask(mask, batch, steps):
    """The bool mask that an array stands for, or None."""
    if mask.shape in ((batch, steps), (batch, steps, 1), (1, batch, steps)):
        values = mask.reshape(batch, steps)
        return values.astype(bool) if np.isin(values, (0, 1)).all() else None
    if mask.shape == (batch,) and mask.dtype.kind in "iuf":
        may_be_mask = batch == steps != 1 and np.isin(mask, (0, 1)).all()
        return None if may_be_mask else read_lengths(mask, batch, steps)
    return None


def read_lengths(lengths, batch, steps):
    whole = lengths.dtype.kind in "iu" or (lengths.dtype.kind == "f" and np.all(lengths % 1 == 0))
    if lengths.shape != (batch,) or not whole or np.any((lengths < 0) | (lengths > steps)):
        return None
    return np.arange(steps) < lengths[:, None]


def assert_right(layer, result, x, mask=None, state=None):
    """Compares the layer's output with the reference's for (batch, time, features)."""
    cell = layer.cell
    weights = [np.asarray(w, np.float64) for w in (cell.kernel, cell.recurrent_kernel, cell.bias)]
    h, c = np.zeros((2, len(x), UNITS)) if state is None else state
    options = {name: getattr(layer, name) for name in OPTIONS}
    truth = lstm_forward(x.astype(np.float64), h, c, *weights, mask, **options)[0]
    assert_close(result, truth, "float32")


def assert_explained(error):
    assert type(error) is CODES[error.code].error
    assert str(error).startswith(f"[{error.code}] layer 'lstm")
    assert error.expected
    assert error.got


# The tests.


@fuzz
def test_any_array(data):
    draw = data.draw
    x = draw_array(draw)
    name, value = draw_container(draw, DENSE_CONTAINERS, x)
    if value is None or is_without_objects(x):
        return
    layer = draw_layer(draw)
    features = layer.cell.kernel.shape[0] if layer.built else None
    readings = array_readings(x, features) if x.dtype.name in NUMBERS else []
    in_graph = name == "tensor" and layer.built and draw(st.integers(0, 9)) == 0
    try:
        result = (tf.function(layer) if in_graph else layer)(value)
    except PylstmError as error:
        assert_explained(error)
        no_output = any(r.shape[1] == 0 for r in readings) and not layer.return_sequences
        assert no_output or len(readings) != 1
        return
    assert len(readings) == 1
    assert_right(layer, result, readings[0])


@fuzz
def test_any_list(data):
    draw = data.draw
    sequences = draw_sequences(draw)
    name, value = draw_container(draw, LIST_CONTAINERS, sequences)
    layer = draw_layer(draw)
    features = layer.cell.kernel.shape[0] if layer.built else None
    if value is None or any(map(is_without_objects, sequences)):
        return
    if name in LOSES_SIZES and not all(s.size for s in sequences):
        return
    equal = len({s.shape for s in sequences}) == 1 and len(sequences[0]) > 0
    if not sequences or sequences[0].dtype.name not in NUMBERS:
        readings = []
    elif equal and not (name == "ragged" and sequences[0].ndim == 1):
        whole = np.stack(sequences)
        whole = whole[:, 0] if whole.ndim == 4 and whole.shape[1] == 1 else whole
        readings = [(x, None) for x in array_readings(whole, features)]
    else:
        readings = sequence_readings(sequences, features)
    try:
        result = layer(value)
    except PylstmError as error:
        assert_explained(error)
        usual = all(s.ndim == 2 for s in sequences)
        assert len(readings) != 1 or not usual
        return
    assert len(readings) == 1
    assert_right(layer, result, *readings[0])


@fuzz
def test_any_mask_lengths_and_state(data):
    draw = data.draw
    batch, steps = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    x = draw_values(draw, (batch, steps, 3), "float32")
    mask = draw_mask(draw, batch, steps) if draw(st.booleans()) else None
    lengths = draw_lengths(draw, batch, steps) if draw(st.booleans()) else None
    state = draw_state(draw, batch) if draw(st.booleans()) else None
    truth, valid = np.ones((batch, steps), bool), True
    for given_, read in ((mask, read_mask), (lengths, read_lengths)):
        part = None if given_ is None else read(given_, batch, steps)
        valid &= given_ is None or part is not None
        truth = truth if part is None else truth & part
    fitting = {(batch, UNITS), (1, UNITS), (UNITS,)}
    valid &= state is None or (len(state) == 2 and {s.shape for s in state} <= fitting)
    container = draw(st.sampled_from([np.asarray, tf.constant, np.ndarray.tolist]))
    layer = built_layer(3, tuple(draw(st.booleans()) for _ in OPTIONS))
    try:
        result = layer(
            x,
            mask=None if mask is None else container(mask),
            lengths=None if lengths is None else container(lengths),
            initial_state=None if state is None else [container(s) for s in state],
        )
    except PylstmError as error:
        assert_explained(error)
        assert not valid
        return
    assert valid
    if state is not None:
        state = [np.broadcast_to(s, (batch, UNITS)) for s in state]
    assert_right(layer, result, x, truth, state)
