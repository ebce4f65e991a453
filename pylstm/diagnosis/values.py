"""What the numbers themselves tell: NaN, unscaled integers, empty sequences, padding."""

import keras
import numpy as np

from pylstm.diagnosis.report import Finding
from pylstm.inputs.columns import Dense

_LARGEST_CODE = 30  # larger whole numbers are hardly flags or one-hot codes of features


def check_column(where, column):
    """Checks the values of one column."""
    values = np.asarray(column.values) if isinstance(column, Dense) else column.values
    yield from check_rows(where, dict(enumerate(values)))
    if isinstance(column, Dense) and values.dtype == np.int32 and values.ndim == 3:
        what = f"int32 {values.shape}: keras.utils.pad_sequences makes 0 of all fractions"
        yield Finding("note", "PYL206", where, what, "pylstm.pad(sequences) keeps the dtype")


def check_rows(where, rows):
    """Checks samples, given as {index: array}."""
    yield from _check_finite(where, rows)
    yield from _check_scale(where, rows)
    empty = [index for index, row in rows.items() if row.ndim and not len(row)]
    if empty:
        what = f"{len(empty)} of {len(rows)}, the first is {where}[{empty[0]}]"
        fix = "leave it, its output is that of no input; or [s for s in sequences if len(s)]"
        yield Finding("note", "PYL203", where, what, fix)


def check_finite(where, column):
    """Checks a column of targets, of which nothing else is known."""
    values = np.asarray(column.values) if isinstance(column, Dense) else column.values
    yield from _check_finite(where, dict(enumerate(values)))


def check_padding(model, where, column):
    """Looks for zeros at the ends of dense sequences that no layer masks."""
    if not isinstance(column, Dense) or len(column.values.shape) != 3 or _masks(model):
        return
    is_zero = ~np.asarray(column.values).astype(bool).any(axis=2)
    trailing = np.cumprod(is_zero[:, ::-1], axis=1).sum(axis=1)
    if len(set(trailing.tolist())) > 1:
        padded = np.count_nonzero(trailing)
        what = (
            f"{padded} of {len(trailing)} sequences end in up to {trailing.max()} steps of zeros "
            "that no layer masks: they change the output"
        )
        fix = "pylstm.LSTM(..., mask_value=0.0), or pass the sequences without padding"
        yield Finding("warning", "PYL205", where, what, fix)


def _check_finite(where, rows):
    floats = {i: row.astype("float64") for i, row in rows.items() if row.dtype.kind not in "biu"}
    bad = {i: np.argwhere(~np.isfinite(row)) for i, row in floats.items()}
    bad = {i: places for i, places in bad.items() if len(places)}
    if not bad:
        return
    index, places = next(iter(bad.items()))
    first = tuple(int(axis) for axis in places[0])
    total = sum(map(len, bad.values()))
    at = "".join(f"[{axis}]" for axis in (index, *first))
    what = (
        f"{total} values in {len(bad)} of {len(rows)} samples; the first is {where}{at} = "
        f"{floats[index][first]}"
    )
    fix = f"np.nan_to_num({where}), or leave these samples out"
    yield Finding("warning", "PYL201", where, what, fix)


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


def _masks(model):
    """Whether a layer of the model makes a mask from values."""
    return any(
        isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_value", None) is not None
        for layer in model._flatten_layers()
    )
