"""What the input of an LSTM may look like: every way to read a shape, and nothing else.

Pure functions of shapes; `prepare` applies what is decided here. Sizes are integers, or
None where they are not known yet.
"""

from enum import Enum
from itertools import combinations
from typing import NamedTuple

from pylstm.array_types import may_equal


class Origin(Enum):
    """How an input came to the layer, which decides what its first axis can be."""

    CALL = "a direct call: the batch axis may have been forgotten"
    DECLARED = "keras.Input: the first axis is the batch"
    JOINED = "sequences of several lengths: the first axis is the batch, the second is the time"
    MODEL = "a model: the first axis is the batch"
    LAYER = "the layer in front or a wrapper: the first axis is the batch"


class Known(NamedTuple):
    """What a layer knows about its input.

    Attributes:
        features: Rows of the kernel; None while the layer is not built.
        batch: Batch size of a stateful layer's states, else None.
        timesteps: Numbers of steps that `keras.Input` declared, None among them for any; empty if
            it declared none.
    """

    features: int | None = None
    batch: int | None = None
    timesteps: frozenset = frozenset()


class Reading(NamedTuple):
    """One way to see an input as (batch, time, features).

    Attributes:
        shape: The shape once read, (batch, time, features).
        squeeze: Axes of size 1 to drop.
        expand: Axis to insert, or None.
        code: Code of the correction in `pylstm.errors.CODES`; None if nothing is changed.
        silent: Whether Keras' own models correct this, too, without a word.
        line: What the user would write, for an input called `x`: an array, a tensor, a list or a
            DataFrame.
    """

    shape: tuple
    squeeze: tuple = ()
    expand: int | None = None
    code: str | None = None
    silent: bool = False
    line: str = "x"


def readings(shape, known, origin):
    """Every reading of a shape that agrees with what the layer knows.

    Args:
        shape: Tuple of integers and None.
        known: A `Known`.
        origin: An `Origin`.

    Returns:
        A tuple of `Reading`, empty if the shape cannot be read.
    """
    if len(shape) == 3:
        candidates = [Reading(shape)]
    elif len(shape) == 2:
        candidates = _expansions(shape, known, origin)
    elif len(shape) > 3:
        candidates = _squeezes(shape, origin)
    else:
        candidates = []
    return tuple(r for r in candidates if may_equal(r.shape[2:], (known.features,)))


def _expansions(shape, known, origin):
    rows, columns = shape
    result = []
    if origin is Origin.CALL:
        line = "keras.ops.expand_dims(x, 0)"
        result.append(Reading((1, rows, columns), expand=0, code="PYL121", line=line))
    # While the number of features is open, only what was declared as a sequence is one.
    if known.features == 1 or origin not in (Origin.MODEL, Origin.LAYER):
        result.append(
            Reading(
                (rows, columns, 1),
                expand=2,
                code="PYL122",
                silent=known.features == 1,
                line="[s[:, None] for s in x]"
                if origin is Origin.JOINED
                else "keras.ops.expand_dims(x, -1)",
            )
        )
    return result


def _squeezes(shape, origin):
    """Drops axes of size 1, of joined sequences those behind the time; the batch axis only where
    nothing else will do."""
    surplus = len(shape) - 3
    first = 2 if origin is Origin.JOINED else 1
    inner_ones = [axis for axis, size in enumerate(shape) if size == 1 and axis >= first]
    if len(inner_ones) >= surplus:
        # The last axes first: those are what Keras drops, too.
        choices = [axes[::-1] for axes in combinations(inner_ones[::-1], surplus)]
    elif shape[0] == 1 and len(inner_ones) == surplus - 1:
        choices = [(0, *inner_ones)]
    else:
        choices = []
    # Neighbouring axes of size 1 are interchangeable: equal shapes are equal readings.
    by_shape = {}
    for axes in choices:
        kept = tuple(size for axis, size in enumerate(shape) if axis not in axes)
        by_shape.setdefault(
            kept,
            Reading(
                kept,
                squeeze=axes,
                code="PYL123",
                silent=axes == (len(shape) - 1,),
                line=_squeeze_line(axes, origin),
            ),
        )
    return list(by_shape.values())


def _squeeze_line(axes, origin):
    if origin is Origin.JOINED:  # each sequence has no batch axis
        within = tuple(axis - 1 for axis in axes)
        return f"[np.squeeze(s, axis={within if len(axes) > 1 else within[0]}) for s in x]"
    return f"np.squeeze(x, axis={axes if len(axes) > 1 else axes[0]})"
