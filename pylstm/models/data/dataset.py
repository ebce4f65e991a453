"""Batches of sequences of several lengths, as a `keras.utils.PyDataset`."""

import bisect
import copy
import threading

import keras
import numpy as np
from keras import tree

from pylstm.array_types import FLOATS, dtype_name
from pylstm.errors import OptionError, RaggedError, StructureError
from pylstm.inputs.masks import check_mask_value
from pylstm.inputs.padding import pad_arrays, ragged_of_arrays
from pylstm.keras_graph import has_ragged
from pylstm.models.data.columns import (
    Dense,
    Sequences,
    columns_of,
    map_columns,
    read_columns,
)
from pylstm.models.data.structure import is_nothing
from pylstm.models.data.targets import open_targets

# Batches per pool: within a pool, samples are sorted by length. Large pools make batches of
# nearly one length; small ones keep the order of samples random.
_POOL_BATCHES = 50
_drawing = threading.Lock()


def dataset(
    x,
    y=None,
    batch_size: int = 32,
    *,
    bucket: bool = True,
    shuffle: bool | None = None,
    seed: int | None = None,
    sample_weight=None,
    drop_remainder: bool = False,
    mask_value: float | None = None,
    workers: int = 1,
    max_queue_size: int = 10,
) -> "SequenceDataset":
    """Batches sequences of several lengths for `fit`, `evaluate` and `predict`.

    Each batch is as long as its longest sequence; on JAX, which compiles for each length, as the
    longest of all, or from 50 batches on one of three lengths. On the TensorFlow backend x comes
    as a `tf.RaggedTensor`, which `pylstm.LSTM` takes at the front of any Keras model and
    `pylstm.Sequential` and `pylstm.Model` take before other layers, too: padding never reaches a
    weight. On other backends x is padded, for pylstm's models with its mask, for others to the
    longest of all. These can tell padding by its `mask_value` alone: give the layer, or a
    `keras.layers.Masking` in front, the same value. Without one, a loop over the batches gets
    a `PaddedBatch`, which pylstm's models and layers take when called.

    Args:
        x: A list of N sequences (T_i, F), or any collection that `pylstm.pad` takes, or an
            array (N, ...); a tuple or dict of these where the model has several inputs.
        y: Targets: one per sample, (N,) or (N, K), or one per step, a list of N arrays (T_i,)
            or (T_i, K), or the array (N, T, K) that `pylstm.pad` makes of one. Targets per step
            are padded with 0 and sample weight 0; (T_i,) comes as (T_i, 1). A tuple or dict where
            the model has several outputs, whichever they are.
        batch_size: Samples in a batch.
        bucket: With `shuffle`, put sequences of similar length in one batch.
        shuffle: Draw a new order for each epoch. By default where there are targets; without
            shuffling the order is kept.
        seed: For the shuffling; by default drawn from NumPy's global generator.
        sample_weight: Weights per sample (N,), or per step, a list of N arrays (T_i,).
        drop_remainder: Leave out the last batch where it is partial, as a stateful layer needs.
        mask_value: What x is padded with for a plain Keras model on other backends than
            TensorFlow, where sequences of several lengths need one.
        workers: Threads that make batches.
        max_queue_size: Batches to prepare ahead.

    Returns:
        A `keras.utils.PyDataset` of `(x,)`, `(x, y)` or `(x, y, sample_weight)`.

    Raises:
        PylstmError: There is no x, or the sequences, targets and weights do not fit; see
            `read_columns`.
        RaggedError: From the first batch: x would be padded for a plain Keras model, and there is
            no `mask_value`.
        MaskError: `mask_value` is nan, or not one number.
        OptionError: `batch_size` is no integer of at least 1, or more than all samples with
            `drop_remainder`; `seed` is none of NumPy's.
    """
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise OptionError(
            "PYL144",
            expected="batch_size a positive integer",
            got=repr(batch_size),
            fix="pylstm.dataset(sequences, labels, batch_size=32)",
        )
    try:
        np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise OptionError(
            "PYL144",
            expected="seed an integer of at least 0, or None",
            got=repr(seed),
            fix="pylstm.dataset(sequences, labels, seed=1)",
        ) from error
    if is_nothing(x):
        raise StructureError(
            "PYL146",
            expected="x, a list of arrays (time, features)",
            got=f"x={x!r}",
            fix="pylstm.dataset(sequences, labels)",
        )
    columns = read_columns(x, y, sample_weight)
    opened = open_targets(columns)
    if drop_remainder and columns.size < batch_size:
        raise OptionError(
            "PYL144",
            "the only batch is partial, and dropped",
            expected=f"batch_size up to the number of samples, {columns.size}",
            got=f"batch_size={batch_size} with drop_remainder=True",
            fix="drop_remainder=False",
        )
    return SequenceDataset(
        columns,
        batch_size,
        opened=opened,
        bucket=bucket,
        shuffle=y is not None if shuffle is None else shuffle,
        seed=seed,
        drop_remainder=drop_remainder,
        mask_value=check_mask_value(mask_value),
        workers=workers,
        max_queue_size=max_queue_size,
    )


