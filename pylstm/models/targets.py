"""Targets and sample weights in the structure and with the axes of a model's outputs."""

import keras
import numpy as np
from keras import tree

from pylstm.models.columns import Dense, Sequences, Stacked, map_columns
from pylstm.models.outputs import output_shapes
from pylstm.models.padded_targets import unpad_targets


def fit_targets(model, columns):
    """Targets by name or in order as the model has its outputs, per step without padding.

    Raises:
        TimestepError: As `unpad_targets`.
    """
    shapes = output_shapes(model, columns.x)
    y, sample_weight = (_arranged(part, model) for part in (columns.y, columns.sample_weight))
    columns = unpad_targets(columns._replace(y=y, sample_weight=sample_weight), shapes)
    y = _map_beside(shapes, _for_output, columns.y)
    if not columns.is_dense and isinstance(y, (tuple, dict)):
        y = _with_unused(model, y, columns.size)
    return columns._replace(y=y)


def with_feature_axis(target):
    """Targets (T_i,) per step as (T_i, 1), which the losses of Keras take where they take (T_i,).

    Beside an output (N, T, 1) they would take (N, T) for one step of T features.
    """
    if not isinstance(target, (Sequences, Stacked)) or len(target.shape) != 2:
        return target
    return type(target)(
        [labels[:, None] for labels in target.values]
        if isinstance(target, Sequences)
        else target.values[..., None]
    )


def open_targets(columns):
    """As `fit_targets`, for a model that is not known yet."""
    columns = unpad_targets(columns)

    def open_one(target):
        return with_feature_axis(target) if isinstance(target, Sequences) else target

    return columns._replace(y=map_columns(open_one, columns.y))


def _for_output(target, shape):
    is_column = shape is not None and len(shape) == 3 and shape[-1] == 1
    return with_feature_axis(target) if is_column else target


def _map_beside(shapes, function, y):
    """Applies `function` to each target and the shape of its output, None if unknown."""
    if isinstance(y, dict):
        return {name: function(part, shapes.get(name)) for name, part in y.items()}
    each = iter(shapes.values())
    return tree.map_structure(lambda part: function(part, next(each, None)), y)


def _with_unused(model, y, size):
    """Zeros in the place of None, which no `PyDataset` yields, for outputs without a loss."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, dict) and isinstance(y, tuple):
        loss = [loss.get(name) for name in model.output_names]
    if isinstance(loss, (list, tuple)) and isinstance(y, dict):
        loss = dict(zip(sorted(y), loss, strict=False))
    if not isinstance(loss, (list, tuple, dict)) or len(loss) != len(y):
        return y
    unused = Dense(np.zeros((size, 1), keras.config.floatx()))
    if isinstance(y, dict):
        return {k: unused if y[k] is None and loss.get(k) is None else y[k] for k in y}
    return tuple(unused if t is None and f is None else t for t, f in zip(y, loss, strict=True))


def _arranged(part, model):
    """Targets or weights as a tuple or dict, whichever the outputs are.

    Keras pairs targets by name with a list of outputs, but not the weights beside them.
    """
    output = getattr(model, "output", None)
    names = getattr(model, "output_names", None) or ()
    if isinstance(output, dict) and type(part) is tuple and len(part) == len(output):
        return tree.pack_sequence_as(output, list(part))
    if not isinstance(part, dict) or isinstance(output, dict) or not set(part) <= set(names):
        return part
    if isinstance(output, keras.KerasTensor):
        return part[names[0]]
    return tuple(part.get(name) for name in names)
