"""Several inputs: by name, in order, or absent."""

from collections import OrderedDict

import keras
import numpy as np
import pytest

import pylstm
from pylstm import errors
from tests.data import sequences
from tests.models.stock import classifier, two_inputs


def test_a_dict_of_one_input_before_the_model_is_built():
    seqs = sequences()
    model = pylstm.Sequential([keras.layers.Dense(4), pylstm.LSTM(3)])
    model.compile("sgd", "mse")
    model.fit({"a": seqs}, np.zeros((6, 3)), verbose=0)
    np.testing.assert_array_equal(
        model.predict({"a": seqs}, verbose=0), model.predict(seqs, verbose=0)
    )
    model = pylstm.Sequential([keras.layers.Dense(4), pylstm.LSTM(3)])
    with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)one input"):
        model.predict({"a": seqs, "b": seqs}, verbose=0)


def test_a_dict_without_an_input():
    signal, meta = keras.Input((None, 5), name="signal"), keras.Input((2,), name="meta")
    joined = keras.layers.Concatenate()([pylstm.LSTM(3)(signal), meta])
    x = {"signal": sequences(), "mta": np.zeros((6, 2))}
    by_name = "{'meta': ..., 'signal': ...}"  # in the order of Keras, which sorts the keys
    in_order = "{'signal': ..., 'meta': ...}"
    for inputs, fix in (
        ({"signal": signal, "meta": meta}, by_name),
        ([signal, meta], in_order),
    ):
        model = pylstm.Model(inputs, joined)
        for run in (model.predict, model):
            with pytest.raises(
                errors.StructureError, match=r"PYL146(?s:.*)with the keys"
            ) as caught:
                run(x)
            assert caught.value.got == "the keys 'signal', 'mta'"
            assert caught.value.fix == fix


def test_a_dict_of_one_input_takes_it_alone():
    x = {"x": keras.Input((None, 5), name="x")}
    model = pylstm.Model(x, pylstm.LSTM(3)(x["x"]))
    want = model.predict({"x": sequences()}, verbose=0)
    for same in (sequences(), pylstm.pad(sequences())):
        np.testing.assert_allclose(model.predict(same, verbose=0), want, atol=1e-6)


def test_a_dict_that_keeps_its_order():
    x = OrderedDict((name, keras.Input((None, 5), name=name)) for name in "ba")
    lstm = pylstm.LSTM(3)
    model = pylstm.Model(x, lstm(x["b"]) + 0.0 * pylstm.LSTM(3)(x["a"]))
    one, other = sequences(), sequences(seed=1)
    want = pylstm.Sequential([lstm]).predict(one, verbose=0)
    for given in ({"a": other, "b": one}, OrderedDict(b=one, a=other)):
        np.testing.assert_allclose(model.predict(given, verbose=0), want, atol=1e-6)
        np.testing.assert_allclose(model(given), want, atol=1e-6)


def test_a_tuple_for_a_model_of_a_dict():
    x = {"signal": keras.Input((None, 5)), "meta": keras.Input((2,))}
    model = pylstm.Model(x, keras.layers.Concatenate()([pylstm.LSTM(3)(x["signal"]), x["meta"]]))
    for run in (model.predict, model):
        with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)with the keys") as caught:
            run((sequences(), np.zeros((6, 2))))
        assert caught.value.got == "a tuple or list of 2"


@pytest.mark.parametrize("model_type", [keras.Model, pylstm.Model])
def test_other_inputs_than_the_model_has(model_type):
    signal, meta = keras.Input((None, 5), name="signal"), keras.Input((2,), name="meta")
    one = model_type(signal, pylstm.LSTM(3)(signal))
    two = model_type([signal, meta], [pylstm.LSTM(3)(signal), meta])
    x = np.zeros((6, 3, 5))
    for model, wrong in ((two, x), (one, {"sound": x}), (two, {"signal": x})):
        (finding,) = pylstm.diagnose(model, wrong)
        assert (finding.level, finding.code) == ("error", "PYL146")
        if model_type is pylstm.Model:
            with pytest.raises(
                errors.StructureError, match=r"PYL146(?s:.*)(2 inputs|with the keys)"
            ):
                model.predict(wrong)


def test_a_dict_for_a_sequential_model():
    seqs, model = sequences(), classifier()
    for run in (model, lambda x: model.predict(x, verbose=0)):
        np.testing.assert_allclose(run({"x": seqs}), run(seqs), atol=1e-6)
        with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)one input") as caught:
            run({"x": seqs, "y": seqs})
        assert caught.value.fix.startswith("x['x']\n")
    assert pylstm.diagnose(model, {"x": seqs}).ok
    assert not pylstm.diagnose(model, {"x": seqs, "y": seqs}).ok


