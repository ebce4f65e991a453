"""The ways people get LSTM input wrong that show before any layer.

Where pylstm fixes the input, its values are those of each sequence alone; where it cannot, the
error says what to write.
"""

import collections
import itertools
import warnings

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import pylstm
from pylstm import errors
from tests.data import CONTAINERS, object_array, sequences
from tests.models.stock import (
    assert_fits_like_stock,
    assert_predicts_each_alone,
    classifier,
)

LABELS = [0, 1, 1, 0, 1, 0]


@pytest.fixture(autouse=True)
def no_other_warning():
    """Nothing may warn but what a test expects."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.ShapeCorrectionWarning)
        yield


def assert_fixed(x, seqs, y=LABELS):
    assert_predicts_each_alone(classifier(), x, seqs)
    assert_fits_like_stock(classifier(), x, y, seqs)


def test_list_of_equally_long_arrays():
    seqs = sequences([3] * 6)
    assert_fixed(seqs, seqs)


def test_list_of_arrays_of_several_lengths():
    assert_fixed(sequences(), sequences())


def test_as_many_arrays_as_steps():
    seqs = sequences([3, 3, 3])
    assert_fixed(seqs, seqs, LABELS[:3])


def test_call_on_a_list():
    seqs = sequences()
    assert_predicts_each_alone(classifier(), seqs, seqs)


def test_batch_axis_on_each_array():
    seqs = sequences()
    with pytest.warns(errors.ShapeCorrectionWarning, match=r"PYL123.*\(1, time, features\)"):
        assert_fixed([s[None] for s in seqs], seqs)


def test_strict():
    model = classifier(validate="strict")
    x = [s[None] for s in sequences()]
    for run in (model.predict, lambda x: model.fit(x, LABELS, verbose=0)):
        with pytest.raises(errors.RankError, match=r"\[PYL123\] layer 'sequential.*'") as caught:
            run(x)
        assert caught.value.fix == "[s[0] for s in sequences]"


def test_an_axis_too_many():
    seqs = sequences([3] * 6)
    with pytest.warns(errors.ShapeCorrectionWarning, match=r"PYL123.*\(\S+ 1, 3, 5\)"):
        assert_fixed(np.stack(seqs)[:, None], seqs)


def test_one_recording_is_not_split():
    """A model's first axis is the batch: (T, F) is no batch, and is told so."""
    model = classifier()
    for run in (model.predict, lambda x: model.fit(x, [0] * 4, verbose=0)):
        with pytest.raises(errors.ShapeError, match=r"expand_dims\(x, 0\)") as caught:
            run(sequences([4])[0])
        assert caught.value.expected.startswith("(batch, time, features=5)")


def test_object_array():
    seqs = sequences()
    assert_fixed(object_array(seqs), seqs)


def test_padded_then_expanded():
    seqs = sequences([3] * 6)
    with pytest.warns(errors.ShapeCorrectionWarning, match="PYL123"):
        assert_fixed(np.expand_dims(np.stack(seqs), 2), seqs)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "uint8", "bool"])
def test_any_real_dtype(dtype):
    seqs = [np.abs(s * 3).astype(dtype) for s in sequences()]
    assert_predicts_each_alone(classifier(), seqs, seqs)


def test_complex():
    model = classifier()
    whole = np.zeros((6, 3, 5), complex)
    for x, got in ((list(whole), "sequence 0 is complex128"), (whole, "(6, 3, 5) complex128")):
        for run in (model.predict, lambda x: model.fit(x, LABELS, verbose=0)):
            with pytest.raises(errors.DTypeError, match=r"PYL117.*imaginary part") as caught:
                run(x)
            assert caught.value.got == got


def test_strings():
    model = classifier()
    for x in ([["a", "b"], ["c"]], np.array([["a", "b"], ["c", "d"]])):
        with pytest.raises(errors.DTypeError, match="does not hold numbers") as caught:
            model.fit(x, [0, 1], verbose=0)
        assert caught.value.code == "PYL118"


@pytest.mark.parametrize(
    ("x", "fix"),
    [
        (["some", "text"], "keras.Input((1,), dtype='string')"),
        (tf.constant(["some", "text"]), "keras.Input((1,), dtype='string')"),
        ([{"a": 1.0, "b": 2.0}] * 2, "[list(sample.values()) for sample in x]"),
        ([None, None], "np.asarray(x, 'float32')"),
    ],
)
def test_the_fix_is_for_what_holds_no_numbers(x, fix):
    model = classifier()
    with pytest.raises(errors.DTypeError, match=r"PYL118.* x does not hold numbers") as caught:
        model.fit(x, [0, 1], verbose=0)
    assert caught.value.fix.startswith(fix)
    with pytest.raises(errors.DTypeError, match=r"PYL118.* y does not hold numbers") as caught:
        model.fit(sequences()[:2], ["no", "yes"], verbose=0)
    assert caught.value.got == "2 of 2 values are none of these; the first is 'no'"
    assert caught.value.fix == "labels, y = np.unique(y, return_inverse=True)"


def test_one_feature_needs_no_axis():
    keras.utils.set_random_seed(0)
    model = pylstm.Sequential([keras.Input((None, 1)), pylstm.LSTM(3)])
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    want = model.predict(x[..., None], verbose=0)
    np.testing.assert_array_equal(model.predict(x, verbose=0), want)
    np.testing.assert_array_equal(model.predict(x[..., None, None], verbose=0), want)
    np.testing.assert_array_equal(model.predict(list(x), verbose=0), want)
    ragged = [row[:t] for row, t in zip(x, (6, 2, 3, 1), strict=True)]
    for got, row in zip(model.predict(ragged, verbose=0), ragged, strict=True):
        np.testing.assert_allclose(got, model(row[None, :, None])[0], atol=1e-6)


