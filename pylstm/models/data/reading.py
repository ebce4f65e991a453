"""What a user gives to a model's methods, as `Columns`."""

from collections.abc import Collection

from pylstm.errors import DTypeError, PylstmError, StructureError
from pylstm.inputs.contract import Known
from pylstm.inputs.corrections import Corrections
from pylstm.inputs.explain import shape_text
from pylstm.inputs.knowledge import memory_of
from pylstm.inputs.sequences import unpacked
from pylstm.models.data.columns import columns_of, read_column, read_columns
from pylstm.models.data.entering import enter_column, strictest_validate
from pylstm.models.data.separating import (
    map_named,
    separate_inputs,
    split_targets,
    without_absent,
)
from pylstm.models.data.structure import is_nothing, is_several, map_parts
from pylstm.models.data.targets import fit_targets
from pylstm.models.data.text import read_text
from pylstm.models.graph.declared import declared_shapes
from pylstm.models.graph.outputs import count_outputs


def read_data(model, x, y=None, sample_weight=None):
    """Reads the data of a fit as `Columns`; None where Keras iterates over x itself.

    Raises:
        PylstmError: The data cannot be read, can be read in several ways, or does not fit together.
    """
    columns = read_parts(model, x, y, sample_weight)
    if columns is None:
        return None
    try:
        return fit_targets(model, columns)
    except PylstmError as error:
        raise error.at(model.name) from None


def read_parts(model, x, y=None, sample_weight=None):
    """As `read_data`, with the targets as they were given, whatever the model's outputs are."""
    if is_nothing(x):
        expected, got = "x, the model's input, or a dataset", f"x={x!r}"
        fix = "model.fit(x, y), and so on"
        raise StructureError("PYL146", layer=model.name, expected=expected, got=got, fix=fix)
    if not is_columns(x):
        return None
    report = Corrections(model.name, Known(), strictest_validate(model))
    try:
        x = separate_inputs(model, x, count_samples(y))
        x = map_parts(lambda part: read_column(part, report), read_text(model, x))
        size, count = columns_of(x)[0].size, count_outputs(model)
        y = split_targets(y, count, size)
        sample_weight = split_targets(sample_weight, count, size, "sample_weight")
        columns = read_columns(x, y, sample_weight, report)
        x = _enter_columns(model, columns.x, report)
        x = x if columns.is_dense else without_absent(model, x)
        columns = columns._replace(x=x)
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
        StructureError: It is none of these.
    """
    is_tuple = isinstance(data, list) or is_several(data)
    parts = data if is_tuple else (data,)
    if len(parts) in (2, 3) or (len(parts) == 1 and not has_targets):
        return read_data(model, *parts)
    raise StructureError(
        "PYL146",
        layer=model.name,
        expected="validation_data as (x, y), (x, y, sample_weight) or a dataset of batches",
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
            "PYL142",
            layer=model.name,
            expected="one batch: an array, or a list of arrays (time, features)",
            got=type(x).__name__,
            fix="next(iter(x))[0] instead of x     for the first batch\n"
            "fit, evaluate or predict     for all batches",
        )
    return data


def is_columns(x):
    """Whether x holds samples, rather than batches or what makes them."""
    is_value = isinstance(x, (Collection, int, float))
    return is_value or hasattr(x, "shape") or hasattr(x, "to_numpy")


def count_samples(y):
    """The number of targets; None if there are none to count."""
    if isinstance(y, dict):
        y = next(iter(y.values()), None)
    y = unpacked(y, "y")
    if hasattr(y, "shape"):
        return y.shape[0] if len(y.shape) else None
    return len(y) if hasattr(y, "__len__") else None
