"""Batches that come from an iterator, one by one, as Keras' trainer takes them."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import tree

from pylstm.errors import PylstmError, RankError
from pylstm.inputs.columns import Dense, Sequences, Stacked, columns_of, map_columns
from pylstm.inputs.dataset import open_time
from pylstm.inputs.model_data import feed_batch, obstacle_to_ragged, read_data
from pylstm.inputs.model_inputs import map_inputs


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
    if obstacle_to_ragged(model) is not None:
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
