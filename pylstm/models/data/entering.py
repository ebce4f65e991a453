"""What comes to a model's call, as Keras' layers compute on it.

Layers in front of an LSTM know nothing of lists and ragged tensors. Here they become dense
tensors with a Keras mask, as `keras.layers.Masking` would have made them.
"""

from collections import OrderedDict

import keras
from keras import tree

from pylstm.array_types import dtype_name, is_dense, is_real, static_shape
from pylstm.errors import PylstmError
from pylstm.inputs.containers import as_dense, as_numbers
from pylstm.inputs.contract import Known, Origin
from pylstm.inputs.corrections import Corrections
from pylstm.inputs.knowledge import memory_of
from pylstm.inputs.masks import beside_features
from pylstm.inputs.padding import PaddedBatch
from pylstm.inputs.reading import apply_reading, choose_reading
from pylstm.keras_graph import get_keras_mask, layers_of, set_keras_mask
from pylstm.layer import LSTM
from pylstm.models.data.columns import Dense, Sequences
from pylstm.models.data.meeting_inputs import check_meeting_inputs, column_of
from pylstm.models.data.separating import map_named, separate_inputs
from pylstm.models.data.text import as_text, is_text
from pylstm.models.graph.conv_lstm import check_conv_lstms
from pylstm.models.graph.declared import declared_inputs
from pylstm.models.graph.mask_values import padding_for
from pylstm.models.graph.steps import has_open_steps, report_steps
from pylstm.models.graph.time_distributed import check_time_distributed
from pylstm.models.graph.windows import check_long_enough


def enter_model(model, inputs, masks_lists=False):
    """Makes the inputs of a model's call into what Keras' layers compute on; see `enter`.

    With `masks_lists` lists of equal lengths have a mask, too, which says that all steps are real.
    """
    report = Corrections(model.name, Known(), strictest_validate(model))
    try:
        inputs = separate_inputs(model, inputs)
        declared, columns = declared_inputs(model), {}

        def enter_one(x, name):
            if is_text(x, declared.get(name)):
                return as_text(x)
            shape = declared[name].shape if name in declared else None
            is_list = isinstance(x, list)
            x, mask = enter(x, shape, report, lambda: padding_for(model, name))
            columns[name] = column_of(x, mask, is_list)
            if masks_lists and is_list and get_keras_mask(x) is None and len(x.shape) > 1:
                set_keras_mask(x, keras.ops.ones(keras.ops.shape(x)[:2], "bool"))
            report_steps(model, x, shape, report)
            check_conv_lstms(model, name, x)
            return x

        inputs = map_named(declared, enter_one, inputs)
        lists = {n: each for n, each in columns.items() if isinstance(each, Sequences)}
        check_long_enough(model, {name: column.lengths for name, column in lists.items()})
        if len(columns) > 1:
            by_name = map_named(declared, lambda _, name: columns.get(name), inputs)
            check_meeting_inputs(model, by_name)
        struct = getattr(model, "input", None)
        if isinstance(inputs, dict) and isinstance(struct, (list, tuple)):
            # Keras would pair a None in it by the order of the keys.
            inputs = tree.pack_sequence_as(struct, list(inputs.values()))
        elif isinstance(inputs, dict) and isinstance(struct, OrderedDict):
            inputs = OrderedDict(inputs)
        if any(has_open_steps(x) for x in tree.flatten(inputs)):
            check_time_distributed(model)
    except PylstmError as error:
        raise error.at(model.name) from None
    report.warn(memory_of(model).warned)
    return inputs


def enter_batch(model, batch, masks_lists=False):
    """The batch (x,), (x, y) or (x, y, sample_weight) of a step, with x as `enter_model` makes it.

    Keras' steps take an array for x, and on JAX pass the model's own `__call__` by.
    """
    x, y, sample_weight = unpack_batch(batch)
    return enter_model(model, x, masks_lists), y, sample_weight


def unpack_batch(batch):
    """x, y and sample_weight of a batch, None where it has none."""
    if isinstance(batch, PaddedBatch) or not is_dense(batch):
        batch = (batch,)  # else Keras would take a tuple for all three
    return keras.utils.unpack_x_y_sample_weight(batch)


def strictest_validate(model):
    """The strictest `validate` of a model's `pylstm.LSTM` layers."""
    asked = [layer.validate for layer in layers_of(model) if isinstance(layer, LSTM)]
    return next((choice for choice in ("strict", "warn") if choice in asked), "auto")


def enter(value, declared, report, padding_value):
    """Makes one input of a model into what Keras' layers compute on.

    Args:
        value: A tensor, an array, or anything that `as_dense` reads.
        declared: The shape of the model's `keras.Input`, or None.
        report: Called for what had to be changed; see `as_dense`.
        padding_value: Called for what to pad with, where sequences differ in length: a value, or
            None for a step of each sequence's own.

    Returns:
        A tensor; with a Keras mask where sequences differ in length. A tensor that needs no
        change comes back as the same object. Beside it that mask as it was read, or None.

    Raises:
        PylstmError: The value cannot be read, or does not fit `declared`.
    """
    if value is None or isinstance(value, keras.KerasTensor):
        return value, None
    x, read = as_dense(value, report, least_steps=1)  # layers cannot compute on no step
    if not is_real(x.dtype):
        x = as_numbers(x, keras.config.floatx(), report)
    origin = Origin.MODEL if read is None else Origin.JOINED
    reading = _read_as(declared, static_shape(x), dtype_name(x), origin, report)
    x = keras.ops.convert_to_tensor(x if reading is None else apply_reading(reading, x))
    if read is not None:
        mask = keras.ops.cast(read, "bool")
        padding = padding_value()
        if padding or isinstance(value, PaddedBatch):  # which has a padding of its own
            x = _with_padding(x, mask, padding or 0.0)
        if padding is None:
            x = _with_own_steps(x, mask)
        set_keras_mask(x, mask)
    return x, read


def _with_padding(x, mask, value):
    """x with `value` at the masked steps; as floats where its own dtype may not hold the value."""
    if value != 0 and dtype_name(x) not in ("float32", "float64"):
        x = keras.ops.cast(x, keras.config.floatx())
    return keras.ops.where(beside_features(mask, x), x, keras.ops.cast(value, x.dtype))


def _with_own_steps(x, mask):
    """x with the first step of each sequence at its masked steps; the last where that is masked."""
    own = keras.ops.where(beside_features(mask[:, :1], x), x[:, :1], x[:, -1:])
    return keras.ops.where(beside_features(mask, x), x, own)


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
