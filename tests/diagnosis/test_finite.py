"""NaN and infinity, and the line that makes them 0 in what holds the data."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import pylstm
from pylstm.diagnosis import diagnose
from tests.data import object_array, sequences
from tests.diagnosis.support import LABELS, dense, found, functional, fused, with_value


def without_nan(report, **data):
    """What the line of the fix makes of the data."""
    line = found(report, "PYL201").fix.removesuffix(", or leave these samples out")
    return eval(line, {"np": np, "tf": tf, "keras": keras, **data})


@pytest.mark.parametrize("lengths", [(4, 4, 4), (4, 2, 3)])
@pytest.mark.parametrize(
    "container",
    [
        *(list, tuple, object_array, pd.Series, pylstm.pad, pylstm.ragged),
        lambda samples: [sample.tolist() for sample in samples],
        lambda samples: pylstm.pad(samples).x,
        lambda samples: tf.constant(pylstm.pad(samples).x),
    ],
)
def test_the_line_for_nan_fits_the_container(container, lengths):
    samples = sequences(lengths)
    samples[1][0, 2] = np.nan
    x = container(samples)
    x = without_nan(diagnose(fused(), x), x=x)
    assert "PYL201" not in {f.code for f in diagnose(fused(), x)}
    assert np.isfinite(fused().predict(x, verbose=0)).all()


@pytest.mark.parametrize(
    "y",
    [
        np.array([0.0, np.nan, 1.0]),
        [0.0, np.nan, 1.0],
        np.array([0.0, np.nan, 1.0], object),
        pd.Series([0.0, np.nan, 1.0]),
        [np.array([np.nan, 1.0])] * 3,
        pd.DataFrame({"a": [0.0, np.nan, 1.0]}),
    ],
)
def test_the_line_for_nan_in_targets(y):
    x = dense()[:3]
    assert diagnose(fused(), x, without_nan(diagnose(fused(), x, y), y=y)).ok


@pytest.mark.parametrize(
    "elements",
    [
        lambda x, y: (x.to_tensor(), y),
        lambda x, y: (x, y),
        lambda x, y: x.to_tensor(),
        lambda x, y: ({"x": x}, y, y),
        lambda x, y: ((tf.ones((2, 4, 5)), x.to_tensor()), y),
    ],
)
def test_the_line_for_nan_in_a_tf_dataset(elements):
    pairs = pylstm.ragged(with_value(np.nan)), np.array(LABELS)
    dataset = tf.data.Dataset.from_tensor_slices(pairs).batch(2).map(elements)
    inputs = [keras.Input((None, 5), name=name) for name in ("x", "z")]
    if not isinstance(keras.utils.unpack_x_y_sample_weight(dataset.element_spec)[0], tuple):
        inputs = inputs[:1]
    model = pylstm.Model(inputs, pylstm.LSTM(3)(inputs[-1]))
    cleaned = without_nan(diagnose(model, dataset), dataset=dataset)
    assert "PYL201" not in {f.code for f in diagnose(model, cleaned)}


def test_nan_in_a_tf_dataset_of_parts_of_parts():
    class First(pylstm.Model):
        def call(self, x):
            return x[0][0]

    x = np.full((6, 4, 5), np.nan)
    dataset = tf.data.Dataset.from_tensors((((x, x), x), np.array(LABELS)))
    findings = [f for f in diagnose(First(), dataset) if f.code == "PYL201"]
    assert {f.where for f in findings} == {"x[0][0]", "x[0][1]", "x[1]"}
    assert "nan_to_num on x[0][0]" in next(f.fix for f in findings if f.where == "x[0][0]")


@pytest.mark.parametrize(
    "front",
    [
        keras.ops.nan_to_num,
        lambda x: keras.ops.where(keras.ops.isnan(x), keras.ops.zeros_like(x), x),
        lambda x: keras.layers.Lambda(keras.ops.nan_to_num)(x),
    ],
)
def test_nan_that_comes_to_code_of_its_own(front):
    model = functional(lambda x: pylstm.LSTM(3)(front(x)))
    x = np.stack([dense()[0], np.full((4, 5), np.nan)])
    assert np.isfinite(model.predict(x, verbose=0)).all()
    assert found(diagnose(model, x), "PYL201").level == "note"
    later = functional(lambda x: front(pylstm.LSTM(3)(x / 2)))
    assert found(diagnose(later, x), "PYL201").level == "warning"


def test_nan_that_comes_to_a_loss_of_its_own():
    model, y = fused(), np.full((6, 3), np.nan)
    model.compile("sgd", "mse")
    assert found(diagnose(model, dense(), y), "PYL201").level == "warning"
    model.compile("sgd", lambda y, given: keras.ops.mean(keras.ops.nan_to_num(y - given)))
    assert found(diagnose(model, dense(), y), "PYL201").level == "note"
