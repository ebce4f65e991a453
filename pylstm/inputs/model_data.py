"""What a user gives to a model, as what Keras' trainer takes."""

from collections.abc import Collection, Iterator

import keras
import numpy as np
from keras import tree
from keras.src.backend.common.masking import get_keras_mask
from keras.src.models.functional import Functional

from pylstm.errors import DTypeError, PylstmError, RaggedError, RankError
from pylstm.inputs.columns import (
    Dense,
    Sequences,
    Stacked,
    Text,
    columns_of,
    map_columns,
    read_columns,
)
from pylstm.inputs.containers import is_tensor
from pylstm.inputs.contract import Known
from pylstm.inputs.corrections import Corrections
from pylstm.inputs.dataset import SequenceDataset, one_batch, open_time
from pylstm.inputs.entry import enter, enter_column
from pylstm.inputs.knowledge import is_recurrent, memory_of
from pylstm.inputs.mask_values import padding_value, several_values
from pylstm.inputs.output_shapes import output_shapes
from pylstm.inputs.padded_targets import unpad_targets
from pylstm.inputs.stateful import check_batches
from pylstm.inputs.structure import map_parts, split_inputs, split_targets
from pylstm.inputs.time_distributed import check_time_distributed

_DEFAULT_BATCH_SIZE = 32  # as in keras.Model.fit


def enter_model(model, inputs):
    """Makes the inputs of a model's call into what Keras' layers compute on; see `enter`."""
    report = Corrections(model, Known())
    try:
        inputs = split_inputs(inputs, count_inputs(model))
        declared = _declared_inputs(model)

        def enter_one(x, name):
            if _is_text(declared.get(name)):
                return _as_text(x)
            shape = declared[name].shape if name in declared else None
            return enter(x, shape, report, lambda: padding_value(model, name) or 0.0)

        inputs = _map_named(declared, enter_one, inputs)
        if any(_has_open_steps(x) for x in tree.flatten(inputs)):
            check_time_distributed(model)
    except PylstmError as error:
        raise error.at(error.layer or model.name) from None
    report.warn(memory_of(model).warned)
    return inputs


def read_data(model, x, y=None, sample_weight=None):
    """Reads the data of a fit as `Columns`; None where Keras iterates over x itself.

    Raises:
        PylstmError: The data cannot be read, can be in several ways, or does not fit together.
    """
    if x is None or (isinstance(x, dict) and not x):
        expected, got = "the model's input, or a dataset", repr(x)
        raise DTypeError("PYL118", "there is no x", layer=model.name, expected=expected, got=got)
    if not is_columns(x):
        return None
    report = Corrections(model, Known())
    try:
        x = split_inputs(x, count_inputs(model), count_samples(y))
        x = read_columns(_read_text(model, x), report=report)
        count = count_outputs(model)
        y, sample_weight = (split_targets(part, count, x.size) for part in (y, sample_weight))
        columns = read_columns(x.x, y, sample_weight, report)
        x = map_inputs(model, lambda x, shape: enter_column(x, shape, report), columns.x)
        columns = columns._replace(x=x)
        columns = unpad_targets(columns, output_shapes(model, x))
    except PylstmError as error:
        raise error.at(model.name) from None
    report.warn(memory_of(model).warned)
    return columns


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
            fix="next(iter(x))[0] in the place of x     for the first batch\n"
            "fit, evaluate or predict     for all batches",
        )
    return data


def feed(model, data, batch_size=None, steps=None, shuffle=False):
    """(x, y, sample_weight) for Keras' trainer: arrays, or a dataset in the place of x.

    Args:
        model: The model that is to take them.
        data: `Columns`.
        batch_size: Samples in a batch; None for Keras' default.
        steps: The number of batches that will be taken; None for all.
        shuffle: Draw a new order for each epoch.

    Raises:
        BatchMismatchError: A batch does not fit the states of a stateful layer.
    """
    batch_size = batch_size or _DEFAULT_BATCH_SIZE
    if steps is None:  # of some batches, Keras may never come to the last
        check_batches(model, data.size, batch_size)
    if data.is_dense:
        return tuple(data.values())
    return SequenceDataset(data, batch_size, shuffle=shuffle, **_padding(model, data)), None, None


