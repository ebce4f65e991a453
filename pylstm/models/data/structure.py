"""The parts of data: one, or a tuple or dict of several. A list is one part, of samples."""

from pylstm.array_types import is_dense
from pylstm.inputs.padding import PaddedBatch
from pylstm.inputs.sequences import unpacked


def is_several(x):
    """Whether x is a tuple of parts. `PaddedBatch` and torch's `PackedSequence` are but tuples."""
    return isinstance(x, tuple) and not isinstance(x, PaddedBatch) and is_dense(x)


def named(name, structure):
    """Pairs of a name, such as `x['audio']` or `x[0]`, and a part of a structure."""
    if isinstance(structure, dict):
        return [(f"{name}[{key!r}]", part) for key, part in structure.items()]
    if is_several(structure):
        return [pair for i, part in enumerate(structure) for pair in named(f"{name}[{i}]", part)]
    return [(name, structure)]


def map_parts(function, structure, name="x"):
    """Applies `function` to one input, or to each of a tuple or dict of inputs."""
    structure = unpacked(structure, name)
    if structure is None:
        return None
    if isinstance(structure, dict):
        return {key: map_parts(function, part, name) for key, part in structure.items()}
    if is_several(structure):
        return tuple(map_parts(function, part, name) for part in structure)
    return function(structure)
