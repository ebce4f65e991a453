"""Reads the graph of a Keras model. Whatever is imported from `keras.src` comes from here."""

import keras
from keras.src import backend
from keras.src.backend.common.global_state import get_global_attribute
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from keras.src.backend.common.variables import AutocastScope
from keras.src.models.functional import Functional
from keras.src.models.model import functional_init_arguments
from keras.src.ops.numpy import All, Any, GetItem, Max, Min


def layers_of(layer):
    """A layer, model or operation, and behind it all layers inside it."""
    return layer._flatten_layers() if isinstance(layer, keras.Layer) else [layer]


def direct_layers_of(layer):
    """The layers inside a layer or model, without those inside these."""
    return layer._flatten_layers(include_self=False, recursive=False)


def nodes_of(operation):
    """The nodes of the graph at which a layer or operation is called, in order."""
    return operation._inbound_nodes


def producer(symbolic):
    """The operation that a symbolic tensor comes from, or None."""
    history = getattr(symbolic, "_keras_history", None)
    return history and history.operation


def node_of(symbolic):
    """The node of the graph that a symbolic tensor comes from, or None."""
    operation = producer(symbolic)
    if operation is None:
        return None
    return nodes_of(operation)[symbolic._keras_history.node_index]


def nodes_in_turn(model):
    """The nodes of a functional model's graph, each after those whose outputs it takes."""
    by_depth = model._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def run_graph(model, inputs, operation_fn):
    """Runs the graph of a functional model as Keras does, even where a subclass overrides that.

    Args:
        model: The model.
        inputs: Its inputs, symbolic or not.
        operation_fn: Called with each operation; what it returns is called in its place.
    """
    return Functional._run_through_graph(model, inputs, operation_fn)


def is_of_keras(thing):
    """Whether a function, or the class of an object, is Keras' own."""
    return (getattr(thing, "__module__", None) or "").startswith("keras.")


def is_recurrent(layer):
    """Whether a layer is recurrent, or wraps one that is."""
    return hasattr(layer, "return_sequences")


def drops_steps(layer):
    """Whether a layer is recurrent and gives only its last step."""
    return is_recurrent(layer) and not layer.return_sequences


def has_ragged():
    """Whether Keras has ragged tensors on this backend."""
    return keras.backend.backend() == "tensorflow"


def last_step_layer(symbolic):
    """The recurrent layer whose last step a symbolic (batch, features) tensor comes from."""
    while len(symbolic.shape) == 2:
        node = node_of(symbolic)
        if node is None:
            return None
        if drops_steps(node.operation):
            return node.operation.name
        if len(node.input_tensors) != 1:
            return None
        symbolic = node.input_tensors[0]
    return None
