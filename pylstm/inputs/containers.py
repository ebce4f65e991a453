"""Turns whatever a user has into one dense array or tensor, with a mask where lengths differ.

Arrays and tensors stay what they are. Collections of sequences are read by
`pylstm.inputs.sequences`; tensors among them stay in the graph, so gradients flow.
"""

import keras
import numpy as np

from pylstm.advice import to_numbers, to_real, to_sequences
from pylstm.array_types import FLOATS, dtype_name, is_real, static_shape
from pylstm.errors import DTypeError, RaggedError
from pylstm.inputs import explain
from pylstm.inputs.padding import PaddedBatch, pad_arrays
from pylstm.inputs.sequences import (
    as_numpy,
    as_sequences,
    mismatch,
    not_of_numbers,
    sequences_of_cells,
    stack,
    unpacked,
    without_batch_axes,
)
from pylstm.ops import in_xla


def is_tensor(value):
    """Whether a value is a tensor of Keras' backend, a variable, or symbolic."""
    return isinstance(value, (keras.KerasTensor, keras.Variable)) or keras.ops.is_tensor(value)


def as_dense(value, report, least_steps=0):
    """Reads a value as one dense array or tensor.

    Args:
        value: An array, tensor or symbolic tensor (returned as it is), or a collection of
            sequences: list, nested list, object array, Series, `tf.RaggedTensor`, torch's nested
            tensor and `PackedSequence`; or a `PaddedBatch`, whose padding stays where it is.
        report: Called for what had to be changed, as `corrections.Corrections` is.
        least_steps: The least number of steps to pad sequences of several lengths to, 0 or 1.

    Returns:
        The array or tensor, and a bool mask (batch, time) or None.

    Raises:
        PylstmError: The value cannot be read so.
    """
    if type(value) is np.ndarray and value.dtype != object:
        return value, None
    value = unpacked(value)
    kind = type(value).__name__
    if kind == "RaggedTensor":
        return _dense_ragged(value, report, least_steps)
    if kind == "SparseTensor":
        return keras.ops.convert_to_tensor(value, sparse=False), None
    if isinstance(value, keras.Variable):
        return value.value, None
    if is_tensor(value):
        return value, None
    if isinstance(value, PaddedBatch):
        report("PYL126", got=f"a padded batch {value.x.shape}", done="was masked", silent=True)
        return value.x, value.mask
    if isinstance(value, (list, tuple)):
        if any(is_tensor(item) for item in value):
            return _with_steps(*_dense_tensors(value, report), least_steps)
        return _with_steps(*_dense_sequences(value, report), least_steps)
    array = _as_numpy(value)
    if array.dtype == object and array.ndim:
        items = sequences_of_cells(value) if hasattr(value, "columns") else list(array)
        if items is None:
            return _numbers_of_table(value), None
        return _with_steps(*_dense_sequences(items, report), least_steps)
    return array, None


def as_array(value):
    """Reads a mask, lengths or a state as one array or tensor; rows are padded with 0.

    Raises:
        PylstmError: It cannot be read so; its `got` does not name it.
    """
    if isinstance(value, np.ma.MaskedArray) and value.mask.any():
        raise DTypeError(
            "PYL118",
            expected="an array whose values all count",
            got=f"a masked array {value.shape}",
            fix="array.filled(0)     with the value meant by what is masked",
        )
    if isinstance(value, (list, tuple)) and all(map(_is_scalar, value)):
        return keras.ops.stack(value) if any(map(is_tensor, value)) else np.asarray(value)
    return as_dense(value, unreported)[0]


def unreported(code, **_):
    """A report for what is not the layer's input: its conversions are not corrections."""


def as_numbers(x, dtype, report, name="x"):
    """Checks that `x` holds real numbers; casts integers and bools to `dtype`.

    Floating dtypes are left to Keras, and so are symbolic tensors.

    Raises:
        DTypeError: It holds complex numbers, or none.
    """
    kind = dtype_name(x)
    if kind in FLOATS and getattr(x.dtype, "isnative", True):
        return x
    if kind.startswith("complex"):
        raise DTypeError(
            "PYL117",
            None if name == "x" else f"{name} is complex",
            expected="real numbers",
            got=f"{static_shape(x)} {kind}",
            fix=to_real(x, name),
        )
    if not is_real(x.dtype):
        raise DTypeError(
            "PYL118",
            None if name == "x" else f"{name} does not hold numbers",
            expected="numbers",
            got=f"{static_shape(x)} {kind}",
            fix=to_numbers(x, name),
        )
    if isinstance(x, keras.KerasTensor):
        return x
    report("PYL127", got=kind, done=f"was cast to {dtype}", silent=True)
    return x.astype(dtype) if isinstance(x, np.ndarray) else keras.ops.cast(x, dtype)


def _is_scalar(value):
    return isinstance(value, (int, float, complex)) or getattr(value, "shape", None) == ()


def _as_numpy(value):
    if isinstance(value, (int, float, complex)) or hasattr(value, "__array__"):
        return as_numpy(value)
    raise DTypeError(
        "PYL142",
        expected="numbers (batch, time, features), or a list of arrays (time, features)",
        got=type(value).__name__,
        fix=to_sequences(value),
    )


