"""Whatever goes into a model: right numbers come out, or a `PylstmError`."""

import os
import warnings

import keras
import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import pylstm
from pylstm.errors import PylstmError, ShapeCorrectionWarning
from tests.data import CONTAINERS
from tests.models.stock import each_alone

EXAMPLES = int(os.environ.get("PYLSTM_FUZZ_EXAMPLES", "400")) // 10
FEATURES = 3

FORMS = CONTAINERS | {
    "padded": pylstm.pad,
    "pre-padded": lambda seqs: pylstm.pad(seqs, padding="pre"),
    "batch axes": lambda seqs: [s[None] for s in seqs],
    "wrapped": lambda seqs: [np.stack(seqs)],
    "transposed": lambda seqs: [s.T for s in seqs],
    "array": np.stack,
    "extra axis": lambda seqs: np.stack(seqs)[:, None],
    "joined": np.concatenate,
    "first": lambda seqs: seqs[0],
}


@st.composite
def cases(draw):
    lengths = draw(st.lists(st.integers(0, 5), min_size=1, max_size=5))
    features = draw(st.sampled_from([FEATURES] * 6 + [1, FEATURES + 1]))
    dtype = draw(st.sampled_from(["float32", "float64", "float16", "int64", "uint8", "bool"]))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    seqs = [np.abs(3 * rng.normal(size=(t, features))).astype(dtype) for t in lengths]
    return seqs, draw(st.sampled_from(sorted(FORMS)))


def _has_one_reading(seqs, container):
    plain = {*CONTAINERS, "padded"}
    return container in plain and all(seq.shape[1] == FEATURES and len(seq) for seq in seqs)


def model_of(layers):
    keras.utils.set_random_seed(3)
    model = pylstm.Sequential([keras.Input((None, FEATURES)), *layers])
    model.compile("sgd", "mse")
    return model


LAST = model_of([pylstm.LSTM(4), keras.layers.Dense(2)])
STEPS = model_of([keras.layers.Dense(4), pylstm.LSTM(2, return_sequences=True)])
STOCK = {
    LAST: keras.Sequential([keras.Input((None, FEATURES)), keras.layers.LSTM(4), LAST.layers[1]]),
    STEPS: keras.Sequential(
        [
            keras.Input((None, FEATURES)),
            STEPS.layers[0],
            keras.layers.LSTM(2, return_sequences=True),
        ]
    ),
}
for _model, _stock in STOCK.items():
    _stock.set_weights(_model.get_weights())


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), st.sampled_from([LAST, STEPS]), st.sampled_from([1, 2, 32]))
def test_predict_is_right_or_explains(case, model, batch_size):
    seqs, container = case
    try:
        x = FORMS[container](seqs)
    except ValueError:
        return  # NumPy or pylstm make no such container of these
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShapeCorrectionWarning)
        try:
            outputs = model.predict(x, batch_size=batch_size, verbose=0)
        except PylstmError as error:
            assert error.code
            assert error.expected or error.fix
            assert not _has_one_reading(seqs, container), error
            return
    if container == "transposed" or (container == "extra axis" and seqs[0].shape[1] == 1):
        seqs = [seq.T for seq in seqs]  # as square ones and (batch, 1, time, 1) may be meant
    assert all(seq.shape[1] == FEATURES for seq in seqs)
    filled = [seq for seq in seqs if len(seq)]
    expected = each_alone(STOCK[model], filled)
    got = [output for output, seq in zip(outputs, seqs, strict=True) if len(seq)]
    for output, want in zip(got, expected, strict=True):
        np.testing.assert_allclose(output, want, atol=1e-5)


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases(), st.integers(-1, 1), st.booleans())
def test_fit_trains_or_explains(case, surplus, per_step):
    """Labels per sample or per step, sometimes one too many or too few."""
    seqs, container = case
    model = STEPS if per_step else LAST
    y = [np.zeros((len(s), 2)) for s in seqs] if per_step else [[0.0, 1.0]] * len(seqs)
    y = (y + y[:1])[: len(seqs) + surplus]
    assume(surplus == 0 or len(y) != 1)  # [y] is Keras' way to give a single output its targets
    weights = model.get_weights()
    try:
        x = FORMS[container](seqs)
    except ValueError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShapeCorrectionWarning)
        try:
            model.fit(x, y, batch_size=2, verbose=0)
        except PylstmError as error:
            assert error.code
            assert surplus or not _has_one_reading(seqs, container), error
        else:
            assert surplus == 0
            trained = model.get_weights()
            assert all(np.isfinite(weight).all() for weight in trained)
            changed = any((new != old).any() for new, old in zip(trained, weights, strict=True))
            # Of zeros alone STEPS makes zeros, which are the targets: it has nothing to learn.
            assert changed or (per_step and not any(seq.any() for seq in seqs))
    model.set_weights(weights)