def test_many_findings_in_one_table():
    model = classifier()
    with pytest.raises(errors.BatchMismatchError, match="joined along one axis") as caught:
        model.fit(np.zeros((18, 5), np.float32), LABELS, verbose=0)
    assert caught.value.code == "PYL111"
    assert caught.value.got == "x (18, 5), 6 targets"
    assert caught.value.fix.startswith("np.reshape(x, (6, 3, 5))     if")
    with pytest.raises(errors.BatchMismatchError, match="PYL110"):  # no number of steps each
        model.fit(np.zeros((19, 5), np.float32), LABELS, verbose=0)


def test_where_from_tensor_slices_fails():
    seqs = sequences()
    with pytest.raises(ValueError, match="non-rectangular"):
        tf.data.Dataset.from_tensor_slices(seqs)
    model = classifier(keras.Sequential)  # a plain Keras model will do
    data = pylstm.dataset(seqs, LABELS, batch_size=6)
    model.fit(data, epochs=2, verbose=0)
    trained = classifier()
    trained.fit(seqs, LABELS, batch_size=6, epochs=2, verbose=0)
    for got, want in zip(model.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)


def generator_of(x, y):
    signature = (tf.TensorSpec((None, 5), tf.float32), tf.TensorSpec((), tf.int32))
    return tf.data.Dataset.from_generator(
        lambda: zip(x, y, strict=True), output_signature=signature
    )


@pytest.mark.parametrize("before", [lambda data: data, lambda data: data.map(lambda x, y: (x, y))])
def test_batch_of_several_lengths(before):
    data = before(generator_of(sequences(), LABELS)).batch(3)
    model = classifier()
    for run in (model.fit, model.evaluate, model.predict):
        with pytest.raises(errors.RaggedError, match=r"\[PYL115\].*different lengths") as caught:
            run(data, verbose=0)
        assert caught.value.got == "(3, 5) and (2, 5) in one batch"
        assert "ragged_batch" in caught.value.fix
        assert "pylstm.dataset" in caught.value.fix
        assert isinstance(caught.value.__cause__, tf.errors.InvalidArgumentError)


def test_the_fix_works():
    seqs = sequences()
    data = generator_of(seqs, LABELS).ragged_batch(6)
    model, other = classifier(), classifier()
    model.fit(data, verbose=0)
    other.fit(seqs, LABELS, batch_size=6, verbose=0, shuffle=False)
    for got, want in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_where_padded_batch_wants_typed_zeros():
    data = generator_of(sequences(), LABELS)
    with pytest.raises(TypeError, match="float"):
        data.padded_batch(3, padding_values=(0, 0))
    x, y = pylstm.dataset(sequences(), LABELS, batch_size=3)[0]
    assert x.dtype == tf.float32
    assert y.dtype.kind == "i"


def test_padding_never_changes_the_output():
    seqs = sequences()
    model = classifier()
    padded = model.predict(pylstm.pad(seqs).x, verbose=0)
    masked = model.predict(pylstm.dataset(seqs), verbose=0)
    assert not np.allclose(padded, masked, atol=1e-3)  # what stock does, without a word
    assert_predicts_each_alone(model, pylstm.ragged(seqs), seqs)
    np.testing.assert_allclose(masked, model.predict(seqs, verbose=0), atol=1e-6)


def test_ragged_tensor():
    seqs = sequences()
    assert_fixed(pylstm.ragged(seqs), seqs)


@pytest.mark.parametrize("built", [True, False])
def test_unknown_rank(built):
    def hide(x, y):
        return tf.ensure_shape(tf.py_function(lambda a: a, [x], tf.float32), None), y

    data = generator_of(sequences(), LABELS).ragged_batch(3).map(lambda x, y: (x.to_tensor(), y))
    model = classifier() if built else pylstm.Sequential([pylstm.LSTM(4)])
    model.compile("sgd", "mse")
    with pytest.raises(errors.RankError, match=r"PYL107.*rank of the input is unknown") as caught:
        model.fit(data.map(hide), verbose=0)
    assert "set_shape((None, None, " in caught.value.fix


def test_another_number_of_features():
    model = classifier()
    seqs = sequences(features=6)
    for x in (seqs, np.zeros((6, 3, 6), np.float32)):
        for run in (model.predict, lambda x: model.fit(x, LABELS, verbose=0)):
            with pytest.raises(errors.FeatureMismatchError, match=r"\[PYL103\]") as caught:
                run(x)
            assert "features=5" in caught.value.expected


def test_nested_lists():
    seqs = sequences()
    assert_fixed([s.tolist() for s in seqs], seqs)
    even = sequences([3] * 6)
    assert_fixed([s.tolist() for s in even], even)


def test_array_and_list_of_labels():
    seqs = sequences([3] * 6)
    assert_fixed(np.stack(seqs), seqs)


@pytest.mark.parametrize("x", [sequences(), np.zeros((6, 3, 5), np.float32)])
def test_another_number_of_labels(x):
    model = classifier()
    for run in (model.fit, model.evaluate):
        with pytest.raises(errors.BatchMismatchError, match=r"\[PYL110\] layer") as caught:
            run(x, LABELS[:5], verbose=0)
        assert caught.value.got == "x has 6 samples, y has 5"