def _numbers_of_table(table):
    """The array (rows, columns) of a DataFrame of objects, which may be numbers."""
    try:
        return as_sequences([table])[0]
    except DTypeError as error:
        raise not_of_numbers(table, error) from None


def _dense_sequences(items, report):
    arrays = as_sequences(items, report)
    stacked = stack(arrays, report)
    if stacked is not None:
        return stacked, None
    batch = pad_arrays(arrays)
    return batch.x, batch.mask


def _with_steps(x, mask, least):
    """x (batch, time, ...) and its mask; if it has one, padded to at least so many steps."""
    if mask is None or x.shape[1] >= least:
        return x, mask
    x = keras.ops.pad(x, [(0, 0), (0, least)] + [(0, 0)] * (len(x.shape) - 2))
    return x, np.zeros(tuple(x.shape[:2]), bool)


def _is_empty_sequence(shape):
    """Whether a shape is that of a sequence without steps, which needs a mask to say so."""
    return len(shape) <= 2 and shape[:1] == (0,)


def _dense_tensors(items, report):
    """Stacks or pads tensors in the graph; arrays among them become constants."""
    symbolic = any(isinstance(item, keras.KerasTensor) for item in items)
    if len(items) > 1 and (symbolic or isinstance(items, tuple)):
        raise explain.several_tensors([static_shape(item) for item in items])
    items = [_as_tensor(index, item) for index, item in enumerate(items)]
    shapes = [static_shape(item) for item in items]
    equal = len(set(shapes)) == 1 and not _is_empty_sequence(shapes[0])
    if equal and (len(items) == 1 or None not in shapes[0]):
        report("PYL127", got=f"{len(items)} tensors", done="were stacked", silent=True)
        return keras.ops.stack(items), None
    items = without_batch_axes(items, report)
    shapes = [static_shape(item) for item in items]
    for index, shape in enumerate(shapes):
        if shape and shapes[0] and shape[1:] != shapes[0][1:]:
            raise mismatch(shapes, 0, index)
    lengths = [shape[0] if shape else None for shape in shapes]
    if None in lengths:
        raise RaggedError(
            "PYL114",
            expected="tensors (time, features) with the same features and known lengths",
            got=", ".join(map(str, shapes)),
            fix="tf.ragged.stack(tensors), or a dataset with ragged_batch\n"
            "pylstm.dataset(sequences, labels)     instead of a DataLoader",
        )
    report("PYL126", got=f"{len(items)} tensors", done="were padded, masked", silent=True)
    steps = max(lengths)
    rows = [
        keras.ops.pad(item, [(0, steps - length)] + [(0, 0)] * (len(shapes[0]) - 1))
        for item, length in zip(items, lengths, strict=True)
    ]
    return keras.ops.stack(rows), np.arange(steps) < np.array(lengths)[:, None]


def _as_tensor(index, item):
    item = unpacked(item)
    if type(item).__name__ == "SparseTensor":
        return keras.ops.convert_to_tensor(item, sparse=False)
    if is_tensor(item):
        return item
    try:
        return keras.ops.convert_to_tensor(item)
    except (TypeError, ValueError):
        raise DTypeError(
            "PYL118",
            expected="tensors and arrays of numbers (time, features)",
            got=f"item {index} is a {type(item).__name__}",
            fix=f"leave out item {index}, or make it an array",
        ) from None


def _dense_ragged(value, report, least_steps):
    """Densifies a `tf.RaggedTensor` (batch, (time), features)."""
    if value.ragged_rank > 1:
        if not hasattr(value.flat_values, "numpy"):
            raise RaggedError(
                "PYL114",
                "the feature axis is ragged, too",
                expected="a ragged tensor (batch, (time), features) of ragged_rank 1",
                got=f"ragged_rank {value.ragged_rank}",
                fix="tf.TensorSpec((None, F)) in output_signature, F the number of features     "
                "of a generator's dataset\n"
                "pylstm.ragged(sequences), or tf.ragged.constant(..., ragged_rank=1)",
            )
        return _with_steps(*_dense_sequences(value.to_list(), report), least_steps)
    if in_xla():
        raise RaggedError(
            "PYL114",
            "XLA (jit_compile=True) has no ragged tensors",
            expected="sequences padded to one length, with their mask",
            got=f"ragged {value.shape}",
            fix="jit_compile=False, or a pylstm.dataset in a pylstm.Sequential or pylstm.Model",
        )
    import tensorflow as tf

    report("PYL126", got=f"ragged {value.shape}", done="was padded, masked", silent=True)
    shape = None
    if least_steps and value.shape.rank is not None:
        least = tf.minimum(value.nrows(), least_steps)  # no rows need none
        steps = tf.maximum(tf.reduce_max(value.row_lengths()), least)
        shape = [-1, steps] + [-1] * (value.shape.rank - 2)
    dense = value.to_tensor(shape=shape)
    if shape:
        dense.set_shape(value.shape)
    return dense, tf.sequence_mask(value.row_lengths(), tf.shape(dense)[1])
