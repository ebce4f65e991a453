"""The mask of padded steps behind what Keras loses it at."""

import contextlib
import inspect
import warnings

import keras
import numpy as np
import pytest
from keras import ops
from keras.layers import EinsumDense

import pylstm
from pylstm import errors
from pylstm.models.graph import mask_rules
from tests.data import sequences
from tests.tolerances import assert_close

POINTWISE = {
    "arithmetic": lambda x: (x - 0.5) / 2.0 * 3.0 + 1.0,
    "residual": lambda x: keras.layers.Dense(5)(x) + x,
    "functions": lambda x: ops.log1p(ops.abs(x)) ** 2,
    "more functions": lambda x: ops.hypot(ops.sinh(x), ops.zeros_like(x) + ops.erf(x)),
    "where": lambda x: ops.where(x > 0, x, 0.1 * x),
    "activation": lambda x: ops.gelu(-x),
    "relu": lambda x: keras.activations.relu(x, negative_slope=0.1),
    "cast": lambda x: ops.cast(x, "int32"),
    "axes behind the steps": lambda x: ops.squeeze(ops.expand_dims(x, -1), 3),
}


WEIGHTS = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
# Operations along an axis, each giving (batch, time, features).
ALONG = {
    "argmax": lambda x, axis: ops.argmax(x, axis, keepdims=True),
    "argmin": lambda x, axis: ops.argmin(x, axis, keepdims=True),
    "argsort": ops.argsort,
    "average": lambda x, axis: ops.expand_dims(ops.average(x, axis), axis),
    "concatenate": lambda x, axis: ops.concatenate([x, 2 * x], axis),
    "count_nonzero": lambda x, axis: ops.expand_dims(ops.count_nonzero(x, axis), axis),
    "cumprod": ops.cumprod,
    "cumsum": ops.cumsum,
    "diff": lambda x, axis: ops.diff(x, axis=axis),
    "flip": ops.flip,
    "glu": lambda x, axis: ops.glu(ops.concatenate([x, x], axis), axis),
    "layer_norm": lambda x, axis: ops.layer_normalization(x, axis=axis),
    "log_softmax": ops.log_softmax,
    "logsumexp": lambda x, axis: ops.logsumexp(x, axis, keepdims=True),
    "max": lambda x, axis: ops.max(x, axis, keepdims=True),
    "mean": lambda x, axis: ops.mean(x, axis, keepdims=True),
    "median": lambda x, axis: ops.median(x, axis, keepdims=True),
    "min": lambda x, axis: ops.min(x, axis, keepdims=True),
    "norm": lambda x, axis: ops.norm(x, axis=axis, keepdims=True),
    "normalize": lambda x, axis: ops.normalize(x, axis),
    "prod": lambda x, axis: ops.prod(x, axis, keepdims=True),
    "repeat": lambda x, axis: ops.repeat(x, 2, axis),
    "rms_norm": lambda x, axis: ops.rms_normalization(x, axis=axis),
    "softmax": ops.softmax,
    "sort": ops.sort,
    "sparsemax": ops.sparsemax,
    "split": lambda x, axis: ops.split(x, [2], axis)[0],
    "std": lambda x, axis: ops.std(x, axis, keepdims=True),
    "sum": lambda x, axis: ops.sum(x, axis, keepdims=True),
    "take": lambda x, axis: ops.take(x, [0], axis),
    "take_along_axis": lambda x, axis: ops.take_along_axis(x, ops.argsort(x, axis), axis),
    "var": lambda x, axis: ops.var(x, axis, keepdims=True),
}
# What makes features of features.
OF_FEATURES = {
    "dot": lambda x: ops.dot(x, WEIGHTS),
    "einsum": lambda x: ops.einsum("btf,fg->btg", x, WEIGHTS),
    "einsum of any axes": lambda x: ops.einsum("...f,fg->...g", x, WEIGHTS),
    "einsum with a vector": lambda x: ops.einsum("btf,bf->bt", x, pylstm.LSTM(5)(x))[..., None],
    "inner": lambda x: ops.inner(x, WEIGHTS.T),
    "matmul": lambda x: x @ WEIGHTS,
    "matmul with a vector": lambda x: (x @ WEIGHTS[:, 0])[..., None],
    "one_hot": lambda x: ops.one_hot(ops.cast(ops.abs(x[..., 0]), "int32"), 3),
    "outputs of split": lambda x: ops.add(*ops.split(x[..., :4], 2, axis=2)),
    "stack": lambda x: ops.stack([x, -x], axis=-1)[..., 0],
    "tensordot": lambda x: ops.tensordot(x, WEIGHTS, axes=1),
    "tensordot by axes": lambda x: ops.tensordot(x, WEIGHTS, axes=[[-1], [0]]),
    "without its axis": lambda x: ops.sum(x, axis=-1)[..., None],
}


def outputs_per_step(x):
    return pylstm.LSTM(4, return_sequences=True)(x)


def average(x):
    return keras.layers.GlobalAveragePooling1D()(x)


def residual_attention(x):
    return keras.layers.Add()([x, keras.layers.MultiHeadAttention(2, 3)(x, x)])


def second_branch(x):
    attention = keras.layers.MultiHeadAttention(2, 3)(x, x)
    return keras.layers.Concatenate()([average(attention), pylstm.LSTM(3)(x)])


