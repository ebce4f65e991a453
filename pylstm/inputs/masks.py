"""Turns masks and lengths into one bool mask (batch, time), True where a step counts."""

import keras
import numpy as np

from pylstm.array_types import dtype_name, is_real, may_equal, static_shape
from pylstm.errors import MaskError, PylstmError
from pylstm.inputs.containers import as_array, is_tensor
from pylstm.lengths import check_lengths, lengths_error


def as_mask(mask, x, report, one_sequence=False):
    """Reads what was passed as `mask=` for an input.

    Args:
        mask: bool (batch, time) in any container; 0 and 1 count as bool. Integers (batch,)
            are read as lengths. Of [mask, None, None], as the `compute_mask` of a layer that
            returns its states gives it, the first counts.
        x: The input, (batch, time, features).
        report: Called for what had to be changed; see `containers.as_dense`.
        one_sequence: Whether the input had no batch axis, so that the mask may have none, too.

    Returns:
        bool (batch, time); `mask` itself if it is that already. None for [None, None, None].

    Raises:
        MaskError: The mask does not fit.
    """
    if isinstance(mask, (list, tuple)) and mask and all(part is None for part in mask[1:]):
        if mask[0] is None:
            return None
        mask = mask if len(mask) == 1 else mask[0]
    try:
        mask = as_array(mask)
    except PylstmError as error:
        raise _mask_error(error.got, x, "mask=[[True, True, False], ...], or an array") from None
    batch, steps, _ = static_shape(x)
    shape = static_shape(mask)
    if shape == (batch, steps) and dtype_name(mask) == "bool":
        return mask
    if shape is None:
        raise _mask_error("unknown shape", x, "mask.set_shape((None, None)), too")
    if one_sequence and len(shape) == 1 and may_equal(shape, (steps,)):
        mask, shape = mask[None], (1, *shape)
    if len(shape) == 1 and dtype_name(mask) != "bool" and may_equal(shape, (batch,)):
        return _mask_of_lengths(mask, x, report)
    if len(shape) == 3 and shape[0] == 1 and may_equal(shape[1:], (batch, steps)):
        mask, shape = mask[0], shape[1:]  # in a list, as Keras passes some masks
    elif len(shape) == 3 and shape[2] == 1:
        mask, shape = mask[..., 0], shape[:2]  # with a feature axis, as Keras passes others
    if len(shape) != 2 or not may_equal(shape, (batch, steps)):
        raise _mask_error(_described(mask), x, _mask_fix(shape, batch, steps))
    if dtype_name(mask) == "bool":
        return mask
    values = host_value(mask)
    if values is not None and not np.isin(values, (0, 1)).all():
        raise _mask_error(
            _described(mask), x, "mask != 0, if every other value means that the step counts"
        )
    report("PYL127", got=f"mask {dtype_name(mask)}", done="was read as bool", silent=True)
    return mask.astype(bool) if isinstance(mask, np.ndarray) else keras.ops.cast(mask, "bool")


def from_lengths(lengths, x):
    """The mask of sequences that end after `lengths` steps.

    Args:
        lengths: Integers (batch,), each from 0 to the number of steps. Checked where the
            values lie in host memory.
        x: The input, (batch, time, features).

    Raises:
        MaskError: The lengths do not fit.
    """
    try:
        lengths = as_array(lengths)
    except PylstmError as error:
        raise lengths_error(error.got, x) from None
    values = host_value(lengths)
    lengths = check_lengths(lengths if values is None else values, x)
    return _before(lengths, x, static_shape(x)[1])


def from_value(x, value, dtype):
    """The mask of the steps that are not all `value`, as `keras.layers.Masking` has it.

    Args:
        x: The input, (batch, time, features).
        value: A number.
        dtype: That of the layer's weights: in float64, 0.1 is another number than in float32.
    """
    if dtype_name(x) == "float64":
        x = keras.ops.cast(x, dtype)
    return keras.ops.any(keras.ops.not_equal(x, value), axis=-1)


def check_mask_value(value, layer=None):
    """A `mask_value` as a Python number, which takes the dtype of what it is compared with.

    Args:
        value: What was given; None stays None.
        layer: The name of the layer that it is for.

    Raises:
        MaskError: It is nan, or not one number.
    """
    if value is None:
        return None
    if np.ndim(value) or not is_real(np.asarray(value).dtype):
        raise MaskError(
            "PYL112",
            "mask_value is not one number",
            layer=layer,
            expected="mask_value=a number that no real step holds, the same for each feature",
            got=f"mask_value={value!r}",
            fix="mask_value=-1.0, with -1.0 for each feature of the steps to mask",
        )
    if value != value:
        raise MaskError(
            "PYL112",
            "nan equals no value, so it would mask nothing",
            layer=layer,
            expected="mask_value=a number that no real step holds",
            got="mask_value=nan",
            fix="mask_value=-1.0, with x = np.where(np.isnan(x), -1.0, x)",
        )
    return np.asarray(value).item()


