"""Inputs with another number of time steps than a model declares.

Keras' functional models refuse them, though recurrent layers do not mind: only what is behind
these, such as `Flatten` and `Dense`, may. Its sequential models pass them on to that layer.
"""

import functools

import keras
from keras.src.backend.common.masking import get_keras_mask

from pylstm.array_types import static_shape
from pylstm.inputs import explain
from pylstm.inputs.contract import Known
from pylstm.inputs.knowledge import memory_of
from pylstm.layer import LSTM
from pylstm.models.inputs import declared_inputs, declared_shapes, map_named


def check_steps(model, inputs, report):
    """Reports another number of steps than a model declares, where no layer of it does so.

    Sequences of several lengths may have any, and are left to the layers.

    Args:
        model: A Keras model.
        inputs: Tensors, or columns.
        report: Called where all layers take the steps; see `Corrections`.

    Raises:
        TimestepError: A layer does not take them.
    """
    others = _other_shapes(model, inputs)
    if not others:
        return
    name, shape = next(iter(others.items()))
    declared = declared_shapes(model)[name]
    refusing = _refusing(model, others)
    if refusing is not None:
        raise explain.refused_steps(refusing.name, shape, declared)
    if not isinstance(model, keras.Sequential) and not declares_steps(model):
        known = Known(timesteps=frozenset({declared[1]}))
        report(
            "PYL124",
            got=explain.other_steps(shape, None, known),
            done="(computed as it is)",
            line=f"keras.Input((None, {shape[2]})) for any number of steps",
        )


def declares_steps(model):
    """Whether a layer knows that someone wrote down the number of steps, and says what differs."""
    layers = (layer for layer in model._flatten_layers() if isinstance(layer, LSTM))
    declared = (memory_of(layer).timesteps for layer in layers)
    return any(steps and None not in steps for steps in declared)


def _other_shapes(model, inputs):
    """The shapes of those inputs that have another number of steps than declared, by name."""
    declared, others = declared_shapes(model), {}

    def note(x, name):
        wanted = declared.get(name, ())
        if len(wanted) != 3 or wanted[1] is None or get_keras_mask(x) is not None:
            return
        shape = static_shape(x)
        if shape and shape[1:2] not in ((None,), wanted[1:2]):
            others[name] = shape

    map_named(declared, note, inputs)
    return others


def _refusing(model, others):
    """The first layer or operation that does not take so many steps; None if all do."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    asked = []

    def ask(operation):
        asked.append(operation)
        return functools.partial(_output_spec, operation)

    inputs = []
    for name, x in declared_inputs(model).items():
        shape = (x.shape[0], others[name][1], x.shape[2]) if name in others else x.shape
        inputs.append(keras.KerasTensor(shape, x.dtype))
    try:
        graph._run_through_graph(inputs, ask)
    except Exception:  # of any kind: with the declared steps there was none
        return asked[-1]
    return None


def _output_spec(operation, *args, **kwargs):
    """What an operation makes of symbolic tensors, once it has checked them as in a call."""
    if isinstance(operation, keras.Layer):
        operation._assert_input_compatibility(next(iter((*args, *kwargs.values()))))
    return operation.compute_output_spec(*args, **kwargs)