def test_stateful_with_a_partial_batch():
    model = pylstm.Sequential(
        [keras.Input(batch_shape=(4, None, 5)), pylstm.LSTM(3, stateful=True)]
    )
    model.compile("sgd", "mse")
    for x in (sequences(), np.zeros((6, 3, 5), np.float32)):
        for run in (model.predict, lambda x, **o: model.fit(x, np.zeros((6, 3)), **o)):
            with pytest.raises(errors.BatchMismatchError, match=r"\[PYL109\]") as caught:
                run(x, batch_size=4, verbose=0)
            assert caught.value.got == "6 samples: the last batch has 2"
            assert "drop_remainder=True" in caught.value.fix
    batches = tf.data.Dataset.from_tensor_slices((np.zeros((6, 3, 5)), np.zeros((6, 3)))).batch(4)
    for data in (batches, pylstm.dataset(sequences(), np.zeros((6, 3)), 4)):
        for run in (model.fit, model.evaluate, model.predict):
            with pytest.raises(
                errors.BatchMismatchError, match=r"\[PYL109\] layer 'lstm"
            ) as caught:
                run(data, verbose=0)
            assert "drop_remainder=True" in caught.value.fix
    model.fit(pylstm.dataset(sequences(), np.zeros((6, 3)), 4, drop_remainder=True), verbose=0)


def stateful(model_type, batch_size):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((3, 5), batch_size=batch_size), pylstm.LSTM(3, stateful=True)]
    model = model_type(layers)
    model.compile("sgd", "mse")
    return model


def test_stateful_with_fewer_samples_than_a_default_batch():
    """They make one batch, of as many samples as the layer has states."""
    x, y = np.ones((4, 3, 5), np.float32), np.ones((4, 3))
    for run in (
        lambda model: model.predict(x, verbose=0),
        lambda model: model.fit(x, y, verbose=0).history["loss"],
        lambda model: model.evaluate(x, y, verbose=0),
        lambda model: model.fit(
            np.ones((10, 3, 5)), np.ones((10, 3)), batch_size=4, steps_per_epoch=2, verbose=0
        ).history["loss"],
        lambda model: model.fit(
            x,
            y,
            batch_size=4,
            validation_data=(np.ones((6, 3, 5)), np.ones((6, 3))),
            validation_steps=1,
            verbose=0,
        ).history["val_loss"],
    ):
        got, want = (run(stateful(kind, 4)) for kind in (pylstm.Sequential, keras.Sequential))
        np.testing.assert_allclose(got, want, rtol=1e-5)
    streamed = stateful(pylstm.Sequential, 1)
    first, second = (streamed.predict(list(x[:1]), verbose=0) for _ in range(2))
    assert not np.allclose(first, second)  # the state is kept


@pytest.mark.parametrize(
    ("size", "got", "fix"),
    [
        (8, "8 samples in batches of 8", "batch_size=4"),
        (
            6,
            "6 samples in batches of 6",
            "pylstm.dataset(x, y, 4, shuffle=False, drop_remainder=True)",
        ),
        (1, "1 samples in batches of 1", "keras.Input((None, features), batch_size=1)"),
    ],
)
def test_stateful_with_batches_of_another_size(size, got, fix):
    model = stateful(pylstm.Sequential, 4)
    with pytest.raises(errors.BatchMismatchError, match=r"\[PYL109\]") as caught:
        model.predict(np.ones((size, 3, 5)), verbose=0)
    assert caught.value.expected == "whole batches of 4"
    assert caught.value.got == got
    assert caught.value.fix.split("     ")[0] == fix


def test_no_sequences_or_no_steps():
    model = classifier()
    assert model.predict(np.zeros((0, 3, 5)), verbose=0).shape == (0, 2)
    empty = [np.zeros((0, 5), np.float32)] * 2
    np.testing.assert_allclose(model.predict(empty, verbose=0), [model.layers[-1].bias] * 2)
    model.fit(empty, LABELS[:2], verbose=0)
    with pytest.raises(errors.TimestepError, match="PYL108"):
        model.predict(np.zeros((2, 0, 5)), verbose=0)


def test_empty_sequence():
    seqs = [*sequences(), np.zeros((0, 5), np.float32)]
    model = classifier()
    bias = model.layers[-1].bias.numpy()
    np.testing.assert_allclose(model.predict(seqs, verbose=0)[-1], bias, atol=1e-7)
    model.fit(seqs, [*LABELS, 0], verbose=0)
    assert np.isfinite(model.get_weights()[0]).all()


def test_another_number_of_features_in_the_list():
    seqs = [*sequences(), np.zeros((3, 4), np.float32)]
    model = classifier()
    for run in (model.predict, lambda x: model.fit(x, [*LABELS, 0], verbose=0), model):
        with pytest.raises(errors.FeatureMismatchError, match=r"\[PYL105\] layer") as caught:
            run(seqs)
        assert caught.value.got == "sequence 0 is (3, 5), sequence 6 is (3, 4)"


FORMS = CONTAINERS | {
    "padded batch": pylstm.pad,
    "deque": collections.deque,
    "values": lambda seqs: dict(enumerate(seqs)).values(),
}


@pytest.mark.parametrize("container", FORMS)
def test_containers(container):
    seqs = sequences()
    x = FORMS[container](seqs)
    assert_fits_like_stock(classifier(), x, pd.Series(LABELS), seqs)
    want = classifier().predict(seqs, verbose=0)
    np.testing.assert_array_equal(classifier().predict(x, verbose=0), want)


