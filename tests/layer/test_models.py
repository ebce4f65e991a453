"""The layer inside every kind of model gives what stock Keras' layer gives there."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.layers import LSTM as STOCK

from pylstm import LSTM


def same_weights(build, x, *, call=lambda model, x: model(x)):
    """Builds a model with each LSTM class, gives both the same weights and calls them.

    Returns:
        The outputs of stock and ours, as lists of arrays, and our model.
    """
    models = []
    for lstm in (STOCK, LSTM):
        keras.utils.set_random_seed(4)
        models.append(build(lstm))
        call(models[-1], x)
    stock, ours = models
    ours.set_weights(stock.get_weights())
    results = (tf.nest.flatten(call(model, x)) for model in models)
    return *([np.asarray(y) for y in outputs] for outputs in results), ours


def assert_same(build, x, atol=2e-6, **kwargs):
    stock, ours, model = same_weights(build, x, **kwargs)
    for a, b in zip(ours, stock, strict=True):
        np.testing.assert_allclose(a, b, atol=atol)
    assert_fused(model)
    return model


def assert_fused(model):
    used = [layer for layer in model._flatten_layers() if type(layer) is LSTM]
    assert used
    assert {layer.path for layer in used} == {"fused"}


@pytest.fixture
def x(rng):
    return rng.standard_normal((4, 7, 3)).astype("float32")


def sequential(lstm):
    return keras.Sequential(
        [layers.Masking(0.5), lstm(6, return_sequences=True), lstm(5), layers.Dense(2)]
    )


def functional(lstm):
    inputs = keras.Input((None, 3))
    hidden, h, c = lstm(6, return_sequences=True, return_state=True)(inputs)
    outputs = lstm(6)(hidden, initial_state=[c, h])
    return keras.Model(inputs, [outputs, h])


def subclassed(lstm):
    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.encode = lstm(6, return_sequences=True, go_backwards=True)
            self.reduce = lstm(4)

        def call(self, inputs, training=False):
            return self.reduce(self.encode(inputs, training=training))

    return Classifier()


def bidirectional(lstm):
    return keras.Sequential(
        [
            layers.Bidirectional(lstm(4, return_sequences=True)),
            layers.Bidirectional(lstm(3), merge_mode="sum", backward_layer=None),
        ]
    )


def bidirectional_states(lstm):
    inputs = keras.Input((None, 3))
    return keras.Model(inputs, layers.Bidirectional(lstm(4, return_state=True))(inputs))


def bidirectional_masked(lstm):
    return keras.Sequential(
        [layers.Masking(0.5), layers.Bidirectional(lstm(4, return_sequences=True))]
    )


def time_distributed(lstm):
    return keras.Sequential(
        [keras.Input((2, 7, 3)), layers.TimeDistributed(lstm(4)), lstm(3)],
    )


def time_distributed_dynamic(lstm):
    return keras.Sequential(
        [keras.Input((None, 7, 3)), layers.TimeDistributed(lstm(4)), lstm(3)],
    )


def embedding_masked(lstm):
    return keras.Sequential(
        [layers.Embedding(10, 4, mask_zero=True), lstm(4, return_sequences=True), lstm(3)]
    )


def regularized(lstm):
    return keras.Sequential(
        [lstm(4, activity_regularizer="l2", kernel_regularizer="l2", kernel_constraint="non_neg")]
    )


@pytest.mark.parametrize(
    "build",
    [
        sequential,
        functional,
        subclassed,
        bidirectional,
        bidirectional_states,
        bidirectional_masked,
        regularized,
    ],
)
@pytest.mark.parametrize("how", ["call", "predict"])
def test_models(build, how, x):
    x[1:, 4:] = 0.5
    x[2] = 0.5
    call = {"call": lambda m, x: m(x), "predict": lambda m, x: m.predict(x, verbose=0)}[how]
    assert_same(build, x, call=call)


@pytest.mark.parametrize("build", [time_distributed, time_distributed_dynamic])
def test_time_distributed(build, rng):
    x = rng.standard_normal((3, 2, 7, 3)).astype("float32")
    assert_same(build, x)
    assert_same(build, x, call=lambda model, x: model.predict(x, verbose=0))


def test_time_distributed_in_mixed_precision(rng):
    """`TimeDistributed` runs `call` without the scope in which Keras casts variables."""
    keras.config.set_dtype_policy("mixed_float16")
    assert_same(time_distributed, rng.standard_normal((3, 2, 7, 3)), atol=2e-3)


@pytest.mark.parametrize("autocast", ["mixed_bfloat16", "mixed_float16"])
def test_time_distributed_casts_no_weights_of_a_layer_of_another_dtype(autocast, rng):
    x = rng.standard_normal((3, 2, 7, 3)).astype("float32")
    outputs = []
    for lstm in (STOCK, LSTM):
        inner = lstm(4, dtype="float32")
        inner.build((None, 7, 3))
        inner.set_weights([np.full(w.shape, 0.1001 + i) for i, w in enumerate(inner.get_weights())])
        keras.config.set_dtype_policy(autocast)
        outputs.append(np.asarray(layers.TimeDistributed(inner)(x), "float32"))
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(*outputs, atol=1e-6)


def test_time_distributed_masks_by_value(rng):
    x = rng.standard_normal((3, 2, 7, 3)).astype("float32")
    x[:, :, 4:] = -1
    inner = LSTM(4, mask_value=-1.0)
    got = layers.TimeDistributed(inner)(x)
    for i in range(2):
        np.testing.assert_allclose(got[:, i], inner(x[:, i, :4]), atol=1e-6)


def encoder_decoder(lstm):
    tokens = keras.Input((None,))
    vectors = layers.Embedding(10, 4, mask_zero=True)(tokens)
    _, h, c = lstm(5, return_state=True)(vectors)
    decoded = lstm(5, return_sequences=True)(vectors, initial_state=[h, c])
    return keras.Model(tokens, layers.GlobalAveragePooling1D()(decoded))


def test_encoder_and_decoder(rng):
    """Keras drops an implicit mask where a state is passed too, but hands it on."""
    assert_same(encoder_decoder, rng.integers(0, 10, (4, 6)))


def test_batch_jacobian(x):
    stock, ours = STOCK(4), LSTM(4)
    jacobians = []
    for layer in (stock, ours):
        layer.build(x.shape)
        layer.set_weights(stock.get_weights())
        inputs = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
        jacobians.append(tape.batch_jacobian(outputs, inputs))
    np.testing.assert_allclose(jacobians[1], jacobians[0], atol=1e-6)
    assert ours.path == "fused"


def test_mirrored_strategy(x):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = keras.Sequential([LSTM(4), layers.Dense(1)])
        model.compile("adam", "mse")
    assert model.fit(x, x[:, 0, :1], epochs=2, verbose=0).history["loss"]
    assert model.layers[0].path == "fused"


def test_mask_of_an_embedding(rng):
    assert_same(embedding_masked, rng.integers(0, 10, (4, 6)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_policies(policy, x):
    keras.config.set_dtype_policy(policy)
    x[2, 3:] = 0.5
    model = assert_same(sequential, x, atol={"float64": 1e-12}.get(policy, 2e-2))
    layer = model.layers[1]
    assert layer(x).dtype.name == keras.DTypePolicy(policy).compute_dtype
    assert layer.weights[0].dtype == keras.DTypePolicy(policy).variable_dtype


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float32"])
def test_training(policy, x):
    keras.config.set_dtype_policy(policy)
    losses = []
    for lstm in (STOCK, LSTM):
        keras.utils.set_random_seed(8)
        model = sequential(lstm)
        model.compile("adam", "mse")
        data = tf.data.Dataset.from_tensor_slices((x, x[:, 0, :2])).batch(2)
        losses.append(model.fit(data, epochs=3, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4 if policy == "float32" else 2e-2)
    assert losses[1][-1] < losses[1][0]
    assert_fused(model)


def test_regularization_loss_is_that_of_stock(x):
    losses = []
    for lstm in (STOCK, LSTM):
        keras.utils.set_random_seed(8)
        model = regularized(lstm)
        model(x)
        losses.append(float(tf.add_n(model.losses)))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert_fused(model)


def test_stateful(x):
    def build(lstm):
        return keras.Sequential([keras.Input(batch_shape=(4, None, 3)), lstm(5, stateful=True)])

    def call(model, x):
        model.layers[0].reset_state()
        first = model(x)
        second = model(x[:, :3])
        model.layers[0].reset_state()
        return [first, second, model(x)]

    model = assert_same(build, x, call=call)
    first, second, _ = (np.asarray(y) for y in call(model, x))
    assert not np.allclose(first, second)
    whole = np.concatenate([x, x[:, :3]], axis=1)
    model.layers[0].reset_state()
    np.testing.assert_allclose(model(whole), second, atol=1e-6)


def test_mask_reaches_the_next_layer_as_with_stock(x):
    mask = np.arange(7) < np.array([[7], [3], [0], [5]])
    for return_sequences in (True, False):
        masks = []
        for lstm in (STOCK, LSTM):
            y = lstm(5, return_sequences=return_sequences)(x, mask=mask)
            masks.append(getattr(y, "_keras_mask", None))
        if return_sequences:
            np.testing.assert_array_equal(masks[0], mask)
            np.testing.assert_array_equal(masks[1], mask)
        else:
            assert masks == [None, None]


def test_training_is_inherited_from_the_model(rng, fused_calls, x):
    model = keras.Sequential([LSTM(4, dropout=0.5)])
    model(x)
    model(x, training=True)
    assert [call["save_for_backward"] for call in fused_calls] == [False, True]
    assert not np.allclose(model(x), model(x, training=True))


def test_layer_in_a_tf_function_that_differentiates(x):
    layer = LSTM(4)
    layer.build(x.shape)

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, training=True) ** 2)
        return tape.gradient(loss, [w.value for w in layer.trainable_weights])

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True) ** 2)
    eager = tape.gradient(loss, [w.value for w in layer.trainable_weights])
    for a, b in zip(gradient(tf.constant(x)), eager, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
