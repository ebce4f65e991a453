"""The shape and the dtype of an array of any framework."""

from pylstm.caching import constant

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


def is_real(dtype):
    """Whether a dtype of any framework is one of real numbers."""
    return name_of(dtype).startswith(_REAL)


def is_dense(value):
    """Whether a value is no ragged, nested, packed or sparse tensor."""
    if hasattr(type(value), "is_nested"):  # torch's
        return not value.is_nested and str(value.layout) == "torch.strided"
    return type(value).__name__ not in ("RaggedTensor", "SparseTensor", "PackedSequence")


def static_shape(value):
    """The shape as a tuple of integers and None; None if the rank is unknown."""
    shape = value.shape
    if isinstance(shape, tuple):
        return tuple(shape)
    return None if shape.rank is None else tuple(shape.as_list())
