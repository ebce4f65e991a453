"""`pylstm.diagnose`: each mistake that shows in model and data, and many at once."""

import re

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import pylstm
from pylstm.diagnosis import Report, diagnose
from pylstm.diagnosis.report import HINTS, Finding
from pylstm.errors import CODES, RaggedError
from tests.data import LENGTHS, object_array, sequences
from tests.tolerances import assert_close

LABELS = [0, 1, 1, 0, 1, 0]


def dense(steps=4, features=5):
    return np.stack(sequences([steps] * 6, features))


def stock(*front, **lstm_options):
    return keras.Sequential([keras.Input((None, 5)), *front, keras.layers.LSTM(3, **lstm_options)])


def fused(*front, features=5, **lstm_options):
    layers = [keras.Input((None, features)), *front, pylstm.LSTM(3, **lstm_options)]
    return pylstm.Sequential(layers)


def found(report, code):
    """The one finding of a code."""
    (finding,) = [finding for finding in report if finding.code == code]
    return finding


def with_value(value, index=2, at=(1, 3)):
    seqs = sequences()
    seqs[index][at] = value
    return seqs


def test_nothing_to_report():
    report = diagnose(fused(), dense(), LABELS)
    assert list(report) == []
    assert report.ok
    assert str(report) == "pylstm.diagnose: nothing to report"