class SequenceDataset(keras.utils.PyDataset):
    """Batches of `Columns`. See `dataset` for the arguments.

    Batches are made of `opened`, the columns with targets as a plain Keras model takes them, by
    default those that were given. A model of pylstm's fits the targets of `columns` to its outputs
    itself, and takes them `with_columns`.

    For a plain Keras model, x comes as ragged tensors where Keras' backend has them, else as
    arrays. Padded batches are of one length, or of few: what compiles without ragged tensors does
    so by shape.
    """

    def __init__(
        self,
        columns,
        batch_size,
        *,
        opened=None,
        bucket=True,
        shuffle=False,
        seed=None,
        drop_remainder=False,
        mask_value=None,
        **workers,
    ):
        super().__init__(**workers)
        self.columns = columns
        self._opened = columns if opened is None else opened
        self._batch_size = batch_size
        self._bucket = bucket
        self._shuffle = shuffle
        if shuffle:  # else NumPy's global generator stays as it is
            seed = np.random.randint(2**31) if seed is None else seed
            self._generator = np.random.default_rng(seed)
        self._drop_remainder = drop_remainder
        self._mask_value = mask_value
        self._longest = longest_of(columns)
        self._set_form(has_ragged(), has_mask=False)
        self._rows = self._draw_batches()
        self._taken = set()
        self._epoch_ended = False

    def with_columns(self, columns):
        """The same batches of other columns of the same samples."""
        batches = copy.copy(self)
        batches.columns = batches._opened = columns
        return batches

    def for_model(self, ragged, lengths=None):
        """The same batches for a model of pylstm's: x as ragged tensors, or as `PaddedBatch`.

        Args:
            ragged: Whether the model takes ragged tensors.
            lengths: What batches are padded to where it does not, each to the first that is not
                too short; by default all to that of the longest sequence.
        """
        batches = copy.copy(self)
        batches._set_form(ragged, has_mask=True, lengths=lengths)
        return batches

    @property
    def padding(self):
        """What x is padded with; None where it is not, or comes with its mask."""
        return None if self._has_mask or self._lengths is None else self._mask_value

    def _set_form(self, ragged, has_mask, lengths=None):
        self._has_mask = has_mask
        is_padded = not ragged and self._longest is not None
        self._lengths = (lengths or [int(self._longest.max())]) if is_padded else None

    def __len__(self):
        with _drawing:
            self._begin()  # as Keras asks before it takes the first
            return len(self._rows)

    def __getitem__(self, index):
        with _drawing:
            if index in self._taken:
                self._begin()
            self._taken.add(index)
            rows = self._rows[index]
        maxlen = self._padded_length(rows)
        x, y, sample_weight = self._opened.take(rows)
        batch = (map_columns(lambda column: self._render_input(column, maxlen), x),)
        if y is not None:
            batch += (map_columns(lambda column: _render_target(column, maxlen), y),)
            if sample_weight is not None or any(isinstance(c, Sequences) for c in columns_of(y)):
                batch += (_render_weights(y, sample_weight, maxlen),)
        return batch

    def __iter__(self):
        """For a loop of one's own, where what is no array comes as pylstm's models take it."""
        size, batches = len(self), self
        if self._lengths is not None and not self._has_mask and self._mask_value is None:
            batches = self.for_model(ragged=False)
        return (batches[index] for index in range(size))

    def on_epoch_end(self):
        # Of short epochs (steps_per_epoch), Keras takes several out of one order.
        self._epoch_ended = self._shuffle

    def _begin(self):
        """Where batches are taken from the first on, draws the order of a new epoch."""
        if self._epoch_ended:
            self._rows = self._draw_batches()
        self._epoch_ended = False
        self._taken = set()

    def _padded_length(self, rows):
        """What a batch is padded to; None where it is ragged."""
        if self._lengths is None:
            return None
        return self._lengths[bisect.bisect_left(self._lengths, self._longest[rows].max())]

    def _draw_batches(self):
        """A list of index arrays, one for each batch."""
        size, batch = self.columns.size, self._batch_size
        if not self._shuffle:
            order = np.arange(size)
        else:
            order = self._generator.permutation(size)
            if self._bucket and self._longest is not None:
                order = self._sorted_in_pools(order)
        rows = [order[start : start + batch] for start in range(0, size, batch)]
        if self._drop_remainder and len(rows[-1]) < batch:
            rows.pop()
        if self._shuffle:
            self._generator.shuffle(rows)
        return rows

    def _sorted_in_pools(self, order):
        pool = _POOL_BATCHES * self._batch_size
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        return np.concatenate([rows[np.argsort(self._longest[rows])] for rows in pools])

    def _render_input(self, column, maxlen):
        if isinstance(column, Dense):
            return column.values
        if maxlen is None:
            return ragged_of_arrays(column.values)
        if self._has_mask:
            batch = pad_arrays(column.values, maxlen)
            # On several replicas Keras adds up the first batches, which booleans refuse.
            return batch._replace(mask=batch.mask.astype("int8"))
        if self._mask_value is None:
            raise _no_mask_value()
        # Integers need not hold the value; padded with 0, they may be tokens and stay integers.
        fits = self._mask_value == 0 or dtype_name(column.values[0]) in FLOATS
        dtype = None if fits else keras.config.floatx()
        return pad_arrays(column.values, maxlen, self._mask_value, dtype).x


