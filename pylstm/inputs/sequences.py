"""Reads any collection of sequences as a list of NumPy arrays.

It knows the containers in which people keep recordings of several lengths: lists, nested
lists, object arrays, pandas, ragged tensors, other frameworks' tensors, generators.
"""

import itertools
from collections.abc import Mapping

import numpy as np

from pylstm.advice import is_missing, to_numbers, to_numbers_each, to_real, to_sequences
from pylstm.array_types import is_dense, is_real, static_shape, unmasked
from pylstm.errors import (
    DTypeError,
    FeatureMismatchError,
    RaggedError,
    RankError,
    StructureError,
    warn_user,
)
from pylstm.inputs.explain import STATES_APART


def as_sequences(seqs, report=None, name="sequences"):
    """Reads a collection of sequences.

    Args:
        seqs: An iterable of sequences, each (T_i, F), (T_i,) or (T_i, ...): arrays,
            nested lists, tensors of any framework, DataFrames; or a `tf.RaggedTensor`, torch's
            nested tensor or `PackedSequence`, an array (N, T, ...) or an object array of arrays,
            or a DataFrame with a list of the steps of each feature in the row of a sequence.
        report: Called with the code, what was got, what was done and the line that does the
            same, where a batch axis had to be dropped. By default the user is warned.
        name: What the user calls them, for the lines that fix them.

    Returns:
        A list of arrays of one dtype, whose shapes differ in the first axis only.

    Raises:
        StructureError: There are no sequences, or pairs of them and others.
        RankError: Their ranks differ.
        FeatureMismatchError: The sequences differ in another axis than the first.
        RaggedError: The steps within one sequence differ in size.
        DTypeError: This is no collection, or the values are complex, strings or objects.
    """
    seqs = unpacked(seqs, name)
    table = seqs if _is_table(seqs) else None
    if hasattr(seqs, "to_list") and hasattr(seqs, "row_splits"):  # tf.RaggedTensor
        seqs = _rows_of_ragged(seqs)
    elif not isinstance(seqs, (list, tuple)):
        seqs = _rows_of(seqs, name)
    try:
        arrays = [_as_array(item, index, name) for index, item in enumerate(seqs)]
    except DTypeError as error:
        raise error if table is None else not_of_numbers(table, error, name) from None
    if not arrays:
        raise StructureError(
            "PYL146",
            expected="a list of N arrays (time, features)",
            got="an empty collection",
            fix="[np.zeros((0, features))]     for one sequence without steps",
        )
    return _same_dtype(_same_trailing_shape(without_batch_axes(arrays, report or _warn), name))


def stack(arrays, report):
    """What `as_sequences` returned as one array; None where that needs padding or a mask.

    Sequences without a step need a mask, which says so.
    """
    lengths = {len(array) for array in arrays}
    is_dense = len(lengths) == 1 and 0 not in lengths
    code, done = ("PYL127", "were stacked") if is_dense else ("PYL126", "were padded, masked")
    report(code, got=f"{len(arrays)} sequences", done=done, silent=True)
    return np.stack(arrays) if is_dense else None


def unpacked(value, name="x"):
    """What a special kind of array holds; else the value itself.

    Args:
        value: torch's nested tensor or `PackedSequence` (comes back as a list of tensors) or sparse
            tensor (dense), NumPy's masked array or a memoryview (an array), a table whose only
            column holds sequences (that column), or anything else.

    Raises:
        DTypeError: Values of a masked array are masked.
    """
    if isinstance(value, np.ma.MaskedArray):
        return unmasked(value, name)
    if isinstance(value, memoryview):
        return np.asarray(value)
    if hasattr(value, "iloc") and len(getattr(value, "columns", ())) == 1:
        column = value.iloc[:, 0]
        holds_sequences = len(column) and isinstance(column.iloc[0], (list, tuple, np.ndarray))
        return column if holds_sequences else value
    if type(value).__name__ == "PackedSequence":
        from torch.nn.utils.rnn import unpack_sequence

        return unpack_sequence(value)
    if not hasattr(value, "is_nested") or is_dense(value):
        return value
    return list(value.unbind()) if value.is_nested else value.to_dense()


