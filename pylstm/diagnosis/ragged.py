"""How far ragged tensors get in a model of Keras' own."""

import keras

from pylstm.keras_graph import Functional, has_ragged, is_recurrent, layers_of, nodes_in_turn
from pylstm.models.graph.declared import declared_inputs
from pylstm.models.graph.mask_rules import computes_each_step

_TAKE_RAGGED = (
    keras.layers.Activation,
    keras.layers.BatchNormalization,
    keras.layers.ELU,
    keras.layers.Embedding,
    keras.layers.Identity,
    keras.layers.LayerNormalization,
    keras.layers.LeakyReLU,
    keras.layers.Normalization,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.Rescaling,
    keras.layers.UnitNormalization,
)
_REFUSE_RAGGED = ("NanToNum", "Where")  # of those that compute each step by itself


def front_and_readers(model, name):
    """The operations that an input reaches as a ragged tensor.

    Args:
        model: A Keras model.
        name: The input's name, or None.

    Returns:
        The operations in front that give ragged tensors for ragged ones, and those behind.
    """
    if isinstance(model, keras.Sequential):
        front = []
        for layer in model.layers:
            if not _takes_ragged(layer):
                return front, [layer]
            front.append(layer)
        return front, []
    if not isinstance(model, Functional):  # of which is not known what comes in front
        recurrent = [layer for layer in layers_of(model)[1:] if is_recurrent(layer)]
        return [], recurrent[:1]
    reached = {id(declared_inputs(model).get(name, model.inputs[0]))}
    front, readers = [], []
    for node in nodes_in_turn(model):
        if reached.isdisjoint(map(id, node.input_tensors)):
            continue
        if _takes_ragged(node.operation):
            front.append(node.operation)
            reached.update(map(id, node.outputs))
        else:
            readers.append(node.operation)
    return front, readers


def _takes_ragged(operation):
    if not has_ragged() or type(operation).__name__ in _REFUSE_RAGGED:
        return False
    return isinstance(operation, _TAKE_RAGGED) or computes_each_step(operation)
