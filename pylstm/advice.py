"""The line to write instead where data cannot be read, by the kind of the data."""

import os
from collections.abc import Collection, Mapping

import numpy as np

from pylstm.array_types import is_dense, is_real


def to_sequences(value, name="x"):
    """The line that makes sequences of what is neither an array nor a list of them, or None."""
    if isinstance(value, dict):
        return (
            f"{name}[key], the entry that holds the sequences\n"
            f"list({name}.values())     if they are one input's sequences"
        )
    if isinstance(value, Mapping):  # np.load of .npz, a group of h5py
        return f"list({name}.values())"
    if isinstance(value, (str, bytes)):
        return _READ_TEXT
    if type(value).__name__.endswith("GroupBy"):
        return f"[group for _, group in {name}]"
    if hasattr(value, "element_spec") or hasattr(value, "num_batches"):  # a PyDataset has these
        return f"model.fit({name}), or model.predict({name})"
    line = to_dense(value, name)
    if line is None and (hasattr(value, "__next__") or isinstance(value, Collection)):
        line = f"list({name})"  # such as a generator or a set
    return line


def to_dense(value, name):
    """The expression that makes one dense array of another kind, or None."""
    if hasattr(value, "is_nested") and not is_dense(value):
        kind = "nested tensor" if value.is_nested else "sparse tensor"
    elif hasattr(value, "assign_add"):
        kind = "variable of Keras"
    else:
        kind = type(value).__name__
    line = _TO_DENSE.get(kind)
    if line is None and hasattr(value, "toarray"):  # a sparse matrix of SciPy
        line = "{0}.toarray()"
    return line and line.format(name)


_READ_TEXT = "keras.Input((1,), dtype='string') and a TextVectorization layer, adapted, in front"
_TO_DENSE = {
    "PackedSequence": "torch.nn.utils.rnn.pad_packed_sequence({0}, batch_first=True), which gives "
    "x and lengths",
    "RaggedTensor": "{0}.to_tensor(), with lengths={0}.row_lengths()",
    "SparseTensor": "tf.sparse.to_dense({0})",
    "nested tensor": "{0}.to_padded_tensor(0.0), with lengths=[len(s) for s in {0}.unbind()]",
    "sparse tensor": "{0}.to_dense()",
    "variable of Keras": "{0}.value",
}


def to_numbers(value, name="x"):
    """The line that makes numbers of an array, tensor or table that holds something else."""
    line = _numbers_of(value, name)
    if line is not None:
        return line
    if _is_tensor(value):
        import keras

        ways = ["keras.layers.StringLookup for categories"]
        if keras.backend.backend() == "tensorflow":
            ways.insert(0, f"tf.strings.to_number({name})")
        return ",\nor ".join(ways)
    if name == "y":
        shape = tuple(value.shape)
        return f"labels, y = np.unique(y, return_inverse=True); y = y.reshape({shape})"
    words = f"np.ravel({name}))\n{name} = lookup(np.asarray({name}))"
    return _read_values(value, name, f"np.asarray({name}, 'float32')", words)


def to_numbers_each(value, name="sequences"):
    """As `to_numbers`, where `value` is one of a list of sequences, of an input or of targets."""
    if is_missing(value):
        is_nan = isinstance(value, (float, np.floating))
        there = "np.ndim(s)" if is_nan else _is_there("s", value)
        return f"[s for s in {name} if {there}], and y without their targets"
    line = _numbers_of(value, "s")
    if line is not None:
        return f"[{line} for s in {name}]"
    if any(part is None for part in _parts(value)):
        return "a number instead of each None, or leave out its step"
    if name == "y":
        return "labels = np.unique(np.concatenate(y)); y = [np.searchsorted(labels, s) for s in y]"
    words = f"np.concatenate({name}))\n{name} = [lookup(np.asarray(s)) for s in {name}]"
    return _read_values(value, name, f"[np.asarray(s, 'float32') for s in {name}]", words)


