"""What a model declares of its inputs: how many, their names, shapes and dtypes."""

from collections import OrderedDict

import keras
from keras import tree
from keras.src.models.functional import Functional

from pylstm.errors import RankError, warn_user
from pylstm.keras_graph import is_of_keras, is_recurrent, producer
from pylstm.models.data.structure import map_parts, split_inputs

# Their steps have more axes than features.
CONVOLUTIONS = (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D)

# Of Keras' layers, those that may take a dict.
_OF_STRUCTURES = (keras.Model, keras.utils.FeatureSpace)


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
    if not is_recurrent(first) or isinstance(getattr(first, "forward_layer", first), CONVOLUTIONS):
        return {}
    cell = getattr(first, "cell", None)
    features = cell.kernel.shape[0] if cell and cell.built else None
    return {"x": keras.KerasTensor((None, None, features))}


def takes_any_steps(model, shape):
    """Whether a model takes any number of steps for an input of which it declares this shape."""
    # Keras builds a `Sequential` from its first batch, whose sizes it then declares.
    is_of_data = isinstance(model, keras.Sequential) and shape[0] is not None
    return shape[1:2] == (None,) or is_of_data


def with_any_steps(shape):
    """The declared shape of an input, with any number of steps if it is one of sequences."""
    return (shape[0], None, shape[2]) if len(shape) == 3 else shape


def separate_inputs(model, x, samples=None):
    """As `split_inputs`, for a model. A dict of one entry is that entry where there are no names.

    Raises:
        RankError: As `split_inputs`; for a dict of several entries where there is one input
            without a name, or of other names than the inputs have; for no dict where Keras takes
            nothing else.
    """
    if isinstance(x, dict) and isinstance(model, keras.Sequential) and _takes_one_array(model):
        if len(x) > 1:
            raise RankError(
                "PYL101",
                "the model has 1 input",
                expected="one input, or a dict of one",
                got=f"the keys {', '.join(map(repr, x))}",
                fix=f"x[{next(iter(x))!r}]\nlist(x.values())     if they are one input's sequences",
            )
        # Of a dict that holds no data, `read_column` says so.
        x = next((part for part in x.values() if not isinstance(part, (dict, type(None)))), x)
    if isinstance(x, dict) and isinstance(model, Functional):
        x = _by_name(model, x)
    declared = list(declared_shapes(model).values())
    axes = len(declared[0]) if len(declared) == 1 else 3
    x = split_inputs(x, count_inputs(model), samples, axes)
    if type(x) is tuple and _needs_names(model):
        raise _without_names(
            "the model takes a dict of its inputs",
            f"a tuple or list of {len(x)}",
            declared_inputs(model),
        )
    return x


def _takes_one_array(model):
    """Whether no layer of a `keras.Sequential` takes a dict, as far as is known."""
    first = model.layers[0] if model.layers else None
    takes_structures = not is_of_keras(first) or isinstance(first, _OF_STRUCTURES)
    return bool(declared_inputs(model)) or not takes_structures


def _needs_names(model):
    """Whether Keras pairs the parts of no tuple with a model's inputs."""
    struct = getattr(model, "input", None)
    return isinstance(struct, dict) and list(struct) != sorted(struct)


def _by_name(model, x):
    """A dict of every input in order, as Keras may pair them by their places.

    Optional inputs may be left out; they are None. What none is named as is left out.
    """
    names = declared_inputs(model)
    optional = [name for name in names if getattr(producer(names[name]), "optional", False)]
    x = {**dict.fromkeys(optional), **x}
    if any(name not in x for name in names):
        raise _without_names(
            "the dict lacks an input of the model", f"the keys {', '.join(map(repr, x))}", names
        )
    unknown = [repr(name) for name in x if name not in names]
    if unknown:
        warn_user(f"'{model.name}' has no input {', '.join(unknown)}; left out", UserWarning)
    return {name: x[name] for name in names}


def _without_names(what, got, names):
    return RankError(
        "PYL101",
        what,
        expected=f"a dict with the keys {', '.join(map(repr, names))}",
        got=got,
        fix=f"{{{', '.join(f'{name!r}: ...' for name in names)}}}",
    )


def without_absent(model, x):
    """Inputs without those that are None, which no `PyDataset` yields: a dict of the others."""
    if not isinstance(model, Functional) or all(part is not None for part in tree.flatten(x)):
        return x
    x = x if isinstance(x, dict) else dict(zip(declared_inputs(model), x, strict=True))
    return {name: part for name, part in x.items() if part is not None}


def map_inputs(model, function, inputs):
    """Applies `function` to each input and the shape that the model declares for it."""
    shapes = declared_shapes(model)
    return map_named(shapes, lambda x, name: function(x, shapes.get(name)), inputs)


def map_named(names, function, inputs):
    """Applies `function` to each input and its name, of those of the model; None if unknown."""
    if isinstance(inputs, dict):
        return {name: None if x is None else function(x, name) for name, x in inputs.items()}
    each = iter(names)

    def visit(part):
        if type(part) is tuple:
            return tuple(map(visit, part))
        name = next(each, None)
        return map_parts(lambda x: function(x, name), part)

    return visit(inputs)


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
