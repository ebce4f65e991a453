"""Mistakes in an input's containers and values."""

import keras
import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import pylstm
from pylstm import errors
from tests.data import object_array
from tests.inputs.support import (
    UNITS,
    assert_close,
    corrections_of,
    data,
    eager,
    fit,
    graph,
    last_outputs,
    lstm,
    predict,
)

EQUAL = list(data(3, 5, 3))
RAGGED = [data(5, 3), data(2, 3), data(4, 3)]


def assert_reads(container, sequences, *codes, features=3, **options):
    layer = lstm(features, **options)
    numbers, warned = corrections_of(layer, container)
    assert tuple(warned) == codes
    assert_close(numbers, last_outputs(layer, sequences))


def test_a_list_of_sequences():
    assert_reads(EQUAL, EQUAL)
    assert_reads(RAGGED, RAGGED)
    assert_reads(tuple(EQUAL), EQUAL)


def test_to_an_unbuilt_layer():
    layer = lstm()
    assert_close(layer(RAGGED), last_outputs(layer, RAGGED))


def test_a_list_of_sequences_with_a_batch_axis_each():
    assert_reads([s[None] for s in EQUAL], EQUAL, "PYL123")
    assert_reads([s[None] for s in RAGGED], RAGGED, "PYL123")
    assert_reads([tf.constant(s[None]) for s in RAGGED], RAGGED, "PYL123")


@pytest.mark.parametrize("padding", ["post", "pre"])
def test_a_padded_batch(padding):
    assert_reads(pylstm.pad(RAGGED, padding=padding, value=9.0), RAGGED)
    assert_reads(pylstm.pad(EQUAL), EQUAL)
    layer = lstm(return_sequences=True)
    batch = pylstm.pad(RAGGED, padding=padding)
    outputs = layer(batch)
    assert outputs.shape[:2] == batch.mask.shape
    for got, sequence in zip(pylstm.unpad(outputs, mask=batch.mask), RAGGED, strict=True):
        assert_close(got, layer(sequence[None])[0])


def test_an_object_array():
    assert_reads(object_array(RAGGED), RAGGED)
    assert_reads(object_array(EQUAL), EQUAL)


@pytest.mark.parametrize(
    "dtype", ["float16", "float64", "int8", "int64", "uint8", "bool", ml_dtypes.bfloat16]
)
@pytest.mark.parametrize("way", [eager, graph, predict, fit])
def test_other_dtypes(way, dtype):
    x = np.abs(data(6, 5, 3) * 2).astype(dtype)
    layer, right = lstm(3), lstm(3)
    numbers, warned = corrections_of(way, layer, x)
    assert warned == []
    x = x.astype("float32")
    assert_close(numbers, fit(right, x) if way is fit else last_outputs(right, x))


@pytest.mark.parametrize("dtype", [">f4", "longdouble"])
def test_dtypes_that_tensorflow_does_not_know(dtype):
    assert_reads(np.stack(EQUAL).astype(dtype), EQUAL)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "int4", "bfloat16"])
def test_dtypes_of_numpys_extensions(dtype):
    x = np.abs(np.stack(EQUAL)).astype(getattr(ml_dtypes, dtype))
    numbers = x.astype("float32")
    assert_reads(x, numbers)
    assert_reads(list(x), numbers)
    assert_reads([x[0], x[1, :2]], [numbers[0], numbers[1, :2]])
    layer = lstm(3)
    model = pylstm.Sequential([keras.Input((None, 3)), layer])
    for samples in (x, list(x)):
        assert_close(model.predict(samples, verbose=0), last_outputs(layer, numbers))


@pytest.mark.parametrize(("way", "fix"), [(eager, "np.concatenate("), (graph, "keras.ops.")])
def test_complex(way, fix):
    with pytest.raises(errors.DTypeError, match=r"PYL117.*imaginary part") as caught:
        way(lstm(3), data(6, 5, 3) + 1j)
    assert caught.value.got.endswith(", 5, 3) complex64")
    assert caught.value.fix.startswith(fix)
    with pytest.raises(errors.DTypeError, match="PYL117") as caught:
        eager(lstm(3), [s + 1j for s in RAGGED])
    assert "for s in sequences" in caught.value.fix