def squeeze_and_excite(x):
    gate = keras.layers.Reshape((1, 4))(keras.layers.Dense(4)(average(x)))
    return keras.layers.Multiply()([x, gate])


def attention_pooling(x):
    weights = keras.layers.Softmax(axis=1)(keras.layers.Dense(1)(x))
    return keras.layers.Dot(axes=1)([weights, x])


def weighted(weigh, x):
    """The sum of all steps by what a layer makes of their scores (batch, time)."""
    scores = keras.layers.Dense(1)(x)[..., 0]
    return keras.layers.Dot(axes=1)([weigh(keras.layers.Dropout(0.0)(scores)), x])


# Layers of Keras that pass the mask on, but not always.
LAYERS = {
    "residual attention": lambda x: average(residual_attention(x)),
    "residual attention inside": lambda x: average(inside(residual_attention, x)),
    "second branch": second_branch,
    "squeeze and excite": lambda x: average(squeeze_and_excite(x)),
    "add a vector": lambda x: average(
        keras.layers.Add()([keras.layers.Reshape((1, 4))(pylstm.LSTM(4)(x)), x])
    ),
    "softmax": lambda x: average(keras.layers.Softmax()(x)),
    "maximum": lambda x: keras.layers.GlobalMaxPooling1D()(x),
    "dot": lambda x: keras.layers.Dot(axes=1)([keras.layers.Dense(1)(x), x]),
    "attention pooling": attention_pooling,
    "layer normalization": lambda x: average(keras.layers.LayerNormalization()(x)),
    "unit normalization": lambda x: average(keras.layers.UnitNormalization()(x)),
    "rms normalization": lambda x: average(keras.layers.RMSNormalization()(x)),
    "einsum dense": lambda x: average(EinsumDense("btf,fg->btg", (None, 3), "softmax")(x)),
    "softmax of scores": lambda x: weighted(keras.layers.Softmax(), x),
    "sigmoid of scores": lambda x: weighted(keras.layers.Activation("sigmoid"), x),
    "softmax over features": lambda x: average(keras.layers.Activation("softmax")(x)),
    "any over features": lambda x: pylstm.LSTM(3)(x, mask=ops.any(x > -9.0, axis=-1)),
}


def inside(function, x):
    """What a function computes, as a model of Keras inside."""
    inner = keras.Input((None, x.shape[-1]))
    return keras.Model(inner, function(inner))(x)


def assert_each_alone(model, seqs):
    """Call, predict, dataset and one training step see no padding."""
    want = np.concatenate([model.predict(seq[None], verbose=0) for seq in seqs])
    for run in (
        lambda: model(seqs).numpy(),
        lambda: model.predict(seqs, batch_size=4, verbose=0),
        lambda: model.predict_on_batch(seqs),
        lambda: model.predict(pylstm.dataset(seqs), verbose=0),
    ):
        assert_close(run(), want, "float32")
    model.compile(keras.optimizers.SGD(0.0), "mse")
    assert model.evaluate(seqs, want, verbose=0) < 1e-10
    assert model.fit(seqs, want, verbose=0).history["loss"][0] < 1e-10


