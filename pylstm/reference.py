"""The LSTM in float64 NumPy, forward and backward: what every kernel is tested against.

Written to be read, step by step and row by row; it shares nothing with the kernels. Source:
`keras.layers.LSTM` and Keras' masking loop (`keras.src.backend.tensorflow.rnn.rnn`).
"""

import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0.0, e, 1.0) / (1.0 + e)


def _hard_sigmoid(x):
    return np.clip(x + 3.0, 0.0, 6.0) / 6.0


def _softplus(x):
    return np.logaddexp(0.0, x)


def _gelu_cdf(x):
    return 0.5 * (1.0 + _erf(x / math.sqrt(2.0)))


def _between(x, low, high):
    return ((x > low) & (x < high)).astype(np.float64)


def _mish_derivative(x):
    t = np.tanh(_softplus(x))
    return t + x * (1.0 - t**2) * _sigmoid(x)


def _expm1_negative(x):
    return np.expm1(np.minimum(x, 0.0))


# Keras name: (a(x), a'(x))
ACTIVATIONS = {
    "linear": (lambda x: x, np.ones_like),
    "tanh": (np.tanh, lambda x: 1.0 - np.tanh(x) ** 2),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1.0 - _sigmoid(x))),
    "hard_sigmoid": (_hard_sigmoid, lambda x: _between(x, -3.0, 3.0) / 6.0),
    "hard_tanh": (lambda x: np.clip(x, -1.0, 1.0), lambda x: (np.abs(x) <= 1.0) * 1.0),
    "relu": (lambda x: np.maximum(x, 0.0), lambda x: (x > 0.0) * 1.0),
    "relu6": (lambda x: np.clip(x, 0.0, 6.0), lambda x: _between(x, 0.0, 6.0)),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.2 * x), lambda x: np.where(x > 0, 1.0, 0.2)),
    "elu": (
        lambda x: np.where(x < 0, _expm1_negative(x), x),
        lambda x: np.where(x < 0, np.exp(np.minimum(x, 0.0)), 1.0),
    ),
    "celu": (
        lambda x: np.where(x < 0, _expm1_negative(x), x),
        lambda x: np.where(x < 0, np.exp(np.minimum(x, 0.0)), 1.0),
    ),
    "selu": (
        lambda x: _SELU_SCALE * np.where(x < 0, _SELU_ALPHA * _expm1_negative(x), x),
        lambda x: _SELU_SCALE * np.where(x < 0, _SELU_ALPHA * np.exp(np.minimum(x, 0.0)), 1.0),
    ),
    "softsign": (lambda x: x / (1.0 + np.abs(x)), lambda x: 1.0 / (1.0 + np.abs(x)) ** 2),
    "softplus": (_softplus, _sigmoid),
    "squareplus": (
        lambda x: np.where(x < 0, 2.0 / (np.sqrt(x**2 + 4.0) - x), (x + np.sqrt(x**2 + 4.0)) / 2),
        lambda x: (1.0 + x / np.sqrt(x**2 + 4.0)) / 2.0,
    ),
    "sparse_plus": (
        lambda x: np.where(x <= -1, 0.0, np.where(x < 1, (x + 1.0) ** 2 / 4.0, x)),
        lambda x: np.where(x <= -1, 0.0, np.where(x < 1, (x + 1.0) / 2.0, 1.0)),
    ),
    "sparse_sigmoid": (
        lambda x: np.clip(0.5 * (x + 1.0), 0.0, 1.0),
        lambda x: 0.5 * _between(x, -1.0, 1.0),
    ),
    "log_sigmoid": (lambda x: -_softplus(-x), lambda x: _sigmoid(-x)),
    "silu": (
        lambda x: x * _sigmoid(x),
        lambda x: _sigmoid(x) * (1.0 + x * (1.0 - _sigmoid(x))),
    ),
    "hard_silu": (
        lambda x: x * _hard_sigmoid(x),
        lambda x: _hard_sigmoid(x) + x * _between(x, -3.0, 3.0) / 6.0,
    ),
    "gelu": (
        lambda x: x * _gelu_cdf(x),
        lambda x: _gelu_cdf(x) + x * np.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi),
    ),
    "mish": (lambda x: x * np.tanh(_softplus(x)), _mish_derivative),
    "tanh_shrink": (lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2),
    "soft_shrink": (
        lambda x: np.where(x > 0.5, x - 0.5, np.where(x < -0.5, x + 0.5, 0.0)),
        lambda x: (np.abs(x) > 0.5) * 1.0,
    ),
    "hard_shrink": (
        lambda x: np.where(np.abs(x) > 0.5, x, 0.0),
        lambda x: (np.abs(x) > 0.5) * 1.0,
    ),
    "exponential": (np.exp, np.exp),
}


