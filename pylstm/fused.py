"""One call of the fused operation instead of Keras' loop over the time steps."""

import keras
from keras import ops

from pylstm.keras_graph import AutocastScope
from pylstm.ops import load_ops
from pylstm.ops.loop import started
from pylstm.routing import activation_name

_GATES = 4


def fused_loop(layer, sequences, initial_state, mask, training):
    """Computes what `keras.layers.RNN.inner_loop` computes for an LSTM cell.

    Dropout masks come from the layer's own cell, which draws them as it does in stock
    Keras: a seed gives the same numbers.

    Args:
        layer: A built `pylstm.LSTM`.
        sequences: `(batch, time, features)`.
        initial_state: `h` and `c`, each `(batch, units)`.
        mask: Boolean `(batch, time)` or `(batch, time, 1)`, a list that holds it, or None.
        training: A bool, or a tensor where a graph decides.

    Returns:
        The last output, all outputs and the list of both states, in the dtype that the
        cell computes in. Of the first two `keras.layers.RNN` reads the one that
        `return_sequences` asks for, so both are that one.
    """
    cell = layer.cell
    dtype = cell.compute_dtype
    sequences = _tensor(sequences, dtype)
    with AutocastScope(None):  # a wrapper's scope would round a cell's weights of another dtype
        kernel, recurrent_kernel = (_tensor(w, dtype) for w in (cell.kernel, cell.recurrent_kernel))
        bias = _tensor(cell.bias, dtype) if cell.use_bias else None
    h0, c0 = (_tensor(state, dtype) for state in initial_state)
    backend = keras.backend.backend()
    if layer.stateful and sequences.shape[0] is None:
        h0, c0 = _any_batch(h0), _any_batch(c0)
    if layer.stateful and backend == "torch":  # Keras writes the new states over these
        h0, c0 = ops.copy(h0), ops.copy(c0)
    if 0 < cell.dropout < 1 and training:
        drop = cell.get_dropout_mask(sequences[:, 0, :])
        sequences, kernel = _drop_features(sequences, kernel, drop)
    mask = _step_mask(mask)
    options = {}
    # The cell that Keras makes for recurrent dropout has implementation 1; others ignore the rate.
    if cell.implementation == 1 and 0 < cell.recurrent_dropout < 1 and training:
        options["recurrent_dropout"] = ops.stack(cell.get_recurrent_dropout_mask(h0))
    if backend == "tensorflow":  # whose graphs do not know whether a gradient will be asked for
        options["save_for_backward"] = True if ops.is_tensor(training) else bool(training)
    outputs, h, c = load_ops(backend).lstm(
        sequences,
        h0,
        c0,
        kernel,
        recurrent_kernel,
        bias,
        mask=mask,
        activation=activation_name(cell.activation),
        recurrent_activation=activation_name(cell.recurrent_activation),
        go_backwards=bool(layer.go_backwards),
        return_sequences=bool(layer.return_sequences),
        zero_output_for_mask=bool(layer.zero_output_for_mask),
        **options,
    )
    if backend == "jax" and mask is not None and not layer.unroll:
        outputs = _held_before_start(layer, outputs, mask, h0, h)
    return outputs, outputs, [h, c]


def _tensor(value, dtype):
    """The tensor in `dtype` behind a tensor or a Keras variable, without a needless copy."""
    if isinstance(value, keras.Variable):
        value = value.value
    same = keras.backend.standardize_dtype(value.dtype) == dtype
    return value if same else ops.cast(value, dtype)


def _any_batch(state):
    """A state that does not tell its batch size.

    Operations after the LSTM would otherwise rely on that size, and fail in their own words
    before the check that the sequences have it.
    """
    import tensorflow as tf

    return tf.raw_ops.PlaceholderWithDefault(input=state, shape=[None, state.shape[1]])


def _held_before_start(layer, outputs, mask, h0, h):
    """The outputs as Keras' scan on JAX gives them: before the first step that counts they are the
    initial state, where the op and other backends give zeros."""
    if layer.zero_output_for_mask:
        return outputs
    if not layer.return_sequences:
        return h
    counted = started(mask, layer.go_backwards)[..., None]
    return ops.where(counted, outputs, h0[:, None])


def _drop_features(sequences, kernel, drop):
    """Applies dropout to the features.

    Args:
        sequences: `(B, T, F)`.
        kernel: `(F, 4H)`.
        drop: Multipliers `(B, F)`, or, where the cell runs its `implementation=1`, a
            list of four of them, one for each gate.

    Returns:
        Sequences and kernel whose product is that of the dropped sequences. For four
        masks they are the four dropped sequences side by side, `(B, T, 4F)`, and a
        block-diagonal kernel `(4F, 4H)` by which each gate sees its own.
    """
    if not isinstance(drop, list):
        return sequences * ops.expand_dims(drop, 1), kernel
    sequences = ops.concatenate([sequences * ops.expand_dims(d, 1) for d in drop], axis=-1)
    features, columns = kernel.shape
    gates = ops.reshape(kernel, (1, features, _GATES, columns // _GATES))
    own = ops.reshape(ops.eye(_GATES, dtype=kernel.dtype), (_GATES, 1, _GATES, 1))
    return sequences, ops.reshape(gates * own, (_GATES * features, columns))


def _step_mask(mask):
    """The mask as the operation takes it, boolean `(batch, time)`, or None."""
    if keras.tree.is_nested(mask):
        mask = mask[0]
    if mask is None:
        return None
    if len(mask.shape) == 3:
        mask = ops.squeeze(mask, -1)
    return ops.cast(mask, "bool")
