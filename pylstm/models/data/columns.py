"""Inputs, targets and sample weights as columns: one entry for each sample.

A column is `Dense` (one array; `Stacked` if it was a list, `Text` if of strings) or `Sequences`
(arrays of several lengths). A model's inputs are one column, or a tuple or dict of them. A list
is always one column, never several.
"""

import dataclasses
import functools
from collections.abc import Collection, Mapping
from typing import NamedTuple

import keras
import numpy as np
from keras import tree

from pylstm.advice import is_missing, to_numbers, to_numbers_of_samples
from pylstm.array_types import is_real, native
from pylstm.errors import BatchMismatchError, DTypeError, OptionError, RankError, TimestepError
from pylstm.inputs.containers import as_numbers, unreported
from pylstm.inputs.padding import PaddedBatch, unpad
from pylstm.inputs.sequences import as_numpy, as_sequences, stack, unpacked
from pylstm.models.data.structure import map_parts, named


@dataclasses.dataclass(frozen=True)
class Dense:
    """Samples of one shape: `values` is an array (N, ...)."""

    values: object

    @property
    def size(self):
        return int(self.values.shape[0])

    @property
    def shape(self):
        return tuple(self.values.shape)

    @functools.cached_property
    def _on_host(self):
        return as_numpy(self.values)  # all of a GPU's, so once and not for each batch

    def take(self, rows):
        return type(self)(self._on_host[rows])


class Stacked(Dense):
    """Samples that came as a list, by chance or not of one shape."""


class Text(Dense):
    """Samples of strings: `values` is a tensor."""

    def take(self, rows):
        if isinstance(rows, slice):
            return Text(self.values[rows])
        return Text(keras.ops.take(self.values, rows, axis=0))


@dataclasses.dataclass(frozen=True)
class Sequences:
    """Samples of several lengths: `values` is a list of N arrays (T_i, ...).

    `steps` is what every batch of them is padded to; None where it follows x.
    """

    values: list
    steps: int | None = None

    @property
    def size(self):
        return len(self.values)

    @functools.cached_property
    def lengths(self):
        return np.array([len(sequence) for sequence in self.values], np.int32)

    @property
    def shape(self):
        return (self.size, None, *self.values[0].shape[1:])

    def take(self, rows):
        is_slice = isinstance(rows, slice)
        values = self.values[rows] if is_slice else [self.values[row] for row in rows]
        return Sequences(values, self.steps)


class Columns(NamedTuple):
    """The data of a fit: each part a column, a tuple or dict of columns, or None."""

    x: object
    y: object = None
    sample_weight: object = None

    @property
    def size(self):
        return columns_of(self.x)[0].size

    @property
    def is_dense(self):
        return all(isinstance(column, Dense) for part in self for column in columns_of(part))

    def take(self, rows):
        """The given rows of every column; `rows` is a slice or an index array."""
        return Columns(*map_columns(lambda column: column.take(rows), tuple(self)))

    def split(self, fraction):
        """The first fraction of the samples, and the rest.

        Raises:
            OptionError: One of the two would be empty.
        """
        first = int(self.size * fraction)
        if not 0 < first < self.size:
            raise OptionError(
                "PYL144",
                expected="at least one sample on each side of validation_split",
                got=f"{self.size} samples, {first} of them to train on",
                fix="validation_data=(x, y) instead of validation_split",
            )
        return self.take(slice(first)), self.take(slice(first, None))

    def values(self):
        """The tuple (x, y, sample_weight), with each column's values in its place."""
        return map_columns(lambda column: column.values, tuple(self))


def columns_of(structure):
    """The columns of a structure, in order."""
    if structure is None or isinstance(structure, (Dense, Sequences)):  # faster than by Keras' tree
        return [] if structure is None else [structure]
    return [leaf for leaf in tree.flatten(structure) if leaf is not None]


def map_columns(function, structure):
    """Applies `function` to each column of a structure; None stays None."""
    return tree.map_structure(lambda leaf: None if leaf is None else function(leaf), structure)


