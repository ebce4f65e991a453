"""The LSTM as a function, on the arrays of any framework."""

from typing import Any

import numpy as np

from pylstm.advice import to_dense
from pylstm.array_types import dtype_name, is_dense, native, unmasked
from pylstm.caching import constant
from pylstm.errors import DTypeError, StateError
from pylstm.lengths import check_lengths, read_lengths
from pylstm.ops import INPUTS, load_ops
from pylstm.ops.checks import check_call

# Top-level package of an array's type to the module of pylstm.ops that computes on it.
_MODULES = {
    "cupy": "cupy",
    "jax": "jax",
    "jaxlib": "jax",
    "numpy": "numpy",
    "tensorflow": "tensorflow",
    "torch": "torch",
}
_REQUIRED = ("x", "kernel", "recurrent_kernel")
_DLPACK_CPU = 1  # kDLCPU
_OTHER_WAYS = (
    "np.asarray({0}, '{1}')     for numbers in lists; pylstm.LSTM for layers and symbolic inputs"
)
_OF_SEQUENCES = (
    "np.asarray(x, 'float32')     for sequences of one length\n"
    "pylstm.pad(x, dtype='float32')     for several: its .x, with lengths= its .lengths"
)


def lstm(
    x,
    kernel,
    recurrent_kernel,
    bias=None,
    *,
    initial_state=None,
    mask=None,
    lengths=None,
    recurrent_dropout=None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    go_backwards: bool = False,
    return_sequences: bool = True,
    return_state: bool = False,
    zero_output_for_mask: bool = False,
) -> Any:
    """Runs an LSTM over a batch of sequences, where its arrays are: on the CPU, or, for CuPy, torch
    and TensorFlow, on a GPU.

    Takes arrays of NumPy, CuPy, TensorFlow, torch or JAX and returns the same kind. All but NumPy's
    and CuPy's are differentiable with respect to x, the weights and the states: once, and again
    where Keras runs on that framework. NumPy arrays may stand among those of another, and are then
    copied. Other objects that share their memory are taken without a copy: on a GPU
    (`__cuda_array_interface__`, DLPack) as CuPy's arrays, else (DLPack) as NumPy's. On the CPU,
    denormal numbers in the arithmetic count as zero.

        y = pylstm.lstm(x, kernel, recurrent_kernel, bias, lengths=lengths)

    Args:
        x: (B, T, F), the inputs, float16, bfloat16, float32 or float64. What it holds at masked
            steps has no influence.
        kernel: (F, 4H), dtype of x, the gates in Keras' order i, f, c, o.
        recurrent_kernel: (H, 4H), dtype of x.
        bias: (4H,), dtype of x, or None.
        initial_state: [h, c], each (B, H), dtype of x, or None for zeros.
        mask: bool (B, T), True where the step counts, or None. A masked step keeps the state and
            repeats the previous output, zeros before the first.
        lengths: Integers (B,), how many steps of each sequence count, or None. A list, or an array
            of any framework. No device is waited for: of a tensor of x's own framework, values
            below 0 count as 0 and values over T as T, without an error.
        recurrent_dropout: (4, B, H), dtype of x, what multiplies h for each gate at every step,
            or None. It gets no gradient.
        activation: Keras' name of a pointwise activation.
        recurrent_activation: The same, for the gates.
        go_backwards: Read x and mask from the last step to the first.
        return_sequences: Return the outputs of all steps, else of the last.
        return_state: Return the states after the last step, too.
        zero_output_for_mask: Masked steps give zeros.

    Returns:
        y, (B, T, H) in the order in which the steps were read, or (B, H); with `return_state` y, h
        and c, the last two (B, H).

    Raises:
        ShapeError: A shape does not fit the others; of its subclasses, `RankError` and
            `FeatureMismatchError` for x, `StateError`, and `MaskError` for mask and lengths.
        DTypeError: An argument is no array, is of another framework than the others, or has
            another dtype than x.
        DeviceError: Arrays are on several devices, or on one that the kernels do not reach (JAX's
            on a GPU), or the GPU cannot run them.
        OptionError: An activation is unknown.
        BackendLoadError: What was compiled for the framework is absent or cannot be loaded.
        PylstmError: The kernels do not have the derivative that is asked for, as by forward mode.
    """
    h0, c0 = _states(initial_state)
    tensors = (x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout)
    framework, tensors = _of_one_framework(tensors)
    ops = load_ops(framework)
    # On NumPy arrays the binding's own checks are quicker, and enough where this function does not
    # use the shapes itself.
    if framework != "numpy" or h0 is None or lengths is not None:
        check_call(_by_name(tensors), activation, recurrent_activation)
    if framework != "numpy":
        # Copied, because a gradient may be computed after the caller has overwritten an array.
        tensors = ops.own(
            [native(t.copy()) if _module_name(type(t)) == "numpy" else t for t in tensors]
        )
    x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout = tensors
    if lengths is not None:
        if _module_name(type(lengths)) != framework:
            lengths = read_lengths(lengths, x, ops.stacked)
        mask = ops.mask_from_lengths(check_lengths(lengths, x), x, mask)
    if h0 is None:
        h0 = c0 = ops.zero_state(x, recurrent_kernel.shape[0])
    y, h, c = ops.lstm(
        x,
        h0,
        c0,
        kernel,
        recurrent_kernel,
        bias,
        mask=mask,
        recurrent_dropout=recurrent_dropout,
        activation=activation,
        recurrent_activation=recurrent_activation,
        go_backwards=bool(go_backwards),
        return_sequences=bool(return_sequences),
        zero_output_for_mask=bool(zero_output_for_mask),
    )
    return (y, h, c) if return_state else y


