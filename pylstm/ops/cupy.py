"""The LSTM on CuPy arrays, forward only, on their GPU and the stream that is current there."""

import contextlib

import cupy
import numpy as np

from pylstm.ops import INPUTS, cuda
from pylstm.ops.checks import check_devices


def lstm(
    x,
    h0,
    c0,
    kernel,
    recurrent_kernel,
    bias=None,
    *,
    mask=None,
    recurrent_dropout=None,
    **options,
):
    """Runs an LSTM over a batch of sequences; arguments as in `pylstm._core.forward`.

    NumPy arrays among the arguments are copied to the GPU.

    Returns:
        y, (B, T, H) or (B, H); h and c after the last step, (B, H).
    """
    arrays = (x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout)
    placed = {
        name: array
        for name, array in zip(INPUTS, arrays, strict=True)
        if isinstance(array, cupy.ndarray)
    }
    fix = "copy them: with cupy.cuda.Device(0): x = cupy.array(x)"
    check_devices(placed, _device, ("cuda",), fix)
    with cuda.on_device_of(_CuPy, next(iter(placed.values()))):
        arrays = [None if array is None else cupy.asarray(array) for array in arrays]
    y, h, c, _ = cuda.forward(_CuPy, arrays, **options)
    return y, h, c


def zero_state(x, units):
    """Returns zeros (B, H) for inputs x (B, T, F), beside x, which may be NumPy's."""
    with _beside(x) as module:
        return module.zeros((x.shape[0], units), x.dtype)


def stacked(values):
    """Returns an array of a list whose numbers NumPy cannot read, such as of arrays."""
    return cupy.asarray(values)


def mask_from_lengths(lengths, x):
    """Returns bool (B, T), True for the first lengths[b] steps of each sequence."""
    with _beside(x, lengths) as module:
        return module.arange(x.shape[1]) < module.asarray(lengths)[:, None]


def both(mask, within):
    """Returns bool (B, T), True where both masks, CuPy's or NumPy's, are."""
    with _beside(within, mask) as module:
        return module.asarray(mask) & module.asarray(within)


@contextlib.contextmanager
def _beside(*arrays):
    """The module that makes arrays where the first of CuPy's is; NumPy if none is CuPy's."""
    device = next((a.device for a in arrays if isinstance(a, cupy.ndarray)), None)
    if device is None:
        yield np
    else:
        with device:
            yield cupy


def _device(array):
    return f"cuda:{array.device.id}"


class _CuPy:
    """What `pylstm.ops.cuda` asks of a framework."""

    OutOfMemory = cupy.cuda.memory.OutOfMemoryError

    dense = staticmethod(cupy.ascontiguousarray)

    @staticmethod
    def address(array):
        return array.data.ptr

    device = staticmethod(_device)

    @staticmethod
    def empty(shape, dtype, like):
        return cupy.empty(shape, dtype or like.dtype)

    @staticmethod
    def current_stream(array):
        return cupy.cuda.get_current_stream(array.device.id).ptr

    @staticmethod
    def on_device(array):
        return array.device

    @staticmethod
    def allow_tf32():
        return False
