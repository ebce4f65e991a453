"""Labels for which the model has no output."""

import keras
import numpy as np
import pytest

import pylstm
from pylstm import errors
from tests.data import sequences

SEQS = sequences()
LABELS = np.array([0, 1, 2, 0, 1, 2])
SPARSE = "sparse_categorical_crossentropy"


def classifier(loss=SPARSE, by_step=False, is_built=True):
    front = [keras.Input((None, 5))] if is_built else []
    layers = [
        pylstm.LSTM(4, return_sequences=by_step),
        keras.layers.Dense(3, "softmax", name="cls"),
    ]
    model = pylstm.Sequential([*front, *layers], name="reader")
    model.compile("sgd", loss)
    return model


def per_step(labels):
    return [np.full(len(seq), label) for seq, label in zip(SEQS, labels, strict=True)]


def refused(run):
    with pytest.raises(errors.ShapeError, match=r"\[PYL212\] layer 'reader': labels for") as caught:
        run()
    return caught.value


@pytest.mark.parametrize("label", [3, -1])
@pytest.mark.parametrize(
    "loss",
    [
        SPARSE,
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        [SPARSE],
        {"cls": SPARSE},
    ],
)
def test_a_label_without_a_class(label, loss):
    model, y = classifier(loss), LABELS.copy()
    y[4] = label
    weights = model.get_weights()
    for run in (
        lambda: model.fit(SEQS, y, verbose=0),
        lambda: model.fit(np.ones((6, 4, 5)), y[:, None], verbose=0),
        lambda: model.fit(pylstm.dataset(SEQS, y.tolist()), verbose=0),
        lambda: model.fit(SEQS, LABELS, validation_data=(SEQS, y), verbose=0),
        lambda: model.fit(SEQS, LABELS, validation_data=pylstm.dataset(SEQS, y), verbose=0),
        lambda: model.evaluate(SEQS, y.astype("float32"), verbose=0),
        lambda: model.evaluate(iter([(SEQS, y)]), verbose=0),
        lambda: model.train_on_batch(SEQS, y),
    ):
        error = refused(run)
        assert error.expected == "y of classes 0 to 2, for the output (batch, classes=3)"
        low, high = (0, 3) if label == 3 else (-1, 2)
        assert error.got.replace("[0]", "") == f"y[4] = {label}, of labels from {low} to {high}"
    for got, want in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("is_built", [True, False])
def test_a_label_of_a_step(is_built):
    model, y = classifier(by_step=True, is_built=is_built), per_step(LABELS)
    padded = pylstm.pad(y, value=-1).x
    want = model.evaluate(SEQS, y, batch_size=1, verbose=0)
    assert model.evaluate(SEQS, padded, batch_size=1, verbose=0) == pytest.approx(want, rel=1e-5)
    for same in (y, padded):
        same[2][3] = 5
        error = refused(lambda same=same: model.fit(SEQS, same, verbose=0))
        assert error.expected.endswith("output (batch, time, classes=3)")
        assert error.got == "y[2][3] = 5, of labels from 0 to 5"


def test_the_lines_that_make_classes_of_labels():
    names = {"keras": keras, "np": np}
    for by_step, made in ((False, lambda y: y.tolist()), (True, per_step)):
        model = classifier(by_step=by_step)
        names["y"] = made(LABELS + 1)
        error = refused(lambda model=model: model.fit(SEQS, names["y"], verbose=0))
        fixed = eval(error.fix.partition("     ")[0], names)
        for got, want in zip(fixed, made(LABELS), strict=True):
            np.testing.assert_array_equal(got, want)
        model.fit(SEQS, fixed, verbose=0)

        y = made(np.where(LABELS == 2, -1, LABELS))
        error = refused(lambda model=model, y=y: model.fit(SEQS, y, verbose=0))
        loss = eval(error.fix.partition("     ")[0], names)
        assert not loss.from_logits
        model.compile("sgd", loss)
        assert np.isfinite(model.fit(SEQS, y, verbose=0).history["loss"][0])

        y = made(LABELS * 4)
        error = refused(lambda model=model, y=y: model.fit(SEQS, y, verbose=0))
        wider = pylstm.Sequential(
            [*model.layers[:-1], eval(error.fix.partition("     ")[0], names)]
        )
        wider.compile("sgd", loss)
        wider.fit(SEQS, y, verbose=0)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    error = refused(lambda: model.fit(SEQS, made(LABELS - 1), verbose=0))
    assert eval(error.fix.partition("     ")[0], names).from_logits


def test_labels_of_several_outputs():
    inputs = keras.Input((None, 5))
    steps = pylstm.LSTM(4, return_sequences=True)(inputs)
    tag = keras.layers.Dense(3, "softmax", name="tag")(steps)
    kind = keras.layers.Dense(2, "softmax", name="kind")(pylstm.LSTM(3)(steps))
    y = {"tag": per_step(LABELS), "kind": LABELS}
    for outputs in ([tag, kind], {"tag": tag, "kind": kind}):
        model = pylstm.Model(inputs, outputs, name="reader")
        model.compile("sgd", {"tag": SPARSE, "kind": SPARSE})
        error = refused(lambda model=model: model.fit(SEQS, y, verbose=0))
        assert "for the output 'kind' (batch, classes=2)" in error.expected
        where = "y['kind']" if isinstance(outputs, dict) else "y[1]"
        assert error.got == f"{where}[2] = 2, of labels from 0 to 2"
        model.compile("sgd", {"tag": SPARSE, "kind": "mse"})
        model.fit(SEQS, {**y, "kind": np.ones((6, 2)) * 7}, verbose=0)


def test_what_is_no_number_of_a_class():
    y = LABELS * 9 - 1
    ignoring = keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    assert np.isfinite(classifier(ignoring).evaluate(SEQS, np.where(y > 2, 1, y), verbose=0))
    assert refused(lambda: classifier(ignoring).evaluate(SEQS, y, verbose=0)).got == (
        "y[1] = 8, of labels from 8 to 17"
    )
    for loss in ("mse", lambda y, got: keras.ops.mean(keras.ops.square(y - got), -1)):
        classifier(loss).fit(SEQS, y[:, None], verbose=0)


def test_labels_that_are_masked_are_looked_at_where_tensorflow_looks_at_them():
    model = classifier(by_step=True)
    x, y = pylstm.pad(SEQS).x, pylstm.pad(per_step(LABELS), value=-1).x
    weights = (y >= 0).astype("float32")
    error = refused(lambda: model.fit(x, y, sample_weight=weights, verbose=0))
    model.compile("sgd", eval(error.fix.partition("     ")[0]))
    model.fit(x, y, sample_weight=weights, verbose=0)