def read_columns(x, y=None, sample_weight=None, report=None):
    """Reads inputs, targets and weights as columns and checks that they fit together.

    Args:
        x: One input, or a tuple or dict of inputs. Each is an array (N, ...) or any
            collection of sequences that `as_sequences` reads.
        y: None, or targets: one per sample, (N,) or (N, K), or one per step, a list of N
            arrays (T_i,) or (T_i, K); or a tuple or dict of these.
        sample_weight: None, or weights per sample or per step, as the targets.
        report: Called where a sequence had to be corrected; see `as_sequences`.

    Returns:
        `Columns`.

    Raises:
        BatchMismatchError: The parts differ in their number of samples.
        TimestepError: Targets per step have other lengths than the sequences.
        PylstmError: A collection cannot be read; see `as_sequences`.
    """

    def read(name, structure):
        return map_parts(lambda part: read_column(part, report, name), structure)

    columns = Columns(read("x", x), read("y", y), read("sample_weight", sample_weight))
    _check_sizes(columns)
    _check_steps(columns)
    return columns


def read_column(values, report=None, name="x"):
    """Reads one input, target or weight as a column. An array of numbers stays as it is.

    Args:
        values: The samples.
        report: As for `read_columns`.
        name: What the user calls them: `"x"`, `"y"` or `"sample_weight"`.
    """
    if isinstance(values, (Dense, Sequences)):
        return values
    values = unpad(values) if isinstance(values, PaddedBatch) else unpacked(values, name)
    if isinstance(values, np.ndarray):
        values = native(values)
    if _is_collection(values) or hasattr(values, "__next__"):
        values = list(values)
    if hasattr(values, "row_splits") and len(values.row_splits) == 1:
        values = values.to_tensor().numpy()  # no rows, but their features are known
    if _is_array_of_numbers(values):
        return Dense(values)
    if _are_scalars(values):
        return Dense(_to_floatx(_array_of_scalars(values, name)))
    if isinstance(values, np.ndarray) and values.dtype != object:
        return Dense(as_numbers(values, keras.config.floatx(), unreported, name))
    arrays = [_to_floatx(array) for array in as_sequences(values, report, name)]
    stacked = stack(arrays, report or unreported)
    return Sequences(arrays) if stacked is None else Stacked(stacked)


def _is_array_of_numbers(values):
    if hasattr(values, "row_splits") or not (hasattr(values, "shape") and hasattr(values, "dtype")):
        return False
    if len(values.shape) == 0:
        raise RankError(
            "PYL101",
            "a single number is no batch",
            expected="(batch, ...)",
            got=f"{values.dtype} scalar",
            fix="np.array([value])     for a batch of one",
        )
    try:
        keras.backend.standardize_dtype(values.dtype)
    except ValueError:  # long doubles, too
        return False
    return is_real(values.dtype)


def _is_collection(values):
    """Whether this is one of Python's own collections of samples."""
    return isinstance(values, Collection) and not (
        isinstance(values, (str, bytes, Mapping)) or hasattr(values, "shape")
    )


def _are_scalars(values):
    is_flat = isinstance(values, list) or getattr(values, "ndim", None) == 1
    return is_flat and len(values) > 0 and all(_is_scalar(v) for v in values)


def _is_scalar(value):
    return not isinstance(value, (list, tuple)) and np.ndim(value) == 0


def _array_of_scalars(values, name):
    is_structured = getattr(getattr(values, "dtype", None), "names", None)
    advice = to_numbers(values, name) if is_structured else None
    values = list(values)
    array = np.asarray(values)
    if not is_real(array.dtype):
        odd = [value for value in values if name == "y" and is_missing(value)]
        odd = odd or [value for value in values if not is_real(np.asarray(value).dtype)]
        first = np.asarray(odd[0]).item()
        raise DTypeError(
            "PYL118",
            f"{name} does not hold numbers",
            expected="real numbers",
            got=f"{len(odd)} of {len(values)} values are none of these; the first is {first!r:.40}",
            fix=advice or to_numbers_of_samples(first, name),
        )
    return array


def _to_floatx(array):
    """Floats in Keras' float type, as Keras' own data adapter makes them."""
    if array.dtype.kind in "biu":
        return array
    return array.astype(keras.config.floatx(), copy=False)