def to_numbers_of_samples(value, name):
    """As `to_numbers`, where `value` is one of the samples of an input or of targets."""
    if isinstance(value, complex):
        return to_real([value], name)
    if name == "y" and is_missing(value):
        there = _is_there("pair[1]", value)
        return f"x, y = map(list, zip(*[pair for pair in zip(x, y) if {there}]))"
    if name == "y":
        return "labels, y = np.unique(y, return_inverse=True)"
    if isinstance(value, dict):
        return f"[list(sample.values()) for sample in {name}]"
    if name == "x" and isinstance(value, (str, bytes)):
        return _READ_TEXT
    if hasattr(value, "__next__"):
        return f"[list(sample) for sample in {name}]"
    if isinstance(value, os.PathLike):
        return f"[np.load(sample) for sample in {name}]"
    line = to_dense(value, "sample")
    return f"[{line} for sample in {name}]" if line else f"np.asarray({name}, 'float32')"


def to_real(value, name, is_item=False):
    """The lines that make real numbers of complex ones, of `value` or of a list that it is in."""
    one, library = "s" if is_item else name, "keras.ops" if _is_tensor(value) else "np"
    join = "stack" if np.ndim(value) == 1 else "concatenate"  # along the axis of the features
    parts = f"{library}.real({one}), {library}.imag({one})"
    lines = (f"{library}.{join}([{parts}], axis=-1)", f"{library}.abs({one})")
    return ",\nor ".join(f"[{line} for s in {name}]" if is_item else line for line in lines)


def _is_tensor(value):
    import keras  # only where it is asked: the checks on a GPU run `functional` without it

    return isinstance(value, keras.KerasTensor) or keras.ops.is_tensor(value)


def _numbers_of(value, one):
    """The expression that makes numbers of `one`, where the type of `value` tells how, or None."""
    dtype = getattr(value, "dtype", None)
    if fields := getattr(dtype, "names", None):  # of a structured array
        fields = tuple(field for field in fields if is_real(dtype[field].base))
        if any(dtype[field].shape for field in fields):
            flat = f"{one}[field].reshape(*{one}.shape, -1)"
            return f"np.concatenate([{flat} for field in {fields}], axis=-1)"
        return f"np.stack([{one}[field] for field in {fields}], axis=-1)"
    kind = getattr(dtype, "kind", None)
    if kind in ("M", "m"):  # dates, or the time between them
        time = f"({one} - {one}.min())" if kind == "M" else one
        return f"{time} / np.timedelta64(1, 's')"
    if hasattr(value, "to_numpy"):
        with_nan = {"dtype": "float32", "na_value": np.nan}
        if any(map(_is_absent, _parts(value))) and _works(value.to_numpy, **with_nan):
            return f"{one}.to_numpy('float32', na_value=np.nan)"
        are_numeric = [*map(_is_numeric, getattr(value, "dtypes", ()))] if value.ndim == 2 else []
        if any(are_numeric) and not all(are_numeric):
            return f"{one}.select_dtypes(['number', 'bool'], exclude='timedelta')"
    return to_dense(value, one)


def _read_values(value, name, numbers, words):
    """The line for numbers that are written as strings, or else for words or other objects."""
    if _works(np.asarray, value, "float32"):
        return numbers
    odd = next((part for part in _parts(value) if not is_real(np.asarray(part).dtype)), value)
    if not isinstance(odd, (str, bytes)) or name == "sample_weight":
        return f"a number instead of each {type(odd).__name__}"
    return (
        f"lookup = keras.layers.StringLookup(); lookup.adapt({words}"
        "     for keras.layers.Embedding(lookup.vocabulary_size(), 32) in front"
    )


def _works(function, *args, **kwargs):
    """Whether a function converts its arguments."""
    try:
        function(*args, **kwargs)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def is_missing(value):
    """Whether an element of a collection marks a missing one."""
    is_nan = isinstance(value, (float, np.floating)) and np.isnan(value)
    return value is None or _is_absent(value) or is_nan


def _is_there(one, missing):
    """The expression that is true of `one` unless that is missing as `missing` is."""
    if missing is None or _is_absent(missing):
        return f"{one} is not {'None' if missing is None else 'pd.NA'}"
    return f"{one} == {one}"  # nan is not


def _is_absent(value):
    return type(value).__name__ == "NAType"  # how pandas marks what it has no number for


def _is_numeric(dtype):
    return is_real(dtype) or getattr(dtype, "_is_numeric", False)


def _parts(value):
    return np.asarray(value, object).flat
