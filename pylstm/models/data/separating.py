"""Which part of the data belongs to which input or output of a model."""

import keras
from keras import tree

from pylstm.array_types import is_dense
from pylstm.errors import RankError, StructureError, warn_user
from pylstm.inputs.padding import PaddedBatch
from pylstm.inputs.sequences import unpacked
from pylstm.keras_graph import Functional, is_of_keras, producer
from pylstm.models.data.structure import is_several, map_parts, named
from pylstm.models.graph.declared import count_inputs, declared_inputs, declared_shapes

# Of Keras' layers, those that may take a dict.
_OF_STRUCTURES = (keras.Model, keras.utils.FeatureSpace)


def separate_inputs(model, x, samples=None):
    """As `split_inputs`, for a model. A dict of one entry is that entry where there are no names.

    Raises:
        RankError: As `split_inputs`.
        StructureError: As `split_inputs`; for a dict of several entries where there is one input
            without a name, or of other names than the inputs have; for no dict where Keras takes
            nothing else.
    """
    if isinstance(x, dict) and isinstance(model, keras.Sequential) and _takes_one_array(model):
        if len(x) > 1:
            raise StructureError(
                "PYL146",
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
    if is_several(x) and _needs_names(model):
        raise _without_names(
            f"a tuple or list of {len(x)}",
            declared_inputs(model),
        )
    return x


def split_inputs(x, count, samples=None, axes=3):
    """Says whether a list or tuple is one input's sequences or several inputs.

    Args:
        x: Data as given to a model.
        count: The number of inputs of the model; None if it is not known.
        samples: The number of targets, or None.
        axes: The number of axes of a batch of the model's one input.

    Returns:
        One input, or a tuple or dict of inputs. A list is one input's sequences.

    Raises:
        RankError: It can be either.
        StructureError: There are too many or too few inputs.
    """
    x = unpacked(x)
    holds_parts = isinstance(x, list) or is_several(x)
    if isinstance(x, dict) or (not holds_parts and count in (None, 1)):
        return x
    if count is None:
        return _split_by_sizes(x, samples)
    if count == 1:
        first = next(iter(x), None)
        is_wrapped = len(x) == 1 and (_is_batch(first, axes) or _has_size(first, samples))
        x = first if is_wrapped else x
        return list(x) if is_several(x) else x
    if not holds_parts or len(x) != count:
        raise StructureError(
            "PYL146",
            expected=f"a tuple or list of {count} inputs, or a dict of them",
            got=f"a {type(x).__name__}" + (f" of {len(x)}" if holds_parts else ""),
            fix=f"(x1, {'..., ' * (count > 2)}x{count})     a part for each input of the model",
        )
    return tuple(x)


def split_targets(y, count, samples, name="y"):
    """As `split_inputs`, for targets or sample weights of `samples` samples.

    Weights that are numbers are those of every output.

    Raises:
        RankError: The targets are numbers, and the model has several outputs.
    """
    y = list(y) if type(y) is tuple and not is_several(y) else y
    if not (isinstance(y, list) or is_several(y)):
        return y
    if count is None:
        count = 1 if isinstance(y, list) and len(y) == samples else len(y)
        return list(y) if count == 1 and isinstance(y, list) else tuple(y)
    if count == 1:
        is_wrapped = len(y) == 1 != samples and getattr(y[0], "shape", ())[:1] == (samples,)
        return y[0] if is_wrapped else list(y)
    if name == "y" and not is_several(tuple(y)):
        raise RankError(
            "PYL101",
            f"the model has {count} outputs",
            expected=f"a tuple or list of {count} targets, or a dict of them",
            got=f"{len(y)} numbers",
            fix=f"(y1, {'..., ' * (count > 2)}y{count})     a part for each output of the model",
        )
    return tuple(y)


def without_absent(model, x):
    """Inputs without those that are None, which no `PyDataset` yields: a dict of the others."""
    if not isinstance(model, Functional) or all(part is not None for part in tree.flatten(x)):
        return x
    x = x if isinstance(x, dict) else dict(zip(declared_inputs(model), x, strict=True))
    return {name: part for name, part in x.items() if part is not None}


def named_inputs(model, x):
    """Triples of an input's name in the model or None, what the user calls it, and its data."""
    parts = named("x", x)
    names = x if isinstance(x, dict) else (*declared_inputs(model), *[None] * len(parts))
    for name, (where, part) in zip(names, parts, strict=False):
        if part is not None:
            yield name, where, part


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
        if is_several(part):
            return tuple(map(visit, part))
        name = next(each, None)
        return map_parts(lambda x: function(x, name), part)

    return visit(inputs)


def _split_by_sizes(x, samples):
    """For models whose inputs are not known: a tuple holds inputs, a list what its sizes say."""
    if isinstance(x, tuple):
        return x
    shapes = [tuple(getattr(part, "shape", ())) for part in x]
    one_batch = all(shapes) and len({shape[0] for shape in shapes}) == 1
    are_inputs = one_batch and samples in (None, shapes[0][0])
    have_batch_axes = len(x) > 1 and all(len(shape) == 3 and shape[0] == 1 for shape in shapes)
    have_batch_axes &= len({shape[2:] for shape in shapes}) == 1
    are_sequences = have_batch_axes or all(len(shape) <= 2 for shape in shapes)
    if are_inputs and are_sequences and samples in (None, len(x)):
        fix = "np.concatenate(x)" if have_batch_axes else "np.stack(x)"
        fix = fix if len(set(shapes)) == 1 else "[s[0] for s in x]"
        raise RankError(
            "PYL102",
            "the list can be the model's inputs or the sequences of one input",
            expected="a tuple of inputs, or a list of sequences (time, features)",
            got=f"a list of {len(x)} arrays {shapes[0]}",
            fix=f"{fix}     to mean sequences\ntuple(x)     to mean inputs",
        )
    return tuple(x) if are_inputs else x


def _is_batch(x, axes):
    """Whether x alone is a batch of so many axes."""
    if isinstance(x, list) or is_several(x):
        return any(_rank(part) >= axes - 1 for part in x)
    return isinstance(x, PaddedBatch) or not is_dense(x) or _rank(x) >= axes


def _has_size(x, samples):
    """Whether x alone has as many entries as there are targets, and more than one."""
    return samples not in (None, 1) and getattr(x, "shape", ())[:1] == (samples,)


def _rank(x):
    return len(getattr(x, "shape", ()))


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

    Optional inputs may be missing; they are None. Entries that are no input's are left out.
    """
    names = declared_inputs(model)
    optional = [name for name in names if getattr(producer(names[name]), "optional", False)]
    x = {**dict.fromkeys(optional), **x}
    if any(name not in x for name in names):
        raise _without_names(f"the keys {', '.join(map(repr, x))}", names)
    unknown = [repr(name) for name in x if name not in names]
    if unknown:
        warn_user(f"'{model.name}' has no input {', '.join(unknown)}; left out", UserWarning)
    return {name: x[name] for name in names}


def _without_names(got, names):
    return StructureError(
        "PYL146",
        expected=f"a dict with the keys {', '.join(map(repr, names))}",
        got=got,
        fix=f"{{{', '.join(f'{name!r}: ...' for name in names)}}}",
    )
