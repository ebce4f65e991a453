"""Inputs of strings, which layers such as `keras.layers.TextVectorization` take."""

import keras
import numpy as np

from pylstm.array_types import dtype_name, static_shape
from pylstm.errors import DTypeError, RankError
from pylstm.inputs.containers import is_tensor
from pylstm.models.data.columns import Text
from pylstm.models.data.separating import map_named
from pylstm.models.graph.declared import declared_inputs

_OTHER_INPUT = "the text itself, or keras.Input(shape) without dtype='string' for numbers"


def read_text(model, inputs):
    """Reads the inputs of strings as columns; leaves the others.

    Raises:
        RankError, DTypeError: As `as_text`.
    """
    declared = declared_inputs(model)

    def read(x, name):
        return Text(as_text(x)) if is_text(x, declared.get(name)) else x

    return map_named(declared, read, inputs)


def is_text(x, declared):
    """Whether an input goes to the model as strings.

    Args:
        x: The input.
        declared: The model's symbolic input; None if it declares none, so that x alone tells.
    """
    if declared is not None:
        return declared.dtype == "string"
    if is_tensor(x):
        return dtype_name(x) == "string"
    return not isinstance(x, (str, bytes)) and _holds_text(x)


def as_text(x):
    """The tensor of strings in any container; None where there is none.

    Raises:
        RankError: It is a single string.
        DTypeError: Not all of it is strings, or lists of as many; or Keras' backend has none.
    """
    if x is None:
        return None
    if keras.backend.backend() != "tensorflow":
        raise DTypeError(
            "PYL118",
            f"Keras has no strings on {keras.backend.backend()}",
            expected="numbers for the words",
            got="strings",
            fix="ids = [np.ravel(vectorize(text)) for text in x]     by the TextVectorization "
            "layer,\nand a model that begins at the Embedding behind it",
        )
    if is_tensor(x):
        if dtype_name(x) != "string":
            raise _no_text(f"{dtype_name(x)} {static_shape(x)}", _OTHER_INPUT)
        return x
    x = np.asarray(x, object)
    if x.ndim == 0:
        raise RankError(
            "PYL101",
            "a single string is no batch",
            expected="a list or array of strings (batch, ...)",
            got=repr(x.item()),
            fix="[x]",
        )
    odd = [value for value in x.flat if not isinstance(value, (str, bytes))]
    if odd:
        raise _no_text(
            f"{len(odd)} of {x.size} values are no strings; the first is {odd[0]!r:.40}",
            _way_to_text(odd, x),
        )
    return keras.ops.convert_to_tensor(x)


def _holds_text(x):
    """Whether the first value in a container is a string."""
    if hasattr(x, "to_numpy"):
        x = x.to_numpy()
    if isinstance(x, np.ndarray) and x.dtype != object:
        return x.dtype.kind in "SU"
    if isinstance(x, (list, tuple, np.ndarray)):
        return _holds_text(next(iter(getattr(x, "flat", x)), None))
    return isinstance(x, (str, bytes))


def _way_to_text(odd, x):
    if isinstance(odd[0], list):
        return "tf.ragged.constant(x).to_tensor()     pads with '' to as many strings in each"
    if len(odd) < x.size:
        return "[value if isinstance(value, str) else '' for value in x]"
    return _OTHER_INPUT


def _no_text(got, fix):
    return DTypeError(
        "PYL148",
        expected="strings (batch, ...)",
        got=got,
        fix=fix,
    )
