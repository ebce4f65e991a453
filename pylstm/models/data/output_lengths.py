"""Which sequences' steps the outputs of a model have."""

import functools

import keras
from keras import tree

from pylstm.keras_graph import run_graph
from pylstm.models.data.columns import Dense, Sequences
from pylstm.models.data.separating import named_inputs
from pylstm.models.graph.declared import declared_inputs
from pylstm.models.graph.steps import graph_of, output_spec


def output_lengths(model, x, shapes):
    """The lengths of the sequences whose steps each output of a model has.

    Args:
        model: A Keras model.
        x: Its inputs as columns.
        shapes: The shapes of its outputs, by name or number, as `output_shapes` gives them for x.

    Returns:
        By name or number: the lengths (N,) of an input of several lengths, or None for an output
        without its steps, such as a forecast of a fixed horizon. An output of which the graph does
        not tell is left out.
    """
    graph = graph_of(model)
    if graph is None:  # a `Sequential` that is not built: its shapes are those for x
        return {name: None for name, shape in shapes.items() if shape[1:2] != (None,)}
    inputs, lengths = with_own_steps(model, x, shapes)

    def ask(operation):
        return functools.partial(output_spec, ask, operation)

    try:
        outputs = run_graph(graph, inputs, ask)
    except Exception:  # of any kind: a layer takes no such steps
        return {}
    outputs = outputs if isinstance(outputs, dict) else tree.flatten(outputs)
    known = {}
    for name, shape in shapes.items():
        steps = (*outputs[name].shape, None)[1]
        if steps in lengths or steps == (*shape, None, None)[1]:
            known[name] = lengths.get(steps)
    return known


def with_own_steps(model, x, shapes):
    """The inputs of a model's graph with a number of steps of its own for each.

    It shows in what has that input's steps.

    Args:
        model: A Keras model with a graph.
        x: As for `output_lengths`.
        shapes: Shapes of which no size is to be taken for one of these numbers, by name or number.

    Returns:
        Symbolic tensors, in order; and by number of steps the lengths (N,) of the inputs that have
        it, None for those of one length.
    """
    spacing = 10 + max((size for shape in shapes.values() for size in shape if size), default=0)
    declared, sizes, lengths, replaced = declared_inputs(model), {}, {}, {}
    for name, _, column in named_inputs(model, x):
        symbol = declared.get(name)
        if symbol is None:
            continue
        if isinstance(column, Sequences):
            key, own = column.lengths.tobytes(), column.lengths
        elif isinstance(column, Dense) and symbol.shape[1:2] == (None,):
            key, own = column.shape[1:2], None
        else:
            continue
        steps = sizes.setdefault(key, spacing * (len(sizes) + 1))
        lengths[steps] = own
        shape = (symbol.shape[0], steps, *symbol.shape[2:])
        replaced[id(symbol)] = keras.KerasTensor(shape, symbol.dtype)
    return [replaced.get(id(symbol), symbol) for symbol in graph_of(model).inputs], lengths
