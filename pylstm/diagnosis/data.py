"""Reads the data of a fit part by part, so that one part's error hides no other's."""

import itertools
from collections.abc import Iterator

import keras
import numpy as np
from keras import tree

from pylstm.diagnosis.report import Finding, of_error, summary_of
from pylstm.diagnosis.values import check_column, check_finite, check_padding, check_rows
from pylstm.errors import PylstmError
from pylstm.inputs import explain
from pylstm.inputs.columns import Columns, Dense, read_column, read_columns
from pylstm.inputs.contract import Known
from pylstm.inputs.entry import enter_column
from pylstm.inputs.knowledge import memory_of
from pylstm.inputs.model_data import count_samples, feed, is_columns
from pylstm.inputs.model_inputs import count_inputs, declared_shapes
from pylstm.inputs.model_outputs import count_outputs
from pylstm.inputs.padding import PaddedBatch
from pylstm.inputs.pipeline import readable_errors
from pylstm.inputs.structure import split_inputs, split_targets
from pylstm.layer import LSTM
from pylstm.models import SequenceInputs

_MAX_BATCHES = 16


def check_data(model, x, y, columns):
    """Checks inputs and targets.

    Args:
        model: A Keras model.
        x: Samples, or batches of `(x, y)`.
        y: Targets, or None.
        columns: A list that grows by the columns that x was read as.

    Returns:
        A list of `Finding`.
    """
    is_empty = isinstance(x, dict) and not x
    if is_columns(x) and not is_empty:
        return _check_samples(model, x, y, columns)
    if isinstance(x, Iterator):
        what = "an iterator can be read only once, and fit will want to"
        fix = "pylstm.diagnose(model, *next(another_iterator))"
        return [Finding("note", "PYL209", "x", what, fix)]
    if is_empty or not (hasattr(x, "__iter__") or hasattr(x, "__getitem__")):
        fix = "an array, a list of arrays (time, features), or a dataset of batches"
        return [Finding("error", "PYL118", "x", f"{type(x).__name__} holds no samples", fix)]
    findings = list(_check_ranks(x))
    try:
        with readable_errors():
            for batch in itertools.islice(_batches(x), _MAX_BATCHES):
                findings += _check_samples(model, *batch, columns)
    except PylstmError as error:
        findings.append(of_error("x", error))
    # What is wrong with one batch is mostly wrong with all.
    return list({(finding.code, finding.where): finding for finding in findings[::-1]}.values())


def _check_ranks(dataset):
    for spec in tree.flatten(getattr(dataset, "element_spec", ())):
        if spec.shape.rank is None:
            yield of_error("x", explain.unknown_rank(spec.dtype.name, Known()))


def _batches(data):
    is_py_dataset = isinstance(data, keras.utils.PyDataset)
    for batch in map(data.__getitem__, range(data.num_batches)) if is_py_dataset else data:
        yield keras.utils.unpack_x_y_sample_weight(batch)[:2]


def _check_samples(model, x, y, columns):
    try:
        x = split_inputs(x, count_inputs(model), count_samples(y))
    except PylstmError as error:
        return [of_error("x", error)]
    findings, read = [], []
    shapes = _expected_shapes(model, x)
    for where, raw in _named("x", x):
        shape = next(shapes, None)
        report = _Corrections(model, where, raw, findings)
        try:
            column = read_column(raw, report)
        except PylstmError as error:
            findings += [of_error(where, error), *_check_items(where, raw)]
            continue
        read.append(column)
        findings += [*check_column(where, column), *check_padding(model, where, column)]
        findings += _check_shape(model, where, column, shape, report)
    columns += read
    if len(read) == len(_named("x", x)):
        findings += _check_targets(model, tuple(read), y)
    return findings


