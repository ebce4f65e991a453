"""What a model's outputs look like, as far as Keras can tell before it computes them, and their
masks."""

from typing import NamedTuple

import keras
from keras import tree

from pylstm.errors import PylstmError
from pylstm.keras_graph import Functional, get_keras_mask, set_keras_mask


class Masked(NamedTuple):
    """Outputs with their masks beside them, as functions of JAX return what tensors carry.

    Attributes:
        outputs: Any structure of tensors.
        masks: The mask of each in turn, or None.
    """

    outputs: object
    masks: list

    @classmethod
    def of(cls, outputs):
        """The outputs and the masks they carry; the outputs alone where they carry none."""
        masks = [get_keras_mask(output) for output in tree.flatten(outputs)]
        return outputs if all(mask is None for mask in masks) else cls(outputs, masks)

    def restored(self):
        """The outputs, which carry their masks again."""
        for output, mask in zip(tree.flatten(self.outputs), self.masks, strict=True):
            if mask is not None:
                set_keras_mask(output, mask)
        return self.outputs


def output_shapes(model, x):
    """The shapes of a model's outputs, by name or number; empty if Keras cannot tell.

    Args:
        model: A Keras model, built or not.
        x: Its inputs as columns.
    """
    if isinstance(getattr(model, "output", None), dict):
        return {name: output.shape for name, output in model.output.items()}
    if outputs := getattr(model, "outputs", None):
        return {index: output.shape for index, output in enumerate(outputs)}
    if not isinstance(model, keras.Sequential) or not model.layers:
        return {}
    try:
        return {0: model.compute_output_shape(x.shape)}
    # A layer's author left it out, or a layer refuses its input, and says more when it is called.
    except (NotImplementedError, PylstmError):
        return {}


def map_targets(shapes, function, y):
    """Applies `function` to each target and the shape of its output, None if it is not known."""
    if isinstance(y, dict):
        return {name: function(part, shapes.get(name)) for name, part in y.items()}
    each = iter(shapes.values())
    return tree.map_structure(lambda part: function(part, next(each, None)), y)


def count_outputs(model):
    """The number of outputs of a model; None if it is not known."""
    if isinstance(model, keras.Sequential):
        return 1
    return len(model.outputs) if isinstance(model, Functional) else None
