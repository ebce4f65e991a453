"""What a layer knows about its input, from its weights, its earlier calls and the model around."""

from dataclasses import dataclass, field

import keras

from pylstm.inputs.contract import Known, Origin
from pylstm.keras_graph import get_global_attribute, is_recurrent, producer


@dataclass
class Memory:
    """What a layer's earlier calls have told about it.

    Attributes:
        warned: Codes of the corrections that the user has been told of.
        timesteps: Numbers of steps that `keras.Input` declared, None among them for any.
    """

    warned: set = field(default_factory=set)
    timesteps: frozenset = frozenset()


def memory_of(layer):
    """The layer's `Memory`."""
    memory = layer.__dict__.get("_input_memory")
    if memory is None:
        # Straight into the instance: it is no state that Keras should track.
        memory = layer.__dict__["_input_memory"] = Memory()
    return memory


def known_to(layer):
    """The layer's `contract.Known`."""
    cell = layer.cell
    return Known(
        features=cell.kernel.shape[0] if cell.built else None,
        batch=layer._expected_batch_size if layer.stateful else None,
        timesteps=memory_of(layer).timesteps,
    )


def built_from(layer):
    """The shape that the layer was built for, or None."""
    return (getattr(layer, "_build_shapes_dict", None) or {}).get("sequences_shape")


def origin_of(x, layer):
    """The `contract.Origin` of a dense input."""
    if isinstance(x, keras.KerasTensor):
        if not isinstance(producer(x), keras.layers.InputLayer):
            return Origin.LAYER
        return Origin.DECLARED if _is_declaration(x) else Origin.MODEL
    context = get_global_attribute("current_call_ctx")
    return Origin.CALL if context is None or context.entry_layer is layer else Origin.LAYER


def wrapper_of(layer):
    """The `keras.layers.Bidirectional` that is building or calling this layer, or None."""
    caller = next(reversed(callers_of(layer)), None)
    return caller if isinstance(caller, keras.layers.Bidirectional) else None


def is_distributed(layer):
    """Whether this layer is called inside a model or layer that `keras.layers.TimeDistributed`
    wraps."""
    caller = next(reversed(callers_of(layer)), None)
    return isinstance(caller, keras.layers.TimeDistributed)


def callers_of(layer):
    """What is building or calling this layer: layers and models, the outermost first."""
    scopes = get_global_attribute("name_scope_stack") or ()
    callers = (getattr(scope, "caller", None) for scope in scopes)
    return [caller for caller in callers if caller is not None and caller is not layer]


def loses_mask(layer):
    """The name of the wrapper that would not pass on the mask which this layer makes, or None.

    `keras.layers.Bidirectional` hands later layers the mask that it was given itself.
    """
    wrapper = wrapper_of(layer) if layer.return_sequences else None
    return wrapper and wrapper.name


def remember_timesteps(symbolic, layer):
    """Keeps the number of steps that a symbolic input declares for a layer."""
    # A layer on top of another recurrent layer need not repeat what that one says.
    if _is_declaration(symbolic) and not is_recurrent(producer(symbolic)):
        memory_of(layer).timesteps |= {symbolic.shape[1]}


def _is_declaration(symbolic):
    """Whether the user wrote down a symbolic shape; else Keras builds a model from data.

    Keras does the latter with the first batch's size, or, in `fit`, while it traces a graph.
    """
    if symbolic.shape[0] is not None:
        return False
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    return tf.executing_eagerly()
