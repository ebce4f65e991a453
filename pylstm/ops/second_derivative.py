"""The derivative of the fused operation's gradient, by a loop of TensorFlow operations.

The kernels differentiate once. Who asks for more (a gradient penalty, a Hessian, forward mode) gets
the numbers of Keras' loop, and its speed, for that part alone.
"""

import keras
import tensorflow as tf
from keras.src import backend


def second_derivative(arguments, upstream, outer, **options):
    """Differentiates the gradient of `pylstm.ops.tensorflow.lstm`.

    Args:
        arguments: x, h0, c0, kernel, recurrent_kernel, and three lists that hold at most one
            tensor each: bias, mask and recurrent_dropout. As for `lstm`.
        upstream: The gradients of y, h and c that the gradient was computed for.
        outer: What to weight the gradient by, for x, h0, c0, kernel, recurrent_kernel and, where
            there is one, the bias.
        **options: As for `lstm`.

    Returns:
        A list: the derivatives with respect to the tensors that `outer` names, then to `upstream`.
        None where there is no dependence.
    """
    *fixed, bias, mask, dropout = arguments
    # Copies, since one tensor may come in two places, and each has a derivative of its own.
    fixed, bias, upstream = tf.nest.map_structure(tf.identity, (fixed, bias, upstream))
    weighted = [*fixed, *bias]
    with tf.GradientTape() as second:
        second.watch([*weighted, *upstream])
        with tf.GradientTape() as first:
            first.watch(weighted)
            outputs = _loop(*fixed, bias, mask, dropout, **options)
        gradient = first.gradient(outputs, weighted, upstream, unconnected_gradients="zero")
    return second.gradient(gradient, [*weighted, *upstream], outer)


def _loop(
    x,
    h0,
    c0,
    kernel,
    recurrent_kernel,
    bias,
    mask,
    dropout,
    *,
    activation,
    recurrent_activation,
    go_backwards,
    return_sequences,
    zero_output_for_mask,
):
    """The outputs of `lstm`."""
    act, gate = (
        getattr(keras.activations, tf.compat.as_str(name))
        for name in (activation, recurrent_activation)
    )
    recurrent_kernels = tf.split(recurrent_kernel, 4, axis=1)

    def step(x_t, states):
        h, c = states
        inputs = [h * drop for drop in tf.unstack(dropout[0])] if dropout else [h] * 4
        z = tf.concat(list(map(tf.matmul, inputs, recurrent_kernels)), axis=1)
        z_i, z_f, z_c, z_o = tf.split(sum(bias, tf.matmul(x_t, kernel) + z), 4, axis=1)
        c = gate(z_f) * c + gate(z_i) * act(z_c)
        h = gate(z_o) * act(c)
        return h, [h, c]

    last, every, (h, c) = backend.rnn(
        step,
        x,
        [h0, c0],
        go_backwards=go_backwards,
        mask=mask[0] if mask else None,
        zero_output_for_mask=zero_output_for_mask,
        return_all_outputs=return_sequences,
    )
    return [every if return_sequences else last, h, c]
