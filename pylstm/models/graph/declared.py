"""What a model declares of its inputs: how many, their names, shapes and dtypes."""

from collections import OrderedDict

import keras

from pylstm.keras_graph import Functional, is_recurrent

# Their steps have axes of space, too: rows, columns.
CONV_LSTMS = (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D)


def declared_shapes(model):
    """The shapes of a model's inputs, by name, in order; empty if they are not known."""
    return {name: x.shape for name, x in declared_inputs(model).items()}


def declared_inputs(model):
    """The symbolic inputs of a model, as `declared_shapes`."""
    if isinstance(getattr(model, "input", None), dict):
        # The order in which Keras pairs them.
        is_ordered = isinstance(model.input, OrderedDict)
        return dict(model.input if is_ordered else sorted(model.input.items()))
    if inputs := getattr(model, "inputs", ()):
        return {x.name: x for x in inputs}
    return _input_of_first_layer(model)


def _input_of_first_layer(model):
    """What a `keras.Sequential` that is not built yet takes, as far as its first layer tells."""
    first = model.layers[0] if isinstance(model, keras.Sequential) and model.layers else None
    if first is None:
        return {}
    if first.compute_dtype == "string":
        return {"x": keras.KerasTensor((None,), "string")}
    if isinstance(first, keras.layers.Embedding):
        return {"x": keras.KerasTensor((None, None))}
    if not is_recurrent(first) or isinstance(getattr(first, "forward_layer", first), CONV_LSTMS):
        return {}
    cell = getattr(first, "cell", None)
    features = cell.kernel.shape[0] if cell and cell.built else None
    return {"x": keras.KerasTensor((None, None, features))}


def count_inputs(model):
    """The number of inputs of a model; None if it is not known."""
    if isinstance(model, keras.Sequential):
        return 1
    if isinstance(model, Functional):
        return len(model.inputs)
    # A subclassed model knows what it was built for.
    shape = (model.get_build_config() or {}).get("input_shape")
    if not shape:
        return None
    is_several = isinstance(shape, dict) or isinstance(shape[0], (list, tuple))
    return len(shape) if is_several else 1
