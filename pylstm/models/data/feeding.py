"""Columns as what Keras' trainer takes: arrays, or batches in the form that suits the model."""

import keras
import numpy as np
from keras import tree

from pylstm.keras_graph import has_ragged, layers_of
from pylstm.models.data.columns import Sequences
from pylstm.models.data.dataset import SequenceDataset, longest_of
from pylstm.models.data.separating import named_inputs
from pylstm.models.graph.declared import declared_shapes
from pylstm.models.graph.stateful import check_batches, keeps_states
from pylstm.models.graph.steps import takes_any_steps
from pylstm.models.graph.windows import check_long_enough

_DEFAULT_BATCH_SIZE = 32  # as in keras.Model.fit
_MANY_BATCHES = 50  # from which on another compilation takes less time than it saves


def feed(model, data, batch_size=None, steps=None, shuffle=False):
    """(x, y, sample_weight) for Keras' trainer: arrays, or a dataset instead of x.

    Args:
        model: The model that is to take them.
        data: `Columns`.
        batch_size: Samples in a batch; None for Keras' default, or as many as make `steps` batches.
        steps: The number of batches that will be taken; None for all.
        shuffle: Draw a new order for each epoch.

    Raises:
        BatchMismatchError: A batch does not fit the states of a stateful layer.
    """
    if not batch_size:
        batch_size = -(-data.size // steps) if steps else _DEFAULT_BATCH_SIZE
    if steps is None:  # of some batches, Keras may never come to the last
        check_batches(model, data.size, batch_size)
    if data.is_dense:
        return data.values()
    batches = SequenceDataset(data, batch_size, shuffle=shuffle)
    return for_model(model, batches), None, None


def by_length(model, data, batch_size):
    """The samples with the longest first, so that those of a batch need little padding.

    Returns:
        The `Columns`, and which sample each was, (N,); None where they stay in their order: all
        are equally long or in one batch, or the model keeps states from batch to batch.
    """
    longest = longest_of(data)
    if longest is None or data.size <= (batch_size or _DEFAULT_BATCH_SIZE) or keeps_states(model):
        return data, None
    order = np.argsort(-longest, kind="stable")
    return data.take(order), order


def feed_batch(model, data):
    """As `feed`, for the `*_on_batch` methods: all samples are one batch."""
    if data.is_dense:
        return data.values()
    x, *rest = batch_alone(model, data)
    rest = [tree.map_structure(np.asarray, part) for part in rest]
    y, sample_weight = (*rest, None, None)[:2]
    return x, y, sample_weight


def batch_alone(model, data):
    """All samples as one of several batches, of which nobody knows the longest sequence."""
    return for_model(model, SequenceDataset(data, data.size))[0]


def for_model(model, batches):
    """A `SequenceDataset` in the form that suits a model.

    Raises:
        TimestepError: A sequence is too short for a layer.
    """
    inputs = named_inputs(model, batches.columns.x)
    check_long_enough(
        model, {n: each.lengths for n, _, each in inputs if isinstance(each, Sequences)}
    )
    return batches.for_model(takes_ragged(model), _padded_lengths(model, batches))


def _padded_lengths(model, batches):
    """What batches are padded to where they are, as `SequenceDataset.for_model` takes it.

    What is compiled by shape is compiled for few: a batch alone, which others may follow, gets a
    power of two of steps. Of many, most are far from the longest sequence.
    """
    shapes, longest = declared_shapes(model), 1
    for name, _, column in named_inputs(model, batches.columns.x):
        if not isinstance(column, Sequences):
            continue
        if name in shapes and not takes_any_steps(model, shapes[name]):
            return None
        longest = max(longest, int(column.lengths.max()))
    if keras.backend.backend() == "torch":  # which compiles nothing
        return range(1, longest + 1)
    if any(getattr(layer, "activity_regularizer", None) for layer in layers_of(model)):
        return None  # Keras' count padded steps, too: no more of them than a padded array has
    if len(batches) == 1:
        return [1 << (longest - 1).bit_length()]
    if keras.backend.backend() == "jax" and len(batches) >= _MANY_BATCHES:
        return [-(-longest // 4), -(-longest // 2), longest]
    return None


def takes_ragged(model):
    """Whether batches for a model can be ragged tensors; else they are padded, with their mask."""
    return ragged_obstacle(model) is None


def ragged_obstacle(model, predicts=False):
    """A clause that says why batches for a model cannot be ragged tensors, or None.

    Args:
        model: A Keras model.
        predicts: Whether they are for `predict`, which takes them on several replicas, too.
    """
    if not has_ragged():
        return f"Keras has no ragged tensors on {keras.backend.backend()}"
    if model.jit_compile:
        return "XLA (jit_compile=True) has no ragged tensors"
    if model.distribute_strategy.num_replicas_in_sync > 1 and not predicts:
        return "Keras gives no ragged tensors to several replicas"
    return None
