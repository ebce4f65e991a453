"""What a model's outputs look like, as far as Keras can tell before it computes them."""

import keras
from keras import tree
from keras.src.models.functional import Functional


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
    if not isinstance(model, keras.Sequential):
        return {}
    try:
        return {0: model.compute_output_shape(x.shape)}
    except NotImplementedError:  # of a layer whose author left it out
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