@pytest.mark.parametrize(
    "wrong",
    [
        np.full((6, 5, 3), "a"),
        tf.fill((6, 5, 3), "a"),
        [["a", "b"]],
        [None, 1.0],
        "text",
        np.zeros((6, 5, 3), "datetime64[s]"),
        np.zeros((6, 5), [("a", "f4"), ("b", "f4")]),
        {"a": 1},
        None,
        lstm,
    ],
    ids=lambda wrong: getattr(wrong, "__name__", str(wrong)),
)
def test_not_numbers(wrong):
    with pytest.raises(errors.DTypeError, match=r"PYL118|PYL142") as caught:
        lstm(3)(wrong)
    assert isinstance(caught.value, TypeError)
    assert caught.value.layer.startswith("lstm")


def test_a_symbolic_string():
    with pytest.raises(errors.DTypeError, match="PYL118"):
        keras.Sequential([keras.Input((5, 3), dtype="string"), lstm()])


@pytest.mark.parametrize("rank", [1, 2])
def test_a_ragged_tensor(rank):
    x = tf.ragged.constant([s.tolist() for s in RAGGED], ragged_rank=rank)
    assert_reads(x, RAGGED)


@pytest.mark.parametrize("declare", [True, False])
def test_a_ragged_tensor_in_a_model(declare):
    layer = lstm()
    model = keras.Sequential(([keras.Input((None, 3))] if declare else []) + [layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = pylstm.ragged(RAGGED)
    model.fit(x, np.ones((3, UNITS)), verbose=0)
    for numbers in (model(x), model.predict(x, verbose=0)):
        assert_close(numbers, last_outputs(layer, RAGGED))


def test_a_ragged_tensor_under_xla():
    model = keras.Sequential([keras.Input((None, 3)), lstm()])
    model.compile("sgd", "mse", jit_compile=True)
    for x in pylstm.ragged(RAGGED), pylstm.dataset(RAGGED):
        with pytest.raises(errors.RaggedError, match=r"\[PYL114\].*XLA \(jit_compile") as caught:
            model.predict(x, verbose=0)
    assert caught.value.fix.startswith("jit_compile=False")


def test_a_univariate_ragged_tensor():
    sequences = [data(5), data(2)]
    x = tf.ragged.constant([s.tolist() for s in sequences])
    assert_reads(x, [s[:, None] for s in sequences], features=1)
    assert corrections_of(lstm(), x)[1] == ["PYL122"]


def test_the_time_axis_is_never_dropped():
    sequences = [data(1, 3), data(1, 3)[:0]]
    x = pylstm.ragged([s[..., None] for s in sequences])  # (2, (1), 3, 1)
    layer = lstm(3)
    assert_close(layer(x)[:1], last_outputs(layer, sequences[:1]))
    with pytest.raises(errors.RankError, match="PYL101"):
        lstm(1)(x)


def test_ragged_features_in_a_graph():
    x = tf.ragged.constant([s.tolist() for s in RAGGED])
    with pytest.raises(errors.RaggedError, match=r"PYL114.*feature axis is ragged") as caught:
        tf.function(lstm(3))(x)
    assert caught.value.fix.startswith("tf.TensorSpec((None, F)) in output_signature")
    for spec in tf.TensorSpec((None, None)), tf.TensorSpec((None, 3)):
        dataset = tf.data.Dataset.from_generator(lambda: RAGGED, output_signature=spec)
        model = pylstm.Sequential([keras.Input((None, 3)), lstm()])
        if spec.shape[1] == 3:
            rows = last_outputs(model.layers[0], RAGGED)
            assert_close(model.predict(dataset.ragged_batch(3), verbose=0), rows)
        else:
            with pytest.raises(errors.RaggedError, match="feature axis is ragged"):
                model.predict(dataset.ragged_batch(3), verbose=0)


def test_the_mask_reaches_the_next_layer():
    first, second = lstm(return_sequences=True), lstm(4)
    model = keras.Sequential([keras.Input((None, 3)), first, second])
    x = pylstm.ragged(RAGGED)
    one_by_one = np.concatenate([model(s[None]) for s in RAGGED])
    assert_close(model(x), one_by_one)
    assert_close(model.predict(x, verbose=0), one_by_one)


def test_a_wrapper_that_would_lose_the_mask():
    wrapper = keras.layers.Bidirectional(lstm(return_sequences=True))
    model = keras.Sequential([keras.Input((None, 3)), wrapper, lstm()])
    with pytest.raises(errors.RaggedError, match=r"PYL128.*would not leave the wrapper") as caught:
        model(pylstm.ragged(RAGGED))
    assert "pylstm.Sequential" in caught.value.fix
    wrapper = keras.layers.Bidirectional(lstm(return_sequences=True, mask_value=-1.0))
    with pytest.raises(errors.RaggedError, match="PYL128") as caught:
        wrapper(np.stack(EQUAL))
    assert caught.value.fix == f"keras.layers.Masking(-1.0) in front of '{wrapper.name}'"
    last = keras.Sequential([keras.Input((None, 3)), keras.layers.Bidirectional(lstm())])
    one_by_one = np.concatenate([last(s[None]) for s in RAGGED])
    assert_close(last(pylstm.ragged(RAGGED)), one_by_one)


def test_nested_lists():
    assert_reads([s.tolist() for s in RAGGED], RAGGED)
    assert_reads([s.tolist() for s in EQUAL], EQUAL)
    steps = [data(5, 1), data(2, 1)]
    assert_reads([s[:, 0].tolist() for s in steps], steps, features=1)
    with pytest.raises(errors.RaggedError, match=r"PYL114.*steps of sequence 0 differ"):
        lstm(2)([[[1.0, 2.0], [3.0]], [[1.0, 2.0]]])


def test_empty_sequences():
    layer = lstm(3)
    numbers = layer([RAGGED[0], RAGGED[0][:0]])
    assert_close(numbers[:1], last_outputs(layer, RAGGED[:1]))
    assert not np.any(numbers[1])
    for empty in (RAGGED[0][:0], tf.constant(RAGGED[0][:0])):
        assert not np.any(layer([empty] * 2))
    with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)empty collection"):
        layer([])


def test_different_features_of_tensors():
    with pytest.raises(errors.FeatureMismatchError, match="PYL105") as caught:
        lstm()([tf.constant(s) for s in (*RAGGED, data(4, 2))])
    assert caught.value.got == "sequence 0 is (5, 3), sequence 3 is (4, 2)"


def test_different_features():
    with pytest.raises(errors.FeatureMismatchError, match="PYL105") as caught:
        lstm(3)([data(5, 3), data(5, 3), data(4, 2)])
    assert caught.value.got == "sequence 0 is (5, 3), sequence 2 is (4, 2)"
    with pytest.raises(errors.FeatureMismatchError, match=r"PYL105(?s:.*)\[s.T for s in"):
        lstm(13)([data(13, 20), data(13, 25)])


@pytest.mark.parametrize("kind", [np.asarray, np.ndarray.tolist, tf.constant])
def test_a_batch_axis_of_sequences_without_features(kind):
    """(1, T_i) can be a batch of one, or its one feature by step: the same numbers."""
    sequences = [kind(s[None, :, 0]) for s in RAGGED]
    with pytest.raises(errors.FeatureMismatchError, match="PYL105") as caught:
        lstm(1)(sequences)
    fixed = eval(caught.value.fix.partition("     ")[0], {"sequences": sequences})
    for got, want in zip(fixed, RAGGED, strict=True):
        np.testing.assert_array_equal(got, want[:, 0])
    with pytest.raises(errors.FeatureMismatchError, match=r"PYL105(?s:.*)s.T for s in"):
        lstm(3)([data(1, 3), data(1, 2), data(4, 3)])  # of several steps, some would be dropped


def test_pandas():
    assert_reads(pd.Series(RAGGED), RAGGED)
    assert_reads(pd.DataFrame({"recording": RAGGED}), RAGGED)
    assert_reads(pd.DataFrame({"recording": [s.tolist() for s in RAGGED]}), RAGGED)
    assert_reads(pd.DataFrame(EQUAL[0]), EQUAL[:1], "PYL121")
    assert_reads([pd.DataFrame(s) for s in RAGGED], RAGGED)
    assert_reads(pd.DataFrame(EQUAL[0]).astype(object), EQUAL[:1], "PYL121")


@pytest.mark.parametrize("seqs", [EQUAL, RAGGED])
@pytest.mark.parametrize("kind", [list, np.array, pd.Series])
def test_a_data_frame_whose_cells_hold_the_steps(seqs, kind):
    tables = [pd.DataFrame(s, columns=list("abc")).assign(id=i) for i, s in enumerate(seqs)]
    table = pd.concat(tables).groupby("id").agg(list).map(kind)
    assert_reads(table, seqs)


@pytest.mark.parametrize(
    ("module", "function"),
    [("torch", "tensor"), ("jax.numpy", "asarray"), ("tensorflow", "constant")],
)
def test_tensors_of_other_frameworks(module, function):
    convert = getattr(pytest.importorskip(module, reason=f"{module} is not installed"), function)
    assert_reads(convert(np.stack(EQUAL)), EQUAL)
    assert_reads([convert(s) for s in EQUAL], EQUAL)
    assert_reads([convert(s) for s in RAGGED], RAGGED)


def test_torch_gradients_and_bfloat16():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = torch.tensor(np.stack(EQUAL), requires_grad=True)
    assert_reads(x, EQUAL)
    rounded = x.detach().bfloat16()
    assert_reads(rounded, rounded.float().numpy())
    assert_reads(list(rounded), rounded.float().numpy())


class Unreadable:
    """As CuPy's arrays, which NumPy may not read."""

    def __array__(self, *_, **__):
        raise TypeError("implicit conversion is not allowed")


@pytest.mark.parametrize("wrong", [Unreadable(), [Unreadable()]])
def test_what_its_library_does_not_let_numpy_read(wrong):
    with pytest.raises(errors.DTypeError, match=r"PYL118.*cannot be read") as caught:
        lstm(3)(wrong)
    assert caught.value.got == "Unreadable: implicit conversion is not allowed"


def test_generators_and_datasets_are_refused():
    keys = (
        "x[key], the entry that holds the sequences\n"
        "list(x.values())     if they are one input's sequences"
    )
    text = "keras.Input((1,), dtype='string') and a TextVectorization layer, adapted, in front"
    for wrong, fix in (
        ((s for s in EQUAL), "list(x)"),
        ({1.0, 2.0}, "list(x)"),
        ("text", text),
        (tf.data.Dataset.from_tensor_slices(EQUAL), "model.fit(x), or model.predict(x)"),
        ({"x": EQUAL}, keys),
        (type("csr_matrix", (), {"toarray": None})(), "x.toarray()"),
        (None, None),
    ):
        with pytest.raises(errors.DTypeError, match="PYL142") as caught:
            lstm(3)(wrong)
        assert caught.value.fix == fix


def test_a_list_of_tensors_keeps_its_gradient():
    layer = lstm(3)
    tensors = [tf.Variable(s) for s in RAGGED]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tensors))
    for sequence, gradient in zip(RAGGED, tape.gradient(loss, tensors), strict=True):
        one = tf.constant(sequence[None])
        with tf.GradientTape() as tape:
            tape.watch(one)
            loss = tf.reduce_sum(layer(one))
        assert_close(gradient, tape.gradient(loss, one)[0])


