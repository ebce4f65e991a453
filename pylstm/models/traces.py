"""The functions in which Keras runs a model, traced for each rank of data by itself.

TensorFlow would trace a second rank as any rank, which no layer can be called with.
"""

import keras
from keras import tree

from pylstm.array_types import static_shape


def make_by_rank(model, name, make, force):
    """Makes a function of a model as Keras does; on TensorFlow, one for each rank of data.

    Args:
        model: The model.
        name: The attribute in which Keras keeps the function.
        make: Keras' method that makes it and puts it there.
        force: Whether to make it where there is one already.
    """
    if keras.backend.backend() != "tensorflow":
        make(force)
    elif force or getattr(model, name) is None:
        functions = {}

        def run(batches):
            ranks, batches = _ranks_of(batches)
            if ranks not in functions:
                make(force=True)  # puts the function into the model, where `run` belongs
                functions[ranks] = getattr(model, name)
                setattr(model, name, run)
            return functions[ranks](batches)

        setattr(model, name, run)


def _ranks_of(batches):
    """The numbers of axes in each batch of an iterator or list, and the same batches."""
    if hasattr(batches, "element_spec"):
        return _ranks_in(batches.element_spec), batches
    batches = list(batches)
    return _ranks_in(batches[0]), batches


def _ranks_in(batch):
    shapes = [static_shape(part) for part in tree.flatten(batch) if hasattr(part, "shape")]
    return tuple(shape and len(shape) for shape in shapes)
