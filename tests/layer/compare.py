"""Runs `pylstm.LSTM` and `keras.layers.LSTM` side by side."""

import keras
import numpy as np
import tensorflow as tf

import pylstm


def pair(units, features, *, seed=0, **options):
    """Makes both layers, stock first, built and with the same random weights.

    The biases are random too, so that no gate can be taken for another.
    """
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    stock = keras.layers.LSTM(units, **options)
    keras.utils.set_random_seed(seed)
    ours = pylstm.LSTM(units, kernel="fused", **options)
    for layer in (stock, ours):
        layer.build((options.get("batch_size"), None, features))
    weights = [rng.uniform(-0.6, 0.6, w.shape) for w in stock.weights]
    for layer in (stock, ours):
        layer.set_weights(weights)
    return stock, ours


def outputs_and_gradients(layer, x, initial_state=None, *, mask=None, training=True, seed=1):
    """Calls a layer and differentiates a random weighting of everything that it returns.

    Returns:
        Two lists of float64 arrays: the outputs, and the gradients with respect to x,
        the initial states if given, and the weights.
    """
    rng = np.random.default_rng(seed)
    x = tf.constant(x)
    states = [tf.constant(state) for state in initial_state or ()]
    with tf.GradientTape() as tape:
        tape.watch([x, *states])
        outputs = tf.nest.flatten(
            layer(x, initial_state=states or None, mask=mask, training=training)
        )
        loss = tf.add_n(
            [tf.reduce_sum(tf.cast(y, "float64") * rng.standard_normal(y.shape)) for y in outputs]
        )
    watched = [x, *states, *(w.value for w in layer.trainable_weights)]
    gradients = tape.gradient(loss, watched, unconnected_gradients="zero")
    return [_float64(y) for y in outputs], [_float64(g) for g in gradients]


def assert_same(ours, stock, rtol=1e-9, atol=1e-11):
    """Checks that the two results of `outputs_and_gradients` agree, piece by piece."""
    for kind, mine, theirs in zip(("output", "gradient"), ours, stock, strict=True):
        assert len(mine) == len(theirs)
        for index, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=f"{kind} {index}")


def _float64(tensor):
    return np.asarray(tf.cast(tensor, "float64"))