@pytest.mark.parametrize("struct", [dict, list, tuple])
def test_several_inputs_one_of_them_sequences(struct):
    seqs, meta = sequences(), np.linspace(0, 1, 12).reshape(6, 2)
    model = two_inputs(struct)
    x = {"signal": seqs, "meta": meta} if struct is dict else struct([seqs, meta])
    outputs = model.predict(x, verbose=0)
    for i, output in enumerate(outputs):
        parts = {"signal": seqs[i][None], "meta": meta[i : i + 1]}
        want = model(parts if struct is dict else list(parts.values()))[0]
        np.testing.assert_allclose(output, want, atol=1e-5)
    history = model.fit(x, np.ones(6), epochs=3, validation_split=0.5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    np.testing.assert_allclose(model(x), model.predict(x, verbose=0), atol=1e-5)


class Shifted(keras.layers.Layer):
    def call(self, x, by=None):
        return x if by is None else x + by


def test_the_first_of_two_inputs_is_absent():
    by = keras.Input((None, 3), name="by", optional=True)
    signal = keras.Input((None, 5), name="signal")
    lstm = pylstm.LSTM(3)
    model = pylstm.Model([by, signal], Shifted()(lstm(signal), by))
    want = pylstm.Sequential([lstm]).predict(sequences(), verbose=0)
    x = (None, sequences())
    np.testing.assert_allclose(model.predict(x, verbose=0), want, atol=1e-6)
    np.testing.assert_allclose(model(x), want, atol=1e-6)
    assert not [f for f in pylstm.diagnose(model, x) if f.level == "error"]


@pytest.mark.parametrize("struct", [tuple, dict])
def test_an_optional_input_that_is_absent(struct):
    signal, by = keras.Input((None, 5), name="signal"), keras.Input((3,), name="by", optional=True)
    inputs = [signal, by] if struct is tuple else {"signal": signal, "by": by}
    model = pylstm.Model(inputs, Shifted()(pylstm.LSTM(3)(signal), by))
    model.compile("sgd", "mse")
    seqs = sequences()
    x = (seqs, None) if struct is tuple else {"signal": seqs, "by": None}
    want = pylstm.Sequential([model.layers[1]]).predict(seqs, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), want, atol=1e-6)
    np.testing.assert_allclose(model(x), want, atol=1e-6)
    np.testing.assert_allclose(model.predict_on_batch(x), want, atol=1e-6)
    assert model.evaluate(x, want, verbose=0) < 1e-10
    given = (seqs, np.ones((6, 3))) if struct is tuple else {**x, "by": np.ones((6, 3))}
    np.testing.assert_allclose(model.predict(given, verbose=0), want + 1, atol=1e-6)


def test_too_many_inputs_are_counted():
    with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)2 inputs") as caught:
        two_inputs(list).predict([sequences(), np.zeros((6, 2)), np.zeros((6, 2))])
    assert caught.value.got == "a list of 3"
    assert "(x1, x2)     a part for each input of the model" in str(caught.value)


class Last(pylstm.Model):
    """A model whose outputs Keras knows only once it computes them."""

    def __init__(self):
        super().__init__()
        self.lstm = pylstm.LSTM(1)

    def call(self, x):
        return self.lstm(x)


def test_a_tuple_of_numbers_is_one_part():
    seqs, y, weights = sequences(), (0, 1, 0, 1, 1, 0), (1.0, 2.0, 0.0, 0.0, 1.0, 3.0)
    model = classifier()
    want = model.evaluate(seqs, np.array(y), sample_weight=np.array(weights), verbose=0)
    for data in (
        (pylstm.dataset(seqs, y, sample_weight=weights),),
        (pylstm.dataset(seqs, tuple(np.array(y)), sample_weight=list(weights)),),
        (iter([(seqs, y, weights)]),),
    ):
        np.testing.assert_allclose(model.evaluate(*data, verbose=0), want, rtol=1e-5)
    of_unknown = Last()
    of_unknown.compile("sgd", "mse")
    want = of_unknown.evaluate(seqs, np.array(y), sample_weight=np.array(weights), verbose=0)
    got = of_unknown.evaluate(seqs, y, sample_weight=weights, verbose=0)
    assert got == pytest.approx(want, rel=1e-5)


def test_numbers_for_several_outputs():
    inputs = keras.Input((None, 5))
    last = pylstm.LSTM(3)(inputs)
    model = pylstm.Model(inputs, [keras.layers.Dense(1)(last), keras.layers.Dense(1)(last)])
    model.compile("sgd", ["mse", "mse"])
    seqs, y, weights = sequences(), (np.ones(6), np.zeros(6)), [1.0, 2.0, 0.0, 0.0, 1.0, 3.0]
    want = model.evaluate(seqs, y, sample_weight=np.array(weights), verbose=0)
    for same in (weights, tuple(weights)):
        got = model.evaluate(seqs, y, sample_weight=same, verbose=0)
        np.testing.assert_allclose(got, want, rtol=1e-5)
    with pytest.raises(errors.RankError, match=r"PYL101.* has 2 outputs") as caught:
        model.fit(seqs, tuple(weights))
    assert caught.value.got == "6 numbers"
    assert not pylstm.diagnose(model, seqs, weights).ok


def test_the_line_for_samples_without_a_target():
    seqs, y = sequences(), [None, 1, 0, 1, 1, 0]
    with pytest.raises(errors.DTypeError, match=r"PYL118.* does not hold numbers") as caught:
        pylstm.dataset(seqs, y)
    data = {"x": seqs, "y": y}
    exec(caught.value.fix, data)
    assert pylstm.dataset(data["x"], data["y"]).columns.size == 5
