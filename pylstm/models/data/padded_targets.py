"""Targets and weights per step that came padded, beside sequences that did not.

A batch is as long as its own longest sequence. A target padded to the longest of all would not
fit it, or, where a loss broadcasts, would fit without a word.
"""

import numpy as np
from keras import tree

from pylstm.errors import TimestepError
from pylstm.inputs.padding import unpad
from pylstm.inputs.sequences import as_numpy
from pylstm.models.data.columns import Dense, Sequences, check_weights, columns_of, other_lengths
from pylstm.models.data.fixed_steps import with_output_steps
from pylstm.models.data.output_lengths import output_lengths
from pylstm.models.graph.outputs import map_targets


def unpad_targets(columns, shapes=None, model=None):
    """Takes the padding off targets (N, T, ...) and weights (N, T) per step.

    Those of a model's output with a fixed number of steps get that number: `with_output_steps`.

    Args:
        columns: `Columns`. Without lists of sequences they stay as they are.
        shapes: The shapes of the model's outputs, by name or number, where they are known.
        model: The model, whose graph tells the steps of each output; without one, what the
            columns look like decides.

    Returns:
        `Columns`.

    Raises:
        TimestepError: A target or weight per step is not padded behind the steps of x, or weights
            are per step and targets are not, or have other steps.
    """
    shapes = shapes or {}
    if model is not None:
        columns = with_output_steps(model, columns, shapes)
    inputs = columns_of(columns.x)
    if columns.y is None or all(isinstance(column, Dense) for column in inputs):
        return columns
    asks = model is not None and may_have_padding(columns.y, shapes)
    known = output_lengths(model, columns.x, shapes) if asks else {}

    def unpad_one(target, name):
        lengths = known[name] if name in known else _lengths_beside(target, inputs)
        return _unpad_target(target, shapes.get(name), lengths, name in known)

    y = map_targets({name: name for name in shapes}, unpad_one, columns.y)
    return columns._replace(y=y, sample_weight=_unpad_weights(columns.sample_weight, y))


def may_have_padding(y, shapes):
    """Whether targets may be padded, beside outputs of these shapes that have steps."""
    has_steps = any(len(shape) > 2 for shape in shapes.values())
    return has_steps and any(map(_may_be_padded, columns_of(y)))


def _may_be_padded(target):
    return isinstance(target, Dense) and len(target.shape) > 1


def _lengths_beside(target, inputs):
    """The lengths (N,) of the one of several inputs that a padded target can belong to, or None."""
    if not _may_be_padded(target):
        return None
    steps, shapes = target.shape[1], [each.shape for each in inputs if isinstance(each, Dense)]
    lengths = [each.lengths for each in inputs if isinstance(each, Sequences)]
    lengths = {each.tobytes(): each for each in lengths}.values()  # the different ones
    fitting = [each for each in lengths if each.max() == steps]
    # Those of an input without padding, such as a decoder's, are none of the others'.
    if not fitting and all(shape[1] != steps for shape in shapes if len(shape) > 2):
        fitting = list(lengths)
    return fitting[0] if len(fitting) == 1 else None


def _unpad_target(target, shape, lengths, are_known):
    """The target without its padding where it is per step, else the target itself.

    Args:
        target: A column.
        shape: The shape of the output that it is for, or None.
        lengths: Those of the sequences whose steps it can have, or None.
        are_known: Whether the output has these steps.
    """
    if lengths is None or not _may_be_padded(target) or (shape is not None and len(shape) < 3):
        return target
    rank = len(target.shape)
    steps, longest = target.shape[1], lengths.max()
    are_known |= shape is not None and shape[1] is None
    if are_known:  # The output is per step, and so is the target, ...
        is_for_all_steps = steps == 1 < longest
        is_label_sequence = steps < longest and rank < len(shape)  # as of a CTC loss
        return target if is_for_all_steps or is_label_sequence else _unpad("y", target, lengths)
    # ... else only what stands behind the lengths can tell.
    if rank < 3 or steps != longest or not _ends_tell(target, lengths, shape):
        return target
    return Sequences(unpad(target.values, lengths=lengths))


def _unpad_weights(weights, y):
    steps = tree.map_structure(lambda each: each if isinstance(each, Sequences) else None, y)
    if isinstance(weights, (tuple, dict)):
        return tree.map_structure(_unpad_weight, weights, steps)
    return _unpad_weight(weights, next(iter(columns_of(steps)), None))


def _unpad_weight(weights, y):
    """Weights without their padding; y is the target if it is per step, else None."""
    is_by_step = isinstance(weights, Sequences)
    if is_by_step and y is None:
        raise TimestepError(
            "PYL120",
            "the weights are per step, the targets per sample",
            expected="sample_weight with one number per sample, as y",
            got=f"sample_weight with {weights.lengths.min()} to {weights.lengths.max()} steps",
            fix="[np.mean(w) for w in sample_weight], or y as a list of arrays per step",
        )
    if is_by_step and not np.array_equal(weights.lengths, y.lengths):
        raise other_lengths("sample_weight", weights, "y", y)
    if not isinstance(weights, Dense) or y is None or weights.shape[1:] in ((), (1,)):
        return weights
    check_weights(weights)
    return _unpad("sample_weight", weights, y.lengths)


def _unpad(name, column, lengths):
    if column.shape[1] < lengths.max() or not _are_alike(_ends(column, lengths)):
        raise not_behind_the_steps(name, column, lengths)
    return Sequences(unpad(column.values, lengths=lengths))


def not_behind_the_steps(name, column, lengths):
    """The error for what is per step, but not padded behind the steps of these lengths."""
    is_short = column.shape[1] < lengths.max()
    return TimestepError(
        "PYL120",
        expected=f"one entry of {name} per step of x, or padding after the last step",
        got=f"{name} {column.shape}; the sequences have {lengths.min()} to {lengths.max()} steps",
        fix=f"a list of one array of {name} for each sequence"
        if is_short
        else f"pylstm.unpad({name}, lengths=[len(s) for s in x])     if padded at the end\n"
        f"[row[len(row) - len(s) :] for row, s in zip({name}, x)]     if padded at the start",
    )


def _ends_tell(column, lengths, shape):
    """Whether the ends alone say that a column is per step. A single one is like itself."""
    ends = _ends(column, lengths)
    return (len(ends) > 1 or (shape is None and not len(ends))) and _are_alike(ends)


def _ends(column, lengths):
    """What stands behind the lengths: the same all over, where it is padding."""
    values = as_numpy(column.values)
    return values[np.arange(values.shape[1]) >= lengths[:, None]]


def _are_alike(ends):
    return bool((ends == ends[:1]).all())
