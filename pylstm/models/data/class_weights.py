"""Class weights of labels per step, which Keras would read as one-hot."""

import keras
import numpy as np

from pylstm.errors import OptionError, RankError
from pylstm.models.data.columns import Sequences, Stacked, columns_of, map_columns, read_column
from pylstm.models.graph.outputs import output_shapes


def weigh_classes(model, data, class_weight):
    """Class weights as sample weights where the targets are per step; Keras does the rest.

    Args:
        model: The model that is to be trained.
        data: `Columns`. Where the model's outputs are not known, an array of targets stays Keras'
            to read, a list does not.
        class_weight: {class: weight}, or None.

    Returns:
        The columns, and what is left of `class_weight`.

    Raises:
        RankError: The targets can be labels per step or one-hot.
        OptionError: They are those of several outputs, or have sample weights, too.
    """
    targets = columns_of(data.y)
    if class_weight is None or not targets:
        return data, class_weight
    if len(targets) > 1:
        raise OptionError(
            "PYL144",
            "class_weight weighs the targets of a single output",
            layer=model.name,
            expected="the targets of one output, or sample_weight",
            got=f"targets of {len(targets)} outputs",
            fix="sample_weight, as a tuple or dict with the weights of each output, in the place "
            "of class_weight",
        )
    if not _are_per_step(model, data, targets[0]):
        return data, class_weight
    if data.sample_weight is not None:
        raise OptionError(
            "PYL144",
            "class_weight and sample_weight cannot be given at the same time",
            layer=model.name,
            expected="one of the two",
            got="both",
            fix="sample_weight alone, multiplied by the weight of each label's class",
        )

    def weigh(column):
        return read_column([_weights_of_classes(labels, class_weight) for labels in column.values])

    return data._replace(sample_weight=map_columns(weigh, data.y)), None


def _are_per_step(model, data, y):
    if isinstance(y, Sequences):
        return True
    rank = len(y.shape)
    shape = next(iter(output_shapes(model, data.x).values()), None)
    if shape is not None:
        return rank > 1 and len(shape) > 2
    if not isinstance(y, Stacked):
        return False
    if rank == 2 and y.shape[1] > 1:
        raise RankError(
            "PYL102",
            "the targets can be labels per step or one-hot",
            layer=model.name,
            expected="sample_weight instead of class_weight, or an array of targets",
            got=f"{data.size} targets {y.shape[1:]}, and outputs of unknown shape",
            fix="sample_weight=[[class_weight.get(k, 1.0) for k in labels] for labels in y]"
            "     to mean steps\ny = np.stack(y)     to mean one-hot",
        )
    return rank > 2


def _weights_of_classes(labels, class_weight):
    """Weights (T,) of labels (T,), (T, 1), or (T, K) one-hot."""
    labels = np.asarray(labels)
    if labels.ndim > 1:
        labels = labels.argmax(axis=-1) if labels.shape[-1] > 1 else labels[:, 0]
    classes, index = np.unique(labels.astype(int), return_inverse=True)
    weights = [class_weight.get(int(label), 1.0) for label in classes]
    return np.array(weights, keras.config.floatx())[index]