def _states(initial_state):
    if initial_state is None:
        return None, None
    several = isinstance(initial_state, (list, tuple))
    if several and len(initial_state) == 2:
        h0, c0 = initial_state
        if h0 is not None and c0 is not None:
            return h0, c0
    got = type(initial_state).__name__
    if several:
        missing = any(state is None for state in initial_state)
        got += f" of {len(initial_state)}" + (", one of them None" if missing else "")
    raise StateError(
        "PYL116", expected="[h, c], each (batch, units)", got=got, fix="initial_state=[h, c]"
    )


def _shared(name, value):
    """The value; if of an unknown kind that shares its memory, as an array of CuPy or NumPy."""
    if value is None or _module_name(type(value)) is not None:
        return value
    if isinstance(value, np.ma.MaskedArray):
        return unmasked(value, name)
    on_cpu = hasattr(value, "__dlpack_device__") and value.__dlpack_device__()[0] == _DLPACK_CPU
    if on_cpu:
        return np.from_dlpack(value)
    for attribute, function in (
        ("__cuda_array_interface__", "asarray"),
        ("__dlpack_device__", "from_dlpack"),
    ):
        if hasattr(value, attribute):
            try:
                import cupy
            except ImportError:
                raise DTypeError(
                    "PYL142",
                    "CuPy, which takes such arrays, is not installed",
                    expected="an array of CuPy, TensorFlow or torch on a GPU",
                    got=f"{name} is a {type(value).__name__}",
                    fix="pip install cupy-cuda13x",
                ) from None
            return getattr(cupy, function)(value)
    return value


def _of_one_framework(tensors):
    """The name of the module of `pylstm.ops` that computes on all arguments, and the arguments.

    Raises:
        DTypeError: There is none, or an argument is not dense.
    """
    framework = _framework_of(*map(type, tensors))
    if framework is None:
        tensors = tuple(map(_shared, INPUTS, tensors))
        framework = _framework_of(*map(type, tensors))
    if framework is None or (framework != "numpy" and not all(map(is_dense, tensors))):
        raise _no_framework(_by_name(tensors))
    return framework, tensors


def _by_name(tensors):
    return dict(zip(INPUTS, tensors, strict=True))


def _modules_of(types):
    """The names of the modules of `pylstm.ops`, or None, for the arguments that are there, by name,
    from the types of all."""
    return {
        name: _module_name(type_)
        for name, type_ in _by_name(types).items()
        if type_ is not type(None) or name in _REQUIRED
    }


@constant  # for all types at once: asking for each takes longer than a small step
def _framework_of(*types):
    """The one module of `pylstm.ops` for arguments of such types; None where there is none."""
    frameworks = set(_modules_of(types).values())
    if len(frameworks) > 1:
        frameworks.discard("numpy")
    return frameworks.pop() if len(frameworks) == 1 else None


def _no_framework(tensors):
    """The error for arguments that are not dense or have no module of `pylstm.ops` in common."""
    modules = _modules_of(map(type, tensors.values()))
    for name, module in modules.items():
        value = tensors[name]
        if module is None or not is_dense(value):
            return DTypeError(
                "PYL142",
                expected="a dense array of NumPy, CuPy, TensorFlow, torch or JAX",
                got=f"{name} is a {type(value).__name__}",
                fix=_way_to_array(name, value, tensors["x"]),
            )
    kinds = ", ".join(f"{name} of {module}" for name, module in modules.items())
    return DTypeError(
        "PYL142",
        "the arrays are of several frameworks",
        expected="arrays of one framework, and NumPy's",
        got=kinds,
        fix="convert them to the framework of x",
    )


def _way_to_array(name, value, x):
    """The line that turns an argument into what `lstm` takes."""
    if name == "recurrent_dropout" and np.ndim(value) == 0:
        return "an array (4, batch, units) of multipliers: pylstm.LSTM draws them from a rate"
    if isinstance(value, (list, tuple)) and hasattr(value, "lengths"):  # a `PaddedBatch`
        return f"{name}.x, with lengths={name}.lengths"
    of_lists = _OF_SEQUENCES if name == "x" and isinstance(value, (list, tuple)) else None
    dtype = "bool" if name == "mask" else dtype_name(x) if hasattr(x, "dtype") else "float32"
    return to_dense(value, name) or of_lists or _OTHER_WAYS.format(name, dtype)


@constant
def _module_name(array_type):
    """The name of the module of `pylstm.ops` for a type of arrays, or None."""
    if issubclass(array_type, np.ma.MaskedArray):
        return None
    for base in array_type.__mro__:
        module = _MODULES.get(base.__module__.partition(".")[0])
        if module is not None:
            return module
    return None
