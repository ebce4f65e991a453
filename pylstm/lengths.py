"""Reads and checks lengths (B,) of a batch of sequences, in any container."""

import contextlib

import numpy as np

from pylstm.array_types import dtype_name, may_equal, static_shape
from pylstm.errors import MaskError

# For lengths that are being traced, beside arrays of NumPy.
_WAYS_TO_TRACE = (
    "x = jax.numpy.asarray(x)     for lengths that JAX traces\n"
    "x = tf.convert_to_tensor(x)     for those of a tf.function"
)


def read_lengths(lengths, x, *stacked):
    """Reads lengths that are no array of x's framework: as a NumPy array, or, where their values
    are on a device or traced, by the function `stacked` of x's framework as an array of that.

    Raises:
        MaskError: They cannot be read.
    """
    if isinstance(lengths, np.ma.MaskedArray) and lengths.mask.any():
        raise lengths_error(f"a masked array {lengths.shape}", x)
    for read in (_copied, *stacked):
        with contextlib.suppress(TypeError, ValueError, RuntimeError):  # such as of several sizes
            return read(lengths)
    first = lengths[0] if isinstance(lengths, (list, tuple)) else lengths
    is_traced = hasattr(first, "dtype") and not isinstance(first, np.ndarray)
    fix = _WAYS_TO_TRACE if is_traced and isinstance(x, np.ndarray) else None
    raise lengths_error(type(lengths).__name__, x, fix)


def _copied(lengths):
    """An array of its own: torch warns of what cannot be written to, and NumPy's `array` of torch's
    tensors, which know no argument `copy`."""
    return np.asarray(lengths).copy()


def check_lengths(lengths, x):
    """Checks lengths; their values only if they are NumPy's, so that no device is waited for.

    Args:
        lengths: Integers (B,), an array; of NumPy's, whole floats, too.
        x: (B, T, ...).

    Returns:
        The lengths, as integers.

    Raises:
        MaskError: They do not fit.
    """
    batch, time, *_ = static_shape(x) or (None, None)
    shape, dtype = static_shape(lengths), dtype_name(lengths)
    got = f"{shape} {dtype}"
    if shape is not None and (len(shape) != 1 or not may_equal(shape, (batch,))):
        is_mask = len(shape) == 2 and may_equal(shape, (batch, time))
        raise lengths_error(got, x, "mask=lengths     if it is a mask" if is_mask else None)
    is_numpy = isinstance(lengths, np.ndarray)
    is_float = is_numpy and lengths.dtype.kind == "f"
    if is_float and not np.isfinite(lengths).all():
        wrong = np.flatnonzero(~np.isfinite(lengths))[0]
        raise lengths_error(f"{got}     lengths[{wrong}] is {lengths[wrong]}", x)
    is_whole = is_float and (lengths == np.floor(lengths)).all()
    if not is_whole and not dtype_name(lengths).startswith(("int", "uint")):
        cast = "np.asarray(lengths, 'int32')" if is_numpy else "keras.ops.cast(lengths, 'int32')"
        raise lengths_error(got, x, cast)
    if is_numpy and time is not None:
        wrong = np.flatnonzero((lengths < 0) | (lengths > time))
        if wrong.size:
            got += f"     lengths[{wrong[0]}] is {lengths[wrong[0]]}"
            raise lengths_error(got, x, f"np.clip(lengths, 0, {time})     if x was cut, too")
    return lengths.astype(np.int64) if is_numpy else lengths  # in native order


def lengths_error(got, x, fix=None):
    """The error for lengths that do not fit x; by default the fix is to make them anew."""
    batch, time, *_ = static_shape(x) or (None, None)
    return MaskError(
        "PYL113",
        expected=f"integers (batch{'' if batch is None else f'={batch}'},) from 0 to "
        f"{'the number of steps' if time is None else time}",
        got=f"lengths {got}",
        fix=fix or "one length for each sequence: lengths=[T_1, T_2, ...]",
    )