def other_sizes(sizes, layer=None):
    """The error of inputs that differ in their number of samples, by what the user calls each."""
    return BatchMismatchError(
        "PYL110",
        "the inputs differ in their number of samples",
        layer=layer,
        expected="an entry for each sample in each input",
        got=", ".join(f"{where} has {size} samples" for where, size in sizes.items()),
        fix="look for what drops some samples of an input;\n"
        "or list(x), of a dict list(x.values()), if they are one input's sequences",
    )


def _check_sizes(columns):
    sizes = [
        (name, column.size)
        for name, part in columns._asdict().items()
        for column in columns_of(part)
    ]
    first = columns_of(columns.x)[0]
    wrong = next(((name, size) for name, size in sizes if size != first.size), None)
    if wrong is None:
        return
    name, size = wrong
    if name == "y" and _is_joined(first, size):
        raise _joined(first.values.shape, size)
    if name == "x":
        inputs = named("x", columns.x)
        raise other_sizes({where: each.size for where, each in inputs if each is not None})
    raise BatchMismatchError(
        "PYL110",
        f"x and {name} differ in their number of samples",
        expected=f"as many entries in {name} as in x",
        got=f"x has {first.size} samples, {name} has {size}",
        fix=f"one entry of {name} for each sequence of x: look for what drops some",
    )


def _is_joined(column, samples):
    """Whether a column looks like the rows (N * T, F) of N sequences."""
    is_table = isinstance(column, Dense) and len(column.values.shape) == 2
    return is_table and samples > 0 and column.size % samples == 0


def _joined(shape, samples):
    """The error for the rows of all sequences in one table."""
    rows, features = shape
    apart = (samples, rows // samples, features)
    return BatchMismatchError(
        "PYL111",
        expected=f"x with {samples} samples, as y has: {apart}",
        got=f"x {(rows, features)}, {samples} targets",
        fix=f"np.reshape(x, {apart})     if the rows are sorted by sample, then by step",
    )


def _check_steps(columns):
    """Checks that targets and weights per step have the steps of some input."""
    inputs = [pair for pair in named("x", columns.x) if isinstance(pair[1], Sequences)]
    for name, part in (("y", columns.y), ("sample_weight", columns.sample_weight)):
        for column in columns_of(part):
            if not isinstance(column, Sequences):
                continue
            if not any(np.array_equal(column.lengths, each.lengths) for _, each in inputs):
                raise other_lengths(name, column, *(inputs or [("x", None)])[0])
            if name == "sample_weight":
                check_weights(column)


def check_weights(column):
    """Checks that weights per step are one number for each.

    Raises:
        RankError: They are not.
    """
    if column.shape[2:] not in ((), (1,)):
        raise RankError(
            "PYL101",
            "the weights per step have too many axes",
            expected="sample_weight with one number for each step",
            got=f"sample_weight {column.shape}",
            fix="[np.mean(w, axis=-1) for w in sample_weight]",
        )


def other_lengths(name, column, other, beside):
    """The error for targets or weights per step that have other steps than what they belong to.

    Args:
        name: What the user calls them.
        column: `Sequences`.
        other: What the user calls what they belong to, such as `"x"` or `"x[1]"`.
        beside: Its `Sequences`; None for a dense array.
    """
    got = f"{name} has {column.lengths.min()} to {column.lengths.max()} steps; x is one dense array"
    fix = "pass x as the list of sequences that the labels belong to"
    if beside is not None:
        more = column.lengths - beside.lengths
        index = int(np.flatnonzero(more)[0])
        got = (
            f"sample {index}: {other} has {beside.lengths[index]} steps, "
            f"{name} has {column.lengths[index]}"
        )
        if (more >= 0).all():
            fix = f"{name} = [b[: len(a)] for a, b in zip({other}, {name})]"
        elif (more <= 0).all() and other == "x":
            fix = f"x = [a[: len(b)] for a, b in zip(x, {name})]"
        else:
            fix = f"look for what drops steps of {other}, and of {name}"
    return TimestepError(
        "PYL120",
        expected=f"one entry of {name} per step of {other}, or one per sample",
        got=got,
        fix=fix,
    )
