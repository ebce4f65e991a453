"""The LSTM as a TensorFlow operation with a gradient, eager and in graphs.

Importing this module registers the operation: a SavedModel that holds it loads after
`import pylstm`.
"""

import functools

import numpy as np
import tensorflow as tf
from tensorflow.python.eager.record import could_possibly_record
from tensorflow.python.framework import kernels
from tensorflow.python.ops.resource_variable_ops import is_resource_variable

from pylstm._library import load_tensorflow_ops
from pylstm.ops import OPTIONS, in_xla
from pylstm.ops.loop import lstm_loop, require_loop

_ops = load_tensorflow_ops()
_FIXED_INPUTS = 5  # x, h0, c0, kernel, recurrent_kernel; those that may be absent follow
_OUTPUTS = 3  # y, h, c, without the reserve


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
    save_for_backward=None,
):
    """Runs an LSTM over a batch of sequences; arguments as in `pylstm.lstm`, and one more.

    Args:
        save_for_backward: Keep what the gradient needs, 5·B·T·H numbers; else a gradient runs the
            forward pass again. None keeps it in graphs and under a tape.

    Returns:
        y, (B, T, H) or (B, H); h and c after the last step, (B, H).

    Raises:
        ValueError: Shapes known to a graph do not fit.
        tf.errors.InvalidArgumentError: Shapes of a call do not fit.
    """
    if save_for_backward is None:
        save_for_backward = tf.inside_function() or could_possibly_record()
    y, h, c, _ = _ops.pylstm_lstm(
        x,
        h0,
        c0,
        kernel,
        recurrent_kernel,
        [] if bias is None else [bias],
        [] if mask is None else [mask],
        [] if recurrent_dropout is None else [recurrent_dropout],
        activation,
        recurrent_activation,
        go_backwards,
        return_sequences,
        zero_output_for_mask,
        save_for_backward,
        is_resource_variable(kernel) and is_resource_variable(recurrent_kernel),
    )
    return y, h, c


def zero_state(x, units):
    """Returns zeros (B, H) for inputs x (B, T, F)."""
    batch = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
    return tf.zeros((batch, units), x.dtype)


def own(tensors):
    """Returns the arguments of `lstm`, NumPy arrays as tensors that may share their memory."""
    return [tf.convert_to_tensor(t) if isinstance(t, np.ndarray) else t for t in tensors]


def stacked(values):
    """Returns an array of a list whose numbers NumPy cannot read, such as of symbolic tensors."""
    return tf.convert_to_tensor(values)


def mask_from_lengths(lengths, x, mask):
    """Returns the mask (B, T), or all True for None, with False from step lengths[b] on."""
    within = tf.sequence_mask(lengths, tf.shape(x)[1])
    return within if mask is None else tf.logical_and(mask, within)


@functools.cache
def devices():
    """Returns the kinds of device that the operation has kernels for, such as "CPU"."""
    registered = kernels.get_registered_kernels_for_op("PylstmLstm").kernel
    return sorted({kernel.device_type for kernel in registered})


def only_keras_uses_the_gpu():
    """Whether Keras' loop would run on a GPU, for which the operation has no kernel here."""
    return "GPU" not in devices() and bool(tf.config.get_visible_devices("GPU"))


def obstacle(x):
    """A clause that says what keeps a layer of Keras from the op for x (B, T, F), or None."""
    if in_xla():
        return "XLA (jit_compile=True) cannot call the fused kernel"
    return None


@tf.RegisterGradient("PylstmLstm")
def _lstm_gradient(op, dy, dh, dc, _):
    inputs = _grouped(op)
    options = {name: op.get_attr(name) for name in OPTIONS}
    y, h, c, reserve = op.outputs
    if not op.get_attr("save_for_backward"):
        reserve = _ops.pylstm_lstm(*inputs, **options, save_for_backward=True).reserve
    # A tape tells this of its operations; those of graphs tell nothing.
    input_gradient = 0 not in (getattr(op, "skip_input_indices", None) or ())
    with tf.device(reserve.device):  # its layout is that of this device's kernels
        dx, *others, dbias = _ops.pylstm_lstm_grad(
            *inputs,
            reserve,
            _dense(dy, y),
            _dense(dh, h),
            _dense(dc, c),
            **options,
            input_gradient=input_gradient,
        )
    without_gradient = [None] * (op.get_attr("n_mask") + op.get_attr("n_dropout"))
    return [dx if input_gradient else None, *others, *dbias, *without_gradient]


@tf.RegisterGradient("PylstmLstmGrad")
def _gradient_of_gradient(op, *outer):
    """The derivatives of the op's gradient, weighted by `outer`: by a loop."""
    require_loop("tensorflow")
    *fixed, bias, mask, dropout = _grouped(op)
    constant = [group[0] if group else None for group in (mask, dropout)]
    options = {name: op.get_attr(name) for name in OPTIONS}
    for role in ("activation", "recurrent_activation"):
        options[role] = options[role].decode()
    outer = [_dense(weight, output) for weight, output in zip(outer, op.outputs, strict=True)]
    # Copies: one tensor may be two arguments, and each has a derivative of its own.
    weighted, upstream = tf.nest.map_structure(
        tf.identity, ([*fixed, *bias], list(op.inputs[-_OUTPUTS:]))
    )
    no_bias = [] if bias else [None]
    with tf.GradientTape() as second:
        second.watch([*weighted, *upstream])
        with tf.GradientTape() as first:
            first.watch(weighted)
            outputs = lstm_loop(*weighted, *no_bias, *constant, **options)
        gradient = first.gradient(outputs, weighted, upstream, unconnected_gradients="zero")
    if not op.get_attr("input_gradient"):
        gradient, outer = gradient[1:], outer[1:]
    result = second.gradient(gradient, [*weighted, *upstream], outer)
    without = [None] * (len(op.inputs) - len(result))  # mask, recurrent dropout and reserve
    return [*result[:-_OUTPUTS], *without, *result[-_OUTPUTS:]]


def _grouped(op):
    """The op's inputs, those that may be absent as lists."""
    inputs = list(op.inputs)
    groups, start = inputs[:_FIXED_INPUTS], _FIXED_INPUTS
    for count in ("n_bias", "n_mask", "n_dropout"):
        end = start + op.get_attr(count)
        groups.append(inputs[start:end])
        start = end
    return groups


def _dense(gradient, output):
    """The gradient as a tensor: zeros where nothing depends on the output."""
    return tf.zeros_like(output) if gradient is None else tf.convert_to_tensor(gradient)