def test_generators_of_batches():
    seqs = sequences()

    def batches(size=3):
        while True:
            for start in range(0, 6, size):
                yield seqs[start : start + size], LABELS[start : start + size]

    model = classifier()
    model.fit(batches(6), steps_per_epoch=2, verbose=0)
    other = classifier()
    other.fit(seqs, LABELS, batch_size=6, epochs=2, verbose=0, shuffle=False)
    for got, want in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)
    want = model.predict(seqs, verbose=0)
    np.testing.assert_allclose(model.predict(batches(), steps=2, verbose=0), want, atol=1e-6)


@pytest.mark.parametrize("lengths", [[3, 3, 2], [3, 3, 2, 4, 3], [3, 3, 3, 3, 1]])
@pytest.mark.parametrize("as_batch", [list, pylstm.pad, lambda seqs: np.stack(seqs[:1])])
def test_batches_of_a_generator_may_differ_in_length(lengths, as_batch):
    """Keras fixes what the first two batches have in common."""
    seqs = sequences(lengths)
    batches = [as_batch(seqs[start : start + 2]) for start in range(0, len(seqs), 2)]
    model = classifier()
    each = [model.predict(batch, verbose=0) for batch in batches]
    together = model.predict(((batch,) for batch in batches), verbose=0)
    np.testing.assert_allclose(together, np.concatenate(each), atol=1e-6)
    model.fit(((b, np.zeros(len(e))) for b, e in zip(batches, each, strict=True)), verbose=0)


@pytest.mark.parametrize("lengths", [(5, 6, 7), (5, 5, 7)])
def test_arrays_of_a_generator_may_differ_with_their_targets_by_step(lengths):
    model = classifier(return_sequences=True)
    batches = [(np.ones((2, t, 5)), np.ones((2, t)), np.ones((2, t))) for t in lengths]
    model.optimizer.learning_rate = 0.0
    loss = model.fit(iter(batches), verbose=0).history["loss"]
    each = [model.test_on_batch(*batch)[0] for batch in batches]
    assert loss == pytest.approx([np.mean(each)], rel=1e-5)


@pytest.mark.parametrize("lengths", [[3, 3, 3, 3, 2, 1], [3, 2, 3, 3, 1, 1], [1, 1, 1, 1, 4, 2]])
@pytest.mark.parametrize("weighted", [False, True])
def test_lists_of_a_generator_with_targets_by_step(lengths, weighted):
    """Whether a batch's lists are equally long is chance."""
    seqs = sequences(lengths)
    y = [np.arange(len(seq)) % 2 for seq in seqs]
    parts = [seqs, y, [1.0 + steps for steps in y]] if weighted else [seqs, y]
    want = classifier(return_sequences=True).evaluate(
        seqs, y, 2, sample_weight=parts[2] if weighted else None, verbose=0
    )
    batches = (tuple(part[i : i + 2] for part in parts) for i in range(0, 6, 2))
    got = classifier(return_sequences=True).evaluate(batches, verbose=0)
    assert got == pytest.approx(want, rel=1e-5)


def test_one_clip_in_a_list_is_one_sample():
    frames = keras.Input((10, 6, 5))
    each = keras.layers.TimeDistributed(pylstm.LSTM(4))(frames)
    model = pylstm.Model(frames, pylstm.LSTM(3)(each))
    clips = np.random.default_rng(0).normal(size=(2, 10, 6, 5)).astype(np.float32)
    want = model.predict(clips, verbose=0)
    for x in (list(clips), [clips]):
        np.testing.assert_allclose(model.predict(x, verbose=0), want, atol=1e-6)
    np.testing.assert_allclose(model.predict([clips[0]], verbose=0), want[:1], atol=1e-6)


def test_a_convolutional_lstm_in_front_takes_its_own_shape():
    layers = [
        keras.layers.ConvLSTM1D(4, 3, return_sequences=True),
        keras.layers.TimeDistributed(keras.layers.Flatten()),
        pylstm.LSTM(3),
    ]
    model = pylstm.Sequential(layers)
    x = np.random.default_rng(0).normal(size=(2, 5, 8, 1)).astype(np.float32)
    got = model.predict(x, verbose=0)
    np.testing.assert_allclose(got, keras.Sequential(layers).predict(x, verbose=0), atol=1e-6)


@pytest.mark.parametrize("declare", [True, False])
@pytest.mark.parametrize("convert", [list, np.array])
def test_tokens_of_a_generator_may_differ_in_length(declare, convert):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Embedding(9, 5), pylstm.LSTM(4)]
    model = pylstm.Sequential([keras.Input((None,)), *layers] if declare else layers)
    tokens = [[1, 2], [3, 4], [5, 6], [7, 8], [1, 2, 3], [4, 5, 6]]
    tokens[-1] = tokens[-1][: 1 if convert is list else 3]
    got = model.predict(((convert(tokens[i : i + 2]),) for i in range(0, 6, 2)), verbose=0)
    want = np.concatenate([model(np.array([row])) for row in tokens])
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_targets_that_are_not_by_step_keep_their_axis_of_one():
    """One step, and one number for each sample: Keras' losses must see that axis."""
    x, y = np.ones((2, 1, 5), np.float32), np.array([[0], [1]])
    want = classifier().evaluate(x, y, verbose=0)
    assert classifier().evaluate(iter([(x, y)] * 3), verbose=0) == pytest.approx(want)


def test_batches_of_a_generator_with_weights_and_without():
    x, y = sequences()[:2], np.zeros(2)
    with pytest.raises(errors.StructureError, match=r"PYL147.*batches differ") as caught:
        classifier().evaluate(iter([(x, y), (x, y, np.ones(2))]), verbose=0)
    assert sorted(caught.value.got) == sorted("2 parts in one, 3 in another")


