"""The LSTM as a function, one module for each kind of array.

`pylstm.lstm` documents the arguments of the modules' `lstm`, where h0 and c0 are its initial_state
and all arrays are of that kind.
"""

import contextlib
import importlib

from pylstm._library import tensorflow_required
from pylstm.errors import BackendLoadError

# Those of Keras' backends on which its layer can run a module of this package.
KERAS_BACKENDS = ("tensorflow", "jax", "torch")
# The tensors of a call, in the order of the kernels' arguments.
INPUTS = (
    "x",
    "h0",
    "c0",
    "kernel",
    "recurrent_kernel",
    "bias",
    "mask",
    "recurrent_dropout",
)
# The options of a call and their defaults, in the order of the kernels' attributes.
OPTIONS = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "go_backwards": False,
    "return_sequences": True,
    "zero_output_for_mask": False,
}

_loaded = {}


def load_ops(name):
    """Imports the module `name` of this package.

    Raises:
        BackendLoadError: What was compiled for it is absent or cannot be loaded.
    """
    # In a dict, which `torch.compile` can read: at `functools.cache` it would warn, and it fails
    # where a `constant` is a module.
    if name not in _loaded:
        _loaded[name] = importlib.import_module(f"{__name__}.{name}")
    return _loaded[name]


def in_xla():
    """Whether TensorFlow is making a graph that XLA will compile."""
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    return graph is not None and GraphOrParentsInXlaContext(graph)


def register_op():
    """Registers the op with the framework that Keras runs on, so that a SavedModel or another
    program that holds it loads after `import pylstm`. A library that cannot be loaded is reported
    when a layer needs it.

    Raises:
        BackendLoadError: Keras runs on TensorFlow, which is not installed.
    """
    with tensorflow_required():
        import keras
    backend = keras.backend.backend()
    if backend in KERAS_BACKENDS:
        with contextlib.suppress(BackendLoadError):
            load_ops(backend)
