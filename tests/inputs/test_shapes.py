"""Mistakes in an input's shape.

Where an input is corrected, the numbers are those of the well-formed input, in each way
to run a layer; where it is refused, message, code and parts of the error are checked.
"""

import functools
import warnings

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import pylstm
from pylstm import errors
from tests.inputs.support import (
    UNITS,
    assert_close,
    corrections_of,
    data,
    eager,
    fit,
    graph,
    last_outputs,
    lstm,
    predict,
)

X = data(6, 5, 3)
TRAINED = pytest.mark.parametrize("way", [eager, graph, predict, fit])


def assert_read_as(x, way, wrong, *codes, features=3):
    """Checks that `wrong` gives the numbers of `x`, with a warning of each of `codes`."""
    layer = lstm(features)
    numbers, warned = corrections_of(way, layer, wrong)
    assert tuple(warned) == codes
    right = lstm(features)
    assert_close(numbers, fit(right, x) if way is fit else last_outputs(right, x))
    if way is eager:  # A model corrects its symbolic input, once and for all.
        assert [c.code for c in layer.corrections if not c.silent] == list(codes)


@TRAINED
def test_an_axis_of_size_1_behind_the_batch(way):
    assert_read_as(X, way, X[:, None], "PYL123")


def test_one_recording_to_a_built_layer():
    assert_read_as(X[:1], eager, X[0], "PYL121")
    assert_read_as(X[:1], eager, keras.ops.convert_to_tensor(X[0]), "PYL121")


def test_predict_would_cut_one_recording_into_samples():
    with pytest.raises(errors.RankError, match=r"PYL101(?s:.*)expand_dims\(x, 0\)") as caught:
        predict(lstm(3), X[0])
    assert caught.value.got == "(5, 3) float32"


def test_one_recording_to_an_unbuilt_layer_has_two_readings():
    with pytest.raises(errors.RankError, match=r"PYL102.*more than one way") as caught:
        lstm()(X[0])
    assert caught.value.layer.startswith("lstm")
    assert caught.value.expected == "(batch, time, features)"
    assert caught.value.got == "(5, 3) float32"
    one, many = caught.value.fix.splitlines()
    assert one == "keras.ops.expand_dims(x, 0)     to mean 1 sequence of 5 steps with 3 features"
    assert many == "keras.ops.expand_dims(x, -1)     to mean 5 sequences of 3 steps with 1 feature"


@pytest.mark.parametrize("way", [predict, fit])
def test_a_table_to_an_unbuilt_model(way):
    with pytest.raises(errors.RankError, match=r"PYL101(?s:.*)keras.Input\(\(3, 1\)\)"):
        way(lstm(), X[0])


@pytest.mark.parametrize("kind", [np.asarray, tf.constant, np.ndarray.tolist, pd.DataFrame])
def test_the_lines_take_what_was_given(kind):
    x = kind(X[0])

    def results(error, layer):
        with pytest.raises(error) as caught:
            layer(x)
        lines = [line.split("     ")[0] for line in caught.value.fix.splitlines()]
        return [eval(line, {"keras": keras, "x": x}) for line in lines]

    one, many = results(errors.RankError, lstm())
    assert_close(one, X[:1])
    assert_close(many, X[0][..., None])
    (swapped,) = results(errors.FeatureMismatchError, lstm(5))
    assert_close(swapped, X[0].T[None])


def test_one_recording_of_other_features():
    layer = lstm(13)
    with pytest.raises(errors.FeatureMismatchError, match="PYL103") as caught:
        layer(data(20, 7))
    assert caught.value.fix.startswith("add the missing 6 features")


def test_swapped_axes_of_one_recording():
    with pytest.raises(errors.FeatureMismatchError, match=r"PYL104.*axes look swapped") as caught:
        lstm(13)(data(13, 20))
    assert caught.value.fix.startswith("keras.ops.transpose(x)[None]")


@TRAINED
def test_swapped_axes_of_a_batch(way):
    with pytest.raises(errors.FeatureMismatchError, match=r"PYL104.*axes look swapped") as caught:
        way(lstm(13), data(6, 13, 20))
    assert caught.value.expected.startswith("(batch, time, features=13)")
    assert caught.value.got.endswith("axis 1 is 13, axis 2 is 20")
    assert caught.value.fix.startswith("np.transpose(x, (0, 2, 1))")


