"""Targets as the model has its outputs: with their axis of one feature, by name or in order."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import pylstm
from pylstm import errors
from tests.data import sequences
from tests.models.stock import (
    PLAIN,
    assert_fits_like_stock,
    assert_same_weights,
    classifier,
    per_step,
)

SEQS = sequences()
LABELS = [(seq[:, 0] > 0).astype(int) for seq in SEQS]
COLUMNS = [labels[:, None] for labels in LABELS]
SCORES = np.arange(6.0)[:, None]
TAGS = [np.arange(len(seq)) % 3 for seq in SEQS]
WEIGHTS = [np.arange(1.0, len(seq) + 1) for seq in SEQS]


@pytest.mark.parametrize("steps", [2, 3, 4, 6])
def test_targets_of_a_decoder_beside_lists(steps):
    """They have the steps of its own dense input, whatever the lengths of the encoder's."""
    encoded, decoded = keras.Input((None, 5)), keras.Input((None, 3))
    _, *states = pylstm.LSTM(4, return_state=True)(encoded)
    y = pylstm.LSTM(4, return_sequences=True)(decoded, initial_state=states)
    model = pylstm.Model([encoded, decoded], keras.layers.Dense(3)(y))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    inputs = np.random.default_rng(1).normal(size=(6, steps, 3))
    want = model.predict((SEQS, inputs), verbose=0)
    assert np.shape(want) == (6, steps, 3)
    for same in (want, list(want)):
        assert model.evaluate((SEQS, inputs), same, verbose=0) < 1e-10
        assert model.fit((SEQS, inputs), same, verbose=0).history["loss"][0] < 1e-10


@pytest.mark.parametrize("names", [None, ("past", "future")])
def test_targets_and_weights_of_the_encoders_steps(names):
    """They are as long as some input, but not as the one whose steps the output has."""
    encoded, decoded = keras.Input((None, 5), name="past"), keras.Input((None, 3), name="future")
    _, *states = pylstm.LSTM(4, return_state=True)(encoded)
    steps = pylstm.LSTM(4, return_sequences=True)(decoded, initial_state=states)
    model = pylstm.Model([encoded, decoded], keras.layers.Dense(1)(steps), name="seq2seq")
    model.compile("sgd", "mse")
    x = sequences((4, 3, 2)), sequences((2, 3, 4), features=3)
    where = "x[1]"
    if names:
        x, where = dict(zip(names, x, strict=True)), "x['future']"
    right, wrong = ([np.ones((t, 1)) for t in lengths] for lengths in ((2, 3, 4), (4, 3, 2)))
    data = pylstm.dataset(x, wrong)
    for run in (lambda: model.fit(x, wrong, verbose=0), lambda: model.evaluate(data, verbose=0)):
        with pytest.raises(errors.TimestepError, match="PYL120") as caught:
            run()
        assert caught.value.got == f"sample 0: {where} has 2 steps, y has 4"
    assert [f.level for f in pylstm.diagnose(model, x, wrong) if f.code == "PYL120"] == ["error"]
    with pytest.raises(errors.TimestepError, match=r"layer 'seq2seq'") as caught:
        model.fit(x, right, sample_weight=wrong, verbose=0)
    assert caught.value.got == "sample 0: y has 2 steps, sample_weight has 4"
    want = model.evaluate(x, right, batch_size=1, verbose=0)
    for y in (right, pylstm.pad(right).x):
        assert model.evaluate(x, y, batch_size=1, verbose=0) == pytest.approx(want, rel=1e-5)
    assert pylstm.diagnose(model, x, right).ok


