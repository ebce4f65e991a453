"""`pylstm.diagnose`: a mistake of each kind, many at once, and whatever else it is given."""

import re

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pylstm
from pylstm.diagnosis import Report, diagnose
from tests.data import sequences
from tests.diagnosis.support import LABELS, dense, found, functional, fused, stock, with_value


def test_nothing_to_report():
    report = diagnose(fused(), dense(), LABELS)
    assert list(report) == []
    assert report.ok
    assert str(report) == "pylstm.diagnose: nothing to report"


# level, code, model, x, y, and a part of what or fix
FINDINGS = [
    ("error", "PYL146", stock(), list(dense()), LABELS, "pylstm.dataset(x, y)"),
    ("error", "PYL146", stock(), sequences(), LABELS, "model = pylstm.convert(model)"),
    ("fixed", "PYL126", fused(), sequences(), LABELS, "6 sequences"),
    ("fixed", "PYL123", fused(), [s[None] for s in sequences()], LABELS, "s[0] for s in"),
    ("fixed", "PYL123", fused(), dense()[:, None], LABELS, "(6, 1, 4, 5)"),
    ("error", "PYL101", fused(), dense()[0], None, "expand_dims(x, 0)"),
    ("error", "PYL101", keras.Sequential([pylstm.LSTM(3)]), dense()[0], None, "expand_dims(x, 1)"),
    ("error", "PYL104", fused(), dense(5, 20), LABELS, "np.transpose(x, (0, 2, 1))"),
    ("error", "PYL105", fused(), [s.T for s in sequences()], LABELS, "s.T for s in"),
    ("note", "PYL207", keras.Sequential([pylstm.LSTM(3)]), dense(13, 99), None, "axis 2"),
    ("fixed", "PYL126", fused(), np.array(sequences(), object), LABELS, "6 sequences"),
    ("note", "PYL206", fused(), dense().astype("int32"), LABELS, "pad_sequences"),
    ("fixed", "PYL123", fused(), dense()[:, :, None], LABELS, "(6, 4, 1, 5)"),
    ("error", "PYL117", fused(), dense().astype(complex), LABELS, "imaginary"),
    ("error", "PYL118", fused(), [["a"], ["b", "c"]], None, "StringLookup"),
    ("fixed", "PYL122", fused(features=1), dense()[:, :, 0], LABELS, "expand_dims(x, -1)"),
    ("fixed", "PYL123", fused(), dense()[..., None], LABELS, "(6, 4, 5, 1)"),
    ("error", "PYL111", fused(), dense().reshape(-1, 5), LABELS, "np.reshape(x, (6, 4, 5))"),
    (
        "fixed",
        "PYL124",
        pylstm.Sequential([keras.Input((5, 5)), pylstm.LSTM(3)]),
        dense(),
        LABELS,
        "declared as 5",
    ),
    ("warning", "PYL205", fused(), pylstm.pad(sequences()).x, LABELS, "up to 3 steps"),
    ("error", "PYL146", stock(), pylstm.ragged(sequences()), LABELS, "pylstm.convert"),
    ("error", "PYL103", fused(), dense(4, 6), LABELS, "one-hot class too many"),
    ("error", "PYL103", fused(), sequences(features=6), LABELS, "one-hot class"),
    (
        "error",
        "PYL106",
        keras.Sequential([pylstm.LSTM(3, name="a"), pylstm.LSTM(3, name="b")]),
        dense(),
        LABELS,
        "return_sequences=True in 'a'",
    ),
    ("fixed", "PYL126", fused(), [s.tolist() for s in sequences()], LABELS, "6 sequences"),
    ("error", "PYL110", fused(), sequences(), LABELS[:5], "x has 6 samples, y has 5"),
    (
        "error",
        "PYL109",
        pylstm.Sequential([keras.Input(batch_shape=(4, None, 5)), pylstm.LSTM(3, stateful=True)]),
        dense(),
        None,
        "drop_remainder=True",
    ),
    ("error", "PYL108", fused(), dense()[:, :0], LABELS, "axis 1 is 0"),
    ("note", "PYL203", fused(), [*sequences(), []], [*LABELS, 0], "x[6]"),
    ("error", "PYL105", fused(), [*sequences(), np.ones((2, 4))], None, "sequence 6 is (2, 4)"),
    ("warning", "PYL201", fused(), with_value(np.nan), LABELS, "x[2][1][3] = nan"),
    ("warning", "PYL201", fused(), with_value(-np.inf), LABELS, "x[2][1][3] = -inf"),
    ("warning", "PYL201", fused(), dense(), [np.nan] * 6, "6 values in 6 of 6"),
    ("warning", "PYL202", fused(), np.full((6, 4, 5), 255, "uint8"), None, "/ 255"),
    (
        "warning",
        "PYL213",
        fused(mask_value=-1.0),
        with_value(-1.0, at=slice(1, 3)),
        LABELS,
        "2 steps in 1 of 6 samples hold only -1.0, which a layer masks; the first is x[2][1]",
    ),
    ("note", "PYL208", fused(activation=lambda x: x), dense(), LABELS, "Keras' loop"),
    ("note", "PYL208", stock(), dense(), LABELS, "pylstm.convert(model)"),
    ("error", "PYL146", stock(), pd.Series(list(dense())), LABELS, "pylstm.dataset"),
]