@TRAINED
def test_an_axis_of_size_1_in_front_of_the_features(way):
    assert_read_as(X, way, X[:, :, None], "PYL123")


def test_an_input_without_features():
    model, warned = corrections_of(keras.Sequential, [keras.Input((100,)), lstm()])
    assert warned == ["PYL122"]
    x = data(6, 100)
    model.compile("sgd", "mse")
    model.fit(x, np.ones((6, UNITS)), verbose=0)
    expected = last_outputs(model.layers[0], x[..., None])
    for numbers in (model(x), model(x[..., None]), model.predict(x, verbose=0)):
        assert_close(numbers, expected)


def test_a_functional_model_saves_and_loads(tmp_path):
    inputs = keras.Input((100,))
    with pytest.warns(errors.ShapeCorrectionWarning, match=r"PYL122"):
        model = keras.Model(inputs, lstm()(inputs))
    model.save(tmp_path / "model.keras")
    x = data(6, 100)
    assert_close(keras.models.load_model(tmp_path / "model.keras")(x), model(x))


@TRAINED
def test_no_feature_axis_where_the_layer_has_one_feature(way):
    assert_read_as(data(6, 5)[..., None], way, data(6, 5), features=1)


@TRAINED
def test_an_axis_of_size_1_at_the_end(way):
    assert_read_as(X, way, X[..., None])


@pytest.mark.parametrize("way", [predict, fit])
def test_the_rows_of_all_sequences_joined(way):
    with pytest.raises(errors.RankError, match=r"PYL101(?s:.*)reshape\(x, \(-1, T, 3\)\)"):
        way(lstm(3), X.reshape(-1, 3))