@pytest.mark.parametrize("front", [[], [keras.Input((None, 5))], [keras.Input((4, 5))]])
@pytest.mark.parametrize("kind", [np.array, list, pylstm.dataset])
def test_targets_of_a_fixed_horizon_whose_ends_are_alike(front, kind):
    """Behind the length of each sequence they look like padding."""
    layers = [pylstm.LSTM(4), keras.layers.RepeatVector(4), pylstm.LSTM(2, return_sequences=True)]
    model = pylstm.Sequential([*front, *layers])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = np.random.default_rng(0).random((6, 4, 2))
    y[:, 1:] = 0
    losses = []
    for size in (2, 6):
        data = (SEQS, kind(y)) if kind is not pylstm.dataset else (kind(SEQS, y, size),)
        options = {"verbose": 0} if kind is pylstm.dataset else {"verbose": 0, "batch_size": size}
        losses.append(model.evaluate(*data, **options))
        losses += model.fit(*data, **options).history["loss"]
    want = np.mean((model.predict(SEQS, verbose=0) - y) ** 2)
    np.testing.assert_allclose(losses, want, rtol=1e-5)


@pytest.mark.parametrize("units", [2, 4])
def test_padded_targets_per_step_where_the_input_declares_its_steps(units):
    """The steps of the output are as many as are declared, and as the units by chance."""
    model = pylstm.Sequential([keras.Input((4, 5)), pylstm.LSTM(units, return_sequences=True)])
    model.compile("sgd", "mse")
    steps = [np.ones((len(seq), units)) for seq in SEQS]
    want = model.evaluate(SEQS, steps, batch_size=2, verbose=0)
    got = model.evaluate(SEQS, pylstm.pad(steps).x, batch_size=2, verbose=0)
    assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("samples", [6, 4])
def test_a_horizon_of_as_many_steps_as_the_input(samples):
    """The output has as many numbers as the input has steps, and, by mistake, as there are both."""
    x, y = np.ones((samples, 4, 5)), np.random.default_rng(0).random((samples, 4))
    model = pylstm.Sequential([keras.Input((None, 5)), pylstm.LSTM(4)])
    model.compile("sgd", "mse")
    want = model.evaluate(x, y, verbose=0)
    assert model.evaluate(x, y[..., None], verbose=0) == pytest.approx(want, rel=1e-5)
    assert pylstm.diagnose(model, x, y[..., None]).ok
    inputs = keras.Input((None, 5))
    steps = pylstm.LSTM(4, return_sequences=True)(inputs)
    model = pylstm.Model(inputs, keras.layers.Softmax()(steps))
    model.compile("sgd", "mse")
    with pytest.raises(errors.TimestepError, match=r"PYL120.* has one entry per sample"):
        model.fit(x, y, verbose=0)
    assert [f.level for f in pylstm.diagnose(model, x, y) if f.code == "PYL120"] == ["error"]
    by_class = "sparse_categorical_crossentropy"  # whose labels have no axis of their own
    for loss in (by_class, [by_class], {model.output_names[0]: by_class}):
        model.compile("sgd", loss)
        assert model.fit(x, y.astype(int), verbose=0)
        assert pylstm.diagnose(model, x, y.astype(int)).ok


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("steps", [1, 5])
def test_a_generator_of_equal_lengths_with_targets_by_step(steps, jit_compile):
    seqs = sequences([steps] * 2)
    y = [np.arange(steps) % 2] * 2
    model = detector()
    model.compile("sgd", "binary_crossentropy", jit_compile=jit_compile)
    want = model.evaluate(np.stack(seqs), np.stack(y)[..., None], verbose=0)
    assert model.evaluate(iter([(seqs, y)]), verbose=0) == pytest.approx(want, rel=1e-5)
    assert model.fit(iter([(seqs, y)]), verbose=0)


