"""The parts of data: one, or a tuple or dict of several. A list is one part, of samples, and so
is a tuple of numbers."""

from pylstm.array_types import is_dense
from pylstm.inputs.padding import PaddedBatch


def is_several(x):
    """Whether x is a tuple of parts, and not a `PaddedBatch` or torch's `PackedSequence`."""
    if not isinstance(x, tuple) or isinstance(x, PaddedBatch) or not is_dense(x):
        return False
    parts = [part for part in x if part is not None]
    return not parts or not all(map(_is_scalar, parts))


def _is_scalar(part):
    return isinstance(part, (int, float, complex, str, bytes)) or getattr(part, "ndim", None) == 0


def named(name, structure):
    """Pairs of a name, such as `x['audio']` or `x[0]`, and a part of a structure."""
    if isinstance(structure, dict):
        return [(f"{name}[{key!r}]", part) for key, part in structure.items()]
    if is_several(structure):
        return [pair for i, part in enumerate(structure) for pair in named(f"{name}[{i}]", part)]
    return [(name, structure)]


def is_nothing(structure):
    """Whether every part of a structure is None, or it has none."""
    return all(part is None for _, part in named("", structure))


def map_parts(function, structure):
    """Applies `function` to one part, or to each of a tuple or dict of parts; None stays None."""
    if structure is None:
        return None
    if isinstance(structure, dict):
        return {key: map_parts(function, part) for key, part in structure.items()}
    if is_several(structure):
        return tuple(map_parts(function, part) for part in structure)
    return function(structure)