def feed_batch(model, data):
    """As `feed`, for the `*_on_batch` methods: all samples are one batch."""
    return tuple(data.values()) if data.is_dense else one_batch(data, **_padding(model, data))


def retrace_for_other_ranks(model, function, data):
    """Has Keras trace a function of the model anew for data of another rank than before.

    TensorFlow would trace it for any rank, which no layer can be called with.

    Args:
        model: The model.
        function: The name of the attribute in which Keras keeps it.
        data: `Columns`.
    """
    ranks = [column.rank for column in columns_of(tuple(data))]
    if memory_of(model).ranks.setdefault(function, ranks) != ranks:
        memory_of(model).ranks[function] = ranks
        setattr(model, function, None)


def read_batches(model, batches, failures):
    """Reads the batches of an iterator; returns any other data as it is.

    Args:
        model: The model that is to take them.
        batches: A generator or other iterator of `(x,)`, `(x, y)` or `(x, y, sample_weight)`.
        failures: A list that grows by the errors raised: `tf.data` keeps their text only.

    Raises:
        RankError: A `tf.data.Dataset` holds single samples.
    """
    if hasattr(batches, "element_spec"):
        _check_is_batched(model, batches.element_spec)
    if not isinstance(batches, Iterator):
        return batches
    return _read_each(model, batches, failures)


def _read_each(model, batches, failures):
    for batch in batches:
        try:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
            _check_is_batch(model, x, y)
            data = read_data(model, x, y, sample_weight)
            parts = (x, y, sample_weight)
            if data is not None:
                parts = feed_batch(model, _of_any_length(model, data))
        except PylstmError as error:
            failures.append(error)
            raise
        yield tuple(part for part in parts if part is not None)


def _of_any_length(model, data):
    """The columns of a batch, that those after it may differ from in their number of steps.

    Keras takes for fixed what the first two batches have in common.
    """
    if _obstacle_to_ragged(model) is not None:
        return data

    def opened(column, declared):
        is_open = declared is None or (len(declared) == 3 and declared[1] is None)
        if not isinstance(column, Dense) or np.ndim(column.values) < 3 or not is_open:
            return column
        if isinstance(column, Stacked):
            return Sequences(list(column.values))
        return Dense(open_time(np.asarray(column.values)))

    steps = {column.shape[1] for column in columns_of(data.x) if len(column.shape) > 2}

    def opened_beside(column):
        is_open = isinstance(column, Dense) and len(column.shape) > 1 and column.shape[1] in steps
        return Dense(open_time(np.asarray(column.values))) if is_open else column

    y, sample_weight = map_columns(opened_beside, (data.y, data.sample_weight))
    return data._replace(x=map_inputs(model, opened, data.x), y=y, sample_weight=sample_weight)


def _check_is_batched(model, element_spec):
    """Checks that the elements of a `tf.data.Dataset` are batches, as far as its targets tell."""
    x, y, _ = keras.utils.unpack_x_y_sample_weight(element_spec)
    if getattr(getattr(y, "shape", None), "rank", None) != 0:
        return
    sizes = [size for spec in tree.flatten(x) if spec.shape.rank for size in spec.shape]
    raise RankError(
        "PYL101",
        "the dataset yields single samples",
        layer=model.name,
        expected="batches (x, y)",
        got=f"x {getattr(x, 'shape', type(x).__name__)}, y a single number",
        fix="dataset.ragged_batch(32)" if None in sizes else "dataset.batch(32)",
    )


def _check_is_batch(model, x, y):
    if y is not None and not isinstance(y, (list, tuple, dict)) and np.ndim(y) == 0:
        raise RankError(
            "PYL101",
            "the generator yields single samples",
            layer=model.name,
            expected="batches (x, y)",
            got=f"x {getattr(x, 'shape', type(x).__name__)}, y a single number",
            fix="x, y = zip(*generator); pylstm.dataset(list(x), list(y))",
        )