def test_one_batch_of_tokens_in_a_list():
    tokens = np.random.default_rng(0).integers(1, 9, (6, 4))
    layers = [keras.Input((None,)), keras.layers.Embedding(9, 3), pylstm.LSTM(2)]
    model = pylstm.Sequential([*layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    want = model.evaluate(tokens, SCORES, verbose=0)
    assert model.evaluate([tokens], SCORES, verbose=0) == pytest.approx(want, rel=1e-6)
    for x in (tokens, tokens[:, :1]):
        np.testing.assert_array_equal(model.predict([x], verbose=0), model.predict(x, verbose=0))


def detector(model_type=pylstm.Sequential):
    keras.utils.set_random_seed(7)
    lstm = pylstm.LSTM(4, return_sequences=True)
    model = model_type([keras.Input((None, 5)), lstm, keras.layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", weighted_metrics=["accuracy"])
    return model


def tagger(outputs=list, loss=True):
    """A model of an output per step, `tag`, and one per sample, `score`."""
    keras.utils.set_random_seed(7)
    x = keras.Input((None, 5))
    steps = pylstm.LSTM(4, return_sequences=True)(x)
    tag = keras.layers.Dense(3, "softmax", name="tag")(steps)
    score = keras.layers.Dense(1, name="score")(pylstm.LSTM(3)(steps))
    model = pylstm.Model(x, [tag, score] if outputs is list else {"tag": tag, "score": score})
    losses = {"tag": "sparse_categorical_crossentropy" if loss else None, "score": "mse"}
    model.compile("sgd", losses)
    return model


def alone(model, seqs, labels, weights=None):
    """The binary crossentropy of each step, each sequence by itself, averaged over all."""
    each = [model(seq[None]).numpy()[0, :, 0] for seq in seqs]
    p, y = np.concatenate(each), np.concatenate(labels)
    w = np.ones(len(p)) if weights is None else np.concatenate(weights)
    losses = -np.log(np.where(y == 1, p, 1 - p)) * w
    return losses.sum() / len(losses)


@pytest.mark.parametrize("seqs", [SEQS, [seq[:1] for seq in SEQS]], ids=["several", "equal"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_targets_per_step_beside_an_output_of_one_feature(seqs, weights):
    labels = [y[: len(seq)] for y, seq in zip(LABELS, seqs, strict=True)]
    if weights is not None:
        weights = [w[: len(seq)] for w, seq in zip(weights, seqs, strict=True)]
    want = pytest.approx(alone(detector(), seqs, labels, weights), rel=1e-4)
    assert detector().evaluate(seqs, labels, sample_weight=weights, verbose=0)[0] == want
    assert detector().train_on_batch(seqs, labels, sample_weight=weights)[0] == want
    history = detector().fit(seqs, labels, sample_weight=weights, verbose=0).history
    assert history["loss"][0] == want


@pytest.mark.parametrize("model_type", [keras.Sequential, pylstm.Sequential])
def test_a_dataset_of_targets_per_step_beside_an_output_of_one_feature(model_type):
    want = detector().evaluate(SEQS, COLUMNS, verbose=0)
    got = detector(model_type).evaluate(pylstm.dataset(SEQS, LABELS), verbose=0)
    assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("outputs", [list, dict])
@pytest.mark.parametrize("weighted", [False, True])
def test_targets_by_name_and_in_order(outputs, weighted):
    by_name = {"tag": TAGS, "score": SCORES}
    # As Keras, which takes the outputs of a dict in the order of their names.
    in_order = [TAGS, SCORES] if outputs is list else [SCORES, TAGS]
    w = (WEIGHTS, np.arange(1.0, 7.0)) if weighted else (None, None)
    weights = [{"tag": w[0], "score": w[1]}, w if outputs is list else w[::-1]]
    losses = []
    for y, sample_weight in zip((by_name, in_order), weights, strict=True):
        sample_weight = sample_weight if weighted else None
        model = tagger(outputs)
        losses.append(model.evaluate(SEQS, y, sample_weight=sample_weight, verbose=0))
        losses.append(model.test_on_batch(SEQS, y, sample_weight=sample_weight))
        y = y if isinstance(y, dict) else tuple(y)
        data = pylstm.dataset(SEQS, y, sample_weight=sample_weight)
        losses.append(model.evaluate(data, verbose=0))
        losses.append(list(model.train_on_batch(SEQS, y, sample_weight=sample_weight)))
    np.testing.assert_allclose(losses, [losses[0]] * len(losses), rtol=1e-4)


def test_padded_targets_by_name_of_a_list_of_outputs():
    padded = {"tag": pylstm.pad(TAGS).x, "score": SCORES}
    want = tagger().evaluate(SEQS, [TAGS, SCORES], batch_size=1, verbose=0)
    assert tagger().evaluate(SEQS, padded, batch_size=1, verbose=0) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("y", [[None, SCORES], {"score": SCORES}], ids=["in order", "by name"])
def test_no_target_for_an_output_without_a_loss(y):
    model = tagger(loss=False)
    want = np.mean((np.array([model(seq[None])[1][0] for seq in SEQS]) - SCORES) ** 2)
    assert model.evaluate(SEQS, y, verbose=0) == pytest.approx(want, rel=1e-4)
    assert model.fit(SEQS, y, verbose=0).history["loss"][0] == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("outputs", [list, dict])
@pytest.mark.parametrize("metrics", [{"tag": "accuracy"}, ["accuracy", None]])
def test_a_metric_of_an_output_without_a_target(outputs, metrics):
    model = tagger(outputs)
    model.compile("sgd", {"tag": None, "score": "mse"}, metrics=metrics)
    y = {"tag": None, "score": SCORES}
    if outputs is dict and isinstance(metrics, list):
        model.compile("sgd", {"tag": None, "score": "mse"}, metrics=metrics[::-1])
    with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)a loss or a metric") as caught:
        model.evaluate(SEQS, y, verbose=0)
    assert caught.value.got == ("y[0] is None" if outputs is list else "y['tag'] is None")
    model.compile("sgd", {"tag": None, "score": "mse"}, metrics={"score": "mae"})
    assert len(model.evaluate(SEQS, y, verbose=0)) == 2


@pytest.mark.parametrize("outputs", [list, dict])
def test_a_target_of_other_steps_than_its_output(outputs):
    y = {"tag": np.zeros(6, int), "score": SCORES}
    with pytest.raises(errors.TimestepError, match=r"PYL120.* has one entry per sample") as caught:
        tagger(outputs).evaluate(SEQS, y if outputs is dict else tuple(y.values()), verbose=0)
    assert caught.value.got == ("y['tag'] (6,)" if outputs is dict else "y[0] (6,)")


def test_targets_per_step_beside_an_output_without_features():
    x = keras.Input((None, 5))
    scores = keras.layers.Dense(1)(pylstm.LSTM(4, return_sequences=True)(x))
    model = pylstm.Model(x, scores[..., 0])
    model.compile("sgd", "mse")
    with pytest.raises(errors.TimestepError, match=r"PYL120.* no axis of features") as caught:
        model.fit(SEQS, WEIGHTS, verbose=0)
    assert caught.value.fix == "keras.layers.Dense(1)(h) as the output, without [..., 0]"
    (finding,) = (f for f in pylstm.diagnose(model, SEQS, WEIGHTS) if f.code == "PYL120")
    assert (finding.level, finding.fix) == ("error", caught.value.fix)
    model = pylstm.Model(x, scores)
    model.compile("sgd", "mse")
    assert model.fit(SEQS, WEIGHTS, verbose=0)


@pytest.mark.parametrize("seqs", [SEQS, np.ones((6, 4, 5))], ids=["several", "equal"])
@pytest.mark.parametrize("by_step", [False, True])
@pytest.mark.parametrize(
    "loss", ["sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"]
)
def test_targets_of_other_steps_than_the_output(seqs, by_step, loss):
    layers = [pylstm.LSTM(4, return_sequences=by_step), keras.layers.Dense(3, "softmax")]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers], name="tagger")
    model.compile("sgd", loss)
    y = np.zeros(6, int) if by_step else [np.zeros(len(seq), int) for seq in seqs]
    for run in (
        lambda: model.fit(seqs, y, verbose=0),
        lambda: model.fit(pylstm.dataset(seqs, y), verbose=0),
        lambda: model.evaluate(seqs, y, verbose=0),
        lambda: model.train_on_batch(seqs, y),
        lambda: model.fit(iter([(seqs, y)]), verbose=0),
    ):
        with pytest.raises(errors.TimestepError, match=r"\[PYL120\] layer 'tagger'") as caught:
            run()
        assert f"return_sequences={not by_step}" in caught.value.fix
    levels = [f.level for f in pylstm.diagnose(model, seqs, y) if f.code == "PYL120"]
    assert levels == ["error"]


@pytest.mark.parametrize("seqs", [SEQS, np.ones((6, 4, 5))], ids=["several", "equal"])
@pytest.mark.parametrize("loss", ["mse", keras.losses.Huber(), "bce", "BinaryCrossentropy"])
def test_a_target_per_sample_that_a_loss_would_compare_with_other_samples(seqs, loss):
    layers = [pylstm.LSTM(4, return_sequences=True), keras.layers.Dense(1)]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers])
    model.compile("sgd", loss)
    takes_columns = isinstance(seqs, np.ndarray) and loss not in ("bce", "BinaryCrossentropy")
    for y in [SCORES[:, 0]] if takes_columns else [SCORES[:, 0], SCORES]:
        with pytest.raises(errors.TimestepError, match=r"PYL120.* has one entry per sample"):
            model.fit(seqs, y, verbose=0)
    if takes_columns:  # for all steps of their own sample
        want = model.evaluate(seqs, np.repeat(SCORES[:, None], 4, 1), verbose=0)
        assert model.evaluate(seqs, SCORES, verbose=0) == pytest.approx(want)


def test_losses_that_take_a_target_per_sample_beside_steps():
    model = detector()
    model.compile("sgd", lambda y, got: keras.ops.abs(y - keras.ops.mean(got, (1, 2))))
    model.evaluate(SEQS[:1], SCORES[:1, 0], verbose=0)
    layers = [pylstm.LSTM(4, return_sequences=True), keras.layers.Dense(3)]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers])
    model.compile("sgd", "ctc")
    labels = np.ones((6, 1), int)
    assert np.isfinite(model.evaluate(np.ones((6, 4, 5)), labels, verbose=0))
    model.compile("sgd", "no such loss")
    assert pylstm.diagnose(model, np.ones((6, 4, 5)), labels)
    with pytest.raises(ValueError, match="Could not interpret loss identifier"):
        model.fit(np.ones((6, 4, 5)), labels, verbose=0)


