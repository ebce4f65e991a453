"""Guards against Keras' convolutional LSTM layers on JAX, where a mask masks the wrong numbers.

Keras 3.15 lays a mask (batch, 1) over what is (batch, rows, columns, filters).
"""

import keras

from pylstm.errors import RaggedError
from pylstm.keras_graph import get_keras_mask
from pylstm.models.graph.declared import CONV_LSTMS
from pylstm.models.graph.mask_values import layers_behind


def check_conv_lstms(model, name, x):
    """Raises where an input comes to such a layer with a mask.

    Args:
        model: A Keras model.
        name: The input's, as for `layers_behind`.
        x: The input as it enters the model, a tensor or None.

    Raises:
        RaggedError: It does.
    """
    is_masked = not isinstance(x, keras.KerasTensor) and get_keras_mask(x) is not None
    if keras.backend.backend() != "jax" or not is_masked:
        return
    for layer, _ in layers_behind(model, name):
        if isinstance(layer, CONV_LSTMS):
            kind = type(layer).__name__
            raise RaggedError(
                "PYL130",
                f"Keras masks the wrong numbers of a {kind} on JAX",
                layer=layer.name,
                expected="sequences without padding",
                got="lists of sequences, which come with a mask",
                fix="((x[None], y[None]) for x, y in zip(sequences, targets))     one sequence a "
                "batch\nKERAS_BACKEND=tensorflow, or torch     where the mask is right",
            )
