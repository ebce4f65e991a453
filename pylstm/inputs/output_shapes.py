"""What a model's outputs look like, as far as Keras can tell before it computes them."""

import keras


def output_shapes(model, x):
    """The shapes of a model's outputs, in order; None where Keras cannot tell.

    Args:
        model: A Keras model, built or not.
        x: Its inputs as columns.
    """
    if outputs := getattr(model, "outputs", None):
        return [output.shape for output in outputs]
    if not isinstance(model, keras.Sequential):
        return None
    try:
        return [model.compute_output_shape(x.shape)]
    except NotImplementedError:  # of a layer whose author left it out
        return None