def as_numpy(value):
    """The array of a value, of a torch tensor, too.

    Raises:
        ValueError: The value has parts of different sizes.
        DTypeError: Its own library refuses.
    """
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return np.asarray(value)
    except (TypeError, RuntimeError) as error:
        raise DTypeError(
            "PYL118",
            "this cannot be read as an array",
            expected="numbers, in host memory",
            got=f"{type(value).__name__}: {error}",
            fix="a NumPy array of it",
        ) from None


def _rows_of_ragged(ragged):
    if ragged.ragged_rank > 1:  # Features are ragged by declaration only: read the values.
        return ragged.to_list()
    return split_rows(np.asarray(ragged.values), np.asarray(ragged.row_splits))


def split_rows(values, splits):
    """The rows of a ragged tensor; `np.split` would make one of none."""
    return [values[start:end] for start, end in itertools.pairwise(splits)]


def _rows_of(seqs, name):
    if _is_table(seqs):  # and no list of its columns' names
        by_cell = sequences_of_cells(seqs)
        seqs = seqs.to_numpy() if by_cell is None else by_cell
    if isinstance(seqs, (str, bytes, Mapping)) or not hasattr(seqs, "__iter__"):
        raise DTypeError(
            "PYL142",
            expected="a list of N arrays (time, features)",
            got=type(seqs).__name__,
            fix=to_sequences(seqs, name) or f"[{name}, ...]     of arrays (time, features)",
        )
    return list(seqs)


def _is_table(value):
    return hasattr(value, "iloc") and hasattr(value, "columns")


def not_of_numbers(table, error, name="x"):
    """The error for a DataFrame of which a row, or all, gave `error`."""
    dtypes = ", ".join(dict.fromkeys(map(str, table.dtypes)))
    return DTypeError(
        error.code,
        error.what,
        expected="columns of numbers",
        got=f"{type(table).__name__} {table.shape} with columns of {dtypes}",
        fix=(to_real if error.code == "PYL117" else to_numbers)(table, name),
    )


def sequences_of_cells(table):
    """The sequences (T_i, columns) of a DataFrame of lists, as `groupby(...).agg(list)` makes it.

    None where not every cell holds a number for each step of its row.
    """
    rows = table.to_numpy()
    if rows.dtype != object or not rows.size or not all(map(_holds_steps, rows.flat)):
        return None
    if any(len(set(map(len, row))) > 1 for row in rows):
        return None
    return [np.stack([np.asarray(cell) for cell in row], axis=-1) for row in rows]


def _holds_steps(cell):
    is_list = isinstance(cell, (list, tuple)) or len(getattr(cell, "shape", ())) == 1
    return is_list and np.ndim(next(iter(cell), 0)) == 0


def _as_array(item, index, name):
    if isinstance(item, np.ma.MaskedArray):
        item = unmasked(item, name, index)
    array = item = unpacked(item)
    if not isinstance(item, np.ndarray):
        try:
            array = as_numpy(item)
        except DTypeError:
            raise
        except ValueError as error:
            if isinstance(item, tuple):
                raise _several_things(item, index) from None
            raise _uneven_steps(index, str(error)) from None
    if array.dtype == object:
        array = _unwrap_objects(array, index)
    if array.dtype == object and isinstance(item, tuple):
        raise _several_things(item, index)
    _check_numbers(array, item, index, name)
    if array.ndim == 0:
        ways = ["[np.reshape(x, (-1, 1))]     if the numbers are the steps of one sequence"]
        if is_missing(item):
            ways.insert(0, f"{to_numbers_each(item, name)}     if that sequence is missing")
        raise RankError(
            "PYL101",
            f"element {index} is a single number, not a sequence",
            expected="a list of N arrays (time, features)",
            got=f"{array.dtype} scalar",
            fix="\n".join(ways),
        )
    return array


def _several_things(item, index):
    """The error for a tuple such as `zip`, `items` and `groupby` make."""
    place = max(range(len(item)), key=lambda i: _number_of_axes(item[i]))
    if hasattr(item[place], "__next__"):
        fix = f"[list(pair[{place}]) for pair in pairs]     not of list(pairs), which empties them"
    else:
        fix = f"[pair[{place}] for pair in sequences]"
    return StructureError(
        "PYL146",
        f"element {index} is a tuple of several things, not a sequence",
        expected="a list of N arrays (time, features)",
        got=f"({', '.join(type(part).__name__ for part in item)})",
        fix=fix,
    )


