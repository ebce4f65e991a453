"""Convolutions and poolings of sequences of different lengths: each gives what it gives alone."""

import itertools
import textwrap

import keras
import numpy as np
import pytest
from keras.layers import AveragePooling1D, Conv1D, DepthwiseConv1D, MaxPooling1D, SeparableConv1D

import pylstm
from pylstm import errors
from pylstm.diagnosis import diagnose
from tests import backends
from tests.data import sequences
from tests.models.stock import each_alone
from tests.tolerances import assert_close

LENGTHS = (7, 4, 12, 5, 9)

KEEPING_STEPS = {
    "same": lambda: [Conv1D(4, 3, padding="same", activation="relu")],
    "causal": lambda: [Conv1D(4, 3, padding="causal")],
    "dilated": lambda: [Conv1D(4, 2, padding="causal", dilation_rate=3)],
    "one step": lambda: [Conv1D(4, 1), MaxPooling1D(1)],
    "depthwise": lambda: [DepthwiseConv1D(2, padding="same")],
    "several": lambda: [
        Conv1D(4, 3, padding="same"),
        keras.layers.BatchNormalization(),
        Conv1D(3, 2, padding="same"),
    ],
}
CHANGING_STEPS = {
    "valid": lambda: [Conv1D(4, 3)],
    "strides": lambda: [Conv1D(4, 3, strides=2)],
    "causal strides": lambda: [Conv1D(4, 3, strides=2, padding="causal")],
    "dilated valid": lambda: [Conv1D(4, 2, dilation_rate=2)],
    "separable": lambda: [SeparableConv1D(4, 2)],
    "maximum": lambda: [MaxPooling1D(2)],
    "average": lambda: [AveragePooling1D(3, strides=1)],
    "overlapping": lambda: [AveragePooling1D(3, strides=2)],
    "both": lambda: [Conv1D(4, 2, activation="relu"), MaxPooling1D(2)],
    "in a model": lambda: [keras.Sequential([Conv1D(4, 2), keras.layers.Dense(3)])],
}
ENDS = {
    "lstm": lambda: [pylstm.LSTM(4)],
    "steps": lambda: [pylstm.LSTM(4, return_sequences=True)],
    "nothing": list,
    "maximum": lambda: [keras.layers.GlobalMaxPooling1D()],
    "average": lambda: [keras.layers.GlobalAveragePooling1D()],
    "both ways": lambda: [keras.layers.Bidirectional(keras.layers.GRU(2))],
}


def check(model, seqs):
    for got, want in zip(
        model.predict(seqs, batch_size=2, verbose=0), each_alone(model, seqs), strict=True
    ):
        assert_close(got, want, "float32")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("front", [*KEEPING_STEPS, *CHANGING_STEPS])
def test_each_sequence_gives_what_it_gives_alone(front, end):
    layers = (KEEPING_STEPS | CHANGING_STEPS)[front]() + ENDS[end]()
    check(pylstm.Sequential([keras.Input((None, 5)), *layers]), sequences(LENGTHS))


@pytest.mark.parametrize("padding", ("pre", "post"))
def test_padding_at_either_end(padding):
    """Strides begin at each sequence's own first step."""
    seqs = sequences(LENGTHS)
    for front, end in itertools.product(KEEPING_STEPS | CHANGING_STEPS, ("lstm", "maximum")):
        layers = (KEEPING_STEPS | CHANGING_STEPS)[front]() + ENDS[end]()
        model = pylstm.Sequential([keras.Input((None, 5)), *layers])
        got = model.predict(pylstm.pad(seqs, padding=padding), verbose=0)
        assert_close(got, np.stack(each_alone(model, seqs)), "float32", what=front)


def test_a_residual_graph():
    x = keras.Input((None, 5))
    y = keras.layers.Add()([x, Conv1D(5, 3, padding="same")(x)])
    y = pylstm.LSTM(3, return_sequences=True)(y)
    check(pylstm.Model(x, y[:, -1]), sequences(LENGTHS))
    check(pylstm.Model(x, Conv1D(2, 2)(y)), sequences(LENGTHS))


@pytest.mark.parametrize("front", [*KEEPING_STEPS, *CHANGING_STEPS])
def test_sequences_one_behind_the_other(front):
    """The padding between them is no part of them."""
    a, b = keras.Input((None, 5)), keras.Input((None, 5))
    y = keras.Sequential((KEEPING_STEPS | CHANGING_STEPS)[front]())(
        keras.layers.Concatenate(axis=1)([a, b])
    )
    model = pylstm.Model([a, b], [pylstm.LSTM(3)(y), y])
    x = [sequences((3, 6, 4)), sequences((5, 2, 7))]
    for *got, first, second in zip(*model.predict(x, verbose=0), *x, strict=True):
        alone = keras.Model([a, b], model.outputs)([first[None], second[None]])
        for output, want in zip(got, alone, strict=True):
            assert_close(output, want[0], "float32")