def _padding(model, data):
    """How a `SequenceDataset` tells a model the lengths: by ragged tensors, or by a value.

    Raises:
        RaggedError: There can be no ragged tensors, and not all padding has one masked value.
    """
    obstacle = _obstacle_to_ragged(model)
    if obstacle is None:
        return {"ragged": True}
    values = []

    def note_value(column, name):
        if isinstance(column, Sequences):
            values.append(padding_value(model, name))

    _map_named(declared_shapes(model), note_value, data.x)
    if None in values:
        raise RaggedError(
            "PYL114",
            layer=model.name,
            expected=f"a layer that masks padding: {obstacle} there are no ragged tensors",
            got="sequences of different lengths",
            fix="keras.layers.Masking(-1.0) as the first layer, or pylstm.LSTM(mask_value=-1.0), "
            "with a value that no step holds",
        )
    if len(set(values)) > 1:
        raise several_values(values).at(model.name)
    return {"ragged": False, "mask_value": values[0]}


def _obstacle_to_ragged(model):
    """Where there can be no ragged tensors, or None."""
    if keras.backend.backend() != "tensorflow":
        return f"on Keras' {keras.backend.backend()} backend"
    return "with jit_compile=True" if model.jit_compile else None


def map_inputs(model, function, inputs):
    """Applies `function` to each input and the shape that the model declares for it."""
    shapes = declared_shapes(model)
    return _map_named(shapes, lambda x, name: function(x, shapes.get(name)), inputs)


def _map_named(names, function, inputs):
    """Applies `function` to each input and its name, of those of the model; None if unknown."""
    if isinstance(inputs, dict):
        return {name: function(x, name) for name, x in inputs.items()}
    each = iter(names)
    return map_parts(lambda x: function(x, next(each, None)), inputs)


def _read_text(model, inputs):
    """Reads the inputs that the model declares as strings as columns; leaves the others."""
    declared = _declared_inputs(model)

    def read(x, name):
        return Text(_as_text(x)) if _is_text(declared.get(name)) else x

    return _map_named(declared, read, inputs)


def _is_text(declared):
    return declared is not None and declared.dtype == "string"


def _as_text(x):
    """The tensor of strings in any container."""
    if x is None or is_tensor(x):
        return x
    return keras.ops.convert_to_tensor(np.asarray(x, object))


def _has_open_steps(x):
    """Whether x holds sequences of different lengths, of a number not known in this graph."""
    return get_keras_mask(x) is not None and x.shape[1] is None


def is_columns(x):
    """Whether x holds samples, rather than batches or what makes them."""
    is_value = isinstance(x, (Collection, int, float))
    return is_value or hasattr(x, "shape") or hasattr(x, "to_numpy")


def count_samples(y):
    """The number of targets; None if there are none to count."""
    if isinstance(y, dict):
        y = next(iter(y.values()), None)
    if hasattr(y, "shape"):
        return y.shape[0] if len(y.shape) else None
    return len(y) if hasattr(y, "__len__") else None


def count_inputs(model):
    """The number of inputs of a model; None if it is not known."""
    if isinstance(model, keras.Sequential):
        return 1
    if isinstance(model, Functional):
        return len(model.inputs)
    # A subclassed model knows what it was built for.
    return 1 if "input_shape" in (model.get_build_config() or {}) else None


def count_outputs(model):
    if isinstance(model, keras.Sequential):
        return 1
    return len(model.outputs) if isinstance(model, Functional) else None


def declared_shapes(model):
    """The shapes of a model's inputs, by name, in order; empty if they are not known."""
    return {name: x.shape for name, x in _declared_inputs(model).items()}


def _declared_inputs(model):
    """The symbolic inputs of a model, as `declared_shapes`."""
    if isinstance(getattr(model, "input", None), dict):
        return model.input
    if inputs := getattr(model, "inputs", ()):
        return {x.name: x for x in inputs}
    return _input_of_first_layer(model)


def _input_of_first_layer(model):
    """What a `keras.Sequential` that is not built yet takes, as far as its first layer tells."""
    first = model.layers[0] if isinstance(model, keras.Sequential) and model.layers else None
    if first is None:
        return {}
    if first.compute_dtype == "string":
        return {"x": keras.KerasTensor((None,), "string")}
    if not is_recurrent(first):
        return {}
    cell = getattr(first, "cell", None)
    features = cell.kernel.shape[0] if cell and cell.built else None
    return {"x": keras.KerasTensor((None, None, features))}
