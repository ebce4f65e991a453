"""Inputs of several lengths that an operation of the model takes step by step."""

import keras
import numpy as np
import pytest
from keras import ops

import pylstm
from pylstm import errors
from tests.data import sequences
from tests.tolerances import assert_close

MEETINGS = {
    "concatenate": lambda a, b: keras.layers.Concatenate()([a, b]),
    "add": lambda a, b: keras.layers.Add()([a, b]),
    "sum": lambda a, b: a + b,
    "concatenated": lambda a, b: ops.concatenate([a, 2 * b], axis=-1),
    "outputs": lambda a, b: pylstm.LSTM(4, return_sequences=True)(a) * keras.layers.Dense(4)(b),
}
# Those of one have nothing to do with the steps of the other.
APART = {
    "last steps": lambda a, b: pylstm.LSTM(3)(a) + pylstm.LSTM(3)(b),
    "averages": lambda a, b: ops.concatenate(
        [keras.layers.GlobalAveragePooling1D()(x) for x in (a, b)], axis=-1
    ),
    "attention": lambda a, b: pylstm.LSTM(3)(keras.layers.MultiHeadAttention(2, 3)(a, b)),
    "initial state": lambda a, b: pylstm.LSTM(3)(a, initial_state=[pylstm.LSTM(3)(b)] * 2),
}


def model_of(join):
    inputs = [keras.Input((None, 5), name="a"), keras.Input((None, 5), name="b")]
    return pylstm.Model(inputs, join(*inputs))


@pytest.mark.parametrize("name", MEETINGS)
def test_other_lengths_are_refused(name):
    """Of a batch of the same longest sequence in both, or of other ones, or of one sample."""
    model = model_of(lambda a, b: pylstm.LSTM(2)(MEETINGS[name](a, b)))
    a = sequences([6, 2, 4])
    for b in (sequences([6, 4, 4]), sequences([7, 4, 4])):
        with pytest.raises(errors.TimestepError, match=r"\[PYL120\].*meet step by step") as caught:
            model.predict((a, b))
        assert "x[0]" in caught.value.got
        model.compile("sgd", "mse")
        for x in ((a, b), pylstm.dataset((a, b), np.zeros((3, 2)))):
            y = np.zeros((3, 2)) if isinstance(x, tuple) else None
            with pytest.raises(errors.TimestepError, match=r"\[PYL120\]"):
                model.fit(x, y, verbose=0)
        (finding,) = (f for f in pylstm.diagnose(model, (a, b)) if f.level == "error")
        assert finding.code == "PYL120"
    with pytest.raises(errors.TimestepError, match=r"sample 0: x\[0\] 2, x\[1\] 4"):
        model.predict((a[1:2], b[1:2]))


@pytest.mark.parametrize("name", MEETINGS)
def test_a_call_refuses_them_too(name):
    model = model_of(lambda a, b: pylstm.LSTM(2)(MEETINGS[name](a, b)))
    a, b = sequences([6, 2, 4]), sequences([6, 4, 4])
    objects = np.empty(3, object)
    objects[:] = b
    of_two = [(a, b), (a, objects), (list(map(ops.convert_to_tensor, a)), b)]
    of_two += [(pylstm.ragged(a), pylstm.ragged(b)), (pylstm.pad(a), pylstm.pad(b))]
    of_two += [(a, sequences([6] * 3))]
    for x in of_two:
        with pytest.raises(errors.TimestepError, match=r"\[PYL120\].*meet step by step") as caught:
            model(x)
        assert caught.value.got.startswith("steps of sample 1: x[0] 2, x[1] ")
    with pytest.raises(errors.TimestepError, match=r"sample 1: x\['a'\] 2, x\['b'\] 4"):
        model({"a": a, "b": b})
    with pytest.raises(errors.TimestepError, match=r"sample 0: x\[0\] 2, x\[1\] 3"):
        model([sequences([2] * 2), sequences([3] * 2)])


def test_the_line_that_cuts_the_longer():
    model = model_of(lambda a, b: pylstm.LSTM(2)(a + b))
    x = sequences([6, 2, 4]), sequences([6, 4, 5])
    with pytest.raises(errors.TimestepError) as caught:
        model.predict(x)
    line, replaced = caught.value.fix.split("     ")[0].split(" instead of ")
    assert replaced == "x[1]"
    cut = eval(line, {"x": x})
    got = model.predict((x[0], cut), verbose=0)
    for one, a, b in zip(got, x[0], cut, strict=True):
        assert_close(one, model((a[None], b[None]))[0], "float32")
    either = sequences([6, 4, 3])
    with pytest.raises(errors.TimestepError) as caught:
        model.predict((x[0], either))
    assert caught.value.fix == "look for what drops steps of x[0], and of x[1]"


@pytest.mark.parametrize("name", [*MEETINGS, *APART])
def test_the_same_lengths_and_inputs_that_do_not_meet_are_taken(name):
    model = model_of(lambda a, b: (MEETINGS | APART)[name](a, b))
    a, b = sequences([6, 2, 4]), sequences([6, 2, 4] if name in MEETINGS else [3, 5, 1])
    x = {"a": a, "b": b}
    got, called = model.predict(x, verbose=0), model(x)
    for one, row, *pair in zip(got, called, a, b, strict=True):
        alone = model([part[None] for part in pair])[0]
        assert_close(one, alone, "float32")
        assert_close(row[: len(alone)], alone, "float32")
