"""Layers that hold a problem's weights, on the backend of Keras that the peer has chosen."""

import keras

import pylstm


def make_layer(problem, lstm):
    """Makes a layer of class `lstm`, built, with the problem's weights."""
    case = problem.case
    layer = lstm(
        case.units,
        activation=case.activation,
        use_bias=case.use_bias,
        recurrent_initializer="zeros",  # set below; the default, orthogonal, lacks bfloat16
        recurrent_dropout=case.recurrent_dropout,
        return_sequences=True,
        return_state=case.streaming,
        dtype=problem.x.dtype.name,
    )
    if case.bidirectional:
        layer = keras.layers.Bidirectional(layer)
    layer.build(problem.x.shape)
    layer.set_weights([w for direction in problem.weights for w in _present(direction)])
    if case.recurrent_dropout:
        masks = keras.ops.unstack(keras.ops.convert_to_tensor(problem.recurrent_dropout))
        layer.cell.get_recurrent_dropout_mask = lambda step_input: masks
    return layer


def fused_lstm(units, **options):
    """A `pylstm.LSTM` that raises an error where a slower path would run in silence."""
    return pylstm.LSTM(units, kernel="fused", **options)


def _present(weights):
    arrays = [weights.kernel, weights.recurrent_kernel, weights.bias]
    return [array for array in arrays if array is not None]