@pytest.mark.parametrize("way", ["call", "predict", "fit"])
def test_other_steps_than_declared(way):
    layer = lstm(3)
    model = keras.Sequential([keras.Input((5, 3)), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = data(6, 7, 3)
    expected = fit(lstm(3), x) if way == "fit" else last_outputs(layer, x)

    def trained_on(x):
        model.fit(x, np.ones((6, UNITS), np.float32), verbose=0)
        return np.concatenate([weight.ravel() for weight in layer.get_weights()])

    predict = functools.partial(model.predict, verbose=0)
    run = {"call": model, "predict": predict, "fit": trained_on}[way]
    numbers, warned = corrections_of(run, x)
    assert warned == ["PYL124"]
    assert_close(numbers, expected)
    assert corrections_of(run, x)[1] == []  # Once is enough.


def test_ragged_sequences_have_any_number_of_steps(recwarn):
    layer = lstm(3)
    model = pylstm.Sequential([keras.Input((5, 3)), layer])
    model.predict([np.ones((2, 3)), np.ones((4, 3))], verbose=0)
    assert not [w for w in recwarn if "PYL124" in str(w.message)]


def test_any_number_of_steps_was_declared():
    model = keras.Sequential([keras.Input((None, 3)), lstm()])
    for steps in (5, 7):
        assert corrections_of(model, data(6, steps, 3))[1] == []


def test_data_that_built_the_model_declare_nothing():
    model = keras.Sequential([lstm()])
    model.compile("sgd", "mse")
    for steps in (5, 7):
        x = data(6, steps, 3)
        assert corrections_of(lambda x: model.fit(x, np.ones((6, UNITS)), verbose=0), x)[1] == []


@TRAINED
@pytest.mark.parametrize(("got", "advice"), [(7, "drop 1 feature"), (4, "add the missing 2")])
def test_other_features(way, got, advice):
    with pytest.raises(errors.FeatureMismatchError, match=r"PYL103.*does not match") as caught:
        way(lstm(6), data(6, 5, got))
    assert caught.value.expected == "(batch, time, features=6)     built from (None, None, 6)"
    assert caught.value.got.endswith(f"axis 2 is {got}, not 6")
    assert advice in caught.value.fix
    assert f"keras.Input((None, {got}))" in caught.value.fix


def test_more_features_than_the_input_has():
    model = keras.Sequential([keras.Input((5, 1)), lstm()])
    model.compile("sgd", "mse")
    calls = (model, model.predict, lambda x: model.fit(x, np.ones((10, UNITS)), verbose=0))
    for call in calls:
        with pytest.raises(errors.FeatureMismatchError, match=r"PYL103") as caught:
            call(data(10, 5, 3))
        assert caught.value.got.endswith("axis 2 is 3, not 1")


def test_no_feature_axis_where_the_input_has_one_feature():
    layer = lstm()
    model = keras.Sequential([keras.Input((5, 1)), layer])
    x = data(10, 5)
    for call in (model, lambda x: model.predict(x, verbose=0)):
        assert_close(call(x), last_outputs(layer, x[..., None]))


@pytest.mark.parametrize(
    "between", [[], [keras.layers.Dropout(0.1)], [keras.layers.Dense(3, "relu")]]
)
@pytest.mark.parametrize("previous", [lstm, lambda: keras.layers.GRU(4)])
def test_stacked_without_return_sequences(previous, between):
    first = previous()
    with pytest.raises(errors.RankError, match=r"PYL106.*returns its last step only") as caught:
        keras.Sequential([keras.Input((5, 3)), first, *between, lstm(name="second")])
    assert caught.value.layer == "second"
    assert first.name in caught.value.what
    assert caught.value.fix == f"return_sequences=True in '{first.name}'"


def test_behind_and_inside_a_wrapper():
    wrapper = keras.layers.Bidirectional(lstm())
    with pytest.raises(errors.RankError, match=r"PYL106.*'bidirectional"):
        keras.Sequential([keras.Input((5, 3)), wrapper, lstm()])
    with pytest.raises(errors.RankError, match=r"PYL101(?s:.*)return_sequences=True") as caught:
        wrapper = keras.layers.Bidirectional(lstm())
        keras.Sequential([keras.Input((5, 3)), lstm(), wrapper])
    assert caught.value.layer == wrapper.name


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize(
    "first", [lambda: lstm(name="first"), lambda: keras.layers.Bidirectional(lstm(), name="first")]
)
@pytest.mark.parametrize(
    "second", [lambda: lstm(name="2nd"), lambda: keras.layers.Bidirectional(lstm(), name="2nd")]
)
def test_a_model_names_the_layer_in_front(declared, as_list, first, second):
    layers = [first(), keras.layers.Dropout(0.1), second(), keras.layers.Dense(1)]
    x = [X[0], X[1, :2], X[2]] if as_list else X[:3]

    def train():
        model = pylstm.Sequential([keras.Input((None, 3))] * declared + layers)
        model.compile("sgd", "mse")
        model.fit(x, np.zeros((3, 1)), verbose=0)

    with pytest.raises(errors.RankError, match=r"PYL106\] layer '2nd'.* 'first' ") as caught:
        train()
    assert caught.value.fix == "return_sequences=True in 'first'"


def test_a_model_that_could_not_be_built_takes_data_of_another_shape():
    model = pylstm.Sequential([lstm(name="first"), lstm()])
    for x in (X, X[:2], [X[0], X[1, :2]]):
        with pytest.raises(errors.RankError, match="PYL106"):
            model(x)


def test_a_subclassed_model_without_return_sequences():
    class Stacked(pylstm.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = lstm(), lstm()

        def call(self, x):
            return self.second(self.first(x))

    with pytest.raises(errors.RankError, match=r"PYL101") as caught:
        Stacked().predict(X, verbose=0)
    assert caught.value.fix.startswith("return_sequences=True in the layer in front")


def test_one_recording_to_an_unbuilt_wrapper_has_two_readings():
    with pytest.raises(errors.RankError, match=r"PYL102.*more than one way") as caught:
        keras.layers.Bidirectional(lstm(), name="both")(X[0])
    assert caught.value.layer == "both"
    one, many = caught.value.fix.splitlines()
    assert one.startswith("keras.ops.expand_dims(x, 0)     to mean 1 sequence of 5 steps")
    assert many.startswith("keras.ops.expand_dims(x, -1)     to mean 5 sequences of 3 steps")


@pytest.mark.parametrize(
    ("front", "shape", "ways"),
    [
        ([keras.layers.Flatten()], (5, 3), ((15, 1), (1, 15))),
        ([keras.layers.GlobalAveragePooling1D()], (None, 3), ((3, 1), (1, 3))),
        ([keras.layers.Conv2D(4, 3)], (8, 8, 3), ((6, 24),)),
        ([keras.layers.Conv2D(4, 3)], (None, 8, 3), ((-1, 24),)),
        ([], (6, 5, 3), ((6, 15),)),
    ],
)
def test_behind_a_layer_that_gives_no_steps(front, shape, ways):
    front = [keras.Input(shape), *front]
    with pytest.raises(errors.RankError, match="PYL101") as caught:
        keras.Sequential([*front, lstm()])
    for way in ways:
        assert f"keras.layers.Reshape({way}) in front" in caught.value.fix
        reshape = keras.layers.Reshape(way)
        assert keras.Sequential([*front, reshape, lstm()]).output_shape == (None, UNITS)


@pytest.mark.parametrize("way", [predict, fit])
def test_while_keras_builds_from_data(way):
    with pytest.raises(errors.RankError, match=r"PYL106"):
        way(keras.Sequential([lstm(), lstm()]), X)


@pytest.mark.parametrize("kernel", ["auto", "keras"])
def test_no_sequences(kernel):
    assert eager(lstm(3, kernel=kernel), X[:0]).shape == (0, UNITS)
    whole = lstm(3, kernel=kernel, return_sequences=True, return_state=True)
    for steps in (0, 5):
        y, h, c = whole(X[:0, :steps])
        assert y.shape == (0, steps, UNITS)
        assert h.shape == c.shape == (0, UNITS)


@pytest.mark.parametrize("return_sequences", [False, True])
def test_a_ragged_tensor_without_rows(return_sequences):
    none = tf.RaggedTensor.from_row_lengths(tf.zeros((0, 3)), tf.zeros((0,), tf.int32))
    layer = lstm(3, return_sequences=return_sequences)
    model = pylstm.Sequential([keras.Input((None, 3)), layer])
    shape = (0, 0, UNITS) if return_sequences else (0, UNITS)
    assert layer(none).shape == layer(np.zeros((0, 0, 3))).shape == model(none).shape == shape
    assert model.predict(none, verbose=0).shape == model.predict_on_batch(none).shape == shape
    for join in (pylstm.pad, pylstm.ragged):
        with pytest.raises(errors.StructureError, match="PYL146"):
            join(none)


@pytest.mark.parametrize("kernel", ["auto", "keras"])
def test_no_steps(kernel):
    layer = lstm(3, kernel=kernel, return_sequences=True, return_state=True)
    state = [data(6, UNITS), data(UNITS, 6).T]
    y, h, c = layer(X[:, :0], initial_state=state)
    assert y.shape == (6, 0, UNITS)
    assert_close(h, state[0])
    assert_close(c, state[1])
    with pytest.raises(errors.TimestepError, match=r"PYL108.*no time step") as caught:
        lstm(3)(X[:, :0])
    assert caught.value.got.startswith("(6, 0, 3)")


@pytest.mark.parametrize("wrong", [np.float32(1), data(5), data(2, 3, 4, 5), data(1, 5, 1, 1, 1)])
def test_ranks_that_have_no_reading(wrong):
    with pytest.raises(errors.RankError, match=r"PYL10[12]"):
        lstm(3)(wrong)


def test_two_axes_of_size_1_that_both_could_go():
    with pytest.raises(errors.RankError, match=r"PYL102") as caught:
        lstm()(data(6, 1, 5, 1))
    assert "np.squeeze(x, axis=1)" in caught.value.fix
    assert "np.squeeze(x, axis=3)" in caught.value.fix


def test_features_must_be_known_to_build():
    with pytest.raises(errors.FeatureMismatchError, match=r"PYL103.*must be known to build"):
        keras.Sequential([keras.Input((None, None)), lstm()])


def test_wrappers_leave_the_check_to_the_layer():
    layer = keras.layers.Bidirectional(lstm())
    numbers, warned = corrections_of(layer, X[:, None])
    assert warned == ["PYL123", "PYL123"]  # One for each direction.
    assert_close(numbers, layer(X))
    with pytest.raises(errors.FeatureMismatchError, match=r"PYL103"):
        layer(data(6, 5, 7))
    with pytest.raises(errors.FeatureMismatchError, match=r"PYL103"):
        keras.layers.TimeDistributed(lstm(3))(data(6, 2, 5, 7))


def test_strict_refuses_what_auto_corrects_with_a_warning():
    for wrong, error in [
        (X[0], errors.RankError),
        (X[:, None], errors.RankError),
        ([X[0][None], X[1][None]], errors.RankError),
    ]:
        with pytest.raises(error, match=r"PYL12") as caught:
            lstm(3, validate="strict")(wrong)
        assert caught.value.fix
    strict = lstm(3, validate="strict")
    keras.Sequential([keras.Input((5, 3)), strict])
    with pytest.raises(errors.TimestepError, match=r"PYL124"):
        strict(data(6, 7, 3))
    assert_close(lstm(3, validate="strict")(X[..., None]), last_outputs(lstm(3), X))


def test_warn_tells_of_what_auto_corrects_silently():
    layer = lstm(3, validate="warn")
    assert corrections_of(layer, X[..., None])[1] == ["PYL123"]
    assert corrections_of(layer, list(X))[1] == ["PYL127"]
    assert corrections_of(layer, X)[1] == []


def test_a_warning_that_is_an_error_is_one_each_time():
    layer = lstm(3)
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("error", errors.ShapeCorrectionWarning)
            with pytest.raises(errors.ShapeCorrectionWarning, match="PYL121"):
                layer(X[0])
    assert corrections_of(layer, X[0])[1] == ["PYL121"]
    assert corrections_of(layer, X[0])[1] == []


def test_corrections_are_those_of_the_newest_call():
    layer = lstm(3)
    corrections_of(layer, X[0])
    (correction,) = layer.corrections
    assert correction.code == "PYL121"
    assert "(5, 3) float32 was read as (1, 5, 3)" in correction.message
    layer(X)
    assert layer.corrections == ()


@pytest.mark.parametrize(
    "call",
    [
        lambda: lstm(3)(X[0]),
        lambda: keras.layers.Bidirectional(lstm())(X[:, None]),
        lambda: keras.Sequential([keras.Input((5,)), lstm()]),
        lambda: keras.Sequential([lstm()]).predict(X[:, None], verbose=0),
        lambda: pylstm.Sequential([lstm(3)])(X[:, None]),
        lambda: pylstm.Sequential([keras.Input((5, 3)), lstm()]).predict(X[:, None], verbose=0),
        lambda: pylstm.pad([s[None] for s in X]),
    ],
)
def test_the_warning_points_at_the_users_line(call):
    with pytest.warns(errors.ShapeCorrectionWarning) as caught:
        call()
    assert caught[0].filename == __file__
    assert caught[0].lineno == call.__code__.co_firstlineno


@TRAINED
def test_well_formed_input_gives_the_numbers_of_keras_without_a_word(way):
    numbers, warned = corrections_of(way, lstm(3), X)
    assert warned == []
    keras.utils.set_random_seed(7)
    stock = keras.layers.LSTM(UNITS, bias_initializer="random_normal")
    stock.build((None, None, 3))
    assert_close(numbers, way(stock, X))


def test_well_formed_arguments_stay_the_same_objects():
    layer = lstm(3)
    mask, state = np.ones((6, 5), bool), [data(6, UNITS), data(6, UNITS)]
    for x in (X, keras.ops.convert_to_tensor(X), X.astype("float64")):
        prepared = pylstm.inputs.prepare(layer, x, mask=mask, initial_state=state)
        assert prepared.sequences is x
        assert prepared.mask is mask
        assert prepared.initial_state is state
        assert prepared.corrections == ()
        assert pylstm.inputs.prepare(layer, x) == (x, None, None, ())
