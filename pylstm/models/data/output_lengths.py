"""Which sequences' steps the outputs of a model have."""

import functools

from keras import tree

from pylstm.keras_graph import run_graph
from pylstm.models.data.columns import Dense, Sequences
from pylstm.models.data.separating import named_inputs
from pylstm.models.graph.declared import declared_shapes
from pylstm.models.graph.steps import graph_of, output_spec, with_steps


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
    if graph is None:
        return _lengths_of_unbuilt(model, x, shapes)
    inputs, lengths = with_own_steps(model, x, shapes)
    outputs = _outputs_for(graph, inputs)
    known = {}
    for name, shape in shapes.items() if outputs else ():
        steps = (*outputs[name].shape, None)[1]
        if steps in lengths or steps == (*shape, None, None)[1]:
            known[name] = lengths.get(steps)
    return known


def output_steps(model, x, shapes):
    """The number of steps that each output of a model has, whatever its input declared.

    Args:
        model: A Keras model.
        x: Its inputs as columns.
        shapes: The shapes of its outputs, by name or number, as `output_shapes` gives them for x.

    Returns:
        By name or number; None where they are not known, or follow the lengths of sequences.
    """
    declared, steps = declared_shapes(model), {}
    for name, _, column in named_inputs(model, x):
        own, given = declared.get(name, ()), column.shape
        if len(own) == len(given) > 1 and own[1] not in (None, given[1]):
            steps[name] = given[1]
    if steps and graph_of(model) is not None:
        outputs = _outputs_for(graph_of(model), with_steps(model, steps))
        shapes = {name: outputs[name].shape for name in shapes} if outputs else {}
    return {name: (*shape, None, None)[1] for name, shape in shapes.items()}


def _lengths_of_unbuilt(model, x, shapes):
    """As `output_lengths`, of a `Sequential` that is not built: its shapes are those for x."""
    known = {name: None for name, shape in shapes.items() if shape[1:2] != (None,)}
    if isinstance(x, Sequences) and not known:
        steps = 10 + max((size for size in x.shape if size), default=0)
        for name in shapes:
            output = model.compute_output_shape((x.size, steps, *x.shape[2:]))
            if output[1:2] == (steps,):
                known[name] = x.lengths
    return known


def _outputs_for(graph, inputs):
    """The symbolic outputs of a model's graph by name or number; None where a layer refuses."""

    def ask(operation):
        return functools.partial(output_spec, ask, operation)

    try:
        outputs = run_graph(graph, inputs, ask)
    except Exception:  # of any kind: a layer takes no such steps
        return None
    return outputs if isinstance(outputs, dict) else tree.flatten(outputs)


def with_own_steps(model, x, shapes):
    """The inputs of a model's graph with a number of steps of its own for each.

    A tensor of the graph that has this number of steps has those of that input.

    Args:
        model: A Keras model with a graph.
        x: As for `output_lengths`.
        shapes: Shapes of which no size is to be taken for one of these numbers, by name or number.

    Returns:
        Symbolic tensors, in order; and by number of steps the lengths (N,) of the inputs that have
        it, None for those of one length.
    """
    spacing = 10 + max((size for shape in shapes.values() for size in shape if size), default=0)
    declared, sizes, steps, lengths = declared_shapes(model), {}, {}, {}
    for name, _, column in named_inputs(model, x):
        if name not in declared:
            continue
        if isinstance(column, Sequences):
            key, own = column.lengths.tobytes(), column.lengths
        elif isinstance(column, Dense) and declared[name][1:2] == (None,):
            key, own = column.shape[1:2], None
        else:
            continue
        steps[name] = sizes.setdefault(key, spacing * (len(sizes) + 1))
        lengths[steps[name]] = own
    return with_steps(model, steps), lengths
