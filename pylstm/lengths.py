"""Lengths (B,) beside a batch of sequences, in any container: read and checked."""

import numpy as np

from pylstm.array_types import dtype_name, static_shape
from pylstm.errors import MaskError


def read_lengths(lengths, x):
    """Lengths that are no array of x's framework, as a NumPy array; whole numbers as integers.

    Raises:
        MaskError: They cannot be read.
    """
    try:
        values = np.array(lengths)  # a copy: torch warns of what cannot be written to
    except (TypeError, ValueError, RuntimeError):  # of several sizes, or on a device
        raise _lengths_error(type(lengths).__name__, x) from None
    is_whole = values.dtype.kind == "f" and (values == np.floor(values)).all()
    return values.astype(np.int64) if is_whole else values


def check_lengths(lengths, x):
    """Checks lengths; their values only where they are NumPy's, for no device is waited for.

    Args:
        lengths: Integers (B,), an array.
        x: (B, T, ...).

    Returns:
        The lengths.

    Raises:
        MaskError: They do not fit.
    """
    batch, time, *_ = static_shape(x) or (None, None)
    shape, dtype = static_shape(lengths), dtype_name(lengths)
    fits = shape is None or (len(shape) == 1 and (None in (shape[0], batch) or shape[0] == batch))
    remark = ""
    if fits and dtype.startswith(("int", "uint")):
        if not isinstance(lengths, np.ndarray) or time is None:
            return lengths
        wrong = np.flatnonzero((lengths < 0) | (lengths > time))
        if not wrong.size:
            return lengths
        remark = f"     lengths[{wrong[0]}] is {lengths[wrong[0]]}"
    raise _lengths_error(f"{shape} {dtype}{remark}", x)


def _lengths_error(got, x):
    batch, time, *_ = static_shape(x) or (None, None)
    return MaskError(
        "PYL113",
        expected=f"integers (batch={batch},) from 0 to {time}",
        got=got,
        fix="one length for each sequence: lengths=[T_1, T_2, ...]",
    )
