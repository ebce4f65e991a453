"""Finds the one reading of an array or tensor, and applies it."""

import keras
import numpy as np

from pylstm.inputs import explain
from pylstm.inputs.contract import readings


def choose_reading(shape, dtype, known, origin, report, built_from=None):
    """The one `contract.Reading` of a shape.

    Args:
        shape: Integers and None; None if even the rank is unknown.
        dtype: Name of the dtype for the message, or None.
        known: What the layer knows, a `contract.Known`.
        origin: How the input came, a `contract.Origin`.
        report: Called if the reading changes something; see `containers.as_dense`.
        built_from: The shape that the layer was built from, or None.

    Raises:
        ShapeError: There is no reading, or several.
    """
    if shape is None:
        raise explain.unknown_rank(dtype, known)
    choices = readings(shape, known, origin)
    if len(choices) != 1:
        raise explain.unreadable(shape, dtype, known, origin, choices, built_from)
    (reading,) = choices
    if reading.code is not None:
        report(
            reading.code,
            got=explain.got_input(shape, dtype),
            done=f"was read as {explain.shape_text(reading.shape)}",
            line=reading.line,
            silent=reading.silent,
        )
    return reading


def apply_reading(reading, x):
    """The array or tensor as (batch, time, features); the same object if it is that already."""
    library = np if isinstance(x, np.ndarray) else keras.ops
    if reading.squeeze:
        return library.squeeze(x, axis=reading.squeeze)
    if reading.expand is not None:
        return library.expand_dims(x, reading.expand)
    return x
