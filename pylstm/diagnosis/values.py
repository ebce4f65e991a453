"""What the numbers themselves tell: unscaled integers, tokens, empty sequences, padding."""

import keras
import numpy as np

from pylstm.diagnosis.report import Finding
from pylstm.errors import RaggedError
from pylstm.keras_graph import Functional, is_of_keras, is_recurrent
from pylstm.models.data.columns import Dense, Sequences
from pylstm.models.graph.mask_values import front_of, layers_behind, masked_value, padding_value

_LARGEST_CODE = 30  # larger whole numbers are hardly flags or one-hot codes of features
_PADDING_SHARE = 0.75  # of the steps of zeros are at the ends, if they are padding
_NORMALIZING = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)
_SCALING = (keras.layers.Rescaling, keras.layers.Normalization, *_NORMALIZING)
_KEEPING_ZEROS = (keras.layers.Dropout, keras.layers.SpatialDropout1D)
_CODING = (keras.layers.Embedding, keras.layers.CategoryEncoding, keras.layers.Lambda)


def check_column(model, name, where, column):
    """Checks the values of one column, as they were given.

    Args:
        model: The model whose input it is.
        name: The input's name, or None.
        where: What the user calls it.
        column: The column.
    """
    rows = rows_of(column)
    yield from check_empty(where, rows)
    yield from _check_tokens(model, name, where, rows)
    if isinstance(column, Sequences):
        yield from check_masked_steps(model, name, where, rows)


def check_entered(model, name, where, column):
    """As `check_column`, for what depends on the axes as the model reads them."""
    if not _is_scaled(model, name):
        yield from _check_scale(where, rows_of(column))
    if not isinstance(column, Dense):
        return
    values = np.asarray(column.values)
    yield from _check_padding(model, name, where, values)
    if values.dtype == np.int32 and values.ndim == 3:
        what = f"int32 {values.shape}: keras.utils.pad_sequences makes 0 of all fractions"
        yield Finding("note", "PYL206", where, what, "pylstm.pad(sequences) keeps the dtype")


def check_empty(where, rows):
    """Looks for samples, given as {index: array}, without a step."""
    empty = [index for index, row in rows.items() if row.ndim and not len(row)]
    if empty:
        what = f"{len(empty)} of {len(rows)}, the first is {where}[{empty[0]}]"
        fix = "[s for s in sequences if len(s)]     to drop them"
        yield Finding("note", "PYL203", where, what, fix)


def check_masked_steps(model, name, where, rows):
    """Looks for real steps of sequences that a layer takes for padding."""
    try:
        value = padding_value(model, name)
    except RaggedError:  # of which `check_masks` tells
        return
    if value is None:
        return
    equal = {i: (row == value).all(axis=tuple(range(1, row.ndim))) for i, row in rows.items()}
    masked = {i: np.flatnonzero(steps) for i, steps in equal.items() if steps.any()}
    if masked:
        index, steps = next(iter(masked.items()))
        total = sum(map(len, masked.values()))
        what = f"{total} steps in {len(masked)} of {len(rows)} samples hold only {value}, which a "
        what += f"layer masks; the first is {where}[{index}][{steps[0]}]"
        fix = "a mask_value that no step holds, if they count"
        yield Finding("warning", "PYL213", where, what, fix)


def rows_of(column):
    """The samples of a column as {index: array}."""
    values = np.asarray(column.values) if isinstance(column, Dense) else column.values
    return dict(enumerate(values))


def counted(where, rows, is_bad):
    """How many values are bad, and the first of them, in words; None if none is.

    Args:
        where: What the user calls the samples.
        rows: Samples as {index: array}.
        is_bad: A function of a sample to bool, for each of its values whether it is bad.
    """
    places = ((i, np.argwhere(is_bad(row))) for i, row in rows.items())
    bad = {i: each for i, each in places if len(each)}
    if not bad:
        return None
    index, places = next(iter(bad.items()))
    first = tuple(int(axis) for axis in places[0])
    total = sum(map(len, bad.values()))
    at = "".join(f"[{axis}]" for axis in (index, *first))
    return (
        f"{total} values in {len(bad)} of {len(rows)} samples; the first is {where}{at} = "
        f"{rows[index][first]}"
    )


