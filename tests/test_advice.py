"""The lines that make of data what is read: each is run as it is written."""

from collections import deque
from datetime import date

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import pylstm
from pylstm import errors
from tests.inputs.support import assert_close, data, last_outputs, lstm

RAGGED = [data(5, 3), data(2, 3), data(4, 3)]


def fixed(caught, **names):
    """What the first line of an error's fix makes."""
    line = caught.value.fix.splitlines()[0].partition("     ")[0]
    return eval(line, {"np": np, "tf": tf, "keras": keras, "pd": pd, **names})


def dated(sequence):
    return pd.DataFrame(sequence).assign(day=pd.Timestamp("2026-01-01"))


def records(sequence):
    return dated(sequence).to_records(index=False)


def sparse(sequence):
    return pytest.importorskip("scipy.sparse", reason="SciPy is not installed").csr_matrix(sequence)


@pytest.mark.parametrize("make", [sparse, tf.sparse.from_dense, dated, records])
def test_a_list_of_what_holds_no_numbers(make):
    layer = lstm(3)
    expected = last_outputs(layer, RAGGED)
    wrong = [make(s) for s in RAGGED]
    model = pylstm.Sequential([layer])
    calls = [pylstm.pad, lambda x: model.predict(x, verbose=0)]
    if make is tf.sparse.from_dense:
        assert_close(layer(wrong), expected)
    else:
        calls.append(layer)
    for call in calls:
        with pytest.raises(errors.DTypeError, match="PYL118") as caught:
            call(wrong)
        right = fixed(caught, x=wrong, sequences=wrong)
        assert_close(layer(right), expected)


@pytest.mark.parametrize("make", [sparse, dated, records])
def test_one_sequence_that_holds_no_numbers(make):
    layer, wrong = lstm(3), make(RAGGED[0])
    with pytest.raises(errors.DTypeError, match=r"PYL118|PYL142") as caught:
        layer(wrong)
    with pytest.warns(errors.ShapeCorrectionWarning):
        assert_close(layer(fixed(caught, x=wrong)), last_outputs(layer, RAGGED[:1]))


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_files_of_arrays(kind, tmp_path):
    path = tmp_path / f"r.{kind}"
    if kind == "npz":
        np.savez(path, *RAGGED)
        wrong = np.load(path)
    else:
        h5py = pytest.importorskip("h5py", reason="h5py is not installed")
        wrong = h5py.File(path, "w")
        for index, sequence in enumerate(RAGGED):
            wrong[str(index)] = sequence
    layer = lstm(3)
    model = pylstm.Sequential([layer])
    for call in layer, pylstm.pad, model.predict:
        with pytest.raises(errors.DTypeError, match="PYL142") as caught:
            call(wrong)
        assert_close(layer(fixed(caught, x=wrong, sequences=wrong)), last_outputs(layer, RAGGED))


