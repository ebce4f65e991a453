"""Reads the data of a fit part by part, so that one part's error hides no other's."""

import itertools
from collections.abc import Iterator

import keras
import numpy as np
from keras import tree

from pylstm.diagnosis.corrections import correction_findings
from pylstm.diagnosis.finite import check_finite, has_own_loss, may_replace, of_batch
from pylstm.diagnosis.report import Finding, of_error
from pylstm.diagnosis.shapes import check_shape
from pylstm.diagnosis.targets import check_lists, check_targets
from pylstm.diagnosis.values import (
    check_column,
    check_empty,
    check_entered,
    check_masked_steps,
    rows_of,
)
from pylstm.errors import PylstmError
from pylstm.inputs import explain
from pylstm.inputs.contract import Known
from pylstm.inputs.padding import PaddedBatch
from pylstm.models import SequenceInputs
from pylstm.models.data.batch_stream import check_dataset, is_of_arrays, reads_dataset
from pylstm.models.data.columns import Sequences, Text, read_column
from pylstm.models.data.dataset import SequenceDataset
from pylstm.models.data.entering import enter_column, unpack_batch
from pylstm.models.data.feeding import for_model
from pylstm.models.data.meeting_inputs import check_meeting_inputs
from pylstm.models.data.reading import count_samples, is_columns
from pylstm.models.data.separating import named_inputs, separate_inputs
from pylstm.models.data.structure import is_nothing, map_parts
from pylstm.models.data.text import read_text
from pylstm.models.foreign_errors import readable_errors
from pylstm.models.graph.declared import declared_shapes
from pylstm.models.graph.mask_values import padding_value
from pylstm.models.graph.steps import refused_steps

_MAX_BATCHES = 16


def check_data(model, x, y, padded):
    """Checks inputs and targets.

    Args:
        model: A Keras model.
        x: Samples, or batches of `(x, y)`.
        y: Targets, or None.
        padded: A set that grows by the names of the inputs that hold sequences of several
            lengths.

    Returns:
        A list of `Finding`.
    """
    if is_columns(x) and not is_nothing(x):
        return _check_samples(model, x, y, padded)
    if is_nothing(x) or not (hasattr(x, "__iter__") or hasattr(x, "__getitem__")):
        fix = "an array, a list of arrays (time, features), or a dataset of batches"
        code = "PYL146" if is_nothing(x) else "PYL142"
        return [Finding("error", code, "x", f"{type(x).__name__} holds no samples", fix)]
    if isinstance(x, Iterator):
        what = "an iterator can be read only once, and fit will want to"
        fix = "pylstm.diagnose(model, *next(another_iterator))"
        return [Finding("note", "PYL209", "x", what, fix)]
    return _check_batches(model, x, padded)


def _check_batches(model, x, padded):
    """Checks the first batches of a dataset, and what it tells of all."""
    findings = list(_check_ranks(x))
    reads_lists = isinstance(model, SequenceInputs)
    if isinstance(x, SequenceDataset) and reads_lists:
        x = for_model(model, x)
    try:
        if hasattr(x, "element_spec"):
            check_dataset(model, x, targets=reads_lists or not has_own_loss(model))
        if isinstance(x, SequenceDataset) and x.padding is not None:
            findings += _check_padding(model, x)
        with readable_errors():
            for batch in itertools.islice(_batches(x), _MAX_BATCHES):
                is_read = reads_lists and _reads_lists_of(model, x, batch)
                parts = unpack_batch(batch)[:2]
                in_batch = _check_samples(model, *parts, padded, in_batches=not is_read)
                findings += [of_batch(x, finding) for finding in in_batch]
    except PylstmError as error:
        findings.append(of_error("x", error))
    # What is wrong with one batch is mostly wrong with all.
    return list({(finding.code, finding.where): finding for finding in findings[::-1]}.values())


def _check_ranks(dataset):
    for spec in tree.flatten(getattr(dataset, "element_spec", ())):
        if hasattr(spec, "shape") and spec.shape.rank is None:
            yield of_error("x", explain.unknown_rank(spec.dtype.name, Known()))


def _reads_lists_of(model, data, batch):
    """Whether a model of pylstm's reads this batch itself, of data of batches."""
    if is_of_arrays(model, batch):
        return False
    # A torch DataLoader hands its batches to the model as they are, where Keras takes lists of it.
    is_packed = any(type(part).__name__ == "PackedSequence" for part in unpack_batch(batch))
    is_loader = hasattr(data, "collate_fn") and keras.backend.backend() != "tensorflow"
    return reads_dataset(data) or (is_loader and not is_packed)


