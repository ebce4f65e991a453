"""The LSTM as a loop of Keras' operations, for the derivatives that the kernels do not have.

The kernels differentiate once. Anything beyond (a gradient penalty, a Hessian) has the numbers of
Keras' loop, and its speed, for that part alone.
"""

import keras
from keras import ops

from pylstm.errors import PylstmError
from pylstm.keras_graph import backend


def lstm_loop(
    x,
    h0,
    c0,
    kernel,
    recurrent_kernel,
    bias,
    mask,
    recurrent_dropout,
    *,
    activation,
    recurrent_activation,
    go_backwards,
    return_sequences,
    zero_output_for_mask,
):
    """What `lstm` of the modules here computes, in operations of Keras' backend; arguments as in
    `pylstm.lstm`.

    Returns:
        y, (B, T, H) or (B, H); h and c after the last step, (B, H).
    """
    act = getattr(keras.activations, activation)
    gate = getattr(keras.activations, recurrent_activation)
    recurrent_kernels = ops.split(recurrent_kernel, 4, axis=1)
    drops = None if recurrent_dropout is None else ops.unstack(recurrent_dropout)

    def step(x_t, states):
        h, c = states
        inputs = [h] * 4 if drops is None else [h * drop for drop in drops]
        z = ops.matmul(x_t, kernel)
        z = z + ops.concatenate(list(map(ops.matmul, inputs, recurrent_kernels)), axis=1)
        z_i, z_f, z_c, z_o = ops.split(z if bias is None else z + bias, 4, axis=1)
        c = gate(z_f) * c + gate(z_i) * act(z_c)
        h = gate(z_o) * act(c)
        return h, [h, c]

    last, every, (h, c) = backend.rnn(
        step,
        x,
        [h0, c0],
        go_backwards=go_backwards,
        mask=mask,
        zero_output_for_mask=zero_output_for_mask,
        return_all_outputs=return_sequences,
    )
    y = every if return_sequences else last
    if mask is not None and not zero_output_for_mask:  # where Keras' scan on JAX gives h0
        held = ~started(mask, go_backwards)
        held = held[..., None] if return_sequences else held[:, -1:]
        y = ops.where(held, ops.zeros_like(y), y)
    return y, h, c


def started(mask, go_backwards):
    """Returns bool (B, T), in the order of the outputs: whether any step up to it counts."""
    mask = ops.flip(mask, 1) if go_backwards else mask
    return ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0


def require_loop(framework):
    """Raises `PylstmError` where Keras' loop does not compute in `framework`."""
    if keras.backend.backend() != framework:
        raise PylstmError(
            "PYL134",
            expected="first derivatives",
            got="a derivative of a gradient",
            fix=f"KERAS_BACKEND={framework}, whose loop has it",
        )
