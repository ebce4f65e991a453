"""Runs `pylstm.LSTM` and `keras.layers.LSTM` side by side, on any backend of Keras."""

import keras
import numpy as np
import pytest
from keras import ops

import pylstm

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow alone has it"
)
# Keras' tanh and others compute in float32 there, in float64 layers too.
KERAS_ROUNDS = keras.backend.backend() != "tensorflow"


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

    def weighting(x, *states):
        rng = np.random.default_rng(seed)
        outputs = keras.tree.flatten(
            layer(x, initial_state=list(states) or None, mask=mask, training=training)
        )
        weights = [ops.convert_to_tensor(rng.standard_normal(y.shape)) for y in outputs]
        terms = [ops.cast(y, "float64") * w for y, w in zip(outputs, weights, strict=True)]
        return sum(map(ops.sum, terms)), outputs

    keras.utils.set_random_seed(seed)  # on torch, dropout draws from one generator for all layers
    arrays = [x, *(initial_state or ())]
    outputs, gradients = differentiate(weighting, arrays, layer.trainable_variables)
    return [_float64(y) for y in outputs], [_float64(g) for g in gradients]


def differentiate(function, tensors, variables):
    """Calls `function(*tensors)`, which returns a number and what else it made.

    Returns:
        What else it made, and the gradients of the number with respect to tensors and variables,
        zeros where there is no dependence. They can be differentiated in turn.
    """
    tensors = [ops.convert_to_tensor(tensor) for tensor in tensors]
    return _DIFFERENTIATE[keras.backend.backend()](function, tensors, variables)


def _with_tensorflow(function, tensors, variables):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensors)
        number, others = function(*tensors)
    sources = [*tensors, *(v.value for v in variables)]
    return others, tape.gradient(number, sources, unconnected_gradients="zero")


def _with_jax(function, tensors, variables):
    import jax

    def of_all(tensors, weights):
        with keras.StatelessScope(list(zip(variables, weights, strict=True))):
            return function(*tensors)

    weights = [v.value for v in variables]
    (by_tensors, by_weights), others = jax.grad(of_all, (0, 1), has_aux=True)(tensors, weights)
    return others, [*by_tensors, *by_weights]


def _with_torch(function, tensors, variables):
    import torch

    tensors = [t if t.requires_grad else t.detach().requires_grad_() for t in tensors]
    number, others = function(*tensors)
    sources = [*tensors, *(v.value for v in variables)]
    return others, torch.autograd.grad(number, sources, create_graph=True, materialize_grads=True)


_DIFFERENTIATE = {"tensorflow": _with_tensorflow, "jax": _with_jax, "torch": _with_torch}


def assert_same(ours, stock, rounded=False):
    """Checks that the two results of `outputs_and_gradients` agree, piece by piece."""
    for kind, mine, theirs in zip(("output", "gradient"), ours, stock, strict=True):
        assert len(mine) == len(theirs)
        for index, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            assert_close(a, b, rounded, f"{kind} {index}")


def assert_close(ours, stock, rounded=False, what=""):
    """Checks that two float64 tensors agree.

    Args:
        rounded: Whether an activation of Keras computes with numbers rounded to float32.
    """
    rtol, atol = (1e-5, 1e-6) if rounded or KERAS_ROUNDS else (1e-9, 1e-11)
    np.testing.assert_allclose(_float64(ours), _float64(stock), rtol=rtol, atol=atol, err_msg=what)


def _float64(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float64"))