def test_strings_as_targets_of_steps():
    y = [np.array(["on", "off"])[np.arange(len(s)) % 2].tolist() for s in RAGGED]
    model = pylstm.Sequential([lstm(3, return_sequences=True)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(errors.DTypeError, match="y does not hold numbers") as caught:
        model.fit(RAGGED, y, verbose=0)
    names = {"np": np, "y": y}
    exec(caught.value.fix, names)
    assert [row.tolist() for row in names["y"]] == [[1, 0, 1, 0, 1], [1, 0], [1, 0, 1, 0]]
    model.fit(RAGGED, names["y"], verbose=0)


@pytest.mark.parametrize("make", [np.array, lambda y: np.array(y, object), pd.DataFrame])
def test_strings_as_an_array_of_targets(make):
    y = make([["on", "off", "on"], ["off", "off", "on"]])
    model = pylstm.Sequential([lstm(3, return_sequences=True)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(errors.DTypeError, match="y does not hold numbers") as caught:
        model.fit(data(2, 3, 3), y, verbose=0)
    names = {"np": np, "y": y}
    exec(caught.value.fix, names)
    assert np.array(names["y"]).tolist() == [[1, 0, 1], [0, 0, 1]]
    model.fit(data(2, 3, 3), names["y"], verbose=0)


def test_targets_that_pandas_has_no_number_for():
    x, y = RAGGED, pd.Series([1.0, pd.NA, 2.0], dtype="Float64")
    model = pylstm.Sequential([lstm(3), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(errors.DTypeError, match="y does not hold numbers") as caught:
        model.fit(x, y, verbose=0)
    names = {"pd": pd, "x": x, "y": y}
    exec(caught.value.fix, names)
    assert names["y"] == [1.0, 2.0]
    model.fit(names["x"], names["y"], verbose=0)


@pytest.mark.parametrize(
    "x",
    [
        [["the", "cat"], ["dog"]],
        [pd.Series(["the", "cat"]), pd.Series(["dog"])],
        np.array([["the", "cat"], ["dog", "cat"]]),
        pd.DataFrame([["the", "cat"], ["dog", "cat"]]),
    ],
    ids=["lists", "series", "array", "table"],
)
def test_words(x):
    model = pylstm.Sequential([keras.Input((None, 1)), lstm()])
    with pytest.raises(errors.DTypeError, match="PYL118") as caught:
        model.predict(x, verbose=0)
    names = {"keras": keras, "np": np, "x": x}
    code, _, front = caught.value.fix.partition("     for ")
    exec(code, names)
    front = eval(front.removesuffix(" in front"), names)
    model = pylstm.Sequential([front, lstm()])
    assert model.predict(names["x"], verbose=0).shape == (2, lstm().units)


@pytest.mark.parametrize("text", [[["1", "2.5"], ["3"]], np.array([["1", "2.5"], ["3", "4"]])])
def test_numbers_written_as_text(text):
    model = pylstm.Sequential([lstm(1)])
    with pytest.raises(errors.DTypeError, match="PYL118") as caught:
        model.predict(text, verbose=0)
    right = fixed(caught, x=text)
    assert np.concatenate(right)[:3].tolist() == [1, 2.5, 3]
    assert "StringLookup" not in caught.value.fix


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame([[1.0, 2.0], [pd.NA, 4.0]], dtype="Float64"),
        pd.DataFrame([["1", "2"], ["3", "4"]]),
        pd.DataFrame([[1.0, None], [3.0, 4.0]], dtype=object),
        pd.DataFrame({"a": [1.0, 3.0], "b": ["u", "v"]}),
    ],
    ids=["absent", "text", "objects", "names"],
)
def test_a_table_that_holds_no_numbers(table):
    model = pylstm.Sequential([keras.Input((None, 1)), lstm()])
    for call in model.predict, model:
        with pytest.raises(errors.DTypeError, match="PYL118") as caught:
            call(table)
        assert caught.value.expected == "columns of numbers"
        right = fixed(caught, x=table)
        assert len(right) == 2
        assert np.shape(model.predict(right, verbose=0)) == (2, lstm().units)


def test_a_complex_table():
    model, table = pylstm.Sequential([keras.Input((None, 1)), lstm()]), pd.DataFrame([[1j, 2]] * 3)
    with pytest.raises(errors.DTypeError, match="PYL117") as caught:
        model.predict(table, verbose=0)
    line, other = caught.value.fix.split(",\nor ")
    assert eval(line, {"np": np, "x": table}).tolist() == [[0, 2, 1, 0]] * 3
    assert eval(other, {"np": np, "x": table}).to_numpy().tolist() == [[1, 2]] * 3


@pytest.mark.parametrize(
    ("x", "shapes"),
    [
        (pd.DataFrame([[1j, 2, 3]] * 4), [(4, 6), (4, 3)]),
        (tf.ones((2, 4, 3), tf.complex64), [(2, 4, 6), (2, 4, 3)]),
        ([np.ones((4, 3), complex), np.ones((2, 3), complex)], [(4, 6), (4, 3)]),
        ([[[1j, 2, 3]] * 4, [[1j, 2, 3]] * 2], [(4, 6), (4, 3)]),
        ([tf.ones((4, 3), tf.complex64)] * 2, [(4, 6), (4, 3)]),
        ([np.ones(4, complex), np.ones(2, complex)], [(4, 2), (4,)]),
    ],
    ids=["table", "tensor", "arrays", "nested lists", "tensors", "univariate"],
)
def test_complex_numbers(x, shapes):
    with pytest.raises(errors.DTypeError, match="PYL117") as caught:
        pylstm.pad(x) if isinstance(x, list) else lstm()(x)
    lines = caught.value.fix.split(",\nor ")
    right = [eval(line, {"np": np, "keras": keras, "x": x, "sequences": x}) for line in lines]
    assert [np.shape(made[0] if isinstance(x, list) else made) for made in right] == shapes


@pytest.mark.parametrize("odd", [date(2026, 1, 1), 10**400, {}])
def test_objects_that_no_line_reads(odd):
    model = pylstm.Sequential([lstm(1)])
    for x in [[odd, odd], [odd]], pd.DataFrame([[odd], [odd]]):
        with pytest.raises(errors.DTypeError, match="PYL118") as caught:
            model.predict(x, verbose=0)
        assert caught.value.fix == f"a number instead of each {type(odd).__name__}"


def test_targets_in_any_collection():
    model = pylstm.Sequential([lstm(3)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = data(3, 4)
    expected = model.evaluate(RAGGED, y, verbose=0)
    for given in deque(y), dict(enumerate(y)).values():
        assert model.evaluate(RAGGED, given, verbose=0) == pytest.approx(expected)


def test_masked_targets():
    x, y = np.stack([RAGGED[0]] * 2), np.ma.masked_greater(data(2, 5, 4)[..., :1], 0.5)
    model = pylstm.Sequential([lstm(3, return_sequences=True), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(errors.DTypeError, match="y is a masked array") as caught:
        model.fit(x, y)
    assert "layer(" not in caught.value.fix
    assert eval(caught.value.fix.partition(", with")[0], {"y": y}).shape == y.shape


@pytest.mark.parametrize("wrapped", [[RAGGED], [tuple(RAGGED)], (tuple(RAGGED),)])
def test_the_one_input_in_a_list(wrapped):
    model = pylstm.Sequential([keras.Input((None, 3)), lstm()])
    expected = last_outputs(model.layers[0], RAGGED)
    assert_close(model.predict(wrapped, verbose=0), expected)
    assert_close(model(wrapped), expected)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(wrapped, data(3, 4), verbose=0)


def test_inputs_in_the_wrong_order():
    steps, static = keras.Input((None, 3), name="steps"), keras.Input((2,), name="static")
    x = keras.layers.Concatenate()([lstm()(steps), static])
    model = pylstm.Model([steps, static], x)
    with pytest.raises(errors.RankError, match="PYL101") as caught:
        model.predict([data(3, 2), RAGGED], verbose=0)
    assert "for input 'steps' of the inputs 'steps' (None, None, 3), 'static' (None, 2)" in str(
        caught.value
    )
    assert caught.value.fix.startswith("the inputs in this order, or {'steps': ..., 'static': ...}")
    model.predict([RAGGED, data(3, 2)], verbose=0)
    model.predict({"steps": RAGGED, "static": data(3, 2)}, verbose=0)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("equal", [False, True])
def test_generators_of_bare_lists(size, equal):
    model = pylstm.Sequential([keras.Input((None, 3)), lstm()])
    batch = ([RAGGED[0]] * 4 if equal else [*RAGGED, RAGGED[0]])[:size]
    with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)of lists") as caught:
        model.predict((x for x in [batch] * 2), verbose=0)
    assert caught.value.fix.startswith("yield (x,) ")
    expected = last_outputs(model.layers[0], batch * 2)
    assert_close(model.predict(((x,) for x in [batch] * 2), verbose=0), expected)


@pytest.mark.parametrize("convert", [np.asarray, tf.constant, lambda x: keras.Input(x.shape[1:])])
def test_states_in_a_list_with_the_input(convert):
    """As old Keras took them."""
    x, h, c = map(convert, (data(2, 5, 3), data(2, 4), data(2, 4)))
    with pytest.raises((errors.RankError, errors.StructureError)) as caught:
        lstm()([x, h, c])
    fix = caught.value.fix.splitlines()[-1].partition("     ")[0]
    assert eval(fix, {"layer": lstm(), "x": x, "h": h, "c": c}).shape[1:] == h.shape[1:]


def test_generators_of_lists_of_x_and_y():
    model = pylstm.Sequential([keras.Input((None, 3)), lstm()])
    model.compile("sgd", "mse")
    model.fit(([x, y] for x, y in [(data(2, 5, 3), data(2, 4))] * 2), verbose=0)


def test_tables_keep_their_columns_of_bools():
    spans = [pd.DataFrame(s).assign(on=s[:, 0] > 0, name="n") for s in RAGGED]
    spans = [table.assign(span=pd.to_timedelta(np.arange(len(table)), unit="s")) for table in spans]
    model = pylstm.Sequential([lstm()])
    with pytest.raises(errors.DTypeError, match="PYL118") as caught:
        model.predict(spans, verbose=0)
    right = fixed(caught, x=spans)
    assert [*right[0].columns] == [0, 1, 2, "on"]
    model.predict(right, verbose=0)


@pytest.mark.parametrize("kind", [list, pd.Series, "category", "string", object])
@pytest.mark.parametrize("missing", [None, float("nan")])
def test_labels_of_words_one_of_them_missing(kind, missing):
    words = ["no", missing, "yes"]
    y = words if kind is list else pd.Series(words, dtype=None if kind is pd.Series else kind)
    model = pylstm.Sequential([lstm(2)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    data = {"x": RAGGED, "y": y, "np": np, "pd": pd}
    for _ in range(2):
        with pytest.raises(errors.DTypeError, match=r"PYL118.*y does not hold numbers") as caught:
            model.fit(data["x"], data["y"])
        exec(caught.value.fix, data)
    assert [*data["y"]] == [0, 1]
    assert [len(s) for s in data["x"]] == [5, 4]


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pd.NA])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("kind", [list, pd.Series])
def test_a_missing_recording(missing, place, kind):
    x = kind([*RAGGED[:place], missing, *RAGGED[place:]])
    layer = lstm()
    model = pylstm.Sequential([layer])
    with pytest.raises(errors.PylstmError, match=r"PYL1(18|01)") as caught:
        model.predict(x, verbose=0)
    line, _, _ = caught.value.fix.partition(", and y without their targets")
    right = eval(line, {"np": np, "pd": pd, "x": x})
    assert_close(model.predict(right, verbose=0), last_outputs(layer, RAGGED))


@pytest.mark.parametrize("of", [np.array, list])
@pytest.mark.parametrize("features", [1, 3])
def test_masked_steps(of, features):
    rows = [s[:2, :features] if features > 1 else s[:2, 0] for s in RAGGED]
    x = np.ma.array(np.stack(rows))
    x[1, 0] = np.ma.masked
    x = list(x) if of is list else x
    model = pylstm.Sequential([keras.Input((None, features)), lstm()])
    with pytest.raises(errors.DTypeError, match="masked array") as caught:
        model.predict(x, verbose=0)
    want = [rows[0], rows[1][1:], rows[2]]
    want = model.predict(want, verbose=0)
    assert_close(model.predict(fixed(caught, x=x), verbose=0), want)


@pytest.mark.parametrize("is_column", [True, False])
def test_a_list_of_masked_targets(is_column):
    y = [np.ma.masked_greater(s[:, :1] if is_column else s[:, 0], 0.0) for s in RAGGED]
    model = pylstm.Sequential([pylstm.LSTM(1, return_sequences=True)])
    model.compile("sgd", "mse")
    with pytest.raises(errors.DTypeError, match=r"y\[0\] is a masked array") as caught:
        model.fit(RAGGED, y)
    line, weights = caught.value.fix.split(", with sample_weight=")
    right, weights = (eval(part, {"np": np, "y": y}) for part in (line, weights))
    assert model.fit(RAGGED, right, sample_weight=weights, verbose=0)


@pytest.mark.parametrize("fields", [[("a", "f4"), ("b", "f4")], [("a", "f4", (3,)), ("b", "f4")]])
def test_structured_arrays(fields):
    one = np.zeros(5, np.dtype(fields))
    model = pylstm.Sequential([lstm()])
    size = 2 if len(fields[0]) == 2 else 4
    for x, shape in ((one, (5, size)), ([one, one], (2, 5, size))):
        with pytest.raises(errors.DTypeError, match="PYL118") as caught:
            model.predict(x, verbose=0)
        assert np.shape(fixed(caught, x=x)) == shape