def test_tokens_one_behind_the_other():
    a, b = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    tokens = keras.layers.Concatenate(axis=1)(inputs=[a, b])
    y = Conv1D(4, 3, padding="same")(keras.layers.Embedding(9, 3)(tokens))
    model = pylstm.Model([a, b], pylstm.LSTM(3)(y))
    x = [[np.arange(t) for t in lengths] for lengths in ((3, 6, 4), (5, 2, 7))]
    for got, first, second in zip(model.predict(x, verbose=0), *x, strict=True):
        alone = keras.Model([a, b], model.outputs)([first[None], second[None]])[0]
        assert_close(got, alone, "float32")


def test_an_output_that_has_by_chance_the_steps_of_another_input():
    a, b = keras.Input((None, 5), name="a"), keras.Input((None, 5), name="b")
    model = pylstm.Model([a, b], Conv1D(2, 2)(a) + pylstm.LSTM(2)(b)[:, None])
    x = [sequences((3, 6)), sequences((5, 4))]
    got = model.predict(x, verbose=0)
    for output, *parts in zip(got, *x, strict=True):
        alone = keras.Model([a, b], model.outputs)([part[None] for part in parts])[0]
        assert_close(output, alone, "float32")


@pytest.mark.parametrize("front", ["same", "causal", *CHANGING_STEPS])
def test_padding_counts_in_no_loss_or_gradient(front):
    seqs, y = sequences((6, 6, 9, 9)), np.ones((4, 2))
    keras.utils.set_random_seed(1)
    inverse = keras.layers.Lambda(lambda x: 1 / x, mask=lambda _, mask: mask)
    layers = [inverse, *(KEEPING_STEPS | CHANGING_STEPS)[front](), pylstm.LSTM(2)]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    weights = model.get_weights()
    loss, trained = model.train_on_batch(seqs, y), model.get_weights()
    losses, steps = [], []
    for part in (np.stack(seqs[:2]), np.stack(seqs[2:])):
        model.set_weights(weights)
        losses.append(model.train_on_batch(part, y[:2]))
        steps.append([b - a for a, b in zip(weights, model.get_weights(), strict=True)])
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-5)
    for before, after, *parts in zip(weights, trained, *steps, strict=True):
        assert_close(after - before, np.mean(parts, axis=0), "float32", backward=True)


@pytest.mark.parametrize("built", (True, False))
def test_a_sequence_that_is_too_short_is_an_error(built):
    seqs, y = sequences((7, 2, 9)), np.zeros((3, 2))
    layers = [Conv1D(4, 3, name="smooth"), MaxPooling1D(2), pylstm.LSTM(2)]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers] if built else layers)
    model.compile("sgd", "mse")
    runs = [
        lambda: model.fit(seqs, y, verbose=0),
        lambda: model.fit(pylstm.dataset(seqs, y), verbose=0),
        lambda: model.predict(seqs, verbose=0),
        lambda: model(seqs),
    ]
    for run in runs:
        with pytest.raises(errors.TimestepError, match=r"PYL108\] layer 'smooth'") as caught:
            run()
        assert "a sequence of 2 steps" in caught.value.got
        assert "len(s) >= 4]" in caught.value.fix
    model.fit([s for s in seqs if len(s) >= 4], y[:2], verbose=0)
    model.predict([s for s in seqs if len(s) >= 4], verbose=0)


@pytest.mark.parametrize("built", (True, False))
def test_targets_of_steps_that_a_layer_changes(built):
    seqs = sequences(LENGTHS)
    layers = [Conv1D(4, 3), pylstm.LSTM(2, return_sequences=True)]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers] if built else layers)
    model.compile("sgd", "mse")
    with pytest.raises(errors.TimestepError, match=r"PYL120.*changes the number") as caught:
        model.fit(seqs, [np.zeros((len(s), 2)) for s in seqs], verbose=0)
    assert 'padding="same"' in caught.value.fix
    layers[0] = Conv1D(4, 3, padding="same")
    model = pylstm.Sequential(layers)
    model.compile("sgd", "mse")
    model.fit(seqs, [np.zeros((len(s), 2)) for s in seqs], verbose=0)


