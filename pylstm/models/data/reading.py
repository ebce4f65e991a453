"""What a user gives to a model, as what Keras' trainer takes."""

from collections import OrderedDict
from collections.abc import Collection

import keras
import numpy as np
from keras import tree
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from pylstm.errors import DTypeError, PylstmError, RankError
from pylstm.inputs.contract import Known
from pylstm.inputs.corrections import Corrections
from pylstm.inputs.explain import shape_text
from pylstm.inputs.knowledge import memory_of
from pylstm.inputs.padding import PaddedBatch
from pylstm.layer import LSTM
from pylstm.models.data.columns import Sequences, columns_of, read_column, read_columns
from pylstm.models.data.dataset import SequenceDataset, longest_of
from pylstm.models.data.entering import enter, enter_column
from pylstm.models.graph.declared import (
    declared_inputs,
    declared_shapes,
    map_named,
    separate_inputs,
    takes_any_steps,
    without_absent,
)
from pylstm.models.graph.mask_values import padding_value
from pylstm.models.graph.outputs import count_outputs
from pylstm.models.graph.stateful import check_batches, keeps_states
from pylstm.models.graph.steps import report_steps
from pylstm.models.data.structure import map_parts, split_targets
from pylstm.models.data.targets import fit_targets
from pylstm.models.data.text import as_text, is_text, read_text
from pylstm.models.graph.time_distributed import check_time_distributed

_DEFAULT_BATCH_SIZE = 32  # as in keras.Model.fit
_MANY_BATCHES = 50  # from which on another compilation takes less time than it saves


def enter_model(model, inputs):
    """Makes the inputs of a model's call into what Keras' layers compute on; see `enter`."""
    report = Corrections(model.name, Known(), strictest_validate(model))
    try:
        inputs = separate_inputs(model, inputs)
        declared = declared_inputs(model)

        def enter_one(x, name):
            if is_text(x, declared.get(name)):
                return as_text(x)
            shape = declared[name].shape if name in declared else None
            x = enter(x, shape, report, lambda: padding_value(model, name) or 0.0)
            report_steps(model, x, shape, report)
            return x

        inputs = map_named(declared, enter_one, inputs)
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


def strictest_validate(model):
    """The strictest `validate` of a model's `pylstm.LSTM` layers."""
    asked = [layer.validate for layer in model._flatten_layers() if isinstance(layer, LSTM)]
    return next((choice for choice in ("strict", "warn") if choice in asked), "auto")


def enter_batch(model, batch):
    """The batch (x,), (x, y) or (x, y, sample_weight) of a step, with x as `enter_model` makes it.

    Keras' steps take an array for x, and on JAX pass the model's own `__call__` by.
    """
    x, y, sample_weight = unpack_batch(batch)
    return enter_model(model, x), y, sample_weight


def unpack_batch(batch):
    """x, y and sample_weight of a batch, None where it has none."""
    if isinstance(batch, PaddedBatch):  # a tuple, which Keras would take for all three
        batch = (batch,)
    return keras.utils.unpack_x_y_sample_weight(batch)


def read_data(model, x, y=None, sample_weight=None):
    """Reads the data of a fit as `Columns`; None where Keras iterates over x itself.

    Raises:
        PylstmError: The data cannot be read, can be read in several ways, or does not fit together.
    """
    if is_nothing(x):
        expected, got = "the model's input, or a dataset", repr(x)
        what, fix = "there is no x", "model.fit(x, y), and so on"
        raise DTypeError("PYL118", what, layer=model.name, expected=expected, got=got, fix=fix)
    if not is_columns(x):
        return None
    report = Corrections(model.name, Known(), strictest_validate(model))
    try:
        x = separate_inputs(model, x, count_samples(y))
        x = map_parts(lambda part: read_column(part, report), read_text(model, x))
        size, count = columns_of(x)[0].size, count_outputs(model)
        y, sample_weight = (split_targets(part, count, size) for part in (y, sample_weight))
        columns = read_columns(x, y, sample_weight, report)
        x = _enter_columns(model, columns.x, report)
        x = x if columns.is_dense else without_absent(model, x)
        columns = fit_targets(model, columns._replace(x=x))
    except PylstmError as error:
        raise error.at(model.name) from None
    report.warn(memory_of(model).warned)
    return columns


def read_held_out(model, data, has_targets):
    """As `read_data`, for a `validation_data` that is no dataset.

    Args:
        model: The model that is to be trained.
        data: What was given: `(x, y)` or `(x, y, sample_weight)`, or x alone.
        has_targets: Whether the model is trained with targets, and so needs them.

    Raises:
        RankError: It is none of these.
    """
    is_tuple = isinstance(data, (tuple, list)) and not isinstance(data, PaddedBatch)
    parts = data if is_tuple else (data,)
    if len(parts) in (2, 3) or (len(parts) == 1 and not has_targets):
        return read_data(model, *parts)
    raise RankError(
        "PYL101",
        "validation_data is not x and y",
        layer=model.name,
        expected="(x, y), (x, y, sample_weight) or a dataset of batches",
        got=f"a {type(data).__name__}" + (f" of {len(data)}" if is_tuple else ""),
        fix="validation_data=(x, y)     with the targets y of the sequences x",
    )


def _enter_columns(model, x, report):
    """Each input of a model as `enter_column` makes it."""
    shapes = declared_shapes(model)

    def enter_one(column, name):
        try:
            return enter_column(column, shapes.get(name), report)
        except PylstmError as error:
            raise error if len(shapes) < 2 else _of_several(error, name, shapes) from None

    return map_named(shapes, enter_one, x)