@pytest.mark.parametrize(
    ("y", "code", "got"),
    [
        (
            np.array([0, 1, 0, 1, 0, None], object),
            "PYL118",
            "1 of 6 values are none of these; the first is",
        ),
        ([0, 1, 0, 1, 0, 1j], "PYL118", "1 of 6 values are none of these; the first is 1j"),
        (np.zeros((6, 3), complex), "PYL117", "(6, 3) complex128"),
        (np.array([["a"]] * 6), "PYL118", "(6, 1) str"),
        ([np.zeros(len(seq), complex) for seq in SEQS], "PYL117", "sequence 0 is complex128"),
    ],
)
def test_targets_that_are_no_numbers_are_named(y, code, got):
    with pytest.raises(errors.DTypeError, match=rf"{code}.* y (does not|is complex)") as caught:
        detector().fit(SEQS, y, verbose=0)
    assert caught.value.got.startswith(got)
    assert "y" in caught.value.fix


def test_strings_as_targets_of_a_dataset():
    data = tf.data.Dataset.from_tensors((np.ones((2, 3, 5)), np.array(["no", "yes"])))
    model = pylstm.Sequential([keras.Input((None, 5)), pylstm.LSTM(1)])
    model.compile("sgd", "mse")
    with pytest.raises(errors.DTypeError, match="y does not hold numbers") as caught:
        model.fit(data, verbose=0)
    names = {"dataset": data, "names": ["no", "yes"], "keras": keras}
    line, fixed = caught.value.fix.split("\n")
    exec(line, names)
    model.fit(eval(fixed, names), verbose=0)


