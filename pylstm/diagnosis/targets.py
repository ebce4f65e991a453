"""Checks targets beside the inputs, and both beside what the model gives."""

import keras

from pylstm.diagnosis.model import check_stacking
from pylstm.diagnosis.report import Finding, of_error, summary_of
from pylstm.diagnosis.values import check_classes, check_finite
from pylstm.errors import PylstmError
from pylstm.models import SequenceInputs
from pylstm.models.columns import Columns, Sequences, columns_of, read_columns
from pylstm.models.data import count_samples, feed
from pylstm.models.inputs import declared_shapes
from pylstm.models.outputs import count_outputs, output_shapes
from pylstm.models.padded_targets import unpad_targets
from pylstm.models.stateful import check_batch
from pylstm.models.structure import split_targets

_CLASS_LOSSES = ("sparse_categorical_crossentropy", keras.losses.sparse_categorical_crossentropy)


def check_targets(model, x, y, is_read, in_batches):
    """Checks targets, and the number of samples.

    Args:
        model: A Keras model.
        x: Its inputs as columns.
        y: Targets as given, or None.
        is_read: Whether pylstm reads them, rather than Keras, and can take x.
        in_batches: Whether they are a batch that goes to Keras as it is.

    Returns:
        A list of `Finding`.
    """
    try:
        y = None if y is None else split_targets(y, count_outputs(model), columns_of(x)[0].size)
        columns = read_columns(x, y)
    except PylstmError as error:
        return [of_error("y", error)]
    findings = [f for where, part in named("y", columns.y) for f in check_finite(where, part)]
    try:
        size = next((shape[0] for shape in declared_shapes(model).values()), None)
        if in_batches:
            size = columns.size
            check_batch(model, columns_of(x)[0].shape)
        feed(model, Columns(x), size)
    except PylstmError as error:
        findings.append(of_error("x", error))
    findings += _check_labels(model, columns)
    return findings + (_check_outputs(model, columns) if is_read else [])


def check_lists(model, y):
    """Looks for targets that Keras takes for something else; for x that it takes."""
    y = split_targets(y, count_outputs(model), count_samples(y))
    for where, part in named("y", y):
        if isinstance(part, list) and not isinstance(model, SequenceInputs):
            what = f"Keras refuses a list of {len(part)} targets"
            yield Finding("error", "PYL127", where, what, "np.asarray(y)")


def named(name, structure):
    """Pairs of a name, such as `x['audio']` or `x[0]`, and a part of a structure."""
    if structure is None:
        return []
    if isinstance(structure, dict):
        return [(f"{name}[{key!r}]", part) for key, part in structure.items()]
    if type(structure) is tuple:  # and no `PaddedBatch`
        return [(f"{name}[{index}]", part) for index, part in enumerate(structure)]
    return [(name, structure)]


def _check_labels(model, columns):
    """Looks for labels beyond the only output of a model that is compiled to tell classes apart."""
    loss = getattr(model, "loss", None)
    by_class = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    if columns.y is None or not (by_class or loss in _CLASS_LOSSES):
        return []
    try:
        (shape,) = output_shapes(model, columns.x).values()
    except ValueError:  # a layer refuses, which others report; or there are several, or unknown
        return []
    ignored = getattr(loss, "ignore_class", None)
    return [
        f for name, y in named("y", columns.y) for f in check_classes(name, y, shape[-1], ignored)
    ]


def _check_outputs(model, columns):
    if any(check_stacking(model)):
        return []  # that finding names the layer to change
    try:
        shapes = output_shapes(model, columns.x)
    except PylstmError as error:
        return [of_error(f"layer '{error.layer}'", error)]
    try:
        columns = unpad_targets(columns, shapes)
    except PylstmError as error:
        return [of_error("y", error)]
    steps = {size for column in columns_of(columns.x) for size in column.shape[1:2]} - {None}
    return list(_check_ranks(columns.y, shapes, steps))


def _check_ranks(y, shapes, steps):
    """Looks for targets per step beside outputs that have no steps, and the other way round."""
    for (where, target), shape in zip(named("y", y), _in_order(y, shapes), strict=False):
        is_by_step = isinstance(target, Sequences)
        if shape is not None and len(shape) == 3 and not is_by_step:
            yield from _check_per_sample(where, target.shape, shape, steps)
        if shape is None or len(shape) != 2:
            continue
        if is_by_step or (len(target.shape) > 2 and target.shape[1] in steps):
            # Dense targets can be broadcast: Keras computes the loss of what is not meant.
            level = "error" if is_by_step else "warning"
            what = f"{summary_of('PYL120')}: y has one per step, the model one output per sample"
            fix = "return_sequences=True in the last recurrent layer, or one entry of y per sample"
            yield Finding(level, "PYL120", where, what, fix)


def _check_per_sample(where, given, output, steps):
    """Looks for a target (N,), (N, 1) or (N, K), of an output (N, T, K) that it is broadcast to."""
    if given[1:] in ((), (1,), output[2:]) and not {*given[1:]} & {*steps, output[1]}:
        what = f"{summary_of('PYL120')}: y has one per sample, the model one output per step"
        fix = "return_sequences=False in the last recurrent layer, or a y (batch, time, ...)"
        yield Finding("warning", "PYL120", where, what, fix)


def _in_order(y, shapes):
    return [shapes.get(name) for name in y] if isinstance(y, dict) else list(shapes.values())
