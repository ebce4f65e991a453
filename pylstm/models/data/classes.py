"""Labels beside the classes that an output tells apart."""

from typing import NamedTuple

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
    classes = _Classes.of(output[1], loss)
    if not (classes.number and classes.lacks(values).any()):
        return None
    is_jax = keras.backend.backend() == "jax"
    if is_jax and len(output[1]) > 2 and _may_mask(model):
        return None
    for index, row in enumerate(map(np.asarray, rows)):
        wrong = classes.lacks(row)
        if is_jax and weights is not None:
            wrong = wrong & (np.resize(weights.values[index], row.shape) != 0)
        if wrong.any():
            place = tuple(map(int, np.argwhere(wrong)[0]))
            at = where + "".join(f"[{axis}]" for axis in (index, *place))
            known = np.nan_to_num(values[~np.isin(values, classes.ignored)])
            low, high, label = map(int, (known.min(), known.max(), row[place]))
            return ShapeError(
                "PYL212",
                layer=model.name,
                expected=f"{where} of classes 0 to {classes.number - 1}, for the "
                + _described(*output, classes.number),
                got=f"{at} = {label}, of labels from {low} to {high}",
                fix=_to_classes(where, is_list, label, low, high, classes, loss),
            )
    return None


class _Classes(NamedTuple):
    """The classes 0 to `number` - 1, if it is known, and labels that are none, with a loss of 0."""

    number: int | None
    ignored: list

    @classmethod
    def of(cls, output, loss):
        axis = getattr(loss, "_fn_kwargs", {}).get("axis", -1)
        ignored = [-100] if keras.backend.backend() == "torch" else []
        if getattr(loss, "ignore_class", None) is not None:
            ignored.append(loss.ignore_class)
        return cls(output[axis], ignored)

    def lacks(self, labels):
        """Which labels are neither a class nor ignored. As losses, it drops fractions."""
        is_beyond = (labels <= -1) | (labels >= self.number)
        return is_beyond & ~np.isin(labels, self.ignored)


def _may_mask(model):
    """Whether steps of the output may have a mask that no padding makes."""
    symbols = getattr(model, "outputs", None) or ()
    masks_values = any(masked_value(layer) is not None for layer in layers_of(model))
    return masks_values or any(get_keras_mask(symbol) is not None for symbol in symbols)


def _described(name, shape, number):
    axes = f" ({_AXES[len(shape)]}={number})" if len(shape) in _AXES else ""
    return f"output{'' if name is None else f' {name!r}'}{axes}"


def _to_classes(where, is_list, label, low, high, classes, loss):
    """The line that makes classes of labels from `low` to `high`, of which `label` is none."""
    if label < 0:
        logits = getattr(loss, "from_logits", False)
        line = f"SparseCategoricalCrossentropy(from_logits={logits}, ignore_class={label})"
        return f"keras.losses.{line}     as the loss, if {label} is no class"
    if high - low < classes.number:
        shifted = f"[np.asarray(s) - {low} for s in {where}]"
        shifted = shifted if is_list else f"np.asarray({where}) - {low}"
        return f"{shifted}     instead of {where}, if classes count from {low}"
    return f"keras.layers.Dense({high + 1})     as the last layer, for classes 0 to {high}"
