"""Checks the initial state of an LSTM: h and c, each (batch, units)."""

from pylstm.array_types import dtype_name, static_shape
from pylstm.errors import DTypeError, PylstmError, StateError
from pylstm.inputs.containers import as_array, as_numbers, is_tensor, unreported

_WAYS_TO_TWO = {
    3: "outputs[1:]     if a layer with return_state=True gave (output, h, c)",
    4: "[keras.ops.concatenate(pair, -1) for pair in zip(states[:2], states[2:])]     of the four "
    "states of a Bidirectional layer: h and c of twice its units",
}
"""A wrong number of states to the line that makes [h, c] of them."""


def as_states(initial_state, batch, units, dtype):
    """Reads what was passed as `initial_state=`.

    Args:
        initial_state: A list or tuple of two, [h, c], each (batch, units), (1, units) or (units,).
        batch: Batch size of the input, or None.
        units: Size of the state.
        dtype: The layer's compute dtype, to which integers are cast.

    Returns:
        [h, c], each (batch, units), or (1, units) for every sequence: the layer repeats that in
        the graph, for its gradient. `initial_state` itself if nothing had to be converted.

    Raises:
        StateError: There are not two states, or a shape does not fit.
        DTypeError: A state does not hold real numbers.
    """
    if not isinstance(initial_state, (list, tuple)):
        got = f"one {type(initial_state).__name__}"
        if hasattr(initial_state, "shape"):
            got = f"one tensor {static_shape(initial_state)}"
        raise _error(batch, units, got, "initial_state=[h, c]     or list(state), if it holds both")
    if len(initial_state) != 2:
        number = len(initial_state)
        fix = _WAYS_TO_TWO.get(number, "initial_state=[h, c]")
        raise _error(batch, units, f"{number} state{'s' * (number != 1)}", fix)
    result = [
        _as_state(state, name, batch, units, dtype)
        for name, state in zip(("h", "c"), initial_state, strict=True)
    ]
    same = all(new is old for new, old in zip(result, initial_state, strict=True))
    return initial_state if same else result


def _as_state(state, name, batch, units, dtype):
    if state is None:
        fix = "keras.ops.zeros((batch, units))     for a zero state"
        raise _error(batch, units, f"{name} is None", fix)
    if isinstance(state, (list, tuple)) and any(is_tensor(row) for row in state):
        raise _error(batch, units, f"{name} is a list of tensors", "initial_state=[h, c]")
    try:
        state = as_numbers(as_array(state), dtype, unreported)
    except DTypeError as error:
        raise DTypeError(
            error.code,
            f"the initial state {name} does not hold real numbers",
            expected=_expected(batch, units),
            got=f"{name}: {error.got}",
            fix="initial_state=[h, c], arrays of float32",
        ) from None
    except PylstmError as error:
        raise _error(batch, units, f"{name}: {error.got}", "initial_state=[h, c]") from None
    shape = static_shape(state)
    if shape is None:
        return state
    if shape == (units,):
        state, shape = state[None], (1, units)
    got = f"{name} {shape} {dtype_name(state)}"
    if len(shape) != 2:
        raise _error(batch, units, got, "initial_state=[h, c], with one row for each sequence")
    if shape[1] not in (None, units):
        fix = f"LSTM({shape[1]}, ...), or a state with {units} units, as this layer has"
        raise _error(batch, units, f"{got}     axis 1 is {shape[1]}, not {units}", fix)
    if None not in (shape[0], batch) and shape[0] not in (1, batch):
        fix = "a state with one row for each sequence of this batch, or one row for all"
        raise _error(batch, units, f"{got}     axis 0 is {shape[0]}, not {batch}", fix)
    return state


def _error(batch, units, got, fix):
    return StateError("PYL116", expected=_expected(batch, units), got=got, fix=fix)


def _expected(batch, units):
    size = "batch" if batch is None else f"batch={batch}"
    return f"[h, c], each ({size}, units={units})"