def _number_of_axes(part):
    """The number of axes of what may be a sequence; 0 of what is a key or a label."""
    if hasattr(part, "shape"):
        return len(part.shape)
    return 1 if isinstance(part, list) or hasattr(part, "__next__") else 0


def _unwrap_objects(array, index):
    """Returns an object array of numbers, or of equal rows, as the array it stands for."""
    try:
        return np.asarray(array.tolist())
    except ValueError:
        raise _uneven_steps(index, f"object array {array.shape}") from None


def _uneven_steps(index, got):
    return RaggedError(
        "PYL114",
        f"the steps of sequence {index} differ in size",
        expected="each step with the same number of features",
        got=got,
        fix="give every step of a sequence the same number of features",
    )


def _check_numbers(array, item, index, name):
    if array.dtype.kind == "c":
        raise DTypeError(
            "PYL117",
            "y is complex" if name == "y" else None,
            expected="real numbers",
            got=f"sequence {index} is {array.dtype}",
            fix=to_real(item, name, is_item=True),
        )
    if not is_real(array.dtype) and array.size:
        raise DTypeError(
            "PYL118",
            "y does not hold numbers" if name == "y" else None,
            expected="numbers",
            got=f"sequence {index} is {array.dtype}",
            fix=to_numbers_each(item, name),
        )


def without_batch_axes(arrays, report):
    """Drops the batch axis that each of a list of (1, T_i, F) arrays, or tensors, has."""
    shapes = [static_shape(array) for array in arrays]
    if not all(len(shape or ()) >= 3 and shape[0] == 1 for shape in shapes):
        return arrays
    # More axes may be those of one step, such as a frame, unless they differ in size.
    if len(shapes[0]) > 3 and len(set(shapes)) == 1:
        return arrays
    report(
        "PYL123",
        got=f"{len(arrays)} sequences (1, time, features)",
        done="lost their batch axes",
        line="[s[0] for s in sequences]",
    )
    return [array[0] for array in arrays]


def _warn(code, got, done, line):
    warn_user(f"[{code}] {got} {done}. Better: {line}")


def _same_trailing_shape(arrays, name):
    """Checks that the sequences differ in length only; gives empty ones the others' shape."""
    first = next((i for i, array in enumerate(arrays) if array.size), 0)
    trailing = arrays[first].shape[1:]
    result = []
    for index, array in enumerate(arrays):
        if array.shape[1:] != trailing:
            if len(array) == 0 and array.ndim == 1:  # [] says nothing about its features
                array = np.zeros((0, *trailing), arrays[first].dtype)
            else:
                raise mismatch([each.shape for each in arrays], first, index, name)
        result.append(array)
    return result


def mismatch(shapes, first, index, name="sequences"):
    """The error for two of a list of sequences that differ in more than their length."""
    shape, other = shapes[first], shapes[index]
    same_rank = len(shape) == len(other)
    error, code, what = (
        (FeatureMismatchError, "PYL105", None)
        if same_rank
        else (RankError, "PYL101", "the sequences have different numbers of axes")
    )
    return error(
        code,
        what,
        expected="every sequence (time, features) with the same features",
        got=f"sequence {first} is {shape}, sequence {index} is {other}",
        fix=_mismatch_fix(shapes, shape, other, name),
    )


def _mismatch_fix(shapes, shape, other, name):
    ranks = {len(shape), len(other)}
    if ranks == {2, 3}:
        is_batch = len(shape) == 3 and shape[0] == other[0]
        return STATES_APART if is_batch else f"[s[0] if s.ndim == 3 else s for s in {name}]"
    if len(ranks) > 1:
        return "s[:, None] gives a univariate sequence its feature axis"
    if ranks == {2} and all(each[0] == 1 for each in shapes):
        return f"[s[0] for s in {name}]     if axis 0 is a batch of one, or holds the one feature"
    if len(shape) == 2 and shape[0] == other[0]:
        return f"[s.T for s in {name}]     if axis 0 holds the features and axis 1 the time"
    return "drop or add features so that all sequences have the same"


def _same_dtype(arrays):
    dtypes = {array.dtype for array in arrays if array.size} or {arrays[0].dtype}
    dtype = np.result_type(*dtypes)
    return [array if array.dtype == dtype else array.astype(dtype) for array in arrays]
