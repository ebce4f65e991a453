"""`convert` and `to_keras` swap the layers and keep everything else."""

import textwrap
import threading

import keras
import numpy as np
import pytest

import pylstm
from tests import backends

STOCK = keras.layers.LSTM


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(7)


@pytest.fixture
def x(rng):
    return rng.standard_normal((8, 6, 3)).astype("float32")


def lstm_types(model):
    return {type(layer) for layer in model._flatten_layers() if isinstance(layer, STOCK)}


def nested_model(lstm):
    inputs = keras.Input((None, 3))
    shared = lstm(4, return_sequences=True, dropout=0.2, seed=3, name="shared")
    hidden = keras.layers.Add()([shared(inputs), shared(keras.ops.flip(inputs, 1))])
    encoder = keras.Model(inputs, keras.layers.Bidirectional(lstm(5))(hidden), name="encoder")
    outer = keras.Input((2, None, 3))
    encoded = keras.layers.TimeDistributed(encoder)(outer)
    scaled = keras.layers.Lambda(lambda y: 2 * y)(lstm(3)(encoded))
    return keras.Model(outer, scaled)


@pytest.mark.parametrize(
    ("source", "swap", "target"),
    [(STOCK, pylstm.convert, pylstm.LSTM), (pylstm.LSTM, pylstm.to_keras, STOCK)],
    ids=["convert", "to_keras"],
)
def test_nested_and_wrapped_layers(source, swap, target, x):
    model = nested_model(source)
    copy = swap(model)
    assert lstm_types(model) == {source}
    assert lstm_types(copy) == {target}
    x = np.stack([x, x[:, ::-1]], axis=1)
    np.testing.assert_allclose(copy(x), model(x), atol=2e-6)
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]


