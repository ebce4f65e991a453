"""Labels beside the classes that an output tells apart."""

import keras
import numpy as np

from pylstm.errors import ShapeError
from pylstm.inputs.masks import host_value
from pylstm.keras_graph import get_keras_mask, layers_of
from pylstm.models.data.columns import Sequences
from pylstm.models.graph.mask_values import masked_value

_AXES = {2: "batch, classes", 3: "batch, time, classes"}  # of an output, by their number


def wrong_label(model, where, labels, output, loss, weights):
    """Looks for a label without a class among those for an output, if they are in host memory.

    Args:
        model: The model.
        where: What the user calls the labels.
        labels: Their column.
        output: The name of the output or None, and its shape.
        loss: A sparse categorical crossentropy of Keras'.
        weights: The column of the labels' weights, or None.

    Returns:
        A `ShapeError` that names the first, or None. On JAX, where its loss is 0, one that counts
        nothing, by its weight or a mask, is none; TensorFlow and torch fail at those, too.
    """
    is_list = isinstance(labels, Sequences)
    rows = labels.values if is_list else host_value(labels.values)
    if rows is None:
        return None
    values = np.concatenate(rows) if is_list else rows
    name, shape = output
    number, ignored = shape[getattr(loss, "_fn_kwargs", {}).get("axis", -1)], _ignored_by(loss)

    def are_wrong(labels):  # As losses, it drops fractions.
        return ((labels <= -1) | (labels >= number)) & ~np.isin(labels, ignored)

    if not (number and are_wrong(values).any()):
        return None
    is_jax = keras.backend.backend() == "jax"
    if is_jax and len(shape) > 2 and _may_mask(model):
        return None
    for index, row in enumerate(map(np.asarray, rows)):
        wrong = are_wrong(row)
        if is_jax and weights is not None:
            wrong = wrong & (np.resize(weights.values[index], row.shape) != 0)
        if wrong.any():
            place = tuple(map(int, np.argwhere(wrong)[0]))
            at = where + "".join(f"[{axis}]" for axis in (index, *place))
            known = np.nan_to_num(values[~np.isin(values, ignored)])
            low, high, label = map(int, (known.min(), known.max(), row[place]))
            return ShapeError(
                "PYL212",
                layer=model.name,
                expected=f"{where} of classes 0 to {number - 1}, for the "
                + _described(name, shape, number),
                got=f"{at} = {label}, of labels from {low} to {high}",
                fix=_to_classes(where, is_list, label, low, high, number, loss),
            )
    return None


def _ignored_by(loss):
    """The labels that are no class, of which a loss is 0."""
    ignored = [getattr(loss, "ignore_class", None), -100]  # torch's own
    ignored = ignored if keras.backend.backend() == "torch" else ignored[:1]
    return [label for label in ignored if label is not None]


def _may_mask(model):
    """Whether steps of the output may have a mask that no padding makes."""
    symbols = getattr(model, "outputs", None) or ()
    masks_values = any(masked_value(layer) is not None for layer in layers_of(model))
    return masks_values or any(get_keras_mask(symbol) is not None for symbol in symbols)


def _described(name, shape, number):
    axes = f" ({_AXES[len(shape)]}={number})" if len(shape) in _AXES else ""
    return f"output{'' if name is None else f' {name!r}'}{axes}"


def _to_classes(where, is_list, label, low, high, number, loss):
    """The line that makes classes of labels from `low` to `high`, of which `label` is none."""
    if label < 0:
        logits = getattr(loss, "from_logits", False)
        line = f"SparseCategoricalCrossentropy(from_logits={logits}, ignore_class={label})"
        return f"keras.losses.{line}     as the loss, if {label} is no class"
    if high - low < number:
        shifted = f"[np.asarray(s) - {low} for s in {where}]"
        shifted = shifted if is_list else f"np.asarray({where}) - {low}"
        return f"{shifted}     instead of {where}, if classes count from {low}"
    return f"keras.layers.Dense({high + 1})     as the last layer, for classes 0 to {high}"
