"""Guards against Keras' convolutional LSTM layers on JAX, where a mask masks the wrong numbers.

Keras 3.15 lays a mask (batch, 1) over what is (batch, rows, columns, filters).
"""

import keras
from keras.src.backend.common.masking import get_keras_mask

from pylstm.errors import RaggedError
from pylstm.models.graph.declared import CONVOLUTIONS, declared_inputs, map_named
from pylstm.models.graph.mask_values import layers_behind


def check_convolutions(model, inputs):
    """Raises where a masked input comes to such a layer.

    Args:
        model: A model, on JAX.
        inputs: Tensors in the structure that it takes.

    Raises:
        RaggedError: One does.
    """

    def check(x, name):
        if isinstance(x, keras.KerasTensor) or get_keras_mask(x) is None:
            return
        for layer, _ in layers_behind(model, name):
            if isinstance(layer, CONVOLUTIONS):
                raise _mask_misplaced(layer)

    map_named(declared_inputs(model), check, inputs)


def _mask_misplaced(layer):
    kind = type(layer).__name__
    return RaggedError(
        "PYL130",
        f"Keras masks the wrong numbers of a {kind} on JAX",
        layer=layer.name,
        expected="sequences without padding",
        got="lists of sequences, which come with a mask",
        fix="((x[None], y[None]) for x, y in zip(sequences, targets))     one sequence a batch\n"
        "KERAS_BACKEND=tensorflow, or torch     where the mask is right",
    )