def _batches(data):
    is_py_dataset = isinstance(data, keras.utils.PyDataset)
    return map(data.__getitem__, range(data.num_batches)) if is_py_dataset else data


def _check_padding(model, dataset):
    """Compares what a dataset pads with to what a model of Keras' own masks."""
    for name, where, column in named_inputs(model, dataset.columns.x):
        if not isinstance(column, Sequences):
            continue
        masked = padding_value(model, name)
        if masked != dataset.padding:
            what = f"padded with {dataset.padding}, and the model masks "
            what += "no value" if masked is None else str(masked)
            value = dataset.padding if masked is None else masked
            fix = f"mask_value={value} in pylstm.dataset and in the first layer"
            yield Finding("error", "PYL130", where, what, fix)
        yield from check_masked_steps(model, name, where, rows_of(column))


def _check_samples(model, x, y, padded, in_batches=False):
    try:
        x = read_text(model, separate_inputs(model, x, count_samples(y)))
    except PylstmError as error:
        return [of_error("x", error)]
    findings, columns, fitting = [], [], True
    inputs = list(named_inputs(model, x))
    for name, where, part in inputs:
        found, column, fits = _check_input(model, name, where, part, padded, in_batches)
        findings += found
        fitting &= fits
        columns += [] if column is None else [column]
    if columns and len(columns) == len(inputs):
        if fitting:
            names = [name for name, _, _ in inputs]
            findings = _with_refused_steps(model, dict(zip(names, columns, strict=True)), findings)
            findings += _check_meeting_inputs(model, x, columns)
        x = tuple(columns) if len(columns) > 1 else columns[0]
        is_read = fitting and not in_batches and isinstance(model, SequenceInputs)
        findings += check_targets(model, x, y, is_read, in_batches)
    if not any(finding.level == "error" for finding in findings):
        findings += check_lists(model, y)
    return findings


def _check_input(model, name, where, part, padded, in_batches):
    """Checks one input by itself.

    Returns:
        A list of `Finding`; the column that the input is read as, None if it cannot be; and
        whether that fits what the model declares.
    """
    findings, fits, shape = [], True, declared_shapes(model).get(name)
    is_ragged = hasattr(part, "row_splits")
    is_ragged |= isinstance(part, PaddedBatch) and isinstance(model, SequenceInputs)
    report = correction_findings(model, name, where, is_ragged, in_batches, findings)
    try:
        column = read_column(part, report)
    except PylstmError as error:
        findings += [_level(model, part, of_error(where, error)), *_check_items(where, part)]
        return findings, None, False
    if isinstance(column, Sequences):
        padded.add(name)
    is_text = isinstance(column, Text)
    if not is_text:
        findings += check_finite(where, part, rows_of(column), may_replace(model, name))
        findings += check_column(model, name, where, column)
    try:
        column = enter_column(column, shape, report)
    except PylstmError as error:
        findings.append(of_error(where, error))
        fits = False
    else:
        findings += check_shape(model, name, where, column, shape, is_ragged)
    findings += [] if is_text else check_entered(model, name, where, column)
    return findings, column, fits


def _level(model, raw, finding):
    """The finding that an input cannot be read; of an array, Keras drops the imaginary part."""
    is_dropped = finding.code == "PYL117" and hasattr(raw, "dtype")
    if is_dropped and not isinstance(model, SequenceInputs):
        return finding._replace(level="warning")
    return finding


def _with_refused_steps(model, columns, findings):
    """The findings; where a layer refuses the steps, its error in place of what says less."""
    error = refused_steps(model, [columns.get(name) for name in declared_shapes(model)])
    if error is None:
        return findings
    others = [finding for finding in findings if finding.code != "PYL124"]
    return [*others, of_error(f"layer '{error.layer}'", error)]


def _check_meeting_inputs(model, x, columns):
    try:
        given = iter(columns)
        check_meeting_inputs(model, map_parts(lambda _: next(given), x))
    except PylstmError as error:
        yield of_error(f"layer '{error.layer}'", error)


def _check_items(where, raw):
    """The values of what can be read in a collection that as a whole cannot."""
    items = {}
    for index, item in enumerate(raw if isinstance(raw, (list, tuple)) else ()):
        try:
            items[index] = np.asarray(item, None if hasattr(item, "dtype") else "float64")
        except (TypeError, ValueError):
            continue
    numbers = {index: item for index, item in items.items() if item.dtype.kind in "biuf"}
    yield from check_finite(where, raw, numbers)
    yield from check_empty(where, numbers)
