"""The input contract as a model applies it, before its first layer sees the input.

Layers in front of an LSTM know nothing of lists and ragged tensors. Here they become dense
tensors with a Keras mask, as `keras.layers.Masking` would have made them.
"""

import keras
from keras.src.backend.common.masking import set_keras_mask

from pylstm.array_types import dtype_name, is_real, static_shape
from pylstm.inputs.containers import as_dense, as_numbers
from pylstm.inputs.contract import Known, Origin
from pylstm.inputs.masks import beside_features
from pylstm.inputs.padding import PaddedBatch
from pylstm.inputs.reading import apply_reading, choose_reading
from pylstm.models.data.columns import Dense, Sequences


def enter(value, declared, report, padding_value):
    """Makes one input of a model into what Keras' layers compute on.

    Args:
        value: A tensor, an array, or anything that `as_dense` reads.
        declared: The shape of the model's `keras.Input`, or None.
        report: Called for what had to be changed; see `as_dense`.
        padding_value: Called for the value to pad with, where sequences differ in length.

    Returns:
        A tensor; with a Keras mask where sequences differ in length. A tensor that needs no
        change comes back as the same object.

    Raises:
        PylstmError: The value cannot be read, or does not fit `declared`.
    """
    if value is None or isinstance(value, keras.KerasTensor):
        return value
    x, mask = as_dense(value, report, least_steps=1)  # layers cannot compute on no step
    if not is_real(x.dtype):
        x = as_numbers(x, keras.config.floatx(), report)
    origin = Origin.MODEL if mask is None else Origin.JOINED
    reading = _read_as(declared, static_shape(x), dtype_name(x), origin, report)
    x = keras.ops.convert_to_tensor(x if reading is None else apply_reading(reading, x))
    if mask is not None:
        mask = keras.ops.cast(mask, "bool")
        padding = padding_value()
        if padding != 0 or isinstance(value, PaddedBatch):  # which has a padding of its own
            x = _with_padding(x, mask, padding)
        set_keras_mask(x, mask)
    return x


def _with_padding(x, mask, value):
    """x with `value` at the masked steps; as floats where its own dtype may not hold the value."""
    if value != 0 and dtype_name(x) not in ("float32", "float64"):
        x = keras.ops.cast(x, keras.config.floatx())
    return keras.ops.where(beside_features(mask, x), x, keras.ops.cast(value, x.dtype))


def enter_column(column, declared, report):
    """As `enter`, for all samples at once and without padding: a column of that shape."""
    if isinstance(column, Dense):
        x = column.values
        reading = _read_as(declared, static_shape(x), dtype_name(x), Origin.MODEL, report)
        return column if reading is None else type(column)(apply_reading(reading, x))
    first = column.values[0]
    shape = (column.size, None, *first.shape[1:])
    reading = _read_as(declared, shape, dtype_name(first), Origin.JOINED, report)
    if reading is None:
        return column
    return Sequences([apply_reading(reading, sequence[None])[0] for sequence in column.values])


def _read_as(declared, shape, dtype, origin, report):
    """The reading of a shape where the model declares (batch, time, features), else None."""
    if declared is None or len(declared) != 3:
        return None
    return choose_reading(shape, dtype, Known(features=declared[2]), origin, report, declared)