def _of_several(error, name, shapes):
    """The error of one of several inputs, which may have come in another order."""
    inputs = ", ".join(f"{each!r} {shape_text(shape)}" for each, shape in shapes.items())
    return type(error)(
        error.code,
        error.what,
        expected=f"{error.expected}\nfor input {name!r} of the inputs {inputs}",
        got=f"{error.got}     for input {name!r}",
        fix=f"the inputs in this order, or {{{', '.join(f'{each!r}: ...' for each in shapes)}}}\n"
        f"{error.fix}",
    )


def read_batch(model, x, y=None, sample_weight=None):
    """As `read_data`, for the `*_on_batch` methods, which iterate over nothing.

    Raises:
        DTypeError: x makes batches and is none.
    """
    data = read_data(model, x, y, sample_weight)
    if data is None:
        raise DTypeError(
            "PYL118",
            "x is not one batch",
            layer=model.name,
            expected="an array, or a list of arrays (time, features)",
            got=type(x).__name__,
            fix="next(iter(x))[0] instead of x     for the first batch\n"
            "fit, evaluate or predict     for all batches",
        )
    return data


def feed(model, data, batch_size=None, steps=None, shuffle=False):
    """(x, y, sample_weight) for Keras' trainer: arrays, or a dataset instead of x.

    Args:
        model: The model that is to take them.
        data: `Columns`.
        batch_size: Samples in a batch; None for Keras' default, or as many as make `steps` batches.
        steps: The number of batches that will be taken; None for all.
        shuffle: Draw a new order for each epoch.

    Raises:
        BatchMismatchError: A batch does not fit the states of a stateful layer.
    """
    if not batch_size:
        batch_size = -(-data.size // steps) if steps else _DEFAULT_BATCH_SIZE
    if steps is None:  # of some batches, Keras may never come to the last
        check_batches(model, data.size, batch_size)
    if data.is_dense:
        return tuple(data.values())
    batches = SequenceDataset(data, batch_size, shuffle=shuffle)
    return for_model(model, batches), None, None


def by_length(model, data, batch_size):
    """The samples with the longest first, so that those of a batch need little padding.

    Returns:
        The `Columns`, and which sample each was, (N,); None where they stay in their order: all
        are equally long or in one batch, or the model keeps states from batch to batch.
    """
    longest = longest_of(data)
    if longest is None or data.size <= (batch_size or _DEFAULT_BATCH_SIZE) or keeps_states(model):
        return data, None
    order = np.argsort(-longest, kind="stable")
    return data.take(order), order


def feed_batch(model, data):
    """As `feed`, for the `*_on_batch` methods: all samples are one batch."""
    if data.is_dense:
        return tuple(data.values())
    x, *rest = batch_alone(model, data)
    rest = [tree.map_structure(np.asarray, part) for part in rest]
    y, sample_weight = (*rest, None, None)[:2]
    return x, y, sample_weight


def batch_alone(model, data):
    """All samples as one of several batches, of which nobody knows the longest sequence."""
    return for_model(model, SequenceDataset(data, data.size))[0]


def for_model(model, batches):
    """A `SequenceDataset` in the form that suits a model."""
    return batches.for_model(takes_ragged(model), _padded_lengths(model, batches))


def _padded_lengths(model, batches):
    """What batches are padded to where they are, as `SequenceDataset.for_model` takes it.

    What is compiled by shape is compiled for few: a batch alone, which others may follow, gets a
    power of two of steps. Of many, most are far from the longest sequence.
    """
    shapes = declared_shapes(model)
    longest, is_open = 1, True

    def note(column, name):
        nonlocal longest, is_open
        if isinstance(column, Sequences):
            longest = max(longest, int(column.lengths.max()))
            is_open &= name not in shapes or takes_any_steps(model, shapes[name])

    map_named(shapes, note, batches.columns.x)
    if not is_open:
        return None
    if keras.backend.backend() == "torch":  # which compiles nothing
        return range(1, longest + 1)
    if len(batches) == 1:
        return [1 << (longest - 1).bit_length()]
    if keras.backend.backend() == "jax" and len(batches) >= _MANY_BATCHES:
        return [-(-longest // 4), -(-longest // 2), longest]
    return None


def takes_ragged(model):
    """Whether there can be ragged tensors; padding comes with its mask else."""
    return ragged_obstacle(model) is None


def ragged_obstacle(model, predicts=False):
    """A clause that says why batches for a model cannot be ragged tensors, or None.

    Args:
        model: A Keras model.
        predicts: Whether they are for `predict`, which takes them on several replicas, too.
    """
    if keras.backend.backend() != "tensorflow":
        return f"Keras has no ragged tensors on {keras.backend.backend()}"
    if model.jit_compile:
        return "XLA (jit_compile=True) has no ragged tensors"
    if model.distribute_strategy.num_replicas_in_sync > 1 and not predicts:
        return "Keras gives no ragged tensors to several replicas"
    return None


def has_open_steps(x):
    """Whether x has steps, of a number not known in the graph that runs."""
    if isinstance(x, keras.KerasTensor) or in_symbolic_scope() or not hasattr(x, "shape"):
        return False
    return len(x.shape) > 1 and x.shape[1] is None


def is_columns(x):
    """Whether x holds samples, rather than batches or what makes them."""
    is_value = isinstance(x, (Collection, int, float))
    return is_value or hasattr(x, "shape") or hasattr(x, "to_numpy")


def is_nothing(x):
    """Whether there is no x, nor an input in the dict that it is."""
    return x is None or (isinstance(x, dict) and all(part is None for part in x.values()))


def count_samples(y):
    """The number of targets; None if there are none to count."""
    if isinstance(y, dict):
        y = next(iter(y.values()), None)
    if hasattr(y, "shape"):
        return y.shape[0] if len(y.shape) else None
    return len(y) if hasattr(y, "__len__") else None