def test_the_outputs_of_a_layer_with_states_are_no_sequences():
    states = lstm(return_state=True)
    with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)return_state=True"):
        keras.Sequential([keras.Input((5, 3)), states, lstm()])
    with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)one tensor"):
        lstm(4)(states(np.stack(EQUAL)))


def test_a_wrapper_takes_no_list_but_what_its_error_says():
    wrapper = keras.layers.Bidirectional(lstm())
    with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)one tensor") as caught:
        wrapper(RAGGED)
    assert caught.value.got == "(5, 3), (2, 3), (4, 3)"
    names = {"pylstm": pylstm, "sequences": RAGGED, "layer": wrapper}
    exec(caught.value.fix.partition("     ")[0], names)
    want = np.concatenate([wrapper(s[None]) for s in RAGGED])
    assert_close(names["y"], want)
    assert_close(wrapper(pylstm.ragged(RAGGED)), want)


def test_one_sequence_of_numbers():
    with pytest.raises(errors.RankError, match=r"PYL101.*single number") as caught:
        lstm(1)([1.0, 2.0, 3.0])
    fixed = eval(caught.value.fix.split("     ")[0], {"np": np, "x": [1.0, 2.0, 3.0]})
    assert_reads(fixed, fixed, features=1)


def test_masked_arrays_would_lose_their_mask():
    x = np.ma.array(np.stack(EQUAL))
    assert_reads(x, EQUAL)
    model = pylstm.Sequential([lstm(3)])
    assert_close(model.predict(x, verbose=0), last_outputs(model.layers[0], EQUAL))
    x[0, 0, 0] = np.ma.masked
    rows = [x[0], x[1, :2]]
    calls = [
        *[lambda: lstm(3)(x), lambda: lstm(3)(list(x)), lambda: lstm(3)([x[0], tf.zeros((2, 3))])],
        *[lambda: model.predict(x), lambda: model.predict(rows)],
        *[lambda: pylstm.pad(rows), lambda: pylstm.ragged(rows), lambda: pylstm.dataset(rows)],
    ]
    for call in calls:
        with pytest.raises(errors.DTypeError, match=r"PYL118.*masked array") as caught:
            call()
    fix = caught.value.fix.splitlines()[0].split("     ")[0]
    fixed = eval(fix, {"np": np, "x": [*rows, x.data[2]]})
    assert [len(row) for row in fixed] == [len(x[0]) - 1, 2, len(x[2])]
    for samples in (x, np.zeros_like(x)), (x.data, x[:, 0]):
        assert [finding.code for finding in pylstm.diagnose(model, *samples)] == ["PYL118"]