@pytest.mark.parametrize("dtype", [">f4", ">i8"])
def test_arrays_in_the_byte_order_of_another_machine(dtype):
    x, y = np.ones((6, 3, 5), dtype), np.ones(6, dtype)
    model = pylstm.Sequential([keras.Input((None, 5)), pylstm.LSTM(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    want = model.evaluate(x.astype("float32"), y.astype("float32"), verbose=0)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(want)
    assert model.evaluate(iter([(x, y)]), verbose=0) == pytest.approx(want)


@pytest.mark.parametrize("unused", ["weight", "A"])
def test_an_entry_of_x_that_no_input_is_named_as(unused):
    inputs = {"a": keras.Input((None, 5), name="a"), "s": keras.Input((2,), name="s")}
    joined = keras.layers.Concatenate()([pylstm.LSTM(3)(inputs["a"]), inputs["s"]])
    model = pylstm.Model(inputs, keras.layers.Dense(1)(joined))
    x = {"a": np.ones((3, 8, 5), "float32"), "s": np.ones((3, 2), "float32")}
    want = model.predict(x, verbose=0)
    with pytest.warns(UserWarning, match=f"has no input '{unused}'; left out"):
        got = model.predict({**x, unused: np.arange(3.0)}, verbose=0)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", [iter, lambda labels: (label for label in labels)])
def test_labels_of_a_generator(kind):
    got, want = classifier(), classifier()
    labels = np.array([0, 1, 1, 0, 1, 0])
    got.fit(sequences(), kind(list(labels)), **PLAIN)
    want.fit(sequences(), labels, **PLAIN)
    assert_same_weights(got, want)


@pytest.mark.parametrize("more", [1, -1])
def test_labels_of_one_step_too_many_or_few(more):
    """The fix cuts what goes on where the other has ended."""
    x = sequences([3, 6, 2])
    y = [np.zeros(len(s) + more, int) for s in x]
    model = classifier(return_sequences=True)
    with pytest.raises(errors.TimestepError, match="PYL120") as caught:
        model.fit(x, y, verbose=0)
    names = {"x": x, "y": y}
    exec(caught.value.fix.partition("     ")[0], names)
    model.fit(names["x"], names["y"], verbose=0)


def test_targets_by_step():
    seqs = sequences()
    padded_labels = pylstm.pad(per_step(seqs)).x
    model = classifier(return_sequences=True)
    assert_fits_like_stock(model, seqs, per_step(seqs), seqs, stock_y=padded_labels)


def test_ragged_targets_of_a_dataset():
    seqs = sequences()
    y = tf.ragged.constant([list(steps) for steps in per_step(seqs)])
    data = tf.data.Dataset.from_tensor_slices((pylstm.ragged(seqs), y)).batch(3)
    model = classifier(return_sequences=True)
    for run in (model.fit, model.evaluate, lambda data: model.fit(seqs, y, validation_data=data)):
        with pytest.raises(errors.StructureError, match=r"PYL147(?s:.*)dense targets") as caught:
            run(data)
    padded = eval(caught.value.fix.splitlines()[-1], {"dataset": data})
    want = model.evaluate(seqs, per_step(seqs), batch_size=3, verbose=0)
    assert model.evaluate(padded, verbose=0) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("loss", ["ctc", keras.losses.CTC()])
@pytest.mark.parametrize("strides", (1, 2))
def test_keras_ctc_takes_no_mask(loss, strides):
    seqs, front = sequences((3, 5, 2, 4, 2, 6)), keras.layers.Conv1D(4, strides, strides=strides)
    model = pylstm.Sequential([front, pylstm.LSTM(4, return_sequences=True)])
    model.compile("sgd", loss)
    y = np.array([[1, 2]] * 6)
    data = pylstm.dataset(seqs, y)
    for run in (lambda: model.fit(seqs, y), lambda: model.evaluate(data)):
        with pytest.raises(errors.RaggedError, match=r"PYL130.*CTC loss takes no mask") as caught:
            run()
    assert pylstm.diagnose(model, seqs, y).findings[0].code == "PYL130"
    assert caught.value.fix.startswith("((x[None], y[None]) for x, y in zip(x, y))")
    long = sequences((7, 9, 8))
    batches = ((x[None], y[None]) for x, y in zip(long, y, strict=False))
    assert np.isfinite(model.fit(batches, verbose=0).history["loss"]).all()
    assert np.isfinite(model.evaluate(np.stack(long[:1]), y[:1], verbose=0))
