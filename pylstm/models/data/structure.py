"""The parts of data: one, or a tuple or dict of several. A list is one part, of samples."""

from pylstm.inputs.padding import PaddedBatch
from pylstm.inputs.sequences import unpacked


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