def _render_target(column, maxlen):
    if isinstance(column, Dense):
        return column.values
    return _as_batch(pad_arrays(column.values, _steps(column, maxlen)).x, maxlen)


def _render_weights(targets, weights, maxlen):
    """The weights for each target, by step and 0 in the padding where the targets are."""
    if weights is None or isinstance(weights, (Dense, Sequences)):
        weights = tree.map_structure(lambda _: weights, targets)
    return tree.map_structure(lambda *pair: _weigh(*pair, maxlen), targets, weights)


def _weigh(target, weights, maxlen):
    if target is None:  # of an output without a loss
        return None
    floatx = keras.config.floatx()
    if isinstance(target, Dense):
        return np.ones(target.size, floatx) if weights is None else weights.values
    steps = _steps(target, maxlen)
    mask = (np.arange(steps) < target.lengths[:, None]).astype(floatx)
    if isinstance(weights, Dense):
        mask *= np.reshape(weights.values, (-1, 1))
    elif weights is not None:
        mask *= pad_arrays(weights.values, steps).x.reshape(mask.shape)
    return _as_batch(mask, maxlen)


def _steps(column, maxlen):
    """Of a batch; one for sequences that have none, as the model pads its input."""
    if column.steps is not None:
        return column.steps
    return max(1, column.lengths.max()) if maxlen is None else maxlen


def _as_batch(array, maxlen):
    return open_time(array) if maxlen is None else array


class _OpenSize(int):
    """A size that equals the same number, and in a set is another element."""

    __hash__ = object.__hash__


class _OpenTime(np.ndarray):
    """An array whose number of steps is no part of its type.

    Keras takes the shape that the first two batches have in common for that of all, and stops at a
    batch of another length where these two happen to be equally long. It looks at sets of sizes.
    """

    is_batch = False

    @property
    def shape(self):
        shape = super().shape
        return (shape[0], _OpenSize(shape[1]), *shape[2:]) if self.is_batch else shape


def open_time(array):
    """The array (batch, time, ...) as one whose number of steps Keras does not rely on."""
    array = array.view(_OpenTime)
    array.is_batch = True  # on this array alone: views of it are plain
    return array


def longest_of(columns):
    """Lengths (N,) of the longest sequence of each sample; None where all are dense."""
    lengths = [c.lengths for c in columns_of(columns.x) if isinstance(c, Sequences)]
    return np.max(lengths, axis=0) if lengths else None


def _no_mask_value():
    backend = keras.backend.backend()
    return RaggedError(
        "PYL114",
        expected=f"a value for padding: on Keras' {backend} backend there are no ragged tensors",
        got="sequences of different lengths",
        fix="pylstm.Model instead of keras.Model, or mask_value=-1.0 here and in pylstm.LSTM, "
        "or in a keras.layers.Masking in front, with a value that no step holds",
    )
