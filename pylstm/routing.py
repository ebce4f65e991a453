"""Which code computes a call of the layer, the fused kernel or Keras' loop, and why."""

import dataclasses
import functools

import keras

from pylstm._library import load_core
from pylstm.array_types import FLOATS
from pylstm.caching import constant
from pylstm.errors import BackendLoadError, PylstmError, warn_user
from pylstm.ops import KERAS_BACKENDS, load_ops


@dataclasses.dataclass(frozen=True)
class Route:
    """Attributes: path: `"fused"` or `"keras"`. reason: A sentence that says why."""

    path: str
    reason: str


FUSED = Route("fused", "The fused kernel covers every option of this layer.")


def choose_route(layer, sequences):
    """Chooses the route of one call of `layer`, in the context of that call.

    Args:
        layer: A `pylstm.LSTM`.
        sequences: Its input, `(batch, time, features)`.

    Returns:
        The `Route`.

    Raises:
        PylstmError: `layer.kernel` is "fused", and the fused kernel cannot run.
    """
    obstacle = _obstacle(layer, sequences)
    if obstacle is None:
        return FUSED
    if layer.kernel == "fused":
        raise PylstmError(
            "PYL133",
            layer=layer.name,
            expected="a layer and a device that the fused kernel covers",
            got=obstacle,
            fix='pylstm.LSTM(..., kernel="auto")     to run Keras\' loop here',
        )
    return Route("keras", f"Keras' loop ran: {obstacle}.")


def _obstacle(layer, sequences):
    """Returns what keeps the fused kernel from running, or None."""
    if layer.kernel == "keras":
        return 'the layer has kernel="keras"'
    backend = keras.backend.backend()
    if backend not in KERAS_BACKENDS:
        known = ", ".join(KERAS_BACKENDS)
        return f"the fused kernel needs one of Keras' backends {known}, not {backend}"
    error = _load_error(backend)
    if error is not None:
        if layer.kernel == "fused":
            raise error.with_traceback(None)  # a traceback would grow with each call
        _warn_of_keras_loop(str(error))
        return "the compiled library is missing or cannot be loaded"
    cell = layer.cell
    if type(cell) is not keras.layers.LSTMCell:
        return f"the layer's cell is a {type(cell).__name__}, not a keras.layers.LSTMCell"
    for role in ("activation", "recurrent_activation"):
        function = getattr(cell, role)
        if activation_name(function) is None:
            name = getattr(function, "__name__", type(function).__name__)
            return f"{role}={name} is not one of Keras' pointwise activations"
    if cell.compute_dtype not in FLOATS:
        return f"the fused kernel has no dtype {cell.compute_dtype}"
    ops = load_ops(backend)
    if layer.kernel == "auto" and backend == "tensorflow" and ops.only_keras_uses_the_gpu():
        return "TensorFlow has a GPU, for which the fused kernel is not built here"
    return ops.obstacle(sequences)


def activation_name(function):
    """Returns what the fused kernel calls an activation of Keras; None for other callables."""
    return _names_by_id().get(id(function))


@constant
def _names_by_id():
    # By identity: a callable that someone passes need not be hashable.
    return {id(getattr(keras.activations, name)): name for name in load_core().activations()}


@constant
def _load_error(backend):
    """Loads the compiled libraries. Returns the `BackendLoadError` if that fails, else None."""
    try:
        load_core()
        load_ops(backend)
    except BackendLoadError as error:
        return error
    return None


@functools.cache
def _warn_of_keras_loop(message):
    warn_user(f"pylstm.LSTM runs Keras' loop.\n{message}", RuntimeWarning)


def xla_is_keras_default():
    """Returns whether `jit_compile="auto"` may choose XLA: on TensorFlow, with more than a CPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return any(device.device_type != "CPU" for device in tf.config.list_physical_devices())