@pytest.mark.parametrize(
    ("level", "code", "model", "x", "y", "text"),
    FINDINGS,
    ids=[f"{f[1]} {f[-1]}" for f in FINDINGS],
)
def test_one_finding(level, code, model, x, y, text):
    report = diagnose(model, x, y)
    finding = found(report, code)
    assert finding.level == level
    assert text in f"{finding.what}\n{finding.fix}"
    assert report.ok == all(f.level in ("fixed", "note") for f in report)


def test_everything_at_once():
    """One error hides no other: all of these come in one report."""
    seqs = with_value(np.nan)
    seqs[4] = np.zeros((2, 4), np.float32)
    seqs.append(np.zeros((0, 5), np.float32))
    layers = [keras.layers.LSTM(4, name="a"), keras.layers.LSTM(4, name="b")]
    report = diagnose(keras.Sequential(layers), seqs, LABELS)
    codes = [finding.code for finding in report]
    assert set(codes) == {"PYL105", "PYL106", "PYL201", "PYL203", "PYL208"}
    assert codes[:2] == ["PYL105", "PYL106"]  # the worst first
    text = str(report)
    assert text.startswith("pylstm.diagnose: 2 errors, 1 warning, 3 notes\nlevel")
    for finding in report:
        assert finding.code in text
    assert max(map(len, text.split("\n"))) <= 120


def test_nothing_is_changed():
    model = keras.Sequential([keras.layers.LSTM(3)])
    x = with_value(np.nan)
    copies = [s.copy() for s in x]
    diagnose(model, x)
    assert not model.built
    for array, copy in zip(x, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


ARRAYS = st.builds(
    lambda shape, dtype: np.zeros(shape, dtype),
    st.lists(st.integers(0, 4), max_size=5),
    st.sampled_from(["float32", "float64", "int32", "uint8", "bool", "complex64", "U3", "object"]),
)
ANYTHING = st.recursive(
    ARRAYS | st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.builds(object),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=6,
)
MODELS = [
    *(fused(), stock(), keras.Sequential([pylstm.LSTM(2)]), keras.Sequential(), None),
    functional(pylstm.LSTM(3, return_sequences=True)),
    functional(keras.layers.LSTM(3), keras.Model),
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(MODELS), ANYTHING, ANYTHING)
def test_never_raises(model, x, y):
    report = diagnose(model, x, y)
    assert isinstance(report, Report)
    assert isinstance(str(report) + report._repr_html_(), str)
    assert not [finding for finding in report if re.search(r"\w(Error|Exception):", finding.what)]
