"""Where the mask of padded steps gets lost, and where none is needed."""

import keras
import pytest

import pylstm
from pylstm.diagnosis import diagnose
from pylstm.errors import RaggedError
from tests.data import sequences
from tests.diagnosis.support import dense, found, functional, fused


def test_layers_that_lose_the_mask():
    for mask_zero in (False, True):
        embedding = keras.layers.Embedding(5, 4, mask_zero=mask_zero)
        model = pylstm.Sequential([keras.Input((None,)), embedding, pylstm.LSTM(3)])
        assert diagnose(model, [[1, 2, 3], [1]]).ok
    longer = keras.layers.ZeroPadding1D(1, name="longer")
    report = diagnose(fused(longer), sequences())
    assert found(report, "PYL130").where == "layer 'longer'"
    assert diagnose(fused(longer), dense()).ok
    report = diagnose(fused(keras.layers.Masking(-1.0), longer), dense())
    assert found(report, "PYL204").where == "layer 'longer'"


def test_layers_that_lose_the_mask_in_a_graph():
    longer = keras.layers.ZeroPadding1D(1, name="longer")
    inner = keras.Sequential([keras.Input((None, 5)), longer])
    for front in (longer, inner):
        model = functional(lambda x, front=front: pylstm.LSTM(3)(front(x)))
        assert found(diagnose(model, sequences()), "PYL130").where == "layer 'longer'"
        assert diagnose(model, dense()).ok
    masked = functional(lambda x: pylstm.LSTM(3)(longer(keras.layers.Masking(-1.0)(x))))
    assert found(diagnose(masked, dense()), "PYL204").where == "layer 'longer'"
    behind = functional(lambda x: longer(pylstm.LSTM(5, return_sequences=True)(x)))
    assert found(diagnose(behind, sequences()), "PYL130").where == "layer 'longer'"


def test_the_inputs_of_a_dict_are_told_apart_by_their_names():
    """Keras has them in the order of the names, not of the dict."""
    x = {"b": keras.Input((None, 5)), "a": keras.Input((None, 5))}
    longer = keras.layers.ZeroPadding1D(1, name="longer")
    outputs = pylstm.LSTM(3)(x["b"]) + pylstm.LSTM(3)(longer(x["a"]))
    model = pylstm.Model(x, outputs)
    assert diagnose(model, {"a": dense(), "b": sequences()}).ok
    report = diagnose(model, {"a": sequences(), "b": dense()})
    assert found(report, "PYL130").where == "layer 'longer'"


@pytest.mark.parametrize(
    "build",
    [
        lambda x: pylstm.LSTM(3)(keras.layers.Dense(5)(x) + x / 2),
        lambda x: pylstm.LSTM(3)(keras.layers.Concatenate()([keras.layers.Dense(2)(x), x])),
        lambda x: keras.layers.Flatten()(pylstm.LSTM(3)(keras.layers.Masking(-1.0)(x))),
        lambda x: keras.layers.Flatten()(keras.layers.GlobalAveragePooling1D()(x)),
        lambda x: keras.layers.Flatten()(keras.layers.GlobalMaxPooling1D()(x)),
        lambda x: keras.layers.Flatten()(pylstm.LSTM(3, return_sequences=True)(x)[:, -1]),
        lambda x: pylstm.LSTM(3)(x[..., :2]) + x[:, 0, :3],
        lambda x: keras.layers.Flatten()(
            keras.layers.Attention()([keras.layers.RepeatVector(1)(pylstm.LSTM(5)(x)), x])
        ),
    ],
)
def test_what_passes_the_mask_or_needs_none_is_no_finding(build):
    model = functional(build)
    assert diagnose(model, sequences()).ok
    model.predict(sequences(), verbose=0)


@pytest.mark.parametrize(
    "build", [lambda x: x[:, 1], lambda x: pylstm.LSTM(3)(x[:, 1:]), lambda x: x[..., 0][:, 2]]
)
def test_an_index_that_counts_padding(build):
    model = functional(build)
    assert found(diagnose(model, sequences()), "PYL130").what.endswith("of different lengths")
    with pytest.raises(RaggedError, match="PYL130"):
        model.predict(sequences(), verbose=0)


def test_a_masking_layer_that_looks_for_changed_padding():
    model = fused(keras.layers.Dense(5), keras.layers.Masking(0.0, name="late"))
    assert found(diagnose(model, sequences()), "PYL130").where == "layer 'late'"
    assert diagnose(model, dense()).ok