def _float64(*arrays):
    return [None if a is None else np.asarray(a).astype(np.float64) for a in arrays]


def _dropout_per_gate(recurrent_dropout, batch, units):
    if recurrent_dropout is None:
        return np.ones((4, batch, units))
    return np.asarray(recurrent_dropout).astype(np.float64)


def _pre_activations(x_t, h, kernel, recurrent_kernel, bias, dropout):
    """(B, 4, H): the gates i, f, c, o before their activations."""
    units = h.shape[1]
    z = (x_t @ kernel + (0.0 if bias is None else bias)).reshape(len(x_t), 4, units)
    recurrent = recurrent_kernel.reshape(units, 4, units)
    return z + np.stack([(h * dropout[g]) @ recurrent[:, g] for g in range(4)], axis=1)


def _steps(x, mask, go_backwards):
    """Inputs (T, B, F) and which rows take part (T, B), in the order of the steps."""
    batch, time = x.shape[:2]
    active = np.ones((batch, time), bool) if mask is None else np.asarray(mask).astype(bool)
    order = slice(None, None, -1) if go_backwards else slice(None)
    return x.transpose(1, 0, 2)[order], active.T[order]


def lstm_forward(
    x,
    h0,
    c0,
    kernel,
    recurrent_kernel,
    bias=None,
    mask=None,
    recurrent_dropout=None,
    *,
    activation="tanh",
    recurrent_activation="sigmoid",
    go_backwards=False,
    return_sequences=True,
    zero_output_for_mask=False,
):
    """Runs an LSTM over a batch of sequences.

    Args:
        x: (B, T, F) inputs.
        h0, c0: (B, H) initial output and cell state.
        kernel: (F, 4H), gates in Keras' order i, f, c, o.
        recurrent_kernel: (H, 4H).
        bias: (4H,) or None.
        mask: (B, T) bool, True where the step counts, or None. A masked step keeps the state and
            repeats the previous output, zeros before the first.
        recurrent_dropout: (4, B, H) multipliers of h, one per gate, or None.
        activation, recurrent_activation: names in `ACTIVATIONS`.
        go_backwards: read x and mask from the last step to the first.
        return_sequences: y is (B, T, H) in the order in which the steps are read, else (B, H), the
            last output.
        zero_output_for_mask: masked steps give zeros instead.

    Returns:
        (y, h, c) in float64; h and c are (B, H).
    """
    x, h, c, kernel, recurrent_kernel, bias = _float64(x, h0, c0, kernel, recurrent_kernel, bias)
    act, rec = ACTIVATIONS[activation][0], ACTIVATIONS[recurrent_activation][0]
    dropout = _dropout_per_gate(recurrent_dropout, *h.shape)
    output, outputs = np.zeros_like(h), []
    for x_t, active in zip(*_steps(x, mask, go_backwards), strict=True):
        z = _pre_activations(x_t, h, kernel, recurrent_kernel, bias, dropout)
        new_c = rec(z[:, 1]) * c + rec(z[:, 0]) * act(z[:, 2])
        new_h = rec(z[:, 3]) * act(new_c)
        keep = active[:, None]
        c, h = np.where(keep, new_c, c), np.where(keep, new_h, h)
        output = np.where(keep, new_h, 0.0 if zero_output_for_mask else output)
        outputs.append(output)
    if return_sequences:
        return np.stack(outputs, 1) if outputs else np.zeros((len(h), 0, h.shape[1])), h, c
    return output, h, c


