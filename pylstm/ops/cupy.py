"""The LSTM on CuPy arrays, forward only, on the GPU and stream that are current in CuPy."""

import cupy

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
    device = next(iter(placed.values())).device
    with device:
        arrays = [None if array is None else cupy.asarray(array) for array in arrays]
    y, h, c, _ = cuda.forward(_CuPy, arrays, **options)
    return y, h, c


def zero_state(x, units):
    """Returns zeros (B, H) for inputs x (B, T, F)."""
    return cupy.zeros((x.shape[0], units), x.dtype)


def mask_from_lengths(lengths, x):
    """Returns bool (B, T), True for the first lengths[b] steps of each sequence."""
    return cupy.arange(x.shape[1]) < cupy.asarray(lengths)[:, None]


def both(mask, within):
    """Returns bool (B, T), True where both masks, the first of which may be NumPy's, are."""
    return cupy.asarray(mask) & within


def _device(array):
    return f"cuda:{array.device.id}"


class _CuPy:
    """What `pylstm.ops.cuda` asks of a framework."""

    OutOfMemory = cupy.cuda.memory.OutOfMemoryError

    dense = staticmethod(cupy.ascontiguousarray)

    @staticmethod
    def address(array):
        return array.data.ptr

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
