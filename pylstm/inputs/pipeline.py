"""Explains the errors of `tf.data`, which reports them from inside a graph."""

import contextlib
import re

from pylstm.errors import PylstmError, RaggedError

_UNEQUAL = re.compile(
    r"Cannot batch tensors with different shapes in component (\d+).*?"
    r"First element had shape \[([\d,]*)\] and element (\d+) had shape \[([\d,]*)\]",
    re.DOTALL,
)


@contextlib.contextmanager
def readable_errors(failures=()):
    """Raises pylstm's errors in the place of those that `tf.data` makes of them.

    Args:
        failures: A list to which the data's own generator appends the errors it raises:
            `tf.data` keeps their text only.

    Raises:
        RaggedError: A `tf.data.Dataset` batches sequences of different lengths.
    """
    try:
        yield
    except PylstmError:
        raise
    except Exception as error:
        if failures:
            raise failures[0] from None
        found = _UNEQUAL.search(str(error))
        if not found:
            raise
        component, first, index, other = found.groups()
        raise RaggedError(
            "PYL115",
            expected="sequences of one length, or ragged batches",
            got=f"component {component}: ({_spaced(first)}) at first, "
            f"({_spaced(other)}) at element {index}",
            fix="dataset.ragged_batch(batch_size) in the place of batch, "
            "or pylstm.dataset(sequences, labels)",
        ) from None


def _spaced(shape):
    return shape.replace(",", ", ")