def _check_padding(model, name, where, values):
    """Looks for zeros at the ends of dense sequences, or of tokens, that no layer masks."""
    layers = list(layers_behind(model, name))
    embeddings = _embeddings(model, name)
    are_tokens = bool(embeddings) and any(is_recurrent(layer) for layer, _ in layers)
    if (values.ndim != 3 and not (values.ndim == 2 and are_tokens)) or _mask_zeros(layers):
        return
    is_zero = ~values.astype(bool).any(axis=tuple(range(2, values.ndim)))
    is_zero &= ~is_zero.all(axis=1, keepdims=True)  # such a sequence has no end
    trailing = np.cumprod(is_zero[:, ::-1], axis=1).sum(axis=1)
    # Where zeros come elsewhere, too, they are values, as in windows of a scaled series.
    is_padding = trailing.sum() > _PADDING_SHARE * is_zero.sum()
    if is_padding and len(set(trailing.tolist())) > 1:
        padded = np.count_nonzero(trailing)
        what = (
            f"{padded} of {len(trailing)} sequences end in up to {trailing.max()} steps of zeros "
            "that no layer masks: they change the output"
        )
        fix = "keras.layers.Masking(0.0) as the first layer"
        if embeddings:
            fix = f"mask_zero=True in '{embeddings[0].name}'"
        fix += ", or pass the sequences without padding"
        yield Finding("warning", "PYL205", where, what, fix)


def _embeddings(model, name):
    """The embeddings that read an input; those of a subclassed model may read anything."""
    if not isinstance(model, (keras.Sequential, Functional)):
        return []
    return [
        layer
        for layer, reads_input in layers_behind(model, name)
        if reads_input and isinstance(layer, keras.layers.Embedding)
    ]


def _check_tokens(model, name, where, rows):
    for layer in _embeddings(model, name):
        size = layer.input_dim
        what = counted(where, rows, lambda r, size=size: (r <= -1) | (r >= size))
        if what is None:
            continue
        what = f"{what}, but '{layer.name}' has input_dim={size}"
        fix = f"numbers from 0 to {size - 1}"
        largest = max(int(np.nan_to_num(row).max(initial=0)) for row in rows.values())
        if largest < size:  # Keras counts those below 0 from the end.
            yield Finding("warning", "PYL210", where, what, fix)
        else:
            fix = f"input_dim={largest + 1} in '{layer.name}', or {fix}"
            yield Finding("error", "PYL210", where, what, fix)


def _is_scaled(model, name):
    """Whether something in front of the first recurrent layer may scale the input."""
    return any(
        isinstance(operation, (*_SCALING, *_CODING))
        or not isinstance(operation, keras.Layer)
        or not is_of_keras(operation)
        for operation in front_of(model, name)
    )


def _check_scale(where, rows):
    integers = [
        row for row in rows.values() if row.dtype.kind in "iu" and row.ndim > 1 and row.size
    ]
    largest = max((int(row.max()) for row in integers), default=0)
    if largest > _LARGEST_CODE:
        scale = 255 if integers[0].dtype == np.uint8 else largest
        what = f"{integers[0].dtype} values up to {largest}: an LSTM learns best from about -1 to 1"
        fix = f"keras.layers.Rescaling(1 / {scale})     as the layer in front"
        yield Finding("warning", "PYL202", where, what, fix)


def _mask_zeros(layers):
    """Whether one of `layers_behind` an input masks its steps of zeros, as they came to it."""
    are_kept = True
    for layer, reads_input in layers:
        if masked_value(layer) == 0 and (reads_input or are_kept):
            return True
        are_kept &= isinstance(layer, _KEEPING_ZEROS)
    return False