@pytest.mark.parametrize(
    "sequences, fix",
    [
        ([None, EQUAL[0]], "[s for s in sequences if s is not None]"),
        ([[[1.0, None], [2.0, 3.0]], data(2, 2)], "a number instead of each None"),
    ],
)
def test_none_is_no_number(sequences, fix):
    with pytest.raises(errors.DTypeError, match="PYL118") as caught:
        lstm()(sequences)
    assert caught.value.fix.startswith(fix)


@pytest.mark.parametrize("kind", ["datetime64[m]", "timedelta64[m]"])
def test_dates_in_seconds(kind):
    times = np.array([[[1], [3]]], kind)
    for x in (times, list(times)):
        with pytest.raises(errors.DTypeError, match="PYL118") as caught:
            lstm()(x)
        seconds = eval(caught.value.fix, {"np": np, "x": times, "sequences": x})
        expected = [[[0], [120]]] if kind[0] == "d" else [[[60], [180]]]
        assert_close(np.asarray(seconds), expected)


def test_a_memoryview_is_its_array():
    x = np.stack(EQUAL)
    assert_reads(memoryview(x), EQUAL)
    model = pylstm.Sequential([lstm(3)])
    got = model.predict(memoryview(x), verbose=0)
    assert_close(got, last_outputs(model.layers[0], EQUAL))


def test_sparse_tensors_and_variables():
    x = np.stack(EQUAL)
    assert_reads(tf.sparse.from_dense(x), EQUAL)
    assert_reads(tf.Variable(x), EQUAL)
    assert_reads(keras.Variable(x), EQUAL)
