"""Checks of the functional op's arguments, the same for every framework.

They look only at shapes and dtypes, so they work in graphs and traces, too. The compiled bindings
check again before they use a pointer.
"""

import functools

from pylstm._library import load_core
from pylstm.array_types import FLOATS, dtype_name, static_shape
from pylstm.errors import CODES, DeviceError, DTypeError, OptionError, ShapeError


def check_call(tensors, activation, recurrent_activation):
    """Checks the arguments of `pylstm.ops.*.lstm`, by name and in their order.

    Raises:
        PylstmError: As the following functions.
    """
    check_dtypes(tensors)
    _check_shapes(tensors)
    _check_activation("activation", activation)
    _check_activation("recurrent_activation", recurrent_activation)


def check_dtypes(tensors):
    """Checks the dtypes of the arguments of `pylstm.ops.*.lstm`, by name.

    Raises:
        DTypeError: x is not floating, mask not bool, or another argument not of x's dtype.
    """
    expected = dtype_name(tensors["x"])
    if expected not in FLOATS:
        raise DTypeError(
            "PYL142",
            expected=f"x of {', '.join(FLOATS)}",
            got=f"x of {expected}",
            fix="np.concatenate([np.real(x), np.imag(x)], axis=-1), or np.abs(x)"
            if expected.startswith("complex")
            else "convert x to float32",
        )
    for name, value in tensors.items():
        wanted = "bool" if name == "mask" else expected
        if value is not None and dtype_name(value) != wanted:
            raise DTypeError(
                "PYL142",
                expected=f"{name} of {wanted}" + ("" if name == "mask" else ", as x"),
                got=f"{name} of {dtype_name(value)}",
                fix=f"convert {name} to {wanted}"
                + ("" if name == "mask" else f", or x and the others to {dtype_name(value)}"),
            )


def _check_shapes(tensors):
    """Checks the shapes of the arguments of `pylstm.ops.*.lstm`, by name, in their order.

    Raises:
        ShapeError: One does not fit the others.
    """
    shapes = [None if t is None else static_shape(t) for t in tensors.values()]
    try:
        found = load_core().find_mismatch(*shapes)
    except TypeError:  # symbols, as in JAX's exports for any batch
        raise ShapeError(
            "PYL141",
            "the kernels need sizes, and JAX traces the call without them",
            expected="sizes that are integers",
            got=", ".join(f"{n} {s}" for n, s in zip(tensors, shapes, strict=True) if s),
            fix="pylstm.LSTM with KERAS_BACKEND=jax, whose loop is traced for any size",
        ) from None
    if found is None:
        return
    code, expected, got, fix = found
    raise CODES[code].error(code, expected=expected, got=got, fix=fix)


def _check_activation(argument, name):
    """Raises OptionError unless the kernels know the activation."""
    if not isinstance(name, str) or name not in _activations():
        raise OptionError(
            "PYL143",
            expected=f"{argument} of {', '.join(sorted(_activations()))}",
            got=repr(name),
            fix="Keras' name of a pointwise activation, such as 'tanh'",
        )


def check_devices(arrays, device_of, reachable, fix):
    """Checks where arrays are.

    Args:
        arrays: The arrays of one framework, by name.
        device_of: A function that gives the device of an array, as text such as "cuda:0".
        reachable: The kinds of devices, such as "cuda", that the kernels reach; None for any.
        fix: What to write instead.

    Raises:
        DeviceError: They are on several devices, or on one that is not reachable.
    """
    devices = {device_of(array) for array in arrays.values()}
    if len(devices) < 2 and (
        reachable is None or all(str(d).partition(":")[0] in reachable for d in devices)
    ):
        return
    raise DeviceError(
        "PYL138",
        expected="all arrays on one device" + (f": {' or '.join(reachable)}" if reachable else ""),
        got=", ".join(f"{name} on {device_of(array)}" for name, array in arrays.items()),
        fix=fix,
    )


@functools.cache
def _activations():
    return frozenset(load_core().activations())
