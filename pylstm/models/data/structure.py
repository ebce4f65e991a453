"""Which part of the data belongs to which input or output of a model."""

from pylstm.errors import RankError
from pylstm.inputs.padding import PaddedBatch
from pylstm.inputs.sequences import unpacked


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
        RankError: It can be either, or there are too many or too few inputs.
    """
    x = unpacked(x)
    is_several = isinstance(x, (list, tuple)) and not isinstance(x, PaddedBatch)
    if isinstance(x, dict) or (not is_several and count in (None, 1)):
        return x
    if count is None:
        return _split_by_sizes(x, samples)
    if count == 1:
        first = next(iter(x), None)
        is_wrapped = len(x) == 1 and (_is_batch(first, axes) or _has_size(first, samples))
        return first if is_wrapped else list(x)
    if not is_several or len(x) != count:
        raise RankError(
            "PYL101",
            f"the model has {count} inputs",
            expected=f"a tuple or list of {count} inputs, or a dict of them",
            got=f"a {type(x).__name__}" + (f" of {len(x)}" if is_several else ""),
            fix=f"(x1, {'..., ' * (count > 2)}x{count})     a part for each input of the model",
        )
    return tuple(x)


def _is_batch(x, axes):
    """Whether x alone is a batch of so many axes."""
    if isinstance(x, (list, tuple)) and not isinstance(x, PaddedBatch):
        return any(_rank(part) >= axes - 1 for part in x)
    return _rank(x) >= axes or isinstance(x, PaddedBatch)


def _has_size(x, samples):
    """Whether x alone has as many entries as there are targets, and more than one."""
    return samples not in (None, 1) and getattr(x, "shape", ())[:1] == (samples,)


def _rank(x):
    return len(getattr(x, "shape", ()))


def split_targets(y, count, samples):
    """As `split_inputs`, for targets or sample weights of `samples` samples."""
    if not isinstance(y, (list, tuple)) or isinstance(y, PaddedBatch):
        return y
    if count is None:
        count = 1 if isinstance(y, list) and len(y) == samples else len(y)
        return list(y) if count == 1 and isinstance(y, list) else tuple(y)
    if count == 1:
        is_wrapped = len(y) == 1 != samples and getattr(y[0], "shape", ())[:1] == (samples,)
        return y[0] if is_wrapped else list(y)
    return tuple(y)


def named(name, structure):
    """Pairs of a name, such as `x['audio']` or `x[0]`, and a part of a structure."""
    if structure is None:
        return []
    if isinstance(structure, dict):
        return [(f"{name}[{key!r}]", part) for key, part in structure.items()]
    if type(structure) is tuple:  # and no `PaddedBatch`
        return [(f"{name}[{index}]", part) for index, part in enumerate(structure)]
    return [(name, structure)]


def map_parts(function, structure, name="x"):
    """Applies `function` to one input, or to each of a tuple or dict of inputs."""
    structure = unpacked(structure, name)
    if structure is None:
        return None
    if isinstance(structure, dict):
        return {key: map_parts(function, part, name) for key, part in structure.items()}
    if isinstance(structure, tuple) and not isinstance(structure, PaddedBatch):
        return tuple(map_parts(function, part, name) for part in structure)
    return function(structure)


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