# level, code, model, x, y, and a part of what or fix
FINDINGS = [
    ("error", "PYL127", stock(), list(dense()), LABELS, "pylstm.dataset(x, y)"),
    ("error", "PYL126", stock(), sequences(), LABELS, "model = pylstm.convert(model)"),
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
    ("error", "PYL126", stock(), pylstm.ragged(sequences()), LABELS, "pylstm.convert"),
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
    ("error", "PYL127", stock(), pd.Series(list(dense())), LABELS, "pylstm.dataset"),
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


def test_more_than_twice_as_many_features_as_steps():
    model = keras.Sequential([pylstm.LSTM(3)])
    assert not list(diagnose(model, dense(5, 10)))
    assert found(diagnose(model, dense(5, 11)), "PYL207").level == "note"


@pytest.mark.parametrize(
    ("front", "keeps_axes"),
    [
        ([keras.layers.Dropout(0.1), keras.layers.BatchNormalization()], True),
        ([keras.layers.Masking(0.0), keras.layers.Dense(4)], True),
        ([keras.layers.Permute((2, 1))], False),
        ([keras.layers.Lambda(lambda x: keras.ops.transpose(x, (0, 2, 1)))], False),
    ],
)
def test_axes_that_may_be_swapped_in_front_of_other_layers(front, keeps_axes):
    model = pylstm.Sequential([*front, pylstm.LSTM(3)])
    codes = [finding.code for finding in diagnose(model, dense(5, 11))]
    assert codes == ["PYL207"] * keeps_axes
    model.predict(dense(5, 11), verbose=0)  # of a model that is built for them, they are right
    assert not list(diagnose(model, dense(5, 11)))


def test_axes_that_may_be_swapped_in_a_subclassed_model():
    class Classifier(pylstm.Model):
        def __init__(self):
            super().__init__()
            self.lstm = pylstm.LSTM(3)

        def call(self, x):
            return self.lstm(x)

    model = Classifier()
    assert found(diagnose(model, dense(5, 11)), "PYL207").level == "note"
    assert not list(diagnose(model, dense(5, 10)))


def test_zeros_of_which_at_most_three_quarters_are_at_the_ends():
    x = np.ones((3, 8, 5))
    for index, row in enumerate(x):
        row[7 - index :] = 0  # 6 steps
    x[:2, 2] = 0
    assert diagnose(fused(), x).ok
    x[1, 2] = 1
    assert "up to 3 steps" in found(diagnose(fused(), x), "PYL205").what


@pytest.mark.parametrize(
    ("lstm", "fix"), [(keras.layers.LSTM, "model = pylstm.convert(model)\n"), (pylstm.LSTM, "")]
)
def test_the_layer_in_a_wrapper_is_what_reads(lstm, fix):
    model = keras.Sequential([keras.Input((None, 5)), keras.layers.Bidirectional(lstm(3))])
    finding = found(diagnose(model, sequences(), LABELS), "PYL126")
    assert finding.fix == f"{fix}model.fit(pylstm.dataset(x, y))"


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


def samples_of(x, y, shape=(None, 5)):
    signature = (tf.TensorSpec(shape, tf.float32), tf.TensorSpec((), tf.int32))
    return tf.data.Dataset.from_generator(
        lambda: zip(x, y, strict=True), output_signature=signature
    )


def test_batch_of_several_lengths():
    finding = found(diagnose(fused(), samples_of(sequences(), LABELS).batch(3)), "PYL115")
    assert "(3, 5) and (2, 5) in one batch" in finding.what
    assert "ragged_batch" in finding.fix


@pytest.mark.parametrize("model", [pylstm.Sequential, keras.Sequential])
def test_batches_of_a_dataset(model):
    layers = [keras.Input(batch_shape=(4, None, 5)), pylstm.LSTM(3, stateful=True)]
    data = tf.data.Dataset.from_tensor_slices((np.tile(dense(), (4, 1, 1)), LABELS * 4))
    assert diagnose(model(layers), data.batch(4)).ok
    for batches, size in ((data.take(6).batch(4), 2), (data.batch(8), 8)):
        finding = found(diagnose(model(layers), batches), "PYL109")
        assert f"axis 0 is {size}, not 4" in finding.what
        assert "dataset.batch(4, drop_remainder=True)" in finding.fix
    assert diagnose(model([pylstm.LSTM(3, stateful=True)]), data.batch(8)).ok


@pytest.mark.parametrize("model", [pylstm.Sequential, keras.Sequential])
@pytest.mark.parametrize("front", [[keras.Input((None, 5))], []])
def test_a_dataset_of_single_samples(model, front):
    model = model([*front, pylstm.LSTM(3)])
    (finding,) = diagnose(model, samples_of(dense(), LABELS, shape=(4, 5)))
    assert (finding.level, finding.code) == ("error", "PYL101")
    assert finding.fix == "dataset.batch(32)"


@pytest.mark.parametrize("model", [pylstm.Sequential, keras.Sequential])
def test_ragged_targets_of_a_dataset(model):
    model = model([keras.Input((None, 5)), pylstm.LSTM(1, return_sequences=True)])
    y = [np.ones((t, 1), np.float32) for t in LENGTHS]
    data = tf.data.Dataset.from_tensor_slices((pylstm.ragged(sequences()), pylstm.ragged(y)))
    finding = found(diagnose(model, data.batch(2)), "PYL114")
    assert (finding.level, finding.what) == (
        "error",
        "the dataset's targets are ragged: y (None, None, 1), ragged",
    )
    with_targets = data.batch(2).map(lambda x, y: (x, y.to_tensor()))  # a line of the fix
    assert diagnose(model, with_targets).ok
    model.compile("sgd", lambda y, given: keras.ops.mean((y.to_tensor() - given) ** 2))
    assert diagnose(model, data.batch(2)).ok != isinstance(model, pylstm.Sequential)


@pytest.mark.parametrize(
    "parts", [lambda x: x, lambda x: (x, x[:, 0]), lambda x: {"x": x}], ids=["x", "x, y", "dict"]
)
def test_windows_of_a_dataset(parts):
    dataset = tf.data.Dataset.from_tensor_slices(parts(dense(10)[0])).window(4)
    finding = found(diagnose(fused(), dataset), "PYL101")
    assert (finding.level, finding.where) == ("error", "x")
    flat = eval(finding.fix, {"tf": tf, "dataset": dataset})
    x, _, _ = keras.utils.unpack_x_y_sample_weight(flat.element_spec)
    assert keras.tree.flatten(x)[0].shape == (None, 4, 5)
    assert diagnose(fused(), flat).ok


def test_unknown_rank():
    data = samples_of(dense(), LABELS, shape=None).batch(3)
    finding = found(diagnose(fused(), data), "PYL107")
    assert "set_shape" in finding.fix


def test_batches_are_read_and_the_same_finding_comes_once():
    seqs = with_value(np.nan, index=5, at=(0, 0))
    report = diagnose(fused(), pylstm.dataset(seqs, LABELS, batch_size=2, shuffle=False))
    assert "x[1][0][0] = nan" in found(report, "PYL201").what
    assert found(report, "PYL126").level == "fixed"
    assert diagnose(fused(), samples_of(sequences(), LABELS).ragged_batch(2)).ok


@pytest.mark.parametrize("iterator", [iter, lambda batches: (b for b in batches)])
def test_an_iterator_is_not_used_up(iterator):
    batches = iterator([(dense(), LABELS)])
    assert "only once" in found(diagnose(fused(), batches), "PYL209").what
    assert next(batches)[1] is LABELS


@pytest.mark.parametrize("x", [None, object(), 3.0, {}, [], [{}], {"a": None}])
@pytest.mark.parametrize("y", [None, np.zeros(())])
def test_what_is_no_data_is_an_error(x, y):
    (finding,) = diagnose(fused(), x, y)
    assert finding.level == "error"
    assert finding.code in ("PYL101", "PYL118")


def test_sequences_without_a_step_are_noted():
    """They are padded to one step, which is masked."""
    report = diagnose(fused(), [np.zeros((0, 5), np.float32)] * 2)
    assert report.ok
    assert "2 of 2" in found(report, "PYL203").what


def test_steps_that_nobody_declared():
    model = pylstm.Sequential([pylstm.LSTM(3)])
    model.compile("sgd", "mse")
    model.fit(dense(4), np.zeros((6, 3)), verbose=0)
    assert list(diagnose(model, dense(3))) == []


def test_layers_that_lose_the_mask():
    for mask_zero in (False, True):
        embedding = keras.layers.Embedding(5, 4, mask_zero=mask_zero)
        model = pylstm.Sequential([keras.Input((None,)), embedding, pylstm.LSTM(3)])
        assert diagnose(model, [[1, 2, 3], [1]]).ok
    convolution = keras.layers.Conv1D(5, 3, padding="same", name="smooth")
    report = diagnose(fused(convolution), sequences())
    assert found(report, "PYL130").where == "layer 'smooth'"
    assert diagnose(fused(convolution), dense()).ok
    report = diagnose(fused(keras.layers.Masking(-1.0), convolution), dense())
    assert found(report, "PYL204").where == "layer 'smooth'"


def functional(build, model=pylstm.Model):
    inputs = keras.Input((None, 5))
    return model(inputs, build(inputs))


def test_layers_that_lose_the_mask_in_a_graph():
    smooth = keras.layers.Conv1D(5, 3, padding="same", name="smooth")
    inner = keras.Sequential([keras.Input((None, 5)), smooth])
    for front in (smooth, inner):
        model = functional(lambda x, front=front: pylstm.LSTM(3)(front(x)))
        assert found(diagnose(model, sequences()), "PYL130").where == "layer 'smooth'"
        assert diagnose(model, dense()).ok
    masked = functional(lambda x: pylstm.LSTM(3)(smooth(keras.layers.Masking(-1.0)(x))))
    assert found(diagnose(masked, dense()), "PYL204").where == "layer 'smooth'"
    behind = functional(lambda x: smooth(pylstm.LSTM(5, return_sequences=True)(x)))
    assert found(diagnose(behind, sequences()), "PYL130").where == "layer 'smooth'"


def test_the_inputs_of_a_dict_are_told_apart_by_their_names():
    """Keras has them in the order of the names, not of the dict."""
    x = {"b": keras.Input((None, 5)), "a": keras.Input((None, 5))}
    smooth = keras.layers.Conv1D(5, 3, padding="same", name="smooth")
    outputs = pylstm.LSTM(3)(x["b"]) + pylstm.LSTM(3)(smooth(x["a"]))
    model = pylstm.Model(x, outputs)
    assert diagnose(model, {"a": dense(), "b": sequences()}).ok
    report = diagnose(model, {"a": sequences(), "b": dense()})
    assert found(report, "PYL130").where == "layer 'smooth'"


@pytest.mark.parametrize(
    "build",
    [
        lambda x: pylstm.LSTM(3)(keras.layers.Dense(5)(x) + x / 2),
        lambda x: pylstm.LSTM(3)(keras.layers.Concatenate()([keras.layers.Dense(2)(x), x])),
        lambda x: keras.layers.Flatten()(pylstm.LSTM(3)(keras.layers.Masking(-1.0)(x))),
        lambda x: keras.layers.Flatten()(keras.layers.GlobalAveragePooling1D()(x)),
        lambda x: keras.layers.Flatten()(keras.layers.GlobalMaxPooling1D()(x)),
        lambda x: keras.layers.Flatten()(pylstm.LSTM(3, return_sequences=True)(x)[:, -1]),
        lambda x: pylstm.LSTM(3)(x[..., :2]) + x[:, 0, :3],
        lambda x: keras.layers.Flatten()(
            keras.layers.Attention()([keras.layers.RepeatVector(1)(pylstm.LSTM(5)(x)), x])
        ),
    ],
)
def test_what_passes_the_mask_or_needs_none_is_no_finding(build):
    model = functional(build)
    assert diagnose(model, sequences()).ok
    model.predict(sequences(), verbose=0)


@pytest.mark.parametrize(
    "build", [lambda x: x[:, 1], lambda x: pylstm.LSTM(3)(x[:, 1:]), lambda x: x[..., 0][:, 2]]
)
def test_an_index_that_counts_padding(build):
    model = functional(build)
    assert found(diagnose(model, sequences()), "PYL130").what.endswith("of different lengths")
    with pytest.raises(RaggedError, match="PYL130"):
        model.predict(sequences(), verbose=0)


def test_a_dataset_that_pads_with_another_value_than_is_masked(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(keras.backend, "backend", lambda: "jax")
        data = pylstm.dataset(sequences(), LABELS, 6, mask_value=-2.0)
        padded_later = pylstm.dataset(sequences(), LABELS, 6)

    def plain(**options):
        return keras.Sequential(fused(**options).layers)

    finding = found(diagnose(plain(), data), "PYL114")
    assert finding.what == "padded with -2.0, and the model masks no value"
    finding = found(diagnose(plain(mask_value=-1.0), data), "PYL114")
    assert finding.fix == "mask_value=-1.0 in pylstm.dataset and in the first layer"
    assert diagnose(plain(mask_value=-2.0), data).ok
    assert "mask_value=-1.0" in found(diagnose(plain(), padded_later), "PYL114").fix
    for options in ({}, {"mask_value": -1.0}):
        assert diagnose(fused(**options), data).ok
        assert diagnose(fused(**options), padded_later).ok


def test_a_masking_layer_that_looks_for_changed_padding():
    model = fused(keras.layers.Dense(5), keras.layers.Masking(0.0, name="late"))
    assert found(diagnose(model, sequences()), "PYL114").where == "layer 'late'"
    assert diagnose(model, dense()).ok


def test_time_distributed_drops_steps():
    model = fused(keras.layers.TimeDistributed(keras.layers.Dense(5), name="each"))
    assert found(diagnose(model, sequences()), "PYL129").where == "layer 'each'"
    assert diagnose(model, dense()).ok
    windows = keras.utils.timeseries_dataset_from_array(dense()[0], None, 3)
    assert found(diagnose(model, windows), "PYL129").where == "layer 'each'"
    model.compile(run_eagerly=True)  # the fix for other layers in it
    assert diagnose(model, sequences()).ok
    assert diagnose(model, windows).ok


def per_step(**options):
    return pylstm.Sequential([keras.Input((None, 5)), pylstm.LSTM(1, **options)])


@pytest.mark.parametrize(
    ("y", "fix"),
    [
        (np.arange(24.0).reshape(6, 4, 1), "pylstm.unpad(y"),
        (np.zeros((6, 3, 1)), "a list of one array of y"),
    ],
)
def test_padded_targets(y, fix):
    model = per_step(return_sequences=True)
    finding = found(diagnose(model, sequences(), y), "PYL120")
    assert (finding.level, finding.where) == ("error", "y")
    assert fix in finding.fix
    with pytest.raises(pylstm.errors.TimestepError):
        model.fit(sequences(), y)
    assert diagnose(model, sequences(), pylstm.pad([np.ones((t, 1)) for t in LENGTHS]).x).ok


def test_targets_per_step_beside_an_output_per_sample():
    y = [np.zeros((t, 1)) for t in LENGTHS]
    assert found(diagnose(per_step(), sequences(), y), "PYL120").level == "error"
    assert found(diagnose(per_step(), dense(), np.zeros((6, 4, 1))), "PYL120").level == "warning"
    assert diagnose(per_step(return_sequences=True), sequences(), y).ok
    assert diagnose(per_step(return_sequences=True), dense(), np.zeros((6, 4, 1))).ok


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


@pytest.mark.parametrize("is_graph", [True, False])
@pytest.mark.parametrize("by_step", [True, False])
def test_labels_for_which_there_is_no_output(is_graph, by_step):
    layers = [pylstm.LSTM(4, return_sequences=by_step), keras.layers.Dense(2, "softmax")]
    model = pylstm.Sequential(layers)
    if is_graph:
        inputs = keras.Input((None, 5))
        model = pylstm.Model(inputs, layers[1](layers[0](inputs)))
    y = [np.full(t, label) for t, label in zip(LENGTHS, LABELS, strict=True)] if by_step else LABELS
    beyond = [label + 1 for label in y]
    for loss in (
        "sparse_categorical_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(ignore_class=-1),
    ):
        model.compile("adam", loss)
        assert diagnose(model, sequences(), y).ok
        finding = found(diagnose(model, sequences(), beyond), "PYL212")
        assert (finding.level, finding.where) == ("error", "y")
        assert "there are 2 outputs" in finding.what
        assert "labels from 0 to 1" in finding.fix
    assert diagnose(model, sequences(), [label * 0 - 1 for label in y]).ok
    model.compile("adam", ["mse"])
    assert "PYL212" not in {f.code for f in diagnose(model, sequences(), beyond)}


@pytest.mark.parametrize("loss", [lambda loss: [loss], lambda loss: {"classes": loss}])
def test_the_only_loss_in_a_list_or_dict(loss):
    model = pylstm.Sequential([pylstm.LSTM(4), keras.layers.Dense(2, name="classes")])
    for each in (
        "sparse_categorical_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(ignore_class=-1),
    ):
        model.compile("adam", loss(each))
        assert diagnose(model, sequences(), LABELS).ok
        assert "y[2] = 2" in found(diagnose(model, sequences(), [0, 1, 2, 0, 1, 0]), "PYL212").what
    assert diagnose(model, sequences(), [-1, *LABELS[1:]]).ok


def test_the_padding_of_labels_is_none_of_them():
    model = per_step(return_sequences=True)
    model.add(keras.layers.Dense(2, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    labels = [np.full(t, label) for t, label in zip(LENGTHS, LABELS, strict=True)]
    y = pylstm.pad(labels, value=-1).x
    assert diagnose(model, sequences(), y).ok
    y[1, 1] = -1
    assert "y[1][1] = -1" in found(diagnose(model, sequences(), y), "PYL212").what


def test_negative_labels():
    model = fused()
    model.compile("adam", "sparse_categorical_crossentropy")
    finding = found(diagnose(model, sequences(), [0, 1, 1, 0, 1, -1]), "PYL212")
    assert "the first is y[5] = -1" in finding.what


@pytest.mark.parametrize("x", [dense(), sequences()], ids=["dense", "several lengths"])
@pytest.mark.parametrize("is_built", [True, False])
def test_a_target_per_sample_beside_an_output_per_step(x, is_built):
    front = [keras.Input((None, 5))] * is_built
    steps = pylstm.LSTM(3, return_sequences=True)
    for units, y in ((1, np.zeros(6)), (1, np.zeros((6, 1))), (2, np.eye(2)[LABELS])):
        model = pylstm.Sequential([*front, steps, keras.layers.Dense(units)])
        finding = found(diagnose(model, x, y), "PYL120")
        assert (finding.level, finding.where) == ("warning", "y")
        assert "return_sequences=False" in finding.fix
        model = pylstm.Sequential([*front, pylstm.LSTM(3), keras.layers.Dense(units)])
        assert diagnose(model, x, y).ok
    for y in (np.zeros((6, 4)), np.zeros((6, 4, 2))):
        model = pylstm.Sequential([*front, steps, keras.layers.Dense(2)])
        assert diagnose(model, dense(), y).ok


@pytest.mark.parametrize("convert", [list, np.array, tf.constant, pd.Series])
def test_text(convert):
    words = keras.layers.TextVectorization(vocabulary=["no", "yes"])
    layers = [words, keras.layers.Embedding(4, 2), pylstm.LSTM(3)]
    text = convert(["no", "yes no", "yes", "no", "no", "yes"])
    for model in (
        pylstm.Sequential([keras.Input((1,), dtype="string"), *layers]),
        pylstm.Sequential(layers),
    ):
        assert list(diagnose(model, text, LABELS)) == []
        assert found(diagnose(model, text, LABELS[:5]), "PYL110").level == "error"
        assert "does not hold strings" in found(diagnose(model, dense(), LABELS), "PYL118").what


def test_what_keras_alone_refuses():
    plain = keras.Sequential([keras.Input((None, 5)), pylstm.LSTM(3)])
    assert found(diagnose(plain, dense(), LABELS), "PYL127").fix == "np.asarray(y)"
    assert found(diagnose(plain, dense()[:, None], None), "PYL123").level == "error"
    assert found(diagnose(plain, dense()[..., None], None), "PYL123").level == "fixed"
    assert found(diagnose(plain, dense().astype(complex)), "PYL117").level == "warning"
    behind = keras.Sequential([keras.Input((None, 5)), keras.layers.Dense(4), pylstm.LSTM(3)])
    for x in (sequences(), pylstm.dataset(sequences(), LABELS)):
        assert "pylstm.Sequential(model.layers)" in found(diagnose(behind, x), "PYL126").fix
    assert diagnose(plain, pylstm.dataset(sequences(), LABELS)).ok


@pytest.mark.parametrize(
    "front",
    [
        lambda x: keras.layers.Activation("tanh")(x),
        lambda x: keras.layers.LayerNormalization()(keras.layers.ReLU()(x)),
        lambda x: keras.layers.Rescaling(0.5)(x),
        lambda x: x / 2 - 1,
        lambda x: keras.layers.Add()([x, x * 2]),
    ],
)
def test_layers_in_front_that_take_ragged_tensors(front):
    model = functional(lambda x: pylstm.LSTM(3)(front(x)), keras.Model)
    data = pylstm.dataset(sequences(), np.zeros((6, 3)), 2)
    assert diagnose(model, data).ok
    model.compile("sgd", "mse")
    model.fit(data, verbose=0)
    assert "pylstm.dataset" in found(diagnose(model, sequences(), LABELS), "PYL126").fix


@pytest.mark.parametrize("mask_zero", [True, False])
@pytest.mark.parametrize("wrap", [lambda lstm: lstm, keras.layers.Bidirectional])
def test_tokens_in_ragged_tensors(mask_zero, wrap):
    embedding = keras.layers.Embedding(9, 4, mask_zero=mask_zero)
    model = keras.Sequential([keras.Input((None,)), embedding, wrap(pylstm.LSTM(3))])
    tokens = [[1, 2, 3], [4, 5], [6]]
    assert diagnose(model, pylstm.dataset(tokens, [0, 1, 2], 2)).ok
    alone = [model(np.array([each]))[0] for each in tokens]
    together = model.predict(pylstm.dataset(tokens, batch_size=2), verbose=0)
    assert_close(together, np.stack(alone), "float32")


def test_other_shapes_than_a_functional_model_declares():
    signal, meta = keras.Input((5, 5)), keras.Input((2,))
    joined = keras.layers.Concatenate()([pylstm.LSTM(3)(signal), meta])
    model = pylstm.Model([signal, meta], joined)
    report = diagnose(model, (dense(4), np.zeros((6, 3))))
    assert found(report, "PYL124")[:3] == ("fixed", "PYL124", "x[0]")
    assert found(report, "PYL103").where == "x[1]"
    plain = keras.Model([signal, meta], joined)
    assert found(diagnose(plain, (dense(4), np.zeros((6, 2)))), "PYL124").level == "error"
    assert found(diagnose(model, (dense(5), np.zeros((6, 2, 2)))), "PYL101").where == "x[1]"
    assert diagnose(model, (dense(5), np.zeros((6, 2)))).ok


def test_steps_that_a_layer_refuses():
    inputs = keras.Input((5, 5))
    flat = keras.layers.Flatten()(pylstm.LSTM(3, return_sequences=True)(inputs))
    outputs = keras.layers.Dense(2, name="behind")(flat)
    functional = pylstm.Model(inputs, outputs)
    layers = functional.layers
    for model in functional, pylstm.Sequential(layers), keras.Sequential(layers):
        finding = found(diagnose(model, dense(4), LABELS), "PYL124")
        assert finding[:3] == ("error", "PYL124", "layer 'behind'")
        assert "keras.Input((4, 5))" in finding.fix
        assert diagnose(model, dense(5)).ok


def test_ragged_sequences_have_any_number_of_steps():
    model = pylstm.Sequential([keras.Input((5, 5)), pylstm.LSTM(3)])
    assert [finding.code for finding in diagnose(model, sequences())] == ["PYL126"]


def test_settings_that_raise():
    assert found(diagnose(fused(validate="strict"), dense()[:, None]), "PYL123").level == "error"
    model = fused(kernel="fused", activation=lambda x: x, name="own")
    assert found(diagnose(model, dense()), "PYL133").where == "layer 'own'"
    steps = pylstm.Sequential([pylstm.LSTM(3, return_sequences=True)])
    assert diagnose(steps, dense()[:, :0]).ok  # no steps in, none out


def test_stacked_with_other_layers_between():
    layers = [pylstm.LSTM(3, name="a"), keras.layers.Dropout(0.1), pylstm.LSTM(3)]
    assert "in 'a'" in found(diagnose(pylstm.Sequential(layers), dense()), "PYL106").fix
    layers[1] = keras.layers.RepeatVector(4)
    assert diagnose(pylstm.Sequential(layers), dense()).ok


@pytest.mark.parametrize("sequential", [pylstm.Sequential, keras.Sequential])
def test_states_between_layers(sequential):
    layers = [pylstm.LSTM(3, return_state=True, name="a"), keras.layers.Dense(2)]
    finding = found(diagnose(sequential(layers), dense(), LABELS), "PYL211")
    assert (finding.level, finding.where) == ("error", "layer 'a'")
    assert "return_state=False" in finding.fix
    assert diagnose(sequential(layers[:1]), dense()).ok


def test_batches_of_lists():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return sequences(), np.array(LABELS)

    plain = keras.Sequential(fused().layers)
    assert "pylstm.ragged(x)" in found(diagnose(plain, Batches()), "PYL114").fix
    in_processes = Batches(use_multiprocessing=True)
    assert "pylstm.ragged(x)" in found(diagnose(fused(), in_processes), "PYL114").fix
    report = diagnose(fused(), Batches())
    assert report.ok, report


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


def test_several_inputs_are_named():
    signal, meta = keras.Input((None, 5), name="signal"), keras.Input((2,), name="meta")
    joined = keras.layers.Concatenate()([pylstm.LSTM(3)(signal), meta])
    model = pylstm.Model({"signal": signal, "meta": meta}, joined)
    x = {"signal": with_value(np.inf), "meta": np.full((6, 2), np.nan)}
    where = {finding.where for finding in diagnose(model, x) if finding.code == "PYL201"}
    assert where == {"x['signal']", "x['meta']"}


def test_notebook_table():
    page = diagnose(fused(), with_value(np.nan), LABELS)._repr_html_()
    assert page.count("<tr>") == 3
    assert "PYL201" in page
    assert "<table" not in diagnose(fused(), dense(), LABELS)._repr_html_()
    page = Report([Finding("note", "PYL201", "x", "a < b", "x['a']")])._repr_html_()
    assert "a &lt; b" in page
    assert "x[&#x27;a&#x27;]" in page


def test_nothing_is_changed():
    model = keras.Sequential([keras.layers.LSTM(3)])
    x = with_value(np.nan)
    copies = [s.copy() for s in x]
    diagnose(model, x)
    assert not model.built
    for array, copy in zip(x, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_codes_are_distinct():
    assert not HINTS.keys() & CODES.keys()


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