def known_lengths(mask):
    """The number of steps (batch,) that a mask counts; None where looking would wait for a device,
    and for one that is traced."""
    values = host_value(mask)
    return None if values is None else np.sum(values, axis=1)


def both(first, second):
    """The steps that count in both masks, of which either may be None."""
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return first & second
    return keras.ops.logical_and(first, second)


def beside_features(mask, x):
    """A mask (batch, time) with as many axes as x (batch, time, ...)."""
    return keras.ops.reshape(mask, (*keras.ops.shape(mask), *(1,) * (len(x.shape) - 2)))


def host_value(value):
    """The NumPy array of a value in host memory; None for what is traced, and where looking would
    wait for a device."""
    if not is_tensor(value):
        return np.asarray(value)
    if isinstance(value, (keras.KerasTensor, keras.Variable)):
        return None
    is_on_host = _ON_HOST.get(keras.backend.backend())
    return keras.ops.convert_to_numpy(value) if is_on_host and is_on_host(value) else None


def _on_host_of_tensorflow(value):
    return "CPU" in str(value.device) and hasattr(value, "numpy")


def _on_host_of_jax(value):
    import jax

    return not isinstance(value, jax.core.Tracer) and "CPU" in str(value.device).upper()


def _on_host_of_torch(value):
    import torch

    traced = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    return value.device.type == "cpu" and not traced


_ON_HOST = {
    "tensorflow": _on_host_of_tensorflow,
    "jax": _on_host_of_jax,
    "torch": _on_host_of_torch,
}


def _mask_of_lengths(mask, x, report):
    batch, steps, _ = static_shape(x)
    values = host_value(mask)
    if batch == steps != 1 and values is not None and np.isin(values, (0, 1)).all():
        fix = "mask[None], or lengths=: it is not clear which is meant"
        raise _mask_error(_described(mask), x, fix)
    result = from_lengths(mask, x)
    report("PYL125", got=f"mask {static_shape(mask)}", done="was read as lengths", line="lengths=")
    return result


def _before(lengths, x, steps):
    if isinstance(lengths, np.ndarray) and steps is not None:
        return np.arange(steps) < lengths[:, None]
    if steps is None and isinstance(x, keras.KerasTensor):
        # A symbolic tensor has no number of steps yet: count them in the graph, by comparisons,
        # which lose no mask.
        steps = keras.ops.logical_not(keras.ops.any(keras.ops.less(x, x), axis=-1))
        position = keras.ops.cumsum(keras.ops.cast(steps, "int32"), axis=1) - 1
    else:
        position = keras.ops.arange(keras.ops.shape(x)[1], dtype="int32")
    lengths = keras.ops.cast(lengths, "int32")
    return keras.ops.less(position, keras.ops.expand_dims(lengths, 1))


def _mask_error(got, x, fix):
    batch, steps, _ = (_name(size) for size in static_shape(x))
    return MaskError(
        "PYL112",
        expected=f"bool (batch, time) = ({batch}, {steps})",
        got=f"mask {got}",
        fix=fix,
    )


def _mask_fix(shape, batch, steps):
    if len(shape) == 1 and may_equal(shape, (steps,)):
        return f"np.repeat(mask[None], {_name(batch)}, axis=0)     to mask every sequence alike"
    if len(shape) == 2 and shape[0] == 1 and may_equal(shape[1:], (steps,)):
        return f"np.repeat(mask, {_name(batch)}, axis=0)     to mask every sequence alike"
    if len(shape) == 2 and may_equal(shape, (steps, batch)):
        return "mask.T"
    if len(shape) == 2 and steps and shape[1] and may_equal(shape[:1], (batch,)):
        missing = steps - shape[1]
        if missing < 0:
            return f"mask[:, :{steps}]     if x was cut, too"
        return f"keras.ops.pad(mask, [(0, 0), (0, {missing})])     if x was padded at the end"
    if len(shape) == 3 and shape[1] == 1 and may_equal(shape[2:], (steps,)):
        return "mask[:, 0]"
    if len(shape) == 3:
        return "mask.any(axis=-1)     if a step counts when any of its features does"
    return "a mask with one entry for each time step of each sequence"


def _described(value):
    return f"{static_shape(value)} {dtype_name(value)}"


def _name(size):
    return "?" if size is None else size
