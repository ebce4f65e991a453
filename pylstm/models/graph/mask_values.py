"""What to pad an input of a model with: the value that its own layers mask.

`keras.layers.Masking` looks at the values alone, whatever mask comes with them, and so does an
`Embedding` with `mask_zero`. Padding must come to them with the value that they look for.
"""

import itertools

import keras

from pylstm.errors import RaggedError
from pylstm.keras_graph import (
    Functional,
    drops_steps,
    is_of_keras,
    is_recurrent,
    layers_of,
    nodes_in_turn,
)
from pylstm.models.graph.declared import declared_inputs


def padding_value(model, name):
    """The value that the layers behind an input of a model mask; None if they mask none.

    Args:
        model: A Keras model.
        name: The input's key where the model's inputs are a dict, else its name. It counts where
            the graph is known.

    Raises:
        RaggedError: They mask several values, or another layer changes the values before.
    """
    values = []
    for layer, reads_input in layers_behind(model, name):
        value = masked_value(layer)
        if reads_input and value is not None and value not in values:
            values.append(value)
        elif not reads_input and makes_mask(layer):
            fix = f"'{layer.name}' as the first layer, and no other that masks a value"
            if not isinstance(layer, keras.layers.Masking):
                fix = f"mask_zero=False in '{layer.name}'     if padding alone is to be masked: a "
                fix += "list brings its mask"
            raise RaggedError(
                "PYL130",
                "another layer changes the padding before this one looks for it",
                layer=layer.name,
                expected=f"a {type(layer).__name__} layer that reads the model's input itself",
                got="sequences of different lengths, behind another layer",
                fix=fix,
            )
    if len(values) > 1:
        values.sort()
        raise RaggedError(
            "PYL130",
            "the layers that mask padding look for several values",
            layer=model.name,
            expected="one mask_value",
            got=", ".join(f"mask_value={value}" for value in values),
            fix=f"keras.layers.Masking({values[-1]}) instead of each",
        )
    return values[0] if values else None


def padding_for(model, name):
    """What to pad an input with: as `padding_value`; None for a step of each sequence's own.

    Where layers make finite numbers of the sequence, they do of such a step: of zeros `1 / x` would
    be infinite, and its gradient NaN, masked or not. Zeros remain where Keras regularizes all
    steps, and where layers or code of the user's, which may add up masked steps, are to get what
    they get of arrays.
    """
    value = padding_value(model, name)
    if value is not None:
        return value
    behind = layers_behind(model, name)
    is_known = isinstance(model, (keras.Sequential, Functional))
    return None if is_known and not any(_reads_all_steps(layer) for layer, _ in behind) else 0.0


def _reads_all_steps(layer):
    is_own = not is_of_keras(layer) and not is_recurrent(layer)
    return is_own or getattr(layer, "activity_regularizer", None)


def makes_mask(layer):
    """Whether a layer makes a mask of the values that come to it."""
    return isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False)


def masked_value(layer):
    """The value of the steps that a layer masks; None if it masks none."""
    return 0.0 if getattr(layer, "mask_zero", False) else getattr(layer, "mask_value", None)


def front_of(model, name):
    """What comes in front of the first recurrent layer, of `layers_behind` an input."""
    operations = (operation for operation, _ in layers_behind(model, name))
    return itertools.takewhile(lambda each: not is_recurrent(each), operations)


def layers_behind(model, name=None):
    """Pairs of what an input's steps come to, and whether that reads the input itself.

    Args:
        model: A Keras model.
        name: As for `padding_value`.

    Returns:
        An iterable of layers, and of the operations between them where the graph is known.
    """
    if isinstance(model, keras.Sequential):
        return _layers_in_turn(model.layers)
    if isinstance(model, Functional):
        return _layers_of_graph(model, declared_inputs(model).get(name))
    return ((layer, True) for layer in layers_of(model)[1:])


def _layers_in_turn(layers):
    reads_input = True
    for layer in layers:
        yield from _opened(layer, 0, reads_input)
        if drops_steps(layer):
            return
        reads_input = False


def _layers_of_graph(model, source):
    reached = {id(source)}
    for node in nodes_in_turn(model):
        places = [i for i, x in enumerate(node.input_tensors) if id(x) in reached]
        for place in places:
            reads_input = node.input_tensors[place] is source
            yield from _opened(node.operation, place, reads_input)
        if places and not drops_steps(node.operation):
            reached.update(id(x) for x in node.outputs)


def _opened(layer, place, reads_input):
    """An operation, or those in it; its input at `place` is the model's where `reads_input`."""
    if isinstance(layer, Functional):
        if place >= len(layer.inputs):  # a mask
            return
        inner = _layers_of_graph(layer, layer.inputs[place])
    elif isinstance(layer, keras.Model):
        inner = layers_behind(layer)
    else:
        inner = ((each, True) for each in layers_of(layer))
    for each, reads_its_input in inner:
        yield each, reads_input and reads_its_input
