"""Finds NaN and infinity in the data, and gives the line that makes finite numbers of them."""

import keras
import numpy as np
from keras import tree

from pylstm.array_types import is_dense, is_real
from pylstm.diagnosis.report import Finding
from pylstm.diagnosis.values import counted
from pylstm.inputs.padding import PaddedBatch
from pylstm.keras_graph import is_of_keras
from pylstm.models.data.structure import named
from pylstm.models.graph.mask_values import front_of

_OF_NAN = ("Isfinite", "Isnan", "NanToNum", "Where")  # operations of `keras.ops`


def check_finite(where, raw, rows, may_be_meant=False):
    """Looks for values in samples that are not finite.

    Args:
        where: What the user calls them.
        raw: What they were read from.
        rows: The samples that can be read, as {index: array}.
        may_be_meant: Whether code of the user's own comes to them first.
    """
    what = counted(where, rows, _is_not_finite)
    if what is None:
        return
    if isinstance(raw, PaddedBatch):
        line = f"{where}._replace(x=np.nan_to_num({where}.x))"
    elif hasattr(raw, "columns"):  # a table
        line = f"np.nan_to_num(np.asarray({where}, 'float32'))"
    elif is_dense(raw) and is_real(getattr(raw, "dtype", "")):
        line = f"np.nan_to_num({where})"
    else:
        line = _line_of_list(where)
    level = "note" if may_be_meant else "warning"
    yield Finding(level, "PYL201", where, what, f"{line}, or leave these samples out")


def may_replace(model, name):
    """Whether something in front of the first recurrent layer may replace what is not finite."""
    return any(
        isinstance(operation, keras.layers.Lambda)
        or type(operation).__name__ in _OF_NAN
        or not is_of_keras(operation)
        for operation in front_of(model, name)
    )


def has_own_loss(model):
    """Whether a model is compiled with a loss that is none of Keras'."""
    losses = tree.flatten(getattr(model, "loss", None))
    return any(not isinstance(each, (str, type(None))) and not is_of_keras(each) for each in losses)


def of_batch(dataset, finding):
    """The finding of a batch, with the line for the dataset that the batch is of."""
    if finding.code != "PYL201":
        return finding
    specs = getattr(dataset, "element_spec", None)
    if specs is None:
        line = f"{_line_of_list(finding.where)}     of what the batches are made of"
    else:
        line = _line_of_elements(specs, finding.where)
    return finding._replace(fix=f"{line}, or leave these samples out")


def _line_of_elements(specs, where):
    """The line for a `tf.data.Dataset` with these elements."""
    name, key = where[0], where[2:-1]
    specs = specs if isinstance(specs, tuple) else (specs,)
    names = ("x", "y", "sample_weight")[: len(specs)]
    part = specs[names.index(name)]
    spec = dict(named(name, part)).get(where)
    if not hasattr(spec, "dtype") or "][" in where:  # in parts of parts
        return f"dataset.map with keras.ops.nan_to_num on {where}"
    line = f"tf.where(tf.math.is_finite({where}), {where}, 0.0)"
    if hasattr(spec, "ragged_rank"):
        line = f"tf.ragged.map_flat_values(keras.ops.nan_to_num, {where})"
    if isinstance(part, dict):
        line = f"{{**{name}, {key}: {line}}}"
    elif isinstance(part, tuple):
        line = f"(*{name}[:{key}], {line}, *{name}[{int(key) + 1}:])"
    parts = ", ".join(line if each == name else each for each in names)
    return f"dataset.map(lambda {', '.join(names)}: {f'({parts})' if len(names) > 1 else parts})"


def _line_of_list(where):
    return f"[np.nan_to_num(s) for s in {where}]"


def _is_not_finite(row):
    if row.dtype.kind in "biu":
        return np.zeros((), bool)
    return ~np.isfinite(row if row.dtype.kind == "f" else row.astype("float64"))
