"""`x[:, -1]` and other indexing of masked steps in a model's graph."""

from keras import ops

from pylstm.keras_graph import set_keras_mask


def index_masked(x, key, mask):
    """x[key], with its mask, where every sequence gives what it would give alone; else None.

    The first and the last step are each sequence's own: padding is neither.

    Args:
        x: (B, T, ...).
        key: An index, or a tuple or list of them, as `keras.ops.get_item` takes.
        mask: bool (B, T).
    """
    key = _as_tuple(key)
    if keeps_steps(key, len(x.shape)):
        y = x[key]
        set_keras_mask(y, mask)
        return y
    if takes_end(key):
        real = ops.cast(mask, "int32")
        index = ops.argmax(ops.cumsum(real, axis=1) * real if key[1] else real, axis=1)
        index = ops.reshape(index, (-1, *[1] * (len(x.shape) - 1)))
        return ops.take_along_axis(x, index, axis=1)[(slice(None), 0, *key[2:])]
    return None


def takes_end(key):
    """Whether an index takes the first or the last step."""
    key = _as_tuple(key)
    return len(key) > 1 and _is_all(key[0]) and type(key[1]) is int and key[1] in (0, -1)


def keeps_steps(key, rank):
    """Whether an index takes all batches and steps of a tensor of so many axes."""
    key = _as_tuple(key)
    if not key:
        return True
    if key[0] is Ellipsis:
        return sum(index is not None for index in key[1:]) <= rank - 2
    return all(map(_is_all, key[:2]))


def _as_tuple(key):
    return tuple(key) if isinstance(key, (list, tuple)) else (key,)


def _is_all(index):
    return isinstance(index, slice) and index == slice(None)
