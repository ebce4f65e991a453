"""The LSTM on NumPy arrays, forward only."""

import numpy as np

from pylstm._library import load_core
from pylstm.ops import INPUTS
from pylstm.ops.checks import check_call

_core = load_core()


def lstm(
    x,
    h0,
    c0,
    kernel,
    recurrent_kernel,
    bias=None,
    *,
    mask=None,
    recurrent_dropout=None,
    activation="tanh",
    recurrent_activation="sigmoid",
    go_backwards=False,
    return_sequences=True,
    zero_output_for_mask=False,
):
    """Runs an LSTM over a batch of sequences; arguments as in `pylstm.lstm`.

    Returns:
        y, (B, T, H) or (B, H); h and c after the last step, (B, H).

    Raises:
        PylstmError: As `pylstm.ops.checks.check_call`. The binding checks the arguments itself,
            so those checks run only where it refuses, to say why.
    """
    tensors = (x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout)
    try:
        y, h, c, _ = _core.forward(  # by position: keywords take longer than a small step
            *tensors,
            False,  # save_for_backward
            activation,
            recurrent_activation,
            go_backwards,
            return_sequences,
            zero_output_for_mask,
        )
    except (TypeError, ValueError):
        check_call(dict(zip(INPUTS, tensors, strict=True)), activation, recurrent_activation)
        raise
    return y, h, c


def zero_state(x, units):
    """Returns zeros (B, H) for inputs x (B, T, F)."""
    return np.zeros((x.shape[0], units), x.dtype)


def stacked(values):
    """Returns an array of a list of numbers."""
    return np.array(values)


def mask_from_lengths(lengths, x, mask):
    """Returns the mask (B, T), or all True for None, with False from step lengths[b] on."""
    within = np.arange(x.shape[1]) < lengths[:, None]
    return within if mask is None else mask & within
