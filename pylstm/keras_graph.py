"""Reading the graph of a Keras model."""


def nodes_in_turn(model):
    """The nodes of a functional model's graph, each behind those whose outputs it takes."""
    by_depth = model._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def is_of_keras(thing):
    """Whether a function, or the class of an object, is Keras' own."""
    return (getattr(thing, "__module__", None) or "").startswith("keras.")


def is_recurrent(layer):
    """Whether a layer is recurrent, or wraps one that is."""
    return hasattr(layer, "return_sequences")


def last_step_layer(symbolic):
    """The recurrent layer whose last step a symbolic (batch, features) tensor comes from."""
    while len(symbolic.shape) == 2:
        operation = producer(symbolic)
        if operation is None:
            return None
        if getattr(operation, "return_sequences", None) is False:
            return operation.name
        node = operation._inbound_nodes[symbolic._keras_history.node_index]
        if len(node.input_tensors) != 1:
            return None
        symbolic = node.input_tensors[0]
    return None


def producer(symbolic):
    """The operation that a symbolic tensor comes from, or None."""
    history = getattr(symbolic, "_keras_history", None)
    return history and history.operation
