"""Inputs with another number of time steps than a model declares.

Keras' functional models refuse them, though recurrent layers take any: only a layer such as
`Dense` behind `Flatten` is built for one.
"""

import functools

import keras
from keras import tree

from pylstm.array_types import static_shape
from pylstm.inputs import explain
from pylstm.inputs.contract import Known
from pylstm.inputs.knowledge import memory_of
from pylstm.keras_graph import Functional, get_keras_mask, in_symbolic_scope, layers_of, run_graph
from pylstm.layer import LSTM
from pylstm.models.graph.declared import declared_inputs


def report_steps(model, x, declared, report):
    """Reports another number of steps than a functional model declares, unless a layer will.

    Sequences of several lengths may have any.

    Args:
        model: A Keras model.
        x: One of its inputs, a tensor or None.
        declared: The shape of its `keras.Input`, or None.
        report: Called for what is not as declared; see `Corrections`.
    """
    if not isinstance(model, Functional) or not has_other_steps(x, declared):
        return
    if get_keras_mask(x) is None and not declares_steps(model):
        known = Known(timesteps=frozenset(declared[1:2]))
        report(
            "PYL124",
            got=explain.other_steps(static_shape(x), None, known),
            done="(computed as it is)",
            line=f"keras.Input((None, {declared[2]})) for any number of steps",
        )


def has_other_steps(x, declared):
    """Whether a tensor or column has another number of steps than a declared shape."""
    if not hasattr(x, "shape") or declared is None or len(declared) != 3:
        return False
    shape = static_shape(x) or ()
    return len(shape) == 3 and None not in (shape[1], declared[1]) and shape[1] != declared[1]


def declares_steps(model):
    """Whether a layer knows the number of steps that someone wrote down, and tells of others."""
    layers = (layer for layer in layers_of(model) if isinstance(layer, LSTM))
    declared = (memory_of(layer).timesteps for layer in layers)
    return any(steps and None not in steps for steps in declared)


def refused_steps(model, inputs):
    """The error of the first layer that does not take so many steps as inputs have, or None.

    Args:
        model: A Keras model.
        inputs: Tensors, columns or None, in the order of the model's inputs.
    """
    graph = graph_of(model)
    if graph is None:
        return None
    symbols, others = [], []
    for x, symbol in zip(tree.flatten(inputs), graph.inputs, strict=False):
        shape = symbol.shape
        if has_other_steps(x, shape):
            others.append((static_shape(x), shape))
            shape = (shape[0], static_shape(x)[1], shape[2])
        symbols.append(keras.KerasTensor(shape, symbol.dtype))
    operation = refusing(model, symbols) if others else None
    return operation and explain.refused_steps(operation.name, *others[0])


def refusing(model, symbols):
    """The first layer or operation of a model that does not take these inputs; None if all do."""
    asked = [None]

    def ask(operation):
        asked.append(operation)
        return functools.partial(output_spec, ask, operation)

    try:
        output_spec(ask, model, symbols)
    except Exception:  # of any kind: there was none with the steps that the model was built with
        return asked[-1]
    return None


def output_spec(ask, operation, *args, **kwargs):
    """What an operation makes of symbolic tensors, once it has checked them as in a call."""
    first = next(iter((*args, *kwargs.values())))
    if isinstance(operation, keras.Layer):
        operation._assert_input_compatibility(first)
    if type(operation) is keras.layers.Concatenate:  # which compares them when it is built, alone
        keras.layers.Concatenate(operation.axis).build([x.shape for x in first])
    graph = graph_of(operation)
    if graph is not None:  # by Keras' own: that of `MaskPassing` would ask again
        return run_graph(graph, first, ask)
    return operation.compute_output_spec(*args, **kwargs)


def with_steps(model, steps):
    """The symbolic inputs of a model's graph, in order, with these numbers of steps by name."""
    declared, replaced = declared_inputs(model), {}
    for name in declared.keys() & steps:
        symbol = declared[name]
        shape = (symbol.shape[0], steps[name], *symbol.shape[2:])
        replaced[id(symbol)] = keras.KerasTensor(shape, symbol.dtype)
    return [replaced.get(id(symbol), symbol) for symbol in graph_of(model).inputs]


def graph_of(model):
    """The functional model that a model is, or that a `keras.Sequential` has inside, or None."""
    graph = getattr(model, "_functional", model)
    return graph if isinstance(graph, Functional) else None


def takes_any_steps(model, shape):
    """Whether a model takes any number of steps for an input of which it declares this shape."""
    # Keras builds a `Sequential` from its first batch, whose sizes it then declares.
    is_of_data = isinstance(model, keras.Sequential) and shape[0] is not None
    return shape[1:2] == (None,) or is_of_data


def with_any_steps(shape):
    """The declared shape of an input, with any number of steps if it is one of sequences."""
    return (shape[0], None, shape[2]) if len(shape) == 3 else shape


def has_open_steps(x):
    """Whether x has steps, of a number not known in the graph that runs."""
    if isinstance(x, keras.KerasTensor) or in_symbolic_scope() or not hasattr(x, "shape"):
        return False
    return len(x.shape) > 1 and x.shape[1] is None
