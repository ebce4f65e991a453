"""What a model predicts for each step, without the steps of padding.

In a compiled step every array has all rows; the padding goes once the batches are joined.
"""

from typing import NamedTuple

import keras
import numpy as np
from keras import tree

from pylstm.inputs.sequences import split_rows
from pylstm.keras_graph import get_keras_mask
from pylstm.models.graph.mask_rules import has_steps
from pylstm.models.graph.windows import has_changed_steps


class Rows(NamedTuple):
    """An output (N, T, ...) by step, in a form that joins with one of another T.

    Attributes:
        values: (N * T, ...), or fewer.
        is_real: bool, for each of them whether its step has an input.
        lengths: (N,), the number of those that have.
    """

    values: object
    is_real: object
    lengths: object


def without_padding(model, outputs, x, at_once):
    """The outputs of a model, with `Rows` in place of each that has a mask.

    A step that a layer has masked has an input, so the mask alone does not tell padding: a row is
    as long as the shortest of its inputs that holds every step that counts. Where none does, as
    behind a `Concatenate` of steps, or a convolution has made other steps, the mask is all there
    is.

    Args:
        model: The model, whose graph tells which outputs have steps.
        outputs: Tensors, each with its Keras mask.
        x: The inputs, likewise.
        at_once: Whether rows can go here, where shapes may depend on values.
    """
    masks = [get_keras_mask(part) for part in tree.flatten(x)]
    masks = [mask for mask in masks if mask is not None]
    if not masks:
        return outputs
    lengths = keras.ops.stack([_last_step(mask) for mask in masks])  # (inputs, batch)
    sizes = keras.ops.stack([keras.ops.shape(mask)[1] for mask in masks])

    def as_rows(output, symbolic):
        mask = get_keras_mask(output)
        if mask is None or len(mask.shape) < 2:  # of a sample, as `Concatenate` makes one
            return output
        if tuple(output.shape[1:2]) != tuple(mask.shape[1:2]):  # from a layer that pools the steps
            return output
        if symbolic is not None and mask.shape[1] is not None and not has_steps(symbolic):
            return output  # which has by chance as many features as there are steps
        steps = keras.ops.shape(output)[1]
        fits = (sizes[:, None] == steps) & (lengths >= _last_step(mask))
        if symbolic is not None and has_changed_steps(symbolic):
            fits = keras.ops.zeros_like(fits)
        shortest = keras.ops.min(keras.ops.where(fits, lengths, steps), axis=0)
        has_input = keras.ops.arange(steps) < shortest[:, None]
        is_real = keras.ops.where(keras.ops.any(fits, axis=0)[:, None], has_input, mask)
        row_lengths = keras.ops.sum(keras.ops.cast(is_real, "int32"), axis=1)
        values = keras.ops.reshape(output, (-1, *output.shape[2:]))
        is_real = keras.ops.reshape(is_real, (-1,))
        if at_once:
            values, is_real = values[is_real], is_real[is_real]
        return Rows(values, is_real, row_lengths)

    flat = tree.flatten(outputs)
    symbols = getattr(model, "outputs", None) or ()
    if len(symbols) != len(flat):  # the model has a `call` of its own
        symbols = [None] * len(flat)
    return tree.pack_sequence_as(outputs, list(map(as_rows, flat, symbols)))


def may_have_steps(model):
    """Whether a model can have an output by step, as far as its graph tells."""
    symbols = getattr(model, "outputs", None) or ()
    return not symbols or any(map(has_steps, symbols))


def as_lists(outputs, order=None, in_batches=False):
    """The outputs, with a list of N arrays (T_i, ...) in place of all `Rows`.

    Args:
        outputs: NumPy arrays and `Rows`, as `predict` joins them.
        order: (N,), which of the user's samples each of the model's was; None if the same.
        in_batches: Whether nobody knew beforehand that the sequences of all batches are equally
            long. Then `Rows` of one length are an array (N, T, ...), as those of such a list are.
    """
    places = None if order is None else np.argsort(order)

    def restore(part):
        if isinstance(part, Rows):
            rows = split_rows(part.values[part.is_real], [0, *np.cumsum(part.lengths)])
            if in_batches and len({*part.lengths}) == 1 and len(rows[0]):
                return np.stack(rows)
            return rows if places is None else [rows[place] for place in places]
        if places is None or not isinstance(part, np.ndarray):
            return None  # looks into it
        return part[places]

    return tree.traverse(restore, outputs)


def are_by_sample(outputs, size):
    """Whether each output, as `predict` joins them, has an entry for each of `size` samples."""
    sizes = []

    def note(part):
        if isinstance(part, Rows):
            sizes.append(len(part.lengths))
        elif hasattr(part, "shape"):
            sizes.append(len(part) if isinstance(part, np.ndarray) and part.ndim else None)
        else:
            return None  # looks into it
        return part

    tree.traverse(note, outputs)
    return set(sizes) <= {size}


def _last_step(mask):
    """The number of steps (batch,) up to the last that counts."""
    position = keras.ops.arange(1, keras.ops.shape(mask)[1] + 1, dtype="int32")
    return keras.ops.max(keras.ops.where(mask, position, 0), axis=1, initial=0)