def lstm_backward(
    x,
    h0,
    c0,
    kernel,
    recurrent_kernel,
    bias=None,
    mask=None,
    recurrent_dropout=None,
    dy=None,
    dh=None,
    dc=None,
    *,
    activation="tanh",
    recurrent_activation="sigmoid",
    go_backwards=False,
    return_sequences=True,
    zero_output_for_mask=False,
):
    """Gradients of a scalar, given those by the results of `lstm_forward`: dy, dh and dc.

    Args:
        dy: like y of `lstm_forward`, or None for zeros.
        dh, dc: (B, H), or None for zeros.
        The others: as in `lstm_forward`.

    Returns:
        (dx, dh0, dc0, dkernel, drecurrent_kernel, dbias) in float64; dbias is None without bias.
    """
    x, h, c, kernel, recurrent_kernel, bias = _float64(x, h0, c0, kernel, recurrent_kernel, bias)
    (batch, time, features), units = x.shape, h.shape[1]
    (act, d_act), (rec, d_rec) = ACTIVATIONS[activation], ACTIVATIONS[recurrent_activation]
    dropout = _dropout_per_gate(recurrent_dropout, batch, units)
    inputs, actives = _steps(x, mask, go_backwards)

    trace = []
    for x_t, active in zip(inputs, actives, strict=True):
        z = _pre_activations(x_t, h, kernel, recurrent_kernel, bias, dropout)
        new_c = rec(z[:, 1]) * c + rec(z[:, 0]) * act(z[:, 2])
        trace.append((z, h, c, new_c))
        keep = active[:, None]
        h = np.where(keep, rec(z[:, 3]) * act(new_c), h)
        c = np.where(keep, new_c, c)

    dy, dh, dc = _float64(dy, dh, dc)
    dh = np.zeros((batch, units)) if dh is None else dh
    dc = np.zeros((batch, units)) if dc is None else dc
    d_outputs = np.zeros((time, batch, units))
    if dy is not None and time:
        d_outputs[:] = dy.transpose(1, 0, 2) if return_sequences else 0.0
        if not return_sequences:
            d_outputs[-1] = dy

    recurrent = recurrent_kernel.reshape(units, 4, units)
    dx = np.zeros((time, batch, features))
    d_kernel, d_recurrent = np.zeros_like(kernel), np.zeros_like(recurrent)
    d_bias, d_output = np.zeros(4 * units), np.zeros((batch, units))
    for t in reversed(range(time)):
        z, h_prev, c_prev, c_t = trace[t]
        keep = actives[t][:, None]
        if zero_output_for_mask:
            d_output = np.where(keep, d_outputs[t], 0.0)
        else:
            d_output = d_output + d_outputs[t]  # a masked step's output is the previous one
        d_h = np.where(keep, dh + d_output, 0.0)
        d_c = np.where(keep, dc, 0.0) + d_h * rec(z[:, 3]) * d_act(c_t)
        dz = np.stack(
            [
                d_c * act(z[:, 2]) * d_rec(z[:, 0]),
                d_c * c_prev * d_rec(z[:, 1]),
                d_c * rec(z[:, 0]) * d_act(z[:, 2]),
                d_h * act(c_t) * d_rec(z[:, 3]),
            ],
            axis=1,
        )
        dz = np.where(keep[:, None], dz, 0.0)  # a masked row's inputs may hold anything
        flat = dz.reshape(batch, 4 * units)
        dx[t] = flat @ kernel.T
        d_kernel += np.where(keep, inputs[t], 0.0).T @ flat
        d_bias += flat.sum(0)
        back = np.zeros((batch, units))
        for g in range(4):
            d_recurrent[:, g] += (h_prev * dropout[g]).T @ dz[:, g]
            back += (dz[:, g] @ recurrent[:, g].T) * dropout[g]
        dh = np.where(keep, back, dh)
        dc = np.where(keep, d_c * rec(z[:, 1]), dc)
        d_output = np.where(keep, 0.0, d_output)

    dx = (dx[::-1] if go_backwards else dx).transpose(1, 0, 2)
    d_recurrent = d_recurrent.reshape(units, 4 * units)
    return dx, dh, dc, d_kernel, d_recurrent, None if bias is None else d_bias