def _check_shape(model, where, column, shape, report):
    try:
        column = enter_column(column, shape, report)
    except PylstmError as error:
        return [of_error(where, error)]
    steps = column.values.shape[1:2] if isinstance(column, Dense) else column.lengths
    if shape is None or len(shape) != 3 or not len(steps):
        return []
    if isinstance(column, Dense) and max(steps) == 0:
        error = explain.no_steps(tuple(column.values.shape), None, Known(features=shape[2]))
        return [of_error(where, error)]
    if _declares_steps(model) and any(shape[1] not in (None, each) for each in steps):
        what = f"{min(steps)} to {max(steps)} steps, declared as {shape[1]}"
        return [Finding("fixed", "PYL124", where, what, f"keras.Input((None, {shape[2]}))")]
    if shape[2] is None and isinstance(column, Dense) and column.values.shape[2] > 2 * steps[0]:
        what = f"{steps[0]} steps of {column.values.shape[2]} features: is axis 2 the time?"
        fix = "np.transpose(x, (0, 2, 1)) for MFCCs (features, time) as librosa makes them"
        return [Finding("note", "PYL207", where, what, fix)]
    return []


def _declares_steps(model):
    """Whether someone wrote down the number of steps; else it is that of the first data."""
    layers = (layer for layer in model._flatten_layers() if isinstance(layer, LSTM))
    declared = (memory_of(layer).timesteps for layer in layers)
    return any(steps and None not in steps for steps in declared)


def _check_targets(model, inputs, y):
    size = inputs[0].size
    try:
        targets = (
            read_columns(split_targets(y, count_outputs(model), size)) if y is not None else None
        )
        columns = read_columns(inputs, targets and targets.x)
    except PylstmError as error:
        return [of_error("y", error)]
    findings = [f for where, part in _named("y", columns.y) for f in check_finite(where, part)]
    try:
        feed(model, Columns(columns.x), next((s[0] for s in declared_shapes(model).values()), None))
    except PylstmError as error:
        findings.append(of_error("x", error))
    return findings


def _check_items(where, raw):
    """The values of what can be read in a collection that as a whole cannot."""
    items = {}
    for index, item in enumerate(raw if isinstance(raw, (list, tuple)) else ()):
        try:
            items[index] = np.asarray(item, None if hasattr(item, "dtype") else "float64")
        except (TypeError, ValueError):
            continue
    numbers = {index: item for index, item in items.items() if item.dtype.kind in "biuf"}
    return check_rows(where, numbers)


class _Corrections:
    """Takes the corrections of one input as findings: what pylstm corrects, Keras refuses."""

    def __init__(self, model, where, raw, findings):
        layers = model._flatten_layers()
        self._has_layer = any(isinstance(layer, LSTM) for layer in layers)
        self._takes_lists = isinstance(model, SequenceInputs) or (
            self._has_layer and hasattr(raw, "row_splits")
        )
        self._where = where
        self._findings = findings

    def __call__(self, code, got, done, line=None, silent=False):
        is_container = code in ("PYL126", "PYL127")
        if self._takes_lists or (self._has_layer and not is_container):
            finding = Finding("fixed", code, self._where, f"{got} {done}", line)
        elif is_container:
            convert = "" if self._has_layer else "model = pylstm.convert(model)\n"
            fix = f"{convert}model.fit(pylstm.dataset(x, y))"
            finding = Finding("error", code, self._where, f"Keras refuses {got}", fix)
        else:
            finding = Finding("error", code, self._where, f"{summary_of(code)}: {got}", line)
        self._findings.append(finding)


def _expected_shapes(model, x):
    """The shapes of the model's inputs, in the order of `_named`."""
    shapes = declared_shapes(model)
    if isinstance(x, dict):
        return (shapes.get(name) for name in x)
    return iter(shapes.values())


def _named(name, structure):
    """Pairs of a name, such as `x['audio']` or `x[0]`, and a part of a structure."""
    if structure is None:
        return []
    if isinstance(structure, dict):
        return [(f"{name}[{key!r}]", part) for key, part in structure.items()]
    if isinstance(structure, tuple) and not isinstance(structure, PaddedBatch):
        return [(f"{name}[{index}]", part) for index, part in enumerate(structure)]
    return [(name, structure)]
