"""Pads sequences of several lengths to one dense batch, and back."""

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from pylstm._library import tensorflow_required
from pylstm.errors import (
    DTypeError,
    MaskError,
    OptionError,
    RankError,
    StructureError,
    TimestepError,
)
from pylstm.inputs.sequences import as_numpy, as_sequences
from pylstm.lengths import check_lengths, read_lengths

if TYPE_CHECKING:
    import tensorflow as tf


class PaddedBatch(NamedTuple):
    """Sequences padded to one length.

    Attributes:
        x: The padded values, (N, T, F), or (N, T) where the sequences have no features.
        mask: bool (N, T), True where a step is real.
        lengths: int32 (N,), the number of real steps.
    """

    x: np.ndarray
    mask: np.ndarray
    lengths: np.ndarray


def pad(
    seqs,
    *,
    padding: Literal["post", "pre"] = "post",
    maxlen: int | None = None,
    value: float = 0,
    dtype: DTypeLike | None = None,
) -> PaddedBatch:
    """Pads sequences to one length. Never truncates; never rounds to integers.

    Args:
        seqs: N sequences, each (T_i, F) or (T_i,): see `pylstm.inputs.sequences`; or a
            `PaddedBatch`. A sequence of length 0 becomes a row that is all padding.
        padding: `"post"` pads after the sequence, `"pre"` before it.
        maxlen: The length to pad to; the longest sequence's by default.
        value: What to pad with.
        dtype: Of the result; by default that of the sequences, so floats stay floats and
            tokens stay integers; float32 where shorter floats would round `value`.

    Returns:
        `PaddedBatch(x, mask, lengths)`.

    Raises:
        OptionError: `padding` is neither `"post"` nor `"pre"`, `maxlen` no whole number, or
            `value` no number.
        TimestepError: A sequence is longer than `maxlen`.
        DTypeError: The values or `value` do not fit `dtype`, or `value` does not fit integers.
        PylstmError: The sequences cannot be joined; see `as_sequences`.
    """
    if padding not in ("post", "pre"):
        raise OptionError(
            "PYL144",
            expected="padding 'post' or 'pre'",
            got=repr(padding),
            fix="pylstm.pad(sequences), which pads at the end",
        )
    if not isinstance(maxlen, (int, np.integer, type(None))):
        raise OptionError(
            "PYL144",
            expected="maxlen a whole number of time steps, or None",
            got=repr(maxlen),
            fix="pylstm.pad(sequences), which pads to the longest",
        )
    if np.asarray(value).dtype.kind in "OSUMm":
        raise OptionError(
            "PYL144",
            expected="value a number",
            got=repr(value),
            fix="pylstm.pad(sequences), which pads with 0",
        )
    return pad_arrays(_sequences_of(seqs), maxlen, value, dtype, padding)


def pad_arrays(arrays, maxlen=None, value=0, dtype=None, padding="post"):
    """As `pad`, for what `as_sequences` has returned."""
    lengths = np.array([len(array) for array in arrays], np.int32)
    steps = _padded_length(lengths, maxlen)
    dtype = _lossless_dtype(arrays, dtype, value)
    x = np.full((len(arrays), steps, *arrays[0].shape[1:]), value, dtype)
    position = np.arange(steps)
    if padding == "post":
        mask = position < lengths[:, None]
        for row, array in zip(x, arrays, strict=True):
            row[: len(array)] = array
    else:
        mask = position >= steps - lengths[:, None]
        for row, array in zip(x, arrays, strict=True):
            row[steps - len(array) :] = array
    return PaddedBatch(x, mask, lengths)


