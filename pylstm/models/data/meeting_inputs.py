"""Inputs of several lengths that an operation takes step by step, such as a sum of two."""

import numpy as np

from pylstm.errors import TimestepError
from pylstm.inputs.masks import known_lengths
from pylstm.keras_graph import has_ragged
from pylstm.models.data.columns import Dense, Sequences, Stacked
from pylstm.models.data.output_lengths import with_own_steps
from pylstm.models.data.structure import named
from pylstm.models.graph.declared import declared_shapes
from pylstm.models.graph.steps import graph_of, refusing


def check_meeting_inputs(model, x):
    """Checks that inputs that meet step by step have the same number of steps for each sample.

    In a batch their padding may make up for it, and the padded steps of one count as real.

    Args:
        model: A Keras model.
        x: Its inputs as columns, of which only the lengths count.

    Raises:
        TimestepError: They do not.
    """
    parts = [(where, _lengths(column)) for where, column in named("x", x)]
    parts = [(where, lengths) for where, lengths in parts if lengths is not None]
    first = parts[0][1] if parts else None
    other = next((each for _, each in parts if not np.array_equal(each, first)), None)
    is_comparable = other is not None and len(other) == len(first)
    graph = graph_of(model) if is_comparable else None
    if graph is None:
        return
    inputs, _ = with_own_steps(model, x, declared_shapes(model))
    operation = refusing(graph, inputs)
    # Not for its steps where it refuses inputs of one length, too.
    if operation is None or refusing(graph, graph.inputs) is not None:
        return
    sample = int(np.flatnonzero(first != other)[0])
    steps = ", ".join(f"{where} {lengths[sample]}" for where, lengths in parts)
    raise TimestepError(
        "PYL120",
        "inputs that meet step by step differ in their number of steps",
        layer=operation.name,
        expected="the same number of time steps for each sample in the inputs that meet there",
        got=f"steps of sample {sample}: {steps}",
        fix=_cut(parts) if len(parts) == 2 else "look for what drops steps of an input",
    )


def column_of(x, mask, is_list):
    """An input of a call as a column for `check_meeting_inputs`; None if its lengths are not known.

    Args:
        x: A tensor.
        mask: That of sequences of several lengths, as `as_dense` reads it, or None.
        is_list: Whether x came as a list.
    """
    if mask is None:
        return (Stacked if is_list else Dense)(x)
    # As a tensor, it comes with a padded batch of Keras' own loop, whose data have been checked.
    is_read = isinstance(mask, np.ndarray) or has_ragged()
    lengths = known_lengths(mask) if is_read else None
    return None if lengths is None else Sequences([np.empty((length, 0)) for length in lengths])


def _lengths(column):
    """The lengths (N,) of what came as a list of sequences; None of other columns."""
    if isinstance(column, Sequences):
        return column.lengths
    is_of_steps = isinstance(column, Stacked) and len(column.shape) > 1
    return np.full(column.size, column.shape[1]) if is_of_steps else None


def _cut(parts):
    for (a, longer), (b, shorter) in (parts, parts[::-1]):
        if (longer >= shorter).all():
            cut = f"[s[: len(t)] for s, t in zip({a}, {b})]"
            return f"{cut} instead of {a}     if its last steps may go"
    return "look for what drops steps of {}, and of {}".format(*(where for where, _ in parts))
