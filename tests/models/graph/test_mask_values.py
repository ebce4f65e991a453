"""Padding is masked by the mask that comes with it, and by the value that a layer masks."""

import keras
import numpy as np
import pytest

import pylstm
from pylstm import errors
from tests.data import sequences
from tests.models.stock import PADDING, assert_predicts_each_alone, classifier


class MaskSpy(keras.layers.Layer):
    """Keeps the mask it is given."""

    def __init__(self):
        super().__init__()
        self.supports_masking = True
        self.seen = None

    def call(self, x, mask=None):
        self.seen = mask
        return x


@pytest.mark.parametrize(
    "front",
    [
        lambda: [keras.layers.Dense(5)],
        lambda: [keras.layers.TimeDistributed(keras.layers.Dense(5))],
        lambda: [keras.layers.Bidirectional(pylstm.LSTM(3, return_sequences=True))],
        lambda: [pylstm.LSTM(3, return_sequences=True), keras.layers.Dropout(0.1)],
    ],
)
def test_layers_in_front_see_the_mask_that_masking_gives(front):
    seqs = sequences()
    spy = MaskSpy()
    keras.utils.set_random_seed(0)
    model = pylstm.Sequential([keras.Input((None, 5)), *front(), spy, pylstm.LSTM(3)])
    model(seqs)
    np.testing.assert_array_equal(spy.seen, pylstm.pad(seqs).mask)
    masking = keras.Sequential([keras.layers.Masking(PADDING), *model.layers])
    want = masking.predict(pylstm.pad(seqs, value=PADDING).x, verbose=0)
    np.testing.assert_allclose(model(seqs), want, atol=1e-6)


def test_a_masking_layer_masks_the_padding():
    """It makes a mask of its own from the values, whatever mask comes in."""
    seqs = sequences()
    model = classifier(front=[keras.layers.Masking(PADDING)])
    assert_predicts_each_alone(model, seqs, seqs)
    tokens = [[1, 2, 3], [4]]
    words = pylstm.Sequential([keras.layers.Embedding(5, 4, mask_zero=True), pylstm.LSTM(3)])
    alone = words(np.array([[4]]))[0]
    np.testing.assert_allclose(words.predict(tokens, verbose=0)[1], alone, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 9.0, PADDING])
def test_a_padded_batch_is_masked_whatever_it_is_padded_with(value):
    seqs = sequences()
    batch = pylstm.pad(seqs, value=value)
    assert_predicts_each_alone(classifier(), batch, seqs)
    for masked in (0.0, PADDING):
        assert_predicts_each_alone(classifier(front=[keras.layers.Masking(masked)]), batch, seqs)


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int64"])
def test_padding_has_the_masked_value_where_the_dtype_has_not(dtype):
    seqs = [seq > 0 for seq in sequences((2, 4))]
    model = classifier(front=[keras.layers.Masking(-0.5)])
    assert_predicts_each_alone(model, [seq.astype(dtype) for seq in seqs], seqs)


def test_each_input_is_padded_with_the_value_that_its_own_layers_mask():
    seqs, others = sequences((2, 4, 3)), sequences((5, 2, 3), seed=1)
    words = [[1, 2], [3], [0, 4, 2, 1]]
    inputs = [keras.Input((None, 5)), keras.Input((None, 5)), keras.Input((None,))]
    inner = keras.Sequential([keras.layers.Masking(-2.0), pylstm.LSTM(2)])
    branches = [
        pylstm.LSTM(2)(keras.layers.Masking(-1.0)(inputs[0])),
        inner(inputs[1]),
        pylstm.LSTM(2)(keras.layers.Embedding(5, 4, mask_zero=True)(inputs[2])),
    ]
    model = pylstm.Model(inputs, branches)
    outputs = model.predict((seqs, others, words), verbose=0)
    for row, parts in enumerate(zip(seqs, others, words, strict=True)):
        alone = model([np.asarray(part)[None] for part in parts])
        for output, want in zip(outputs, alone, strict=True):
            np.testing.assert_allclose(output[row], want[0], atol=1e-6)