@pytest.fixture(autouse=True)
def no_warning():
    """Keras warns where it loses a mask."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_operations_pass_it_on(name):
    x = keras.Input((None, 5))
    assert_each_alone(pylstm.Model(x, pylstm.LSTM(4)(POINTWISE[name](x))), sequences())


@pytest.mark.parametrize("axis", [-1, 2])
@pytest.mark.parametrize("name", ALONG)
def test_operations_along_the_features_pass_it_on(name, axis):
    x = keras.Input((None, 5))
    model, seqs = pylstm.Model(x, pylstm.LSTM(4)(ALONG[name](x, axis))), sequences()
    for got, seq in zip(model(seqs), seqs, strict=True):
        assert_close(got, model(seq[None])[0], "float32")


@pytest.mark.parametrize("axis", [-2, 1])
@pytest.mark.parametrize("name", ALONG)
def test_operations_along_the_steps_lose_it(name, axis):
    x = keras.Input((len(max(sequences(), key=len)), 5))
    kind = "concatenate" if name == "glu" else "argsort" if name == "take_along_axis" else name
    model = pylstm.Model(x, pylstm.LSTM(4)(ALONG[name](x, axis)))
    with pytest.raises(errors.RaggedError, match=rf"\[PYL130\] layer '{kind}"):
        model(sequences())


@pytest.mark.parametrize("name", OF_FEATURES)
def test_operations_on_the_features_pass_it_on(name):
    x = keras.Input((None, 5))
    assert_each_alone(pylstm.Model(x, pylstm.LSTM(4)(OF_FEATURES[name](x))), sequences())


def test_a_product_of_two_sequences_loses_it():
    x = keras.Input((None, 5))
    scores = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
    model = pylstm.Model(x, ops.max(ops.matmul(scores, x), axis=1))
    with pytest.raises(errors.RaggedError, match=r"\[PYL130\] layer 'transpose"):
        model.predict(sequences())


def test_every_operation_along_an_axis_is_tested():
    kinds = {name.replace("_", "") for name in ALONG}
    assert kinds == {kind.lower() for kind in mask_rules._ALONG_AXIS}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_keras_pass_it_on(name):
    x = keras.Input((None, 5))
    assert_each_alone(pylstm.Model(x, LAYERS[name](outputs_per_step(x))), sequences())


class Gate(keras.layers.Layer):
    """Multiplies every step of the last input by a vector for each sequence."""

    def __init__(self):
        super().__init__()
        self.supports_masking = True
        self.dense = keras.layers.Dense(5)

    def call(self, vector, x=None):
        vector, x = vector if x is None else (vector, x)
        return x * self.dense(vector)[:, None]


class Both(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def call(self, x):
        return 2 * x, x + 1


def beside_each_step(inputs):
    vector, x = inputs
    return ops.concatenate([vector[:, None] + 0 * x[..., :1], x], axis=-1)


WITH_A_VECTOR = {
    "layer of two inputs": lambda vector, x: Gate()(vector, x),
    "layer of a list": lambda vector, x: Gate()([vector, x]),
    "lambda": lambda vector, x: keras.layers.Lambda(
        beside_each_step, output_shape=(None, 8), mask=lambda x, mask: mask
    )([vector, x]),
    "second output": lambda vector, x: ops.add(Gate()(vector, x), Both()(x)[1]),
}


@pytest.mark.parametrize("name", WITH_A_VECTOR)
def test_layers_that_say_so_pass_on_the_mask_of_any_input_to_all_outputs(name):
    vector, x = keras.Input((3,)), keras.Input((None, 5))
    model = pylstm.Model([vector, x], pylstm.LSTM(4)(WITH_A_VECTOR[name](vector, x)))
    seqs = sequences()
    vectors = np.random.default_rng(1).normal(size=(len(seqs), 3)).astype("float32")
    for got, v, seq in zip(model.predict([vectors, seqs]), vectors, seqs, strict=True):
        assert_close(got, model([v[None], seq[None]])[0], "float32")


class Block:
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(5)

    def call(self, x):
        return self.dense(x) * 2


class OwnBlock(Block, pylstm.Model):
    pass


class KerasBlock(Block, keras.Model):
    pass


@pytest.mark.parametrize("kind", [OwnBlock, KerasBlock])
def test_a_subclassed_model_inside_that_loses_the_mask(kind):
    x = keras.Input((None, 5))
    model = pylstm.Model(x, pylstm.LSTM(4)(kind()(x)))
    with (
        warnings.catch_warnings(action="ignore"),  # of Keras, too
        pytest.raises(errors.RaggedError, match=r"\[PYL130\] layer '\w+_block") as caught,
    ):
        model.predict(sequences())
    assert caught.value.fix.startswith("def compute_mask(self, inputs, previous_mask): return ")

    class Passing(kind):
        def compute_mask(self, inputs, previous_mask):
            return previous_mask

    assert_each_alone(pylstm.Model(x, pylstm.LSTM(4)(Passing()(x))), sequences())


def test_a_subclassed_model_inside_that_pools_the_steps():
    class Encoder(pylstm.Model):
        def __init__(self):
            super().__init__()
            self.lstm = pylstm.LSTM(5)

        def call(self, x):
            return self.lstm(x)

    x = keras.Input((None, 5))
    assert_each_alone(pylstm.Model(x, keras.layers.Dense(3)(Encoder()(x))), sequences())


INDICES = {
    "last": lambda y: y[:, -1],
    "all": lambda y: pylstm.LSTM(2)(y[()]),
    "first": lambda y: y[:, 0],
    "features of the last": lambda y: y[:, -1, 1:],
    "features": lambda y: pylstm.LSTM(2)(y[:, :, 1:]),
    "features of all": lambda y: pylstm.LSTM(2)(y[..., :3]),
    "a new axis": lambda y: pylstm.LSTM(2)(y[:, :, None, 0]),
}


@pytest.mark.parametrize("name", INDICES)
def test_indexing_takes_each_sequence_for_itself(name):
    x = keras.Input((None, 5))
    for y in (keras.layers.Dense(5)(x), outputs_per_step(x)):
        assert_each_alone(pylstm.Model(x, INDICES[name](y)), sequences())


@pytest.mark.parametrize(
    "key", [np.s_[:, 1:], np.s_[:, :-1], np.s_[:, 1], np.s_[:, -2], np.s_[..., 1, :]]
)
def test_indexing_that_could_take_padding_is_an_error(key):
    x = keras.Input((None, 5))
    with pytest.raises(errors.RaggedError, match=r"\[PYL130\] layer 'get_item"):
        pylstm.Model(x, outputs_per_step(x)[key])(sequences())


@pytest.mark.parametrize("step", [0, -1])
def test_steps_of_sequences_padded_in_front(step):
    x = keras.Input((None, 5))
    model, seqs = pylstm.Model(x, x[:, step]), sequences()
    got = model(pylstm.pad(seqs, padding="pre"))
    np.testing.assert_array_equal(got, [seq[step] for seq in seqs])


def test_a_softmax_with_a_mask_of_its_own_keeps_it():
    x = keras.Input((None, 5))
    allowed = keras.ops.less(keras.ops.abs(x), 1.0)
    model = pylstm.Model(x, keras.layers.Softmax()(x, mask=allowed))
    seqs = sequences()
    for got, seq in zip(model.predict(seqs, verbose=0), seqs, strict=True):
        assert_close(got, model(seq[None])[0], "float32")


def test_a_softmax_behind_masking():
    x = keras.Input((None, 5))
    lstm, softmax = pylstm.LSTM(4, return_sequences=True), keras.layers.Softmax()
    plain = pylstm.Model(x, average(softmax(lstm(x))))
    masking = pylstm.Model(x, average(softmax(lstm(keras.layers.Masking(9.0)(x)))))
    assert_close(masking(sequences()), plain(sequences()), "float32")


def test_rows_and_steps_and_features_of_one_number():
    """Where a mask could be laid over the wrong axes without an error."""
    x = keras.Input((None, 4))
    model = pylstm.Model(x, keras.layers.Softmax()(x))
    seqs = sequences([4, 1, 2, 3], 4)
    for got, seq in zip(model.predict(seqs, verbose=0), seqs, strict=True):
        assert_close(got, model(seq[None])[0], "float32")


def test_an_operation_on_two_inputs_counts_the_steps_of_both():
    x = {"a": keras.Input((None, 5), name="a"), "b": keras.Input((None, 5), name="b")}
    model = pylstm.Model(x, pylstm.LSTM(4)(x["a"] * x["b"]))
    seqs = sequences()
    alone = [model({"a": seq[None], "b": seq[None]})[0] for seq in seqs]
    assert_close(model({"a": seqs, "b": seqs}), alone, "float32")


@pytest.mark.parametrize(
    "join",
    [
        lambda a, b: average(keras.layers.Attention()([a, b])),
        lambda a, b: average(keras.layers.MultiHeadAttention(2, 3)(a, b)),
        lambda a, b: pylstm.LSTM(3)(keras.layers.Concatenate(axis=1)([a, b])),
    ],
    ids=["attention", "multi-head attention", "concatenate"],
)
def test_layers_of_two_inputs_of_other_lengths(join):
    x = {name: keras.Input((None, 5), name=name) for name in "ab"}
    model = pylstm.Model(x, join(*map(outputs_per_step, x.values())))
    a, b = sequences([3, 2, 4]), sequences([2, 5, 3])
    alone = [model({"a": a[i][None], "b": b[i][None]})[0] for i in range(3)]
    assert_close(model({"a": a, "b": b}), alone, "float32")
    assert_close(model.predict({"a": a, "b": b}, verbose=0), alone, "float32")


def test_the_maximum_of_an_argument_by_its_name_and_of_no_step():
    x = keras.Input((None, 5))
    model = pylstm.Model(x, keras.layers.GlobalMaxPooling1D()(inputs=-keras.ops.abs(x)))
    seqs = [*sequences(), np.zeros((0, 5), np.float32)]
    want = [np.max(-np.abs(seq), axis=0, initial=-np.inf) for seq in seqs[:-1]]
    assert_close(model(seqs), [*want, np.zeros(5)], "float32")
    assert_close(model.predict(seqs, verbose=0), [*want, np.zeros(5)], "float32")


def test_any_and_all_of_the_steps_that_count():
    x = keras.Input((None, 5))
    maximum = keras.layers.GlobalMaxPooling1D()
    model = pylstm.Model(x, [maximum(x > 0.5), ~maximum(~(x > -0.5))])
    seqs = [*sequences(), np.zeros((0, 5), np.float32)]
    any_, all_ = model.predict(seqs, verbose=0)
    np.testing.assert_array_equal(any_, [(seq > 0.5).any(axis=0) for seq in seqs])
    np.testing.assert_array_equal(all_, [(seq > -0.5).all(axis=0) for seq in seqs])


def test_the_average_of_no_step_is_zero():
    x = keras.Input((None, 5))
    mean = keras.layers.GlobalAveragePooling1D()
    model = pylstm.Model(x, keras.layers.Dense(1)(mean(pylstm.LSTM(4, return_sequences=True)(x))))
    seqs = [*sequences(), np.zeros((0, 5), np.float32)]
    outputs = model.predict(seqs, verbose=0)
    assert_each_alone(model, seqs[:-1])
    assert_close(outputs[-1:], model.layers[-1](np.zeros((1, 4))), "float32")
    model.compile("sgd", "mse")
    model.fit(seqs, np.ones((7, 1)), verbose=0)
    assert all(np.isfinite(weights).all() for weights in model.get_weights())
    pooled = pylstm.Model(x, mean(inputs=x, mask=ops.any(x != 0, axis=-1)))
    assert_close(pooled(seqs[-2:]), [seqs[-2].mean(axis=0), np.zeros(5)], "float32")


# What cannot be computed of no step at all, as in a batch of such sequences alone.
OF_SOME_STEP = {
    "last step": lambda x: x[:, -1],
    "maximum": keras.layers.GlobalMaxPooling1D(),
    "dropout": lambda x: pylstm.LSTM(4, dropout=0.2, recurrent_dropout=0.2)(x),
}


@pytest.mark.parametrize("name", OF_SOME_STEP)
def test_a_batch_of_sequences_without_steps(name):
    x = keras.Input((None, 5))
    model = pylstm.Model(x, OF_SOME_STEP[name](outputs_per_step(x)))
    model.compile("sgd", "mse")
    seqs = [*sequences(), np.zeros((0, 5), np.float32)]
    for batch_size in (1, 2, 7):
        outputs = model.predict(seqs, batch_size=batch_size, verbose=0)
        assert_close(outputs[-1], np.zeros(4), "float32")
        assert_close(outputs, model(seqs), "float32")
        model.fit(seqs, np.ones((7, 4)), batch_size=batch_size, verbose=0)
    assert_close(model(seqs[-1:]), np.zeros((1, 4)), "float32")


def test_targets_by_step_of_sequences_without_steps():
    model = pylstm.Sequential([keras.Input((None, 5)), pylstm.LSTM(4, return_sequences=True)])
    model.compile("sgd", "mse")
    seqs = [*sequences(), np.zeros((0, 5), np.float32)]
    losses = [
        model.evaluate(seqs, [np.ones((len(s), 4)) for s in seqs], batch_size=size, verbose=0)
        for size in (1, 7)
    ]
    assert np.isfinite(losses).all()
    assert [len(rows) for rows in model.predict(seqs, batch_size=1, verbose=0)] == list(
        map(len, seqs)
    )


class Pooling(keras.layers.Layer):
    """As many write it: the mask stays on what has no steps any more."""

    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def call(self, x, mask=None):
        if mask is None:
            return ops.mean(x, axis=1)
        counts = ops.cast(mask, x.dtype)[..., None]
        return ops.sum(x * counts, axis=1) / ops.sum(counts, axis=1)


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=str)
@pytest.mark.parametrize("declared", [[keras.Input((None, 5))], []])
def test_outputs_of_samples_keep_their_size_behind_a_layer_that_keeps_the_mask(options, declared):
    layers = [*declared, pylstm.LSTM(4, return_sequences=True), Pooling()]
    model = pylstm.Sequential([*layers, keras.layers.Dense(4)])  # as many as there are steps
    model.compile(**options)
    outputs = model.predict(sequences(), verbose=0)
    assert_close(outputs, model(sequences()), "float32")


@pytest.mark.parametrize("has_inner", [False, True])
@pytest.mark.parametrize("steps", [None, 3])
def test_features_that_a_layer_has_pooled_are_no_steps(steps, has_inner):
    layers = [keras.Input((steps, 5)), pylstm.LSTM(3, return_sequences=True), Pooling()]
    ends = [keras.layers.LayerNormalization(), keras.layers.Dense(3)]
    ends.append(keras.layers.Activation("softmax"))
    if has_inner:
        ends = [keras.Sequential([keras.Input((3,)), *ends])]
    model = pylstm.Sequential([*layers, *ends])
    seqs = sequences([3, 1, 2])
    with warnings.catch_warnings(action="ignore"):  # of other steps than declared
        outputs = model.predict(seqs, verbose=0)
        assert_close(outputs, np.concatenate([model(seq[None]) for seq in seqs]), "float32")
    assert pylstm.diagnose(model, seqs).ok


@pytest.mark.parametrize("functional", [False, True])
def test_an_embedding_passes_it_on(functional):
    layers = [keras.Input((None,)), keras.layers.Embedding(9, 5), pylstm.LSTM(4)]
    model = pylstm.Sequential(layers)
    if functional:
        model = pylstm.Model(model.inputs, model.outputs)
    assert_each_alone(model, [np.array(ids) for ids in ([1, 2, 0], [4], [5, 0, 7, 8], [0, 3])])


@pytest.mark.parametrize("functional", [False, True])
def test_models_of_keras_inside_pass_it_on(functional):
    front = keras.Sequential(
        [keras.Input((None,)), keras.layers.Embedding(9, 5), keras.layers.Dropout(0.5)]
    )
    if functional:
        front = keras.Model(front.inputs, front.outputs[0] / 2.0)
    encoder = keras.Sequential([front, pylstm.LSTM(4), keras.layers.Reshape((2, 2))])
    x = keras.Input((None,))
    model = pylstm.Model(x, keras.layers.Flatten()(encoder(x)))
    seqs = [np.array(ids) for ids in ([1, 2, 0], [4], [5, 0, 7, 8], [0, 3])]
    want = np.concatenate([model.predict(seq[None], verbose=0) for seq in seqs])
    assert_close(model.predict(seqs, verbose=0), want, "float32")
    assert_close(model(seqs), want, "float32")
    assert np.abs(model(seqs, training=True) - want).max() > 1e-3  # dropout knows of training
    assert len(model.weights) == 4


def test_an_error_names_the_layer_of_a_model_inside():
    front = keras.Sequential([keras.Input((None, 5)), Smoothing(name="inner")])
    x = keras.Input((None, 5))
    with pytest.raises(errors.RaggedError, match=r"\[PYL130\] layer 'inner'"):
        pylstm.Model(x, pylstm.LSTM(4)(front(x)))(sequences())


@pytest.mark.parametrize(
    "behind",
    [
        lambda x: 2.0 * x,
        residual_attention,
        squeeze_and_excite,
        lambda x: keras.layers.Concatenate(axis=1)([x, -x, x]),
    ],
)
def test_outputs_per_step_have_no_padding(behind):
    x = keras.Input((None, 5))
    model = pylstm.Model(x, behind(outputs_per_step(x)))
    seqs = sequences()
    for run in (
        lambda: model.predict(seqs, verbose=0),
        lambda: model.predict(seqs, batch_size=4, verbose=0),
        lambda: model.predict_on_batch(seqs),
    ):
        for got, seq in zip(run(), seqs, strict=True):
            assert_close(got, model(seq[None])[0], "float32")


def test_outputs_of_the_steps_of_two_inputs_one_behind_the_other():
    x = [keras.Input((None, 5)), keras.Input((None, 5))]
    model = pylstm.Model(x, keras.layers.Concatenate(axis=1)(list(map(outputs_per_step, x))))
    a, b = sequences([3, 2, 4]), sequences([2, 5, 3])
    for got, *one in zip(model.predict([a, b], verbose=0), a, b, strict=True):
        assert_close(got, model([seq[None] for seq in one])[0], "float32")


class Smoothing(keras.layers.Layer):
    def call(self, x):
        return 0.5 * (x + ops.roll(x, 1, axis=1))


class Mean(keras.layers.Layer):
    def call(self, x):
        return ops.mean(x, axis=1, keepdims=True)


LOSES = {
    "mean of a layer": (lambda: Mean(name="mean"), "self.supports_masking = True in Mean.__init__"),
    "zero padding": (lambda: keras.layers.ZeroPadding1D(1), "pylstm.pad(sequences).x"),
    "conv1d": (
        lambda: keras.layers.Conv1D(5, 3, strides=2, padding="same"),
        'padding="valid" in Conv1D',
    ),
    "max_pooling1d": (
        lambda: keras.layers.MaxPooling1D(2, padding="same"),
        'padding="valid" in MaxPooling1D',
    ),
    "lambda": (lambda: keras.layers.Lambda(lambda x: 2 * x), "mask=lambda x, mask: mask"),
    "smoothing": (Smoothing, "self.supports_masking = True in Smoothing.__init__"),
    "flip": (lambda: lambda x: ops.flip(x, axis=1), "pylstm.pad(sequences).x"),
    "max": (
        lambda: lambda x: ops.max(x, axis=1, keepdims=True),
        "keras.layers.GlobalMaxPooling1D()(x)     over the steps",
    ),
    "mean": (
        lambda: lambda x: ops.mean(x, axis=1, keepdims=True),
        "keras.layers.GlobalAveragePooling1D()(x)     over the steps",
    ),
    "global_max_pooling1d": (
        lambda: keras.layers.GlobalMaxPooling1D(data_format="channels_first", keepdims=True),
        "pylstm.pad(sequences).x",
    ),
    "global_average_pooling1d": (
        lambda: keras.layers.GlobalAveragePooling1D(data_format="channels_first", keepdims=True),
        "pylstm.pad(sequences).x",
    ),
    "expand_dims": (
        lambda: lambda x: ops.squeeze(ops.expand_dims(x, 1), 1),
        "pylstm.pad(sequences).x",
    ),
    "expand_dims from the end": (
        lambda: lambda x: ops.squeeze(ops.expand_dims(x, -3), 1),
        "pylstm.pad(sequences).x",
    ),
    "lstm": (
        lambda: pylstm.LSTM(4, return_sequences=True, go_backwards=True),
        "keras.layers.Bidirectional",
    ),
    "gru": (
        lambda: keras.layers.GRU(4, return_sequences=True, go_backwards=True),
        "keras.layers.Bidirectional",
    ),
    "group_normalization": (
        lambda: keras.layers.GroupNormalization(1),
        "pylstm.pad(sequences).x",
    ),
    "unit_normalization": (
        lambda: keras.layers.UnitNormalization(axis=1),
        "pylstm.pad(sequences).x",
    ),
    "unit_normalization from the end": (
        lambda: keras.layers.UnitNormalization(axis=-2),
        "pylstm.pad(sequences).x",
    ),
    "dot": (
        lambda: (
            lambda x: keras.layers.Dot(axes=2)(
                [x, keras.layers.Reshape((3, 5))(keras.layers.Dense(15)(pylstm.LSTM(4)(x)))]
            )
        ),
        "pylstm.pad(sequences).x",
    ),
}


@pytest.mark.parametrize("name", LOSES)
def test_what_would_lose_it_is_an_error(name):
    make, fix = LOSES[name]
    operation = name.partition(" ")[0]
    x, seqs = keras.Input((None, 5)), sequences()
    model = pylstm.Model(x, pylstm.LSTM(4)(make()(x)))
    model.compile("sgd", "mse")
    for run in (
        model,
        lambda x: model.predict(x, verbose=0),
        lambda x: model.fit(x, np.zeros((6, 4)), verbose=0),
        lambda x: model.predict(pylstm.dataset(x), verbose=0),
    ):
        with pytest.raises(
            errors.RaggedError, match=rf"\[PYL130\] layer '{operation}.*'"
        ) as caught:
            run(seqs)
        assert fix in caught.value.fix
        assert "which does not" in caught.value.got
    padded = pylstm.pad(seqs).x
    assert model.predict(padded, verbose=0).shape == (6, 4)  # the fix, and the model still usable


# What computes over all steps of (batch, time) or of booleans, though it passes a mask on, or may
# be part of one.
OVER_STEPS = {
    "activation": (
        lambda x: weighted(keras.layers.Activation("softmax"), x),
        "keras.layers.Softmax()(x)",
    ),
    "activation log": (
        lambda x: weighted(keras.layers.Activation("log_softmax"), x),
        "keras.layers.Softmax()(x)",
    ),
    "activation sparse": (
        lambda x: weighted(keras.layers.Activation(keras.activations.sparsemax), x),
        "keras.layers.Softmax()(x)",
    ),
    "unit_normalization": (
        lambda x: weighted(keras.layers.UnitNormalization(), x),
        "keras.layers.Softmax()(x)",
    ),
    "softmax": (lambda x: weighted(ops.softmax, x), "keras.layers.Softmax(axis=-1)(x)"),
    "any": (
        lambda x: ops.any(x > 0, axis=1),
        "keras.layers.GlobalMaxPooling1D()(x)     over",
    ),
    "all": (
        lambda x: ops.all(x > 0, axis=-2),
        "~keras.layers.GlobalMaxPooling1D()(~x)     over",
    ),
    "max": (lambda x: ops.max(x > 0, axis=1), "keras.layers.GlobalMaxPooling1D()(x)     over"),
    "get_item": (lambda x: ops.cast((x > 0)[:, 1:], "float32"), "pylstm.pad(sequences).x"),
    "any of all": (lambda x: x * ops.cast(ops.any(x > 0), "float32"), "pylstm.pad(sequences).x"),
    "any of scores": (lambda x: ops.any(x[..., 0] > 0, axis=-1), "pylstm.pad(sequences).x"),
    "einsum": (lambda x: ops.einsum("btf->bf", x), "pylstm.pad(sequences).x"),
    "einsum of pairs": (
        lambda x: average(ops.einsum("btf,bsf->bts", x, x)),
        "pylstm.pad(sequences).x",
    ),
    "einsum_dense": (
        lambda x: average(x * EinsumDense("btf,f->bt", (None,), "softmax")(x)[..., None]),
        "pylstm.pad(sequences).x",
    ),
    "einsum without its output": (
        lambda x: average(ops.einsum("btf,fg", x, WEIGHTS)),
        "pylstm.pad(sequences).x",
    ),
}


@pytest.mark.parametrize("steps", [None, 4])
@pytest.mark.parametrize("name", OVER_STEPS)
def test_what_computes_over_steps_that_look_like_features_is_an_error(name, steps):
    build, fix = OVER_STEPS[name]
    operation = name.partition(" ")[0]
    x, seqs = keras.Input((steps, 5)), sequences()
    model = pylstm.Model(x, build(x))
    for run in (model, lambda x: model.predict(x, verbose=0)):
        with pytest.raises(
            errors.RaggedError, match=rf"\[PYL130\] layer '{operation}.*'"
        ) as caught:
            run(seqs)
        assert fix in caught.value.fix
    assert [f.code for f in pylstm.diagnose(model, seqs) if f.level == "error"] == ["PYL130"]
    assert len(model.predict(pylstm.pad(seqs).x, verbose=0)) == 6


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.BatchNormalization(),
        keras.layers.Dense(3),
        keras.layers.LayerNormalization(),
        keras.layers.RMSNormalization(),
    ],
)
def test_layers_with_weights_for_each_step_are_an_error(layer):
    x = keras.Input((4, 5))
    with pytest.raises(errors.RaggedError, match=rf"\[PYL130\] layer '{layer.name}'"):
        pylstm.Model(x, layer(keras.layers.Dense(1)(x)[..., 0]))(sequences())


@pytest.mark.parametrize(
    "multiply",
    [
        lambda x: x[..., 0] @ np.ones((4, 2)),
        lambda x: ops.tensordot(x, np.ones((4, 2)), axes=[[1], [0]]),
        lambda x: ops.tensordot(x, np.ones((4, 5, 2)), axes=2),
        lambda x: ops.einsum("btf,t->bf", x, np.ones(4)),
    ],
)
def test_products_that_sum_over_the_steps_are_an_error(multiply):
    x = keras.Input((4, 5))
    with pytest.raises(errors.RaggedError, match="PYL130"):
        pylstm.Model(x, multiply(x))(sequences())


def test_a_lambda_with_its_fix():
    double = keras.layers.Lambda(lambda x: 2 * x, mask=lambda x, mask: mask)
    assert_each_alone(
        pylstm.Sequential([keras.Input((None, 5)), double, pylstm.LSTM(4)]), sequences()
    )


def test_a_last_layer_with_several_outputs_keeps_them():
    model = pylstm.Sequential([keras.Input((None, 5)), pylstm.LSTM(4, return_state=True)])
    y, h, _ = model(sequences())
    assert y.shape == h.shape == (6, 4)
    np.testing.assert_array_equal(y, h)


def test_behind_the_last_step_nothing_is_lost():
    layers = [pylstm.LSTM(4), keras.layers.Reshape((2, 2)), keras.layers.Flatten()]
    assert_each_alone(pylstm.Sequential([keras.Input((None, 5)), *layers]), sequences())


def decoder(x, states):
    _, *encoded = pylstm.LSTM(3, return_state=True)(x, initial_state=states)
    return pylstm.LSTM(3)(outputs_per_step(x), initial_state=encoded)


# Keras hands a layer of several tensors no mask.
WITH_STATES = {
    "pylstm": lambda x, states: pylstm.LSTM(3)(x, initial_state=states),
    "lstm": lambda x, states: keras.layers.LSTM(3)(x, initial_state=states),
    "gru": lambda x, states: keras.layers.GRU(3)(x, initial_state=states[0]),
    "by position": lambda x, states: pylstm.LSTM(3)(x, states),
    "state": lambda x, states: pylstm.LSTM(3, return_state=True)(x, initial_state=states)[2],
    "bidirectional": lambda x, states: keras.layers.Bidirectional(pylstm.LSTM(3))(
        x, initial_state=states * 2
    ),
    "behind outputs per step": lambda x, states: average(
        pylstm.LSTM(3, return_sequences=True)(x, initial_state=states)
    ),
    "decoder": decoder,
}


@pytest.mark.parametrize("name", WITH_STATES)
def test_layers_with_initial_states_see_no_padding(name):
    x, h, c = keras.Input((None, 5)), keras.Input((3,)), keras.Input((3,))
    model = pylstm.Model([x, h, c], WITH_STATES[name](x, [h, c]))
    seqs = sequences()
    h, c = np.random.default_rng(1).normal(size=(2, len(seqs), 3)).astype("float32")
    alone = [
        model.predict([seq[None], h[i : i + 1], c[i : i + 1]], verbose=0)[0]
        for i, seq in enumerate(seqs)
    ]
    assert_close(model.predict([seqs, h, c], verbose=0), alone, "float32")
    assert_close(model([seqs, h, c]), alone, "float32")


def tokens_and_numbers(ids, x):
    return keras.layers.Concatenate()([keras.layers.Embedding(9, 2, mask_zero=True)(ids), x])


# Keras makes the mask of these a part of the graph, which knows nothing of the lists' own padding.
WITH_GRAPH_MASKS = {
    "last step": lambda ids, x: pylstm.LSTM(4)(tokens_and_numbers(ids, x)),
    "outputs per step": lambda ids, x: outputs_per_step(tokens_and_numbers(ids, x)),
    "average": lambda ids, x: average(tokens_and_numbers(ids, x)),
    "attention": lambda ids, x: average(residual_attention(tokens_and_numbers(ids, x))),
    "dot product attention": lambda ids, x: average(
        keras.layers.Attention()([tokens_and_numbers(ids, x)] * 2)
    ),
    "model inside": lambda ids, x: inside(pylstm.LSTM(3), tokens_and_numbers(ids, x)),
    "two embeddings": lambda ids, x: pylstm.LSTM(3)(
        tokens_and_numbers(ids, keras.layers.Embedding(9, 2)(ids))
    ),
    "masking": lambda ids, x: pylstm.LSTM(3)(
        keras.layers.Concatenate()([keras.layers.Masking(-9.0)(x), keras.layers.Dense(2)(x)])
    ),
}


@pytest.mark.parametrize("name", WITH_GRAPH_MASKS)
def test_masks_of_the_graph_count_beside_those_of_the_lists(name):
    ids, x = keras.Input((None,), dtype="int32"), keras.Input((None, 5))
    seqs = sequences()
    words = [np.arange(1, len(seq) + 1) for seq in seqs]
    with warnings.catch_warnings(action="ignore"):  # where Keras' own graph loses it
        model = pylstm.Model([ids, x], WITH_GRAPH_MASKS[name](ids, x))
        alone = [
            model.predict([word[None], seq[None]], verbose=0)[0]
            for word, seq in zip(words, seqs, strict=True)
        ]
    got = model.predict([words, seqs], verbose=0)
    for one, other in zip(got, alone, strict=True):
        assert_close(one, other, "float32")


def test_lengths_count_beside_the_lists_own():
    x, lengths = keras.Input((None, 5)), keras.Input((), dtype="int32")
    model = pylstm.Model([x, lengths], pylstm.LSTM(4)(x, lengths=lengths))
    seqs = sequences()
    shorter = np.array([max(1, len(seq) - 1) for seq in seqs])
    alone = [
        model.predict([seq[None, :n], np.array([n])], verbose=0)[0]
        for seq, n in zip(seqs, shorter, strict=True)
    ]
    assert_close(model.predict([seqs, shorter], verbose=0), alone, "float32")
    assert_close(model.predict([pylstm.pad(seqs).x, shorter], verbose=0), alone, "float32")


# Options of operations that need some.
OPTIONS_OF = {
    "Cast": ["float16"],
    "Clip": [-0.5, 0.5],
    "SaturateCast": ["float16"],
    "Threshold": [0.5, 0.0],
}
# Operations that leave the numbers of one tensor of this shape in their places, but not of all.
REARRANGE = {"Concatenate", "Hstack", "Squeeze", "Stack", "Unstack", "View", "Vstack"}


def kinds_of(base):
    for kind in base.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def is_pointwise(kind, dtype):
    """Whether each number of the output is of that number of the one or two inputs alone."""
    operation = kind(*OPTIONS_OF.get(kind.__name__, []))
    parameters = inspect.signature(operation.call).parameters.values()
    required = [each for each in parameters if each.default is each.empty]
    x = (np.random.default_rng(0).normal(size=(len(required), 2, 3, 4)) * 5).astype(dtype)
    x[1:] = abs(x[:1, ::-1, ::-1, ::-1])  # percentages, too, and members of the first

    def run(x):
        return ops.convert_to_numpy(operation.call(*map(ops.convert_to_tensor, x)))

    if not 1 <= len(x) <= 2 or (y := run(x)).shape != x[0].shape:
        return False
    if not np.array_equal(run(x[:, :, ::-1]), y[:, ::-1], equal_nan=y.dtype.kind == "f"):
        return False
    for changed in np.ndindex(len(x), 1, 2, 4):
        other = x.copy()
        other[changed] = -30
        same = (run(other) == y) | (y != y)
        same[changed[1:]] = True
        if not same.all():
            return False
    return True


def test_every_pointwise_operation_of_keras_passes_the_mask():
    found = {"Where"}  # it takes three
    for kind in kinds_of(keras.Operation):
        if kind.__module__.startswith(("keras.src.ops.", "keras.src.activations.")):
            for dtype in ("float32", "int32"):
                with contextlib.suppress(Exception):  # others want other arguments
                    if is_pointwise(kind, dtype):
                        found.add(kind.__name__)
    assert sorted(found - REARRANGE) == sorted(mask_rules._POINTWISE)