@pytest.mark.parametrize("order", [1, -1])
def test_lists_and_arrays_from_one_generator(order):
    batches = [np.zeros((2, 3, 5), np.float32), sequences([3, 2])][::order]
    with pytest.raises(errors.StructureError, match=r"PYL147.*batches differ") as caught:
        classifier().predict(((batch,) for batch in batches), verbose=0)
    assert caught.value.fix.startswith("list(x)")
    assert classifier().predict(((list(b),) for b in batches), verbose=0).shape == (4, 2)


@pytest.mark.parametrize("source", [iter, lambda batches: Batches(*batches)])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("as_weights", [False, True])
def test_fractions_after_whole_numbers(source, per_step, as_weights):
    """TensorFlow takes all batches in the dtypes of the first."""
    seqs = sequences([3, 2, 4, 1])
    whole, fractions = [3, 1], [0.5, 2.75]
    if per_step:
        whole, fractions = [[3, 1, 2], [1, 0]], [[0.5, 1, 2, 3], [0.25]]
    ones = [[1.0] * len(y) for y in [*whole, *fractions]] if per_step else [1.0] * 4
    parts = [[*whole, *fractions], ones]
    y, weights = parts[::-1] if as_weights else parts
    layers = [pylstm.LSTM(2, return_sequences=per_step), keras.layers.Dense(1)]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    want = model.evaluate(seqs, y, batch_size=2, sample_weight=weights, verbose=0)
    batches = [tuple(part[i : i + 2] for part in (seqs, y, weights)) for i in (0, 2)]
    assert model.evaluate(source(batches), verbose=0) == pytest.approx(want, rel=1e-5)
    history = model.fit(source(batches), verbose=0).history
    assert history["loss"] == pytest.approx([want], rel=1e-5)


