"""The functions in which Keras runs a model, traced separately for each rank of the data.

TensorFlow would trace a second rank as an unknown one, which no layer can be called with, and a
number of steps after the declared one as unknown, so that no layer could tell of it.
"""

import threading

import keras
from keras import tree

from pylstm.array_types import static_shape
from pylstm.models.graph.declared import declared_shapes
from pylstm.models.graph.steps import has_other_steps, takes_any_steps

_making = threading.Lock()


def make_by_rank(model, name, make, force):
    """Makes a function of a model as Keras does; on TensorFlow, one for each kind of data.

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
            kind, batches = _kind_of(model, batches)
            function = functions.get(kind)
            if function is None:
                with _making:
                    make(force=True)  # puts the function into the model, where `run` belongs
                    function = getattr(model, name)
                    setattr(model, name, run)
            outputs = function(batches)
            functions[kind] = function  # not before: a trace that failed spoils it
            return outputs

        setattr(model, name, run)


def _kind_of(model, batches):
    """The kind of the batches of an iterator or list, and the same batches."""
    if hasattr(batches, "element_spec"):
        return _kind_in(model, batches.element_spec), batches
    batches = list(batches)
    return _kind_in(model, batches[0]), batches


def _kind_in(model, batch):
    """The numbers of axes, and whether there are other steps than someone wrote down."""
    shapes = [static_shape(part) for part in tree.flatten(batch) if hasattr(part, "shape")]
    ranks = tuple(shape and len(shape) for shape in shapes)
    x = tree.flatten(keras.utils.unpack_x_y_sample_weight(batch)[0])
    pairs = zip(x, declared_shapes(model).values(), strict=False)
    return ranks, any(
        not takes_any_steps(model, shape) and has_other_steps(part, shape) for part, shape in pairs
    )
