"""The contract on Keras' other backends, each in a process of its own."""

import pytest

from tests import backends

PROGRAM = """
import keras, numpy as np, pylstm
from pylstm import errors

x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
layer = pylstm.LSTM(4)
y = np.array(keras.ops.convert_to_numpy(layer(x)))
mask = np.arange(5) < np.array([[5], [2]])
short = np.array(keras.ops.convert_to_numpy(layer(x, mask=mask)))
tensor = keras.ops.convert_to_tensor
ragged = [x[0], x[1, :2]]


def check(expected, *args, **kwargs):
    result = keras.ops.convert_to_numpy(layer(*args, **kwargs))
    np.testing.assert_allclose(result, expected, atol=1e-6)


check(y, tensor(x))
check(y, list(x))
check(y, [tensor(s) for s in x])
check(y, x[..., None])
check(y[:1], x[0])
check(y, x.astype("float64"))
check(short, ragged)
check(short, [tensor(s) for s in ragged])
check(short, x, lengths=[5, 2])
check(short, tensor(x), lengths=tensor([5, 2]))
check(short, x, mask=mask.astype("int32"))
check(short, x, mask=[5, 2])
check(short, x, mask=keras.ops.cast(mask, "bfloat16"))
check(short[:0], x[:0])
check(short, tensor(x), lengths=tensor([5.0, 2.0]))
for error, call in [
    (errors.MaskError, lambda: layer(tensor(x), lengths=tensor([6, 1]))),
    (errors.MaskError, lambda: layer(tensor(x), lengths=tensor([5, -1]))),
    (errors.MaskError, lambda: layer(tensor(x), mask=tensor(2 * mask))),
    (errors.DTypeError, lambda: layer([tensor(x[0]), None])),
    (errors.DTypeError, lambda: layer([tensor(x[0]), "text"])),
    (errors.FeatureMismatchError, lambda: layer(x[..., :2])),
    (errors.StateError, lambda: layer(x, initial_state=[np.ones((2, 4)), np.ones((3, 4))])),
    (errors.DTypeError, lambda: layer(x + 1j)),
    (errors.MaskError, lambda: layer(x, lengths=[6, 1])),
]:
    try:
        call()
    except error:
        continue
    raise AssertionError(error)
try:
    layer(keras.Input((5, 3), dtype="string"))
    raise AssertionError("no error")
except errors.DTypeError as error:
    assert error.fix == "keras.layers.StringLookup for categories", error.fix
stack = [pylstm.LSTM(4, return_sequences=True), pylstm.LSTM(4)]
assert [len(y) for y in pylstm.unpad(stack[0](x), lengths=[5, 2])] == [5, 2]
model = keras.Sequential([keras.Input((None, 3)), *stack])
model.compile("sgd", "mse")
model.fit(x, np.ones((2, 4)), verbose=0)
try:
    model.predict(x[..., :2], verbose=0)
except errors.FeatureMismatchError as error:
    print(keras.backend.backend(), error.code)
"""


@pytest.mark.parametrize("backend", backends.OTHERS)
def test_backend(backend):
    printed = backends.run_python(backend, "-W", "ignore", "-c", PROGRAM)
    assert printed.split() == [backend, "PYL103"]
