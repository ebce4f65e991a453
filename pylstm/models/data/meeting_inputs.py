"""Inputs of several lengths that an operation takes step by step, such as a sum of two."""

import numpy as np

from pylstm.errors import TimestepError
from pylstm.models.data.columns import Sequences, Stacked
from pylstm.models.data.output_lengths import with_own_steps
from pylstm.models.data.structure import named
from pylstm.models.graph.declared import declared_shapes
from pylstm.models.graph.steps import graph_of, refusing


def check_meeting_inputs(model, x):
    """Checks that inputs that meet step by step have the same number of steps for each sample.

    In a batch their padding may make up for it, and the padded steps of one count as real.

    Args:
        model: A Keras model.
        x: Its inputs as columns.

    Raises:
        TimestepError: They do not.
    """
    parts = [(where, _lengths(column)) for where, column in named("x", x)]
    parts = [(where, lengths) for where, lengths in parts if lengths is not None]
    first = parts[0][1] if parts else None
    other = next((lengths for _, lengths in parts if (lengths != first).any()), None)
    graph = None if other is None else graph_of(model)
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
