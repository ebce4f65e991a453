"""`keras.layers.LSTM` on Keras' JAX backend, under `jax.jit` as `fit` and `predict` run it."""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import keras
import numpy as np

from benchmarks.layers import make_layer
from benchmarks.peers import Computation
from benchmarks.problem import name_gradients


def versions():
    return {"keras": keras.__version__, "jax": jax.__version__, "jaxlib": jax.lib.__version__}


def refusal(case, mode):
    return None


def prepare(problem, mode, lstm=keras.layers.LSTM):
    layer = make_layer(problem, lstm)
    weights = [variable.value for variable in layer.trainable_variables]
    others = [variable.value for variable in layer.non_trainable_variables]
    x, dy = jnp.asarray(problem.x), jnp.asarray(problem.dy)

    @jax.jit
    def infer(weights, x):
        return layer.stateless_call(weights, others, x, training=False)[0]

    @jax.jit
    def step(weights, x, dy):
        def forward(weights, x):
            return layer.stateless_call(weights, others, x, training=True)[0]

        y, pullback = jax.vjp(forward, weights, x)
        return y, *pullback(dy)

    def training_results(returned):
        y, by_weights, dx = returned
        gradients = name_gradients(0, *map(np.asarray, by_weights))
        return {"y": np.asarray(y), "dx": np.asarray(dx), **gradients}

    if mode == "inference":
        return Computation(
            lambda: jax.block_until_ready(infer(weights, x)), lambda y: {"y": np.asarray(y)}
        )
    return Computation(lambda: jax.block_until_ready(step(weights, x, dy)), training_results)