@pytest.mark.parametrize("parts", ["lists x", "arrays y"])
def test_fractions_that_would_be_cut_off(parts):
    whole, fractions = [[[1, 0]], [[2, 1], [0, 1]]], [[[0.5, 1]], [[1, 0.25]]]
    y = np.array([0, 1]), np.array([0.5, 1.0])
    if parts == "arrays y":
        whole, fractions = np.zeros((2, 3, 2)), np.ones((2, 3, 2))
    model = pylstm.Sequential([keras.Input((None, 2)), pylstm.LSTM(2), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    batches = [(whole, y[0]), (fractions, y[1])]
    with pytest.raises(errors.RaggedError, match=r"PYL114.*kind of numbers") as caught:
        model.fit(Batches(*batches), verbose=0)
    assert caught.value.expected.startswith("int64 as in the first batch")
    lines = [line.partition("     ")[0] for line in caught.value.fix.split("\n")]
    line = lines[parts == "lists x"]
    fixed = [[eval(line, None, {"np": np, "x": x, "y": y}) for x, y in batches]]
    xs, ys = [fixed[0], y] if parts == "lists x" else [[whole, fractions], fixed[0]]
    model.fit(Batches(*zip(xs, ys, strict=True)), verbose=0)


def test_whole_numbers_as_floats_after_integers():
    x = np.zeros((2, 3, 5), np.float32)
    model = classifier()
    want = model.evaluate(np.concatenate([x, x]), np.array([0, 1, 1, 1]), verbose=0)
    got = model.evaluate(Batches((x, np.array([0, 1])), (x, np.array([1.0, 1.0]))), verbose=0)
    assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("lengths", [[3, 3, 3, 3], [3, 2, 4, 1]])
def test_tuples_of_samples_in_a_dataset(lengths):
    """As `zip(*batch)` makes them."""
    seqs = sequences(lengths)
    y = [np.array([label, 1.0]) for label in range(4)]
    model = pylstm.Sequential([keras.Input((None, 5)), pylstm.LSTM(2)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    want = model.evaluate(seqs, np.stack(y), verbose=0)
    pairs = list(zip(seqs, y, strict=True))
    batches = [tuple(zip(*pairs[i : i + 2], strict=True)) for i in (0, 2)]
    for data in (
        Batches(*batches),
        Batches(*((x, np.stack(y)) for x, y in batches)),
        Batches(*((list(x), y) for x, y in batches)),
        Batches(*((x, y, (1.0, 1.0)) for x, y in batches)),
    ):
        assert model.evaluate(data, verbose=0) == pytest.approx(want, rel=1e-5)
        assert pylstm.diagnose(model, data).ok
    history = model.fit(seqs, np.stack(y), validation_data=Batches(*batches), verbose=0).history
    assert history["val_loss"] == pytest.approx([want], rel=1e-5)


@pytest.mark.parametrize("source", [iter, lambda batches: Batches(*batches)])
@pytest.mark.parametrize("form", [object_array, pd.Series])
@pytest.mark.parametrize("univariate", [True, False])
def test_arrays_of_objects_are_no_single_samples(source, form, univariate):
    shape, front = ((None, 1), []) if univariate else ((None,), [keras.layers.Embedding(9, 4)])
    model = pylstm.Sequential([keras.Input(shape), *front, pylstm.LSTM(3)])
    x = [[1, 5, 3], [2], [4, 4, 8, 0], [7]]
    batches = [(form(x[i : i + 2]),) for i in (0, 2)]
    got = model.predict(source(batches), verbose=0)
    np.testing.assert_allclose(got, model.predict(x, verbose=0), atol=1e-6)
    with pytest.raises(errors.RankError, match=r"PYL101.*single samples"):
        model.predict(source([(object_array([1, 5, 3]),)]), verbose=0)


def test_batches_of_a_generator_of_other_sizes_than_declared():
    model = pylstm.Sequential([keras.Input((3, 5)), pylstm.LSTM(2)])
    batches = ((np.zeros((2, steps, 5)),) for steps in (3, 3, 4))
    with pytest.raises(errors.StructureError, match=r"PYL147.*batches differ") as caught:
        model.predict(batches, verbose=0)
    assert caught.value.got == "(2, 4, 5)"
    assert caught.value.expected.startswith("(None, 3, 5)")


@pytest.mark.parametrize("iterator", [iter, lambda samples: (sample for sample in samples)])
def test_iterators_of_single_samples(iterator):
    model = classifier()
    samples = iterator(zip(sequences(), LABELS, strict=True))
    with pytest.raises(errors.RankError, match="yields single samples") as caught:
        model.fit(samples, verbose=0)
    assert caught.value.code == "PYL101"
    assert "pylstm.dataset" in caught.value.fix


@pytest.mark.parametrize("lengths", [[3] * 6, [3, 2, 1, 3, 2, 1]])
def test_a_dataset_without_batches(lengths):
    seqs = sequences(lengths)
    spec = (tf.TensorSpec((3 if lengths[1] == 3 else None, 5)), tf.TensorSpec((), tf.int32))
    dataset = tf.data.Dataset.from_generator(
        lambda: zip(seqs, LABELS, strict=True), output_signature=spec
    )
    model = classifier()
    for run in (model.fit, model.evaluate):
        with pytest.raises(errors.RankError, match=r"PYL101.*yields single samples") as caught:
            run(dataset, verbose=0)
        assert caught.value.expected == "batches (x, y)"
        assert caught.value.got.endswith("5), y a single number")
    model.fit(eval(caught.value.fix, None, {"dataset": dataset}), verbose=0)


@pytest.mark.parametrize("lengths", [[3] * 6, [3, 2, 1, 3, 2, 1]])
@pytest.mark.parametrize("target", [None, np.zeros(2)])
def test_a_dataset_without_batches_or_single_numbers(lengths, target):
    """The axes of x alone tell."""
    seqs, is_even = sequences(lengths), lengths[1] == 3
    spec = tf.TensorSpec((3 if is_even else None, 5))
    dataset = tf.data.Dataset.from_generator(lambda: iter(seqs), output_signature=spec)
    if target is not None:
        dataset = dataset.map(lambda x: (x, tf.constant(target)))
    model = classifier()
    model.compile("sgd", "mse")
    for run in (model.predict, model.evaluate)[: 1 if target is None else 2]:
        with pytest.raises(errors.RankError, match=r"PYL101.*yields single samples") as caught:
            run(dataset, verbose=0)
        assert caught.value.got == f"x {spec.shape}" + ("" if target is None else ", y (2,)")
    fixed = eval(caught.value.fix, None, {"dataset": dataset})
    np.testing.assert_allclose(
        model.predict(fixed, verbose=0), model.predict(seqs, verbose=0), atol=1e-6
    )


@pytest.mark.parametrize("declared", [(None, 1), (12, 1), None])
@pytest.mark.parametrize("axes", [(), (1,)])
def test_univariate_windows_without_batches(declared, axes):
    """x (12,) or (12, 1) beside y (5,) is no batch."""
    rng = np.random.default_rng(0)
    x, y = rng.random((6, 12, *axes)), rng.random((6, 5))
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    layers = [keras.Input(declared)] if declared else []
    model = pylstm.Sequential([*layers, pylstm.LSTM(3), keras.layers.Dense(5)])
    model.compile("sgd", "mse")
    if declared or not axes:
        with pytest.raises(errors.RankError, match=r"PYL101.*yields single samples") as caught:
            model.fit(dataset, verbose=0)
        assert caught.value.fix == "dataset.batch(32)"
    if declared:
        model.fit(dataset.batch(32), verbose=0)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("per_step", [True, False])
def test_tokens_without_batches(declared, per_step):
    tokens, tags = [[1, 2, 3], [4, 5], [6]], [[0, 1, 0], [1, 0], [0]]
    layers = [keras.layers.Embedding(9, 4), pylstm.LSTM(3, return_sequences=per_step)]
    model = pylstm.Sequential([keras.Input((None,))] * declared + layers)
    model.compile("sgd", "sparse_categorical_crossentropy")
    y = tags if per_step else [0, 1, 0]
    spec = tuple(tf.TensorSpec(shape, tf.int32) for shape in ((None,), (None,) * per_step))
    dataset = tf.data.Dataset.from_generator(
        lambda: zip(tokens, y, strict=True), output_signature=spec
    )
    with pytest.raises(errors.RankError, match=r"PYL101.*yields single samples") as caught:
        model.fit(dataset, verbose=0)
    fixed = eval(caught.value.fix, None, {"dataset": dataset})
    assert model.evaluate(fixed, verbose=0) == pytest.approx(model.evaluate(tokens, y, verbose=0))


@pytest.mark.parametrize("with_targets", [True, False])
def test_windows_that_are_datasets(with_targets):
    model = pylstm.Sequential([keras.Input((None, 3)), pylstm.LSTM(2, return_sequences=True)])
    model.compile("sgd", "mse")
    steps = np.random.default_rng(0).random((20, 3))
    dataset = tf.data.Dataset.from_tensor_slices((steps, steps[:, :2]) if with_targets else steps)
    dataset = dataset.window(5, drop_remainder=True)
    for run in (model.fit, model.evaluate) if with_targets else (model.predict,):
        with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)window") as caught:
            run(dataset, verbose=0)
        line = caught.value.fix.partition("     ")[0]
        run(eval(line, {"dataset": dataset, "tf": tf, "T": 5}), verbose=0)


@pytest.mark.parametrize(("as_tuple", "line"), [(False, 0), (True, 1)])
def test_a_generator_of_sequences(as_tuple, line):
    model, seqs = classifier(), sequences()

    def samples():
        return ((seq,) if as_tuple else seq for seq in seqs)

    with pytest.raises(errors.RankError, match=r"PYL101.*generator yields single") as caught:
        model.predict(samples(), verbose=0)
    assert caught.value.expected == "batches (x,)"
    assert caught.value.got == "x (3, 5)"
    fix = caught.value.fix.split("\n")[line].partition("     ")[0]
    fixed = eval(fix, None, {"generator": samples()})
    np.testing.assert_array_equal(model.predict(fixed, verbose=0), model.predict(seqs, verbose=0))


def test_batches_without_a_feature_axis_are_no_samples():
    model = pylstm.Sequential([keras.Input((None, 1)), pylstm.LSTM(2)])
    x = np.ones((4, 3), np.float32)
    want = model.predict(x[..., None], verbose=0)
    for batches in (tf.data.Dataset.from_tensors(x), iter([x])):
        np.testing.assert_allclose(model.predict(batches, verbose=0), want, atol=1e-6)


class Batches(keras.utils.PyDataset):
    def __init__(self, *batches, **workers):
        super().__init__(**workers)
        self.batches = batches
        self.begun = self.epochs = 0

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]

    def on_epoch_begin(self):
        self.begun += 1

    def on_epoch_end(self):
        self.epochs += 1


@pytest.mark.parametrize("form", [list, object_array, pylstm.pad, pylstm.ragged])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_dataset_whose_batches_are_no_arrays(form, workers):
    # The first two batches are equally long, which Keras would take for the length of all.
    seqs = [np.ones((steps, 5), "float32") * steps for steps in (4, 4, 4, 4, 2, 7)]
    batches = [seqs[i : i + 2] for i in (0, 2, 4)]
    x = Batches(*((form(batch), np.zeros(2)) for batch in batches), workers=workers)
    model = classifier()
    model.fit(x, epochs=2, verbose=0)
    assert x.begun >= 2
    assert x.epochs >= 2  # Keras ends one more at the end
    model.evaluate(x, verbose=0)
    alone = [model.predict([seq], verbose=0)[0] for seq in seqs]
    np.testing.assert_allclose(model.predict(x, verbose=0), alone, atol=1e-6)


@pytest.mark.parametrize("make", [Batches, pylstm.dataset])
def test_a_dataset_keeps_its_workers(make, monkeypatch):
    passed = []
    monkeypatch.setattr(keras.Sequential, "fit", lambda self, x, *_, **__: passed.append(x))
    batches = [(sequences(), LABELS)] if make is Batches else [sequences(), LABELS]
    classifier().fit(make(*batches, workers=3, max_queue_size=5))
    assert [(x.workers, x.max_queue_size) for x in passed] == [(3, 5)]


def test_a_dataset_of_arrays_of_other_lengths_than_the_first_two():
    x = Batches(*((np.ones((2, steps, 5), "float32"), np.zeros(2)) for steps in (4, 4, 7)))
    model = classifier()
    with pytest.raises(errors.StructureError, match=r"PYL147.*batches differ") as caught:
        model.fit(x, verbose=0)
    assert caught.value.got == "(2, 7, 5)"
    fixed = (eval(caught.value.fix.partition("     ")[0], None, {"x": x}) for x, _ in x.batches)
    model.fit(Batches(*((x, np.zeros(2)) for x in fixed)), verbose=0)


def test_an_error_in_a_dataset_is_raised_as_it_is():
    x = Batches(([np.ones((2, 6)), np.ones((3, 6))], np.zeros(2)))
    with pytest.raises(errors.FeatureMismatchError, match="PYL103"):
        classifier().fit(x, verbose=0)


def test_a_dataset_in_other_processes_whose_batches_hold_lists():
    seqs, model = sequences(), classifier()
    x = seqs[:3]
    with pytest.raises(errors.StructureError, match=r"PYL147(?s:.*)got: +lists") as caught:
        model.fit(Batches((x, np.zeros(3)), use_multiprocessing=True), verbose=0)
    assert caught.value.expected == "batches (x, y) of arrays or ragged tensors"
    assert caught.value.got == "lists"
    fixed = eval(caught.value.fix.partition("     ")[0], None, {"x": x, "pylstm": pylstm})
    model.fit(Batches((fixed, np.zeros(3))), verbose=0)


def test_a_generator_function_that_was_not_called():
    def batches():
        yield (sequences(),)

    with pytest.raises(errors.DTypeError, match="PYL142") as caught:
        classifier().predict(batches)
    assert caught.value.got == "function"
    assert caught.value.fix == "x()     if it is a generator function"
    assert len(classifier().predict(batches(), verbose=0)) == 6


def test_the_fixes_for_pandas_work():
    model = classifier()
    frame = pd.DataFrame(np.concatenate(sequences([3, 2])), columns=list("abcde"))
    frame["id"] = [0] * 3 + [1] * 2
    x = frame.groupby("id")[list("abcde")]
    for wrong in (lambda: model.predict(x), lambda: model.layers[0](x)):
        with pytest.raises(errors.DTypeError, match="PYL142") as caught:
            wrong()
        assert caught.value.fix == "[group for _, group in x]"
        assert caught.value.got.endswith("DataFrameGroupBy")
    assert_predicts_each_alone(model, eval(caught.value.fix), sequences([3, 2]))
    x = frame[list("abcde")]
    with pytest.raises(errors.RankError, match=r"PYL101.*number of axes") as caught:
        model.predict(x)
    lines = [line.partition("     ")[0] for line in caught.value.fix.split("\n")]
    assert len(lines) == 3
    for line in lines:
        assert len(model.predict(eval(line, None, {"x": x, "T": 1, "keras": keras}), verbose=0))
    sequence = x.astype("Float64")
    sequence.iloc[0, 0] = pd.NA
    with pytest.raises(errors.DTypeError, match=r"PYL118.*does not hold numbers") as caught:
        model.predict([sequence])
    assert caught.value.got == "sequence 0 is object"
    (read,) = eval(caught.value.fix, None, {"x": [sequence], "np": np})
    assert np.isnan(read[0, 0])


@pytest.mark.parametrize(
    ("pairs", "got"),
    [
        (lambda seqs: zip(seqs, LABELS, strict=True), "(ndarray, int)"),
        (lambda seqs: zip(seqs, np.eye(6), strict=True), "(ndarray, ndarray)"),
        (lambda seqs: dict(enumerate(seqs)).items(), "(int, ndarray)"),
        (lambda seqs: ((i, seq.tolist()) for i, seq in enumerate(seqs)), "(int, list)"),
        (lambda seqs: pd.DataFrame(np.concatenate(seqs)).groupby(ids(seqs)), "(int, DataFrame)"),
        (lambda seqs: grouped(seqs), "(int, generator)"),
    ],
    ids=["zip", "one-hot", "items", "lists", "pandas", "groupby"],
)
def test_lists_of_pairs(pairs, got):
    seqs, model = sequences(), classifier()
    for run in (model.predict, model.layers[0]):
        with pytest.raises(errors.StructureError, match=r"PYL146.*element 0 is a tuple") as caught:
            run(list(pairs(seqs)))
        assert caught.value.got == got
    fix = caught.value.fix.partition("     ")[0]
    fixed = eval(fix, None, {"sequences": list(pairs(seqs)), "pairs": pairs(seqs)})
    assert_predicts_each_alone(model, fixed, seqs)


def ids(seqs):
    return np.repeat(np.arange(len(seqs)), [len(seq) for seq in seqs])


def grouped(seqs):
    """An `itertools.groupby` of steps, each group's without their key."""
    rows = zip(ids(seqs).tolist(), np.concatenate(seqs), strict=True)
    for key, group in itertools.groupby(rows, key=lambda row: row[0]):
        yield key, (step for _, step in group)


def test_lists_of_iterators_and_paths(tmp_path):
    seqs, model = sequences(), classifier()
    np.save(tmp_path / "sequence.npy", seqs[0])
    want = model.predict(seqs, verbose=0)
    for x, size in (([map(np.array, seq) for seq in seqs], 6), ([tmp_path / "sequence.npy"], 1)):
        with pytest.raises(errors.DTypeError, match=r"PYL118.* x does not hold numbers") as caught:
            model.predict(x)
        fixed = eval(caught.value.fix, None, {"x": x, "np": np})
        np.testing.assert_allclose(model.predict(fixed, verbose=0), want[:size], atol=1e-6)


def test_what_is_no_data():
    model = classifier()
    for wrong, error, match in [
        (lambda: sequences(), errors.DTypeError, "PYL142(?s:.*)got: +function"),
        (pd.DataFrame({"a": [1]}).groupby("a"), errors.DTypeError, "PYL142(?s:.*)GroupBy"),
        (None, errors.StructureError, "PYL146(?s:.*)x=None"),
        ({}, errors.StructureError, "PYL146(?s:.*)x={}"),
        ((None, None), errors.StructureError, "PYL146(?s:.*)x=.None, None"),
        (iter([None]), errors.StructureError, "PYL146(?s:.*)x=None"),
    ]:
        with pytest.raises(error, match=match):
            model.fit(wrong, verbose=0)
    with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)empty collection"):
        model.predict([])
    with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)one input") as caught:
        model.predict(dict(enumerate(sequences())))
    assert "list(x.values())" in caught.value.fix


@pytest.mark.parametrize("batches", [iter, lambda batch: pylstm.dataset(*batch[0])])
def test_batches_where_one_is_wanted(batches):
    model = classifier()
    for run in (model.train_on_batch, model.test_on_batch, model.predict_on_batch):
        x = batches([(sequences(), LABELS)])
        with pytest.raises(errors.DTypeError, match=r"\[PYL142\] layer (?s:.*)one batch") as caught:
            run(x)
        assert caught.value.got == type(x).__name__
        assert "next(iter(x))[0]" in caught.value.fix
    x = batches([(sequences(), LABELS)])
    assert model.predict_on_batch(next(iter(x))[0]).shape == (6, 2)


def test_a_generator_that_fails_late_keeps_its_error():
    """tf.data would make an UnknownError with a long trace of it."""
    seqs = sequences()

    def batches():
        for _ in range(3):
            yield seqs, LABELS
        yield [*seqs[:5], np.zeros((2, 4))], LABELS

    with pytest.raises(errors.FeatureMismatchError, match=r"\[PYL105\]") as caught:
        classifier().fit(batches(), verbose=0)
    assert caught.value.got == "sequence 0 is (3, 5), sequence 5 is (2, 4)"