def unpad(batch, *, lengths=None, mask=None) -> list[np.ndarray]:
    """The sequences of a padded batch: the inverse of `pad`.

    Args:
        batch: A `PaddedBatch`, or an array (N, T, ...), such as the output of a layer with
            `return_sequences=True`; then `lengths` or `mask` says which steps are real.
        lengths: Integers (N,): the first `lengths[i]` steps of row i are real.
        mask: bool (N, T), any pattern.

    Returns:
        A list of N arrays (T_i, ...); with `lengths`, views of the batch.

    Raises:
        MaskError: Nothing or too much says which steps are real, or it does not fit.
        RankError: There is no axis of time.
        StructureError: The batch is a list of sequences of different lengths.
    """
    sources = {"lengths": lengths, "mask": mask}
    if isinstance(batch, PaddedBatch):
        sources["a PaddedBatch"] = mask = batch.mask
        batch = batch.x
    given = [name for name, source in sources.items() if source is not None]
    if len(given) != 1:
        raise MaskError(
            "PYL113",
            "unpad needs to know which steps are real",
            expected="one of a PaddedBatch, lengths (batch,) and mask (batch, time)",
            got=" and ".join(given) or "neither lengths nor mask",
            fix="pylstm.unpad(y, lengths=batch.lengths)",
        )
    try:
        x = as_numpy(batch)
    except ValueError:
        raise StructureError(
            "PYL146",
            expected="a PaddedBatch, or one array (batch, time, ...)",
            got=f"a {type(batch).__name__} of {len(batch)} parts of different sizes",
            fix="y     itself, if it holds sequences without padding, as pylstm's models give them",
        ) from None
    if x.ndim < 2:
        raise RankError(
            "PYL101",
            expected="(batch, time, ...)",
            got=f"{x.shape}",
            fix="np.expand_dims(y, 0)     for one sequence",
        )
    if mask is not None:
        try:
            mask = np.asarray(mask, bool)
        except ValueError:
            mask = None
        if mask is None or mask.shape != x.shape[:2]:
            raise MaskError(
                "PYL112",
                expected=f"(batch, time) = {x.shape[:2]}",
                got="rows of different lengths" if mask is None else f"mask {mask.shape}",
                fix="pylstm.unpad(y, mask=batch.mask)",
            )
        return [row[keep] for row, keep in zip(x, mask, strict=True)]
    lengths = check_lengths(read_lengths(lengths, x), x)
    return [row[:length] for row, length in zip(x, lengths, strict=True)]


def ragged(seqs) -> "tf.RaggedTensor":
    """The `tf.RaggedTensor` (N, None, F) of sequences, which `pylstm.LSTM` takes as it is.

    Args:
        seqs: N sequences, each (T_i, F) or (T_i,): see `pylstm.inputs.sequences`; or a
            `PaddedBatch`.

    Returns:
        A `tf.RaggedTensor` of ragged rank 1 whose feature axis is static.

    Raises:
        PylstmError: The sequences cannot be joined; see `as_sequences`.
        BackendLoadError: TensorFlow is not installed.
    """
    return ragged_of_arrays(_sequences_of(seqs))


def _sequences_of(value):
    return as_sequences(unpad(value) if isinstance(value, PaddedBatch) else value)


def ragged_of_arrays(arrays):
    """As `ragged`, for what `as_sequences` has returned."""
    with tensorflow_required("pylstm.pad, which needs none"):
        import tensorflow as tf

    splits = np.cumsum([0, *map(len, arrays)])  # of lengths TensorFlow makes them more slowly
    return tf.RaggedTensor.from_row_splits(np.concatenate(arrays), splits, validate=False)


def _padded_length(lengths, maxlen):
    longest = int(lengths.max())
    if maxlen is None or maxlen >= longest:
        return longest if maxlen is None else maxlen
    raise TimestepError(
        "PYL119",
        expected=f"at most maxlen={maxlen} time steps",
        got=f"sequence {int(lengths.argmax())} has {longest}",
        fix=f"maxlen={longest}, or cut them yourself: [s[:{maxlen}] for s in sequences]",
    )


def _lossless_dtype(seqs, dtype, value):
    """The dtype to pad in. Floats may be rounded, but not become infinite.

    Raises:
        DTypeError: A dtype that was asked for, or that of integers, would change a number.
    """
    wanted = seqs[0].dtype if dtype is None else np.dtype(dtype)
    is_integer = wanted.kind in "biu"
    others = (seq for seq in seqs if seq.dtype != wanted)
    with np.errstate(invalid="ignore", over="ignore"):  # nan has no integer
        if is_integer:
            changed = any(np.any(np.asarray(n).astype(wanted) != n) for n in (value, *others))
        else:  # Layers look for the value in float32.
            cast = np.asarray(value).astype(wanted).astype("float32")
            changed = not np.array_equal(cast, np.asarray(value, "float32"), equal_nan=True)
            changed |= any(np.any(np.isinf(n.astype(wanted)) & np.isfinite(n)) for n in others)
    if not changed:
        return wanted
    if dtype is None and not is_integer:
        return np.dtype("float32")
    raise DTypeError(
        "PYL142",
        f"the numbers do not fit {wanted}",
        expected=f"numbers that {wanted} can hold",
        got=f"{seqs[0].dtype} sequences, value={value}",
        fix="dtype='float32'" if dtype is None else "leave dtype out, or pad with dtype='float32'",
    )
