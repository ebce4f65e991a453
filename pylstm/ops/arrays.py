"""The LSTM on NumPy arrays, forward only."""

import numpy as np

from pylstm._library import load_core

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
    **options,
):
    """Runs an LSTM over a batch of sequences; arguments and results as in `pylstm._core.forward`.

    Returns:
        y, (B, T, H) or (B, H); h and c after the last step, (B, H).
    """
    arguments = (x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout)
    y, h, c, _ = _core.forward(*arguments, **options)
    return y, h, c


def zero_state(x, units):
    """Returns zeros (B, H) for inputs x (B, T, F)."""
    return np.zeros((x.shape[0], units), x.dtype)


def mask_from_lengths(lengths, x):
    """Returns bool (B, T), True for the first lengths[b] steps of each sequence."""
    return np.arange(x.shape[1]) < lengths[:, None]


def both(mask, within):
    """Returns bool (B, T), True where both masks are."""
    return mask & within