@pytest.mark.parametrize("struct", (list, dict))
def test_outputs_without_targets_may_have_other_steps(struct):
    """As features of a signal beside its class."""
    seqs, x = sequences(LENGTHS), keras.Input((None, 5))
    steps = pylstm.LSTM(2, return_sequences=True)(Conv1D(4, 3, strides=2)(x))
    outputs = {"class": steps[:, -1], "features": keras.layers.Identity(name="features")(steps)}
    y = {"class": np.ones((5, 2)), "features": None}
    if struct is list:
        outputs, y = [*outputs.values()][::-1], (None, y["class"])
    model = pylstm.Model(x, outputs)
    model.compile("sgd", {"class": "mse", "features": None} if struct is dict else [None, "mse"])
    for data in ((seqs, y), (pylstm.dataset(seqs, y),)):
        assert np.isfinite(model.fit(*data, verbose=0).history["loss"]).all()
    y = {**y, "features": [np.zeros((len(s), 2)) for s in seqs]} if struct is dict else y
    y = ([np.zeros((len(s), 2)) for s in seqs], y[1]) if struct is list else y
    with pytest.raises(errors.TimestepError, match=r"PYL120.*changes the number"):
        model.fit(seqs, y, verbose=0)


def test_targets_of_the_steps_of_queries():
    """As of a decoder that attends to a convolution of other sequences."""
    audio, text = keras.Input((None, 5), name="audio"), keras.Input((None, 3), name="text")
    heard = MaxPooling1D(2)(Conv1D(4, 2)(audio))
    steps = pylstm.LSTM(4, return_sequences=True)(text)
    model = pylstm.Model([audio, text], keras.layers.MultiHeadAttention(1, 2)(steps, heard))
    model.compile("sgd", "mse")
    x = [sequences((7, 4, 12)), sequences((3, 5, 2), features=3)]
    model.fit(x, [np.zeros((len(s), 4)) for s in x[1]], verbose=0)
    for got, *parts in zip(model.predict(x, verbose=0), *x, strict=True):
        alone = keras.Model([audio, text], model.outputs)([part[None] for part in parts])[0]
        assert_close(got, alone, "float32")


@pytest.mark.parametrize("where", ("keepdims", "nested", "nested keepdims"))
def test_targets_of_steps_weighed_by_others(where):
    """As by the squeeze and excitation of a layer that strides."""
    seqs, x = sequences(LENGTHS), keras.Input((None, 5))
    pool = keras.layers.GlobalAveragePooling1D(keepdims="keepdims" in where)
    weights = pool(Conv1D(5, 2, strides=2)(x))
    weights = weights if "keepdims" in where else weights[:, None]
    weighed = x * keras.layers.Activation("sigmoid")(weights)
    weighed = keras.Model(x, weighed)(x) if "nested" in where else weighed
    model = pylstm.Model(x, pylstm.LSTM(2, return_sequences=True)(weighed))
    model.compile("sgd", "mse")
    model.fit(seqs, [np.zeros((len(s), 2)) for s in seqs], verbose=0)
    check(model, seqs)


def test_windows_within_a_step_change_no_steps():
    """As those of images, each a step."""
    images = sequences((4, 2, 3), features=12)
    cnn = keras.Sequential([keras.layers.Reshape((6, 2)), Conv1D(3, 2), MaxPooling1D(2)])
    each = keras.layers.TimeDistributed(keras.Sequential([*cnn.layers, keras.layers.Flatten()]))
    x = keras.Input((None, 12))
    model = pylstm.Model(x, pylstm.LSTM(2, return_sequences=True)(each(x)))
    model.compile("sgd", "mse", run_eagerly=True)  # Keras' TimeDistributed drops steps in graphs
    model.fit(images, [np.zeros((len(s), 2)) for s in images], verbose=0)
    check(model, images)


def test_diagnose_follows_the_mask():
    layers = [Conv1D(4, 3), MaxPooling1D(2), pylstm.LSTM(2)]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers])
    assert diagnose(model, sequences(LENGTHS)).ok
    model = pylstm.Sequential([*layers[:2], pylstm.LSTM(2, return_sequences=True)])
    report = diagnose(model, sequences(LENGTHS), [np.zeros((t, 2)) for t in LENGTHS])
    assert report.findings[0].code == "PYL120"
    assert "changes the number of steps" in report.findings[0].what


@pytest.mark.parametrize("backend", ("jax", "torch"))
def test_on_other_backends(backend):
    script = """
        import keras, numpy as np
        from tests.models.graph.test_windows import *

        seqs = sequences(LENGTHS)
        for front in (KEEPING_STEPS | CHANGING_STEPS).values():
            for end in ("lstm", "steps", "maximum"):
                model = pylstm.Sequential([keras.Input((None, 5)), *front(), *ENDS[end]()])
                for got, seq in zip(model.predict(seqs, batch_size=2, verbose=0), seqs):
                    alone = keras.ops.convert_to_numpy(model(seq[None]))[0]
                    assert_close(got, alone, "float32")
        model.compile("sgd", "mse")
        model = pylstm.Sequential([*front(), pylstm.LSTM(2)])
        model.compile("sgd", "mse")
        assert np.isfinite(model.fit(seqs, np.zeros((5, 2)), verbose=0).history["loss"]).all()
    """
    backends.run_python(backend, "-c", textwrap.dedent(script))