@pytest.mark.parametrize("functional", [False, True])
def test_a_masking_layer_must_see_the_padding_as_it_was_made(functional):
    masking = keras.layers.Masking(0.0, name="late")
    layers = [keras.layers.Rescaling(2.0, offset=1.0), masking, pylstm.LSTM(2)]
    model = pylstm.Sequential([keras.Input((None, 5)), *layers])
    if functional:
        model = pylstm.Model(model.inputs, model.outputs)
    model(np.ones((2, 3, 5)))  # no padding
    for run in (model, model.predict):
        with pytest.raises(errors.RaggedError, match="changes the padding") as caught:
            run(sequences())
        assert caught.value.layer == "late"
        assert caught.value.expected == "a Masking layer that reads the model's input itself"
        assert caught.value.got == "sequences of different lengths, behind another layer"
        assert caught.value.fix == "'late' as the first layer, and no other that masks a value"
    pylstm.Sequential([masking, *layers[::2]]).predict(sequences(), verbose=0)


def test_a_masking_layer_may_follow_where_the_steps_have_ended():
    seqs = sequences()
    front = [pylstm.LSTM(5), keras.layers.RepeatVector(3), keras.layers.Masking(0.0)]
    model = pylstm.Sequential([keras.Input((None, 5)), *front, pylstm.LSTM(2)])
    for got, seq in zip(model.predict(seqs, verbose=0), seqs, strict=True):
        np.testing.assert_allclose(got, model(seq[None])[0], atol=1e-6)


def test_one_input_cannot_be_padded_with_two_values():
    x = keras.Input((None, 5))
    branches = [pylstm.LSTM(2)(keras.layers.Masking(value)(x)) for value in (-1.0, -2.0)]
    with pytest.raises(errors.RaggedError, match="several values") as caught:
        pylstm.Model(x, branches).predict(sequences())
    assert caught.value.expected == "one mask_value"
    assert caught.value.got == "mask_value=-2.0, mask_value=-1.0"
    assert caught.value.fix == "keras.layers.Masking(-1.0) instead of each"


FINITE_BUT_AT_ZERO = {
    "reciprocal": lambda x: 1 / x,
    "log": lambda x: keras.ops.log(keras.layers.Rescaling(2.0)(x)),
    "square root": lambda x: keras.ops.sqrt(positive(x)),
    "norm": lambda x: x / keras.ops.norm(positive(x), axis=-1, keepdims=True),
}


def positive(x):
    return keras.layers.Dense(5, "relu", use_bias=False, kernel_initializer="ones")(x)


@pytest.mark.parametrize("front", FINITE_BUT_AT_ZERO)
@pytest.mark.parametrize("behind", ["lstm", "attention", "dense"])
def test_padding_makes_nothing_infinite(front, behind):
    x = keras.Input((None, 5))
    y = FINITE_BUT_AT_ZERO[front](x)
    if behind == "attention":
        y = keras.layers.MultiHeadAttention(2, 3)(y, y)
    if behind != "lstm":
        y = keras.layers.Dense(3)(y)
    model = pylstm.Model(x, pylstm.LSTM(2)(y))
    seqs = [np.abs(seq) + 0.5 for seq in sequences()]
    want = np.concatenate([model(seq[None]) for seq in seqs])
    for x in (seqs, pylstm.pad(seqs, value=np.inf), pylstm.pad(seqs, padding="pre")):
        np.testing.assert_allclose(model(x), want, atol=1e-6)
    model.compile("sgd", "mse")
    model.fit(seqs, np.zeros((len(seqs), 2)), verbose=0)
    assert all(np.isfinite(weights).all() for weights in model.get_weights())


def test_a_layer_of_ones_own_that_adds_up_masked_steps_gets_zeros():
    class Total(keras.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True

        def call(self, x):
            return keras.ops.sum(x, axis=1)

    seqs = sequences()
    x = keras.Input((None, 5))
    for model in (pylstm.Sequential([Total()]), pylstm.Model(x, Total()(x))):
        got = model.predict(seqs, verbose=0)
        np.testing.assert_allclose(got, [seq.sum(0) for seq in seqs], rtol=1e-5)
