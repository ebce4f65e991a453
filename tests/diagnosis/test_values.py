"""What the numbers themselves tell: unscaled integers, zeros at the ends, tokens."""

import keras
import numpy as np
import pytest

import pylstm
from pylstm.diagnosis import diagnose
from tests.data import LENGTHS, sequences
from tests.diagnosis.support import LABELS, found, functional, fused


@pytest.mark.parametrize(
    "front",
    [
        lambda x: keras.layers.Rescaling(1 / 255)(x),
        lambda x: keras.layers.TimeDistributed(keras.layers.BatchNormalization())(x),
        lambda x: keras.layers.Dropout(0.1)(x / 255),
    ],
)
def test_integers_that_a_layer_in_front_scales(front):
    x = np.full((6, 4, 5), 255)
    assert diagnose(functional(lambda x: pylstm.LSTM(3)(front(x))), x).ok
    late = functional(lambda x: front(pylstm.LSTM(3, return_sequences=True)(x)))
    assert found(diagnose(late, x), "PYL202").level == "warning"


def test_integers_as_small_as_flags_and_codes():
    assert diagnose(fused(), np.full((6, 4, 5), 30)).ok
    assert found(diagnose(fused(), np.full((6, 4, 5), 31)), "PYL202").level == "warning"


def test_zeros_of_which_at_most_three_quarters_are_at_the_ends():
    x = np.ones((3, 8, 5))
    for index, row in enumerate(x):
        row[7 - index :] = 0  # 6 steps
    x[:2, 2] = 0
    assert diagnose(fused(), x).ok
    x[1, 2] = 1
    assert "up to 3 steps" in found(diagnose(fused(), x), "PYL205").what


def test_zeros_at_the_ends_that_are_values():
    series = np.abs(np.arange(-30.0, 30.0)) / 30
    for steps in (1, 2, 10):
        windows = np.lib.stride_tricks.sliding_window_view(series, steps)[..., None]
        assert diagnose(fused(features=1), windows).ok
    images = np.zeros((6, 28, 28))
    for index, image in enumerate(images):
        image[4 + index % 3 : 22 + index % 4] = 0.5
    assert diagnose(fused(features=28), images).ok


@pytest.mark.parametrize(
    ("front", "lstm_options", "is_masked"),
    [
        ([], {"mask_value": 0.0}, True),
        ([keras.layers.Dropout(0.1)], {"mask_value": 0.0}, True),
        ([keras.layers.Masking(0.0), keras.layers.Dense(5)], {}, True),
        ([], {"mask_value": -1.0}, False),
        ([keras.layers.Dense(5, bias_initializer="ones")], {"mask_value": 0.0}, False),
        ([keras.layers.Dense(5, bias_initializer="ones"), keras.layers.Masking(0.0)], {}, False),
        (
            [keras.layers.Bidirectional(pylstm.LSTM(5, return_sequences=True))],
            {"mask_value": 0.0},
            False,
        ),
    ],
)
def test_zeros_at_the_ends_are_masked_only_where_they_are_zeros(front, lstm_options, is_masked):
    model, x = fused(*front, **lstm_options), pylstm.pad(sequences()).x
    alone = [model.predict(s[None], verbose=0)[0] for s in sequences()]
    assert np.allclose(model.predict(x, verbose=0), alone, atol=1e-6) == is_masked
    codes = [finding.code for finding in diagnose(model, x, LABELS)]
    assert codes == ([] if is_masked else ["PYL205"])


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 1)])
def test_zeros_at_the_ends_of_tokens(shape):
    x = pylstm.pad([np.arange(1, t + 1) for t in LENGTHS]).x.reshape(shape)
    for mask_zero in (True, False):
        embedding = keras.layers.Embedding(5, 3, mask_zero=mask_zero, name="words")
        model = pylstm.Sequential([keras.Input(shape[1:]), embedding, pylstm.LSTM(3)])
        report = diagnose(model, x)
        if mask_zero:
            assert report.ok
        else:
            assert "mask_zero=True in 'words'" in found(report, "PYL205").fix
    flat = pylstm.Model(i := keras.Input((4,)), keras.layers.Flatten()(embedding(i)))
    assert diagnose(flat, x.reshape(6, 4)).ok


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 1)])
def test_padded_sequences_of_one_feature(shape):
    x = pylstm.pad([np.full(t, 40) for t in LENGTHS]).x.reshape(shape).astype("int32")
    report = diagnose(fused(features=1), x)
    assert {f.code for f in report} >= {"PYL202", "PYL205", "PYL206"}
    assert "Masking(0.0) as the first layer" in found(report, "PYL205").fix
    masked = fused(keras.layers.Masking(0.0), features=1)
    assert "PYL205" not in {f.code for f in diagnose(masked, x)}


@pytest.mark.parametrize("convert", [list, np.array, lambda x: np.array(x, "float32")])
def test_tokens_for_which_the_embedding_has_no_row(convert):
    embedding = keras.layers.Embedding(9, 4, mask_zero=True, name="words")
    for model in (
        pylstm.Sequential([embedding, pylstm.LSTM(3)]),
        pylstm.Model(tokens := keras.Input((None,)), pylstm.LSTM(3)(embedding(tokens))),
    ):
        assert diagnose(model, convert([[1, 2, 8], [1, 0, 0]])).ok
        finding = found(diagnose(model, convert([[1, 2, 9], [11, 0, 0]])), "PYL210")
        assert (finding.level, finding.where) == ("error", "x")
        assert "2 values in 2 of 2 samples; the first is x[0][2] = 9" in finding.what
        assert "input_dim=12 in 'words'" in finding.fix
        finding = found(diagnose(model, convert([[1, 2, 3], [-1, 0, 0]])), "PYL210")
        assert (finding.level, finding.fix) == ("warning", "numbers from 0 to 8")


def test_sequences_without_a_step_are_noted():
    """They are padded to one step, which is masked."""
    report = diagnose(fused(), [np.zeros((0, 5), np.float32)] * 2)
    assert report.ok
    assert "2 of 2" in found(report, "PYL203").what
