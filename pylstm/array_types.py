"""Shape, dtype and kind of arrays of any framework."""

from pylstm.caching import constant
from pylstm.errors import DTypeError

FLOATS = ("float16", "bfloat16", "float32", "float64")
_REAL = ("float", "bfloat", "longdouble", "int", "uint", "bool")


def dtype_name(value):
    """The name of an array's or tensor's dtype."""
    return name_of(value.dtype)


@constant
def name_of(dtype):
    """The name of a dtype of any framework: `"float32"`."""
    # NumPy composes the name anew each time; torch writes "torch.float32".
    return getattr(dtype, "name", None) or str(dtype).removeprefix("torch.")


def native(array):
    """An array of NumPy's with its bytes in the order that every framework takes."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def is_real(dtype):
    """Whether a dtype of any framework is one of real numbers."""
    return name_of(dtype).startswith(_REAL)


def is_dense(value):
    """Whether a value is neither a ragged nor a nested, packed or sparse tensor."""
    if hasattr(type(value), "is_nested"):  # torch's
        return not value.is_nested and str(value.layout) == "torch.strided"
    return type(value).__name__ not in ("RaggedTensor", "SparseTensor", "PackedSequence")


def static_shape(value):
    """The shape as a tuple of integers and None; None if the rank is unknown."""
    shape = value.shape
    if isinstance(shape, tuple):
        return tuple(shape)
    return None if shape.rank is None else tuple(shape.as_list())


def may_equal(shape, expected):
    """Whether two shapes with equally many axes can be the same, sizes of None being unknown."""
    return all(a is None or b is None or a == b for a, b in zip(shape, expected, strict=True))


def unmasked(array, name="x", index=None):
    """The data of a masked array: all of `name`, or the sequence at `index` of it.

    Raises:
        DTypeError: Values are masked.
    """
    if array.mask.any():
        raise DTypeError(
            "PYL118",
            "a masked array has values that are no numbers",
            expected="numbers, and the steps to leave out as mask=",
            got=f"{name}{'' if index is None else [index]} is a masked array {array.shape}",
            fix=_without_masked(array, name, index is not None),
        )
    return array.data


def _without_masked(array, name, is_sequence):
    if name == "y" and is_sequence:
        weights = "1.0 - np.ma.getmaskarray(s)" + ".any(axis=-1)" * (array.ndim > 1)
        return f"[s.filled(0) for s in y], with sample_weight=[{weights} for s in y]"
    if name == "y":
        return "y.filled(0), with sample_weight=1.0 - np.ma.getmaskarray(y)"
    kept = "s.compressed()" if array.ndim - (not is_sequence) < 2 else "np.ma.compress_rows(s)"
    line = f"[{kept} for s in {name}]     without the masked steps"
    if is_sequence:
        return line
    mask = f"~{name}.mask" + ".any(axis=-1)" * (array.ndim > 2)
    return f"{line}\n{name}.filled(0), with mask={mask}     in a layer's call"
