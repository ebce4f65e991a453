"""The LSTM on CuPy arrays, forward only, on their GPU and the stream that is current there."""

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
    """Runs an LSTM over a batch of sequences; arguments as in `pylstm.lstm`.

    Returns:
        y, (B, T, H) or (B, H); h and c after the last step, (B, H).

    Raises:
        As `pylstm.ops.cuda.forward`.
    """
    arrays = (x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout)
    y, h, c, _ = cuda.forward(_CuPy, arrays, **options)
    return y, h, c


def zero_state(x, units):
    """Returns zeros (B, H) for inputs x (B, T, F)."""
    with x.device:
        return cupy.zeros((x.shape[0], units), x.dtype)


def own(arrays):
    """Returns the arguments of `lstm`, NumPy arrays copied to where the others are.

    Raises:
        DeviceError: CuPy's are on several devices, or there is no memory for a copy.
    """
    placed = {
        name: array
        for name, array in zip(INPUTS, arrays, strict=True)
        if isinstance(array, cupy.ndarray)
    }
    fix = "copy them: with cupy.cuda.Device(0): x = cupy.array(x)"
    check_devices(placed, _device, ("cuda",), fix)
    with cuda.on_device_of(_CuPy, next(iter(placed.values()))):
        return [None if array is None else cupy.asarray(array) for array in arrays]


def stacked(values):
    """Returns an array of a list whose numbers NumPy cannot read, such as of arrays."""
    return cupy.asarray(values)


def mask_from_lengths(lengths, x, mask):
    """Returns the mask (B, T), or all True for None, with False from step lengths[b] on."""
    with x.device:
        within = cupy.arange(x.shape[1]) < cupy.asarray(lengths)[:, None]
        return within if mask is None else mask & within


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
