"""The CUDA kernels on any framework's arrays, in its memory and on its device and stream.

A framework is a module or object with
    dense(array)              the array, or a copy of it that is row-major
    address(array)            where its memory begins on the device
    device(array)             the device that it is on, to compare and to print
    empty(shape, dtype, like) a new array on the device of `like`; dtype None is that of `like`,
                              "uint8" bytes aligned to at least 64
    current_stream(array)     the CUDA stream that work on its device is queued on, as an integer
    on_device(array)          a context manager: its device is the current one
    allow_tf32()              whether float32 products may round their operands to TF32
    OutOfMemory               what `empty` raises where there is no memory
"""

import contextlib

from pylstm import _gpus
from pylstm._library import load_cuda
from pylstm.array_types import dtype_name
from pylstm.ops import INPUTS, OPTIONS
from pylstm.ops.checks import check_devices, check_dtypes

_WITH_GRADIENT = INPUTS[:6]


def forward(framework, tensors, *, save_for_backward=False, **options):
    """Runs an LSTM over a batch of sequences.

    Args:
        framework: See above.
        tensors: x, h0, c0, kernel, recurrent_kernel, bias, mask and recurrent_dropout, None where
            absent; shapes and meaning as in `pylstm.lstm`.
        save_for_backward: Also return what `backward` needs.
        options: Those of `pylstm.ops.OPTIONS` that are not to be the defaults.

    Returns:
        y, h, c, and the reserve or None.

    Raises:
        ValueError: A shape or an option does not fit.
        DTypeError: mask is not bool, or another array not of x's dtype.
        DeviceError: The arrays are on several devices, or the GPU cannot run the kernels or lacks
            the memory, or CUDA reports an error.
        BackendLoadError: pylstm was built without CUDA.
    """
    with on_device_of(framework, tensors[0]):
        inputs = _present(framework, INPUTS, tensors)
        x, h0 = inputs["x"], inputs["h0"]
        options = OPTIONS | options
        call = _call(framework, inputs, save_for_backward, options)
        batch, time, _ = x.shape
        units = h0.shape[1]
        y_shape = (batch, time, units) if options["return_sequences"] else (batch, units)
        y = framework.empty(y_shape, None, x)
        h = framework.empty((batch, units), None, x)
        c = framework.empty((batch, units), None, x)
        buffers = {"y": y, "h": h, "c": c}
        buffers["workspace"] = framework.empty((call.forward_workspace_bytes,), "uint8", x)
        if save_for_backward:
            buffers["reserve"] = framework.empty((call.reserve_bytes,), "uint8", x)
        call.forward(_addresses(framework, inputs | buffers), framework.current_stream(x))
    return y, h, c, buffers.get("reserve")


def backward(framework, tensors, reserve, output_gradients, *, input_gradient=True, **options):
    """Gradients of a scalar, given those by y, h and c: `output_gradients` (None for zeros).

    Args:
        framework, tensors, options: As `forward` got them.
        reserve: What `forward` returned.
        output_gradients: dy, dh and dc.
        input_gradient: Give the gradient of x.

    Returns:
        The gradients of x, h0, c0, kernel, recurrent_kernel and bias, None for an absent bias and
        for x without `input_gradient`.

    Raises:
        ValueError: `reserve` is not what `forward` returned for such tensors; also as `forward`.
    """
    with on_device_of(framework, tensors[0]):
        inputs = _present(framework, INPUTS, tensors)
        given = _present(framework, ("dy", "dh", "dc"), output_gradients)
        x = inputs["x"]
        options["input_gradient"] = input_gradient
        call = _call(framework, inputs | given, True, options)
        reserve = _checked_reserve(framework, reserve, call, x)
        gradients = {
            "d" + name: framework.empty(tuple(inputs[name].shape), None, x)
            for name in (_WITH_GRADIENT if input_gradient else _WITH_GRADIENT[1:])
            if name in inputs
        }
        workspace = framework.empty((call.backward_workspace_bytes,), "uint8", x)
        buffers = inputs | given | gradients | {"reserve": reserve, "workspace": workspace}
        call.backward(_addresses(framework, buffers), framework.current_stream(x))
    return tuple(gradients.get("d" + name) for name in _WITH_GRADIENT)


@contextlib.contextmanager
def on_device_of(framework, x):
    """A context in which x's device is the current one, and errors of the device are explained.

    Raises:
        DeviceError: For CUDA's errors, and those of the framework's allocator.
    """
    cuda_error = load_cuda().CudaError
    try:
        with framework.on_device(x):
            yield
    except framework.OutOfMemory as error:
        raise _gpus.out_of_memory(error) from error
    except cuda_error as error:
        raise _gpus.explain(error) from error


def _present(framework, names, arrays):
    return {
        name: framework.dense(array)
        for name, array in zip(names, arrays, strict=True)
        if array is not None
    }


def _call(framework, arrays, save_for_backward, options):
    # A framework's own operator may be called without the checks of `pylstm.lstm`, and from here on
    # there are only addresses.
    check_dtypes(arrays)
    check_devices(arrays, framework.device, None, "move them to the device of x")
    return load_cuda().Call(
        dtype=dtype_name(arrays["x"]),
        shapes={name: list(array.shape) for name, array in arrays.items()},
        save_for_backward=save_for_backward,
        allow_tf32=framework.allow_tf32(),
        **options,
    )


def _checked_reserve(framework, reserve, call, x):
    device = framework.device(x)
    found = dtype_name(reserve), tuple(reserve.shape), framework.device(reserve)
    if found != ("uint8", (call.reserve_bytes,), device):
        dtype, shape, where = found
        raise ValueError(
            f"pylstm: the reserve is {dtype} {shape} on {where}, expected what forward with "
            f"save_for_backward returned: uint8 ({call.reserve_bytes},) on {device}"
        )
    return framework.dense(reserve)


def _addresses(framework, arrays):
    return {name: framework.address(array) for name, array in arrays.items()}
