"""Arguments, properties and configuration are those of `keras.layers.LSTM`."""

import inspect

import keras
import pytest

import pylstm

OPTIONS = {
    "units": 5,
    "activation": "relu",
    "recurrent_activation": "hard_sigmoid",
    "use_bias": True,
    "kernel_initializer": keras.initializers.GlorotNormal(seed=1),
    "recurrent_initializer": keras.initializers.Orthogonal(gain=0.5, seed=2),
    "bias_initializer": "zeros",
    "unit_forget_bias": False,
    "kernel_regularizer": keras.regularizers.L2(0.01),
    "recurrent_regularizer": keras.regularizers.L1(0.02),
    "bias_regularizer": keras.regularizers.L2(0.03),
    "activity_regularizer": keras.regularizers.L2(0.04),
    "kernel_constraint": keras.constraints.MaxNorm(2),
    "recurrent_constraint": keras.constraints.UnitNorm(),
    "bias_constraint": keras.constraints.NonNeg(),
    "dropout": 0.1,
    "recurrent_dropout": 0.2,
    "seed": 3,
    "return_sequences": True,
    "return_state": True,
    "go_backwards": True,
    "stateful": True,
    "unroll": True,
    "use_cudnn": False,
    "zero_output_for_mask": True,
    "implementation": 1,
    "name": "mine",
    "dtype": "float64",
    "trainable": False,
}
OWN = {"kernel": "keras", "validate": "strict", "mask_value": -1.0}


def test_options_cover_the_whole_signature():
    arguments = set(inspect.signature(keras.layers.LSTM).parameters) - {"kwargs"}
    assert arguments <= set(OPTIONS)


def test_every_property_is_that_of_stock():
    stock, ours = keras.layers.LSTM(**OPTIONS), pylstm.LSTM(**OPTIONS)
    names = set(stock.get_config()) | set(OPTIONS)
    for name in names - {"dtype", "seed", "implementation"}:
        assert _plain(getattr(ours, name)) == _plain(getattr(stock, name)), name
    assert ours.cell.seed == 3
    assert ours.cell.implementation == 1
    assert isinstance(ours, keras.layers.LSTM)


def test_configuration_round_trip():
    layer = pylstm.LSTM(**OPTIONS, **OWN)
    config = layer.get_config()
    assert set(OPTIONS) | set(OWN) <= set(config)
    assert pylstm.LSTM.from_config(config).get_config() == config


def test_stock_configuration_is_contained():
    stock = keras.layers.LSTM(**OPTIONS).get_config()
    ours = pylstm.LSTM(**OPTIONS).get_config()
    assert {name: ours[name] for name in stock} == stock
    assert pylstm.LSTM.from_config(stock).get_config() == ours | {"use_cudnn": "auto"}


def test_positional_arguments():
    layer = pylstm.LSTM(4, "relu", "sigmoid", False)
    assert layer.activation is keras.activations.relu
    assert not layer.use_bias


def test_bidirectional_keeps_every_argument():
    layer = pylstm.LSTM(4, implementation=1, use_cudnn=False, **OWN)
    wrapper = keras.layers.Bidirectional(layer)
    for part in (wrapper.forward_layer, wrapper.backward_layer):
        assert isinstance(part, pylstm.LSTM)
        assert {name: getattr(part, name) for name in OWN} == OWN
        assert part.cell.implementation == 1
        assert part.use_cudnn is False


def test_clone_keeps_every_argument():
    model = keras.Sequential([keras.Input((None, 3)), pylstm.LSTM(4, **OWN)])
    clone = keras.models.clone_model(model)
    assert clone.layers[0].get_config() == model.layers[0].get_config()


@pytest.mark.parametrize("argument", ["kernel", "validate"])
def test_unknown_choice(argument):
    expected = rf"PYL144(.|\n)*expected: {argument} one of 'auto', (.|\n)*got: +'quick'"
    with pytest.raises(ValueError, match=expected):
        pylstm.LSTM(4, **{argument: "quick"})


def test_dtype_policy_map_applies():
    """Keras finds the policy by `Layer.path`, which `pylstm.LSTM.path` hides."""
    policies = keras.dtype_policies.DTypePolicyMap(default_policy="float32")
    policies["half"] = keras.DTypePolicy("mixed_float16")
    for lstm in (keras.layers.LSTM, pylstm.LSTM):
        layer = lstm(4, dtype=policies, name="half")
        layer.build((None, None, 3))
        assert layer.compute_dtype == "float16", lstm
        assert layer.variable_dtype == "float32", lstm


def _plain(value):
    """Keras objects compare by their configuration."""
    return keras.saving.serialize_keras_object(value) if hasattr(value, "get_config") else value