def test_training_goes_on_where_it_was(x):
    model = keras.Sequential([keras.Input((None, 3)), STOCK(4, dropout=0.3), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    model.fit(x, x[:, 0, :1], epochs=2, verbose=0)
    copy = pylstm.convert(model)
    losses = [
        each.fit(x, x[:, 0, :1], epochs=3, shuffle=False, verbose=0).history
        for each in (model, copy)
    ]
    for metric in ("loss", "mae"):
        np.testing.assert_allclose(losses[1][metric], losses[0][metric], rtol=1e-5)


def test_compiled_but_never_trained(x):
    model = keras.Sequential([keras.Input((None, 3)), STOCK(4)])
    model.compile("adam", "mse")
    assert pylstm.convert(model).fit(x, x[:, 0, :1].repeat(4, 1), verbose=0).history["loss"]


@pytest.mark.parametrize("swap", [pylstm.convert, pylstm.to_keras])
@pytest.mark.parametrize("change", ["another head", "int8", "lora", "one more layer"])
def test_changed_since_it_was_trained(swap, change, x):
    lstm = STOCK if swap is pylstm.convert else pylstm.LSTM
    model = keras.Sequential([keras.Input((None, 3)), lstm(4), keras.layers.Dense(3)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(x, x[:, 0], verbose=0)
    if change == "int8":
        model.quantize("int8")
    elif change == "lora":
        model.layers[-1].enable_lora(2)
    elif change == "one more layer":
        model.add(keras.layers.Dense(2))
    else:
        model.pop()
        model.add(keras.layers.Dense(2))
    with pytest.warns(UserWarning, match="optimizer was built with. That of the copy begins anew"):
        copy = swap(model)
    np.testing.assert_allclose(copy(x), model(x), atol=1e-6)
    assert float(copy.optimizer.learning_rate) == pytest.approx(0.01)
    losses = copy.fit(x, x[:, 0, : model.output_shape[-1]], epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def own_loss(y_true, y_pred):
    return keras.ops.mean((y_true - y_pred) ** 2, -1)


class OwnLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return own_loss(y_true, y_pred)


class OwnMetric(keras.metrics.Mean):
    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(own_loss(y_true, y_pred))


class OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.01

    def get_config(self):
        return {}


class OwnOptimizer(keras.optimizers.Adam):
    pass


@pytest.mark.parametrize(
    ("optimizer", "loss", "metric"),
    [
        (lambda: "adam", own_loss, own_loss),
        (lambda: "adam", lambda t, p: own_loss(t, p), lambda t, p: own_loss(t, p)),
        (lambda: OwnOptimizer(OwnSchedule()), OwnLoss(), OwnMetric()),
    ],
    ids=["functions", "lambdas", "classes"],
)
def test_compiled_with_what_only_the_user_knows(optimizer, loss, metric, x):
    y = x[:, 0, :2]
    encoder = keras.Sequential([keras.Input((None, 3)), STOCK(4)])
    encoder.compile("sgd", loss)
    model = keras.Sequential([keras.Input((None, 3)), encoder, keras.layers.Dense(2)])
    model.compile(optimizer(), loss, metrics=[metric], steps_per_execution=2)
    model.fit(x, y, verbose=0)
    copy = pylstm.convert(model)
    assert copy.layers[0].loss is loss
    assert copy.steps_per_execution == 2
    assert copy.optimizer is not model.optimizer
    losses = [each.fit(x, y, epochs=2, verbose=0).history for each in (model, copy)]
    for name, expected in losses[0].items():
        np.testing.assert_allclose(losses[1][name], expected, rtol=1e-5)


def test_loss_scaling_stays(x):
    model = keras.Sequential([keras.Input((None, 3)), STOCK(2)])
    model.dtype_policy = "mixed_float16"
    model.compile("adam", "mse")
    model.fit(x, x[:, 0, :2], verbose=0)
    assert isinstance(pylstm.convert(model).optimizer, keras.optimizers.LossScaleOptimizer)


class OwnCompile(keras.Model):
    def compile(self, rate):
        super().compile(keras.optimizers.SGD(rate), "mse")


def test_compiled_in_its_own_way(x):
    inputs = keras.Input((None, 3))
    model = OwnCompile(inputs, STOCK(4)(inputs))
    model.compile(0.1)
    with pytest.warns(UserWarning, match="`compile\\(\\)` method is custom"):
        assert not pylstm.convert(model).compiled


def scaled_by(factor):
    def scaled(y):
        return factor * keras.ops.tanh(y)

    return scaled


class OwnConstraint(keras.constraints.Constraint):
    def __call__(self, weights):
        return weights / 2


OFFSET = np.float32(1)
DENSE = keras.layers.Dense(3)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.Lambda(lambda y: keras.ops.mean(y, 1), output_shape=(4,)),
        lambda: keras.layers.Lambda(lambda y: y + OFFSET),
        lambda: keras.layers.Lambda(lambda y, dense=DENSE: dense(y)),
        lambda: keras.layers.Lambda(scaled_by(2)),
        lambda: keras.layers.Lambda(keras.ops.exp),
        lambda: keras.layers.TimeDistributed(keras.layers.Lambda(lambda y: y + OFFSET)),
        lambda: keras.layers.Dense(3, lambda y: y + OFFSET, kernel_constraint=OwnConstraint()),
        lambda: keras.layers.Dense(3, kernel_initializer=lambda shape, dtype: np.ones(shape)),
        lambda: STOCK(3, scaled_by(0.5), scaled_by(0.3)),
    ],
)
def test_functions_of_layers_stay_the_same(layer, x):
    model = keras.Sequential([keras.Input((6, 3)), STOCK(4, return_sequences=True), layer()])
    np.testing.assert_allclose(pylstm.convert(model)(x), model(x), atol=2e-6)
    assert scaled_by(2).__name__ == "scaled"


def test_frozen_parts_stay_frozen(x):
    model = keras.Sequential([keras.Input((None, 3)), STOCK(4, return_sequences=True), STOCK(2)])
    model.compile("adam", "mse")
    model.fit(x, x[:, 0, :2], verbose=0)  # its optimizer has slots for all weights
    model.layers[0].cell.trainable = False
    model.layers[1].cell.bias.trainable = False
    copy = pylstm.convert(model)
    assert not copy.layers[0].cell.trainable
    assert len(copy.trainable_variables) == 2
    assert len(copy.optimizer.variables) == len(model.optimizer.variables)


@pytest.mark.parametrize("wrap", [lambda layer: layer, keras.layers.Bidirectional])
def test_a_stateful_layer_goes_on_where_it_was(wrap, x):
    model = keras.Sequential([keras.Input(batch_shape=x.shape), wrap(STOCK(4, stateful=True))])
    model(x)
    np.testing.assert_allclose(pylstm.convert(model)(x), model(x), atol=2e-6)


PREPROCESSING = """
    import keras, numpy as np, pylstm
    from keras.layers import Discretization, Embedding, IntegerLookup, Normalization

    numbers = np.random.default_rng(0).normal(5.0, 3.0, (4, 6)).astype("float32")
    cases = [
        (Normalization(), numbers[..., None], []),
        (IntegerLookup(), numbers.astype("int64"), [Embedding(30, 3)]),
        (Discretization(num_bins=4), numbers, [Embedding(30, 3)]),
    ]
    if keras.backend.backend() == "tensorflow":
        words = np.array([["b", "a"], ["c", "b"]], object)
        cases.append((keras.layers.StringLookup(), words, [Embedding(30, 3)]))
        cases.append((keras.layers.TextVectorization(), words[:, :1], [Embedding(30, 3)]))
    for layer, x, behind in cases:
        layer.adapt(x)
        x = keras.ops.convert_to_tensor(x)
        front = [keras.Input(x.shape[1:], dtype=keras.backend.standardize_dtype(x.dtype)), layer]
        for kind, swap in (
            (keras.layers.LSTM, pylstm.convert),
            (pylstm.LSTM, pylstm.to_keras),
        ):
            model = keras.Sequential([*front, *behind, kind(4)])
            want, got = (keras.ops.convert_to_numpy(m(x)) for m in (model, swap(model)))
            np.testing.assert_allclose(got, want, atol=1e-6)
"""


@pytest.mark.parametrize("backend", ["tensorflow", *backends.OTHERS])
def test_what_preprocessing_layers_have_learned_stays(backend):
    backends.run_python(backend, "-W", "ignore", "-c", textwrap.dedent(PREPROCESSING))


def test_bare_layer_keeps_its_options():
    layer = pylstm.convert(STOCK(4, activation="relu", go_backwards=True, name="mine"))
    assert type(layer) is pylstm.LSTM
    assert (layer.name, layer.go_backwards, layer.kernel) == ("mine", True, "auto")
    back = pylstm.to_keras(pylstm.LSTM(4, kernel="keras", use_cudnn=False, implementation=1))
    assert type(back) is STOCK
    for layer in (back, pylstm.convert(back)):
        assert (layer.use_cudnn, layer.cell.implementation) == (False, 1)


class Scale(keras.layers.Layer):
    def call(self, inputs):
        return 3 * inputs


def test_custom_layers_need_no_registration(x):
    model = keras.Sequential([keras.Input((None, 3)), Scale(), STOCK(4)])
    np.testing.assert_allclose(pylstm.convert(model)(x), model(x), atol=2e-6)


class Hidden(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.lstm = STOCK(4, name="inner")

    def call(self, inputs):
        return self.lstm(inputs)


class Bare(keras.Model):
    """Its constructor does not take what Keras writes down for every model."""

    def __init__(self):
        super().__init__()
        self.lstm = STOCK(4, name="inner")

    def call(self, inputs):
        return self.lstm(inputs)


@pytest.mark.parametrize("model_class", [Hidden, Bare])
def test_layers_made_by_code_are_refused(model_class, x):
    model = model_class()
    model(x)
    with pytest.raises(ValueError, match=r"PYL145.* 'inner'(.|\n)*made by the Python code"):
        pylstm.convert(model)


@pytest.mark.parametrize("model", [None, "model.keras", [STOCK(4)]])
@pytest.mark.parametrize("swap", [pylstm.convert, pylstm.to_keras])
def test_what_is_no_model(swap, model):
    with pytest.raises(
        TypeError, match=rf"PYL142(.|\n)*got: +{type(model).__name__}\n.*load_model"
    ):
        swap(model)


def test_another_reason_why_a_model_cannot_be_copied_stays():
    class Sized(keras.layers.Layer):
        def __init__(self, size):
            super().__init__()

        def call(self, inputs):
            return inputs

    model = keras.Sequential([keras.Input((None, 3)), Sized(2), STOCK(4)])
    with pytest.raises(TypeError, match="class 'Sized'"):
        pylstm.convert(model)


def test_a_nested_model_of_the_same_input(x):
    inputs = keras.Input((None, 3))
    nested = keras.Model(inputs, STOCK(3, return_sequences=True)(inputs))
    model = keras.Model(inputs, STOCK(4)(nested(inputs)))
    np.testing.assert_allclose(pylstm.convert(model)(x), model(x), atol=1e-6)


@pytest.mark.parametrize("around", ["model", "wrapper"])
def test_a_layer_inside_a_nested_model_and_outside_of_it(around, x):
    inputs = keras.Input((None, 3))
    shared = keras.layers.Dense(3, name="shared")
    if around == "model":
        nested = keras.Model(inputs, shared(inputs), name="nested")
    else:
        nested = keras.layers.TimeDistributed(shared, name="nested")

    def model_of(layer):
        both = keras.layers.Add()([layer(inputs), shared(2 * inputs)])
        return keras.Model(inputs, STOCK(4)(both), name="outer")

    model = model_of(nested)
    with pytest.raises(ValueError, match=r"PYL145.*'shared'(.|\n)*'outer', 'nested'") as caught:
        pylstm.convert(model)
    assert caught.value.fix.startswith("call this layer itself in place of a nested model")
    fixed = model_of(shared)
    fixed.layers[-1].set_weights(model.layers[-1].get_weights())
    np.testing.assert_allclose(pylstm.convert(fixed)(x), model(x), atol=1e-6)


def test_a_mask_value_is_not_dropped_in_silence():
    layer = pylstm.LSTM(4, mask_value=-1.0, name="mine")
    with pytest.raises(
        ValueError, match=r"PYL145.*'mine'(.|\n)*got: +mask_value=-1.0\n.*Masking\(-1.0\)"
    ):
        pylstm.to_keras(keras.Sequential([keras.Input((None, 3)), layer]))


def test_two_threads_leave_the_names_of_functions_as_they_were():
    def double(x):
        return 2 * x

    reading, left = threading.Event(), threading.Event()
    waits = []

    class Slow(keras.layers.Layer):
        def get_config(self):
            reading.set()
            waits.append(not left.wait(0.5))
            return super().get_config()

    def model_of(*layers):
        return keras.Sequential([keras.Input((None, 3)), keras.layers.Lambda(double), *layers])

    first, other = model_of(Slow()), model_of()

    def second():
        reading.wait()
        pylstm.convert(other)
        left.set()

    thread = threading.Thread(target=second)
    thread.start()
    pylstm.convert(first)
    thread.join()
    assert waits[0]  # the second, for the first to have been read
    assert double.__name__ == "double"
