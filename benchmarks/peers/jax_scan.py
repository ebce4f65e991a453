"""An LSTM by `jax.lax.scan` under `jax.jit`, time major.

JAX itself has no LSTM for the CPU; this is what its neural network libraries compile to. x·W is
one product for all steps before the scan, or one in each step, whichever is faster.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import Computation, fastest
from benchmarks.problem import name_gradients

jax.config.update("jax_enable_x64", True)
_ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


def versions():
    return {"jax": jax.__version__, "jaxlib": jax.lib.__version__}


def refusal(case, mode):
    return None


def prepare(problem, mode):
    return fastest([_prepare(problem, mode, ahead) for ahead in (True, False)])


def _prepare(problem, mode, ahead):
    """With `ahead`, x·W is computed for all steps before the scan."""
    case = problem.case
    x = jnp.asarray(problem.x.swapaxes(0, 1))
    dy = jnp.asarray(problem.dy.swapaxes(0, 1))
    parameters = [_parameters(weights) for weights in problem.weights]
    state = jnp.asarray(problem.h0), jnp.asarray(problem.c0)
    mask = None if problem.mask is None else jnp.asarray(problem.mask.T[..., None])
    dropout = problem.recurrent_dropout
    dropout = None if dropout is None else jnp.asarray(dropout)
    activation = _ACTIVATIONS[case.activation]

    def forward(x, parameters):
        outputs = [
            _lstm(x, weights, state, mask, dropout, activation, ahead, reverse=direction == 1)
            for direction, weights in enumerate(parameters)
        ]
        return jnp.concatenate([y for y, _ in outputs], -1), outputs[0][1]

    @jax.jit
    def infer(x, parameters):
        y, (h, c) = forward(x, parameters)
        return (y, h, c) if case.streaming else (y,)

    @jax.jit
    def step(x, parameters, dy):
        def outputs(parameters, x=x):
            return forward(x, parameters)[0]

        inputs = () if case.first_layer else (x,)
        y, pullback = jax.vjp(outputs, parameters, *inputs)
        return y, *pullback(dy)

    def inference_results(returned):
        y, *states = map(np.asarray, returned)
        return {"y": y.swapaxes(0, 1), **dict(zip("hc", states, strict=False))}

    def training_results(returned):
        y, by_weights, *by_x = returned
        named = {"y": np.asarray(y).swapaxes(0, 1)}
        if by_x:
            named["dx"] = np.asarray(by_x[0]).swapaxes(0, 1)
        for direction, gradients in enumerate(by_weights):
            named |= name_gradients(direction, *map(np.asarray, gradients))
        return named

    if mode == "inference":
        return Computation(lambda: jax.block_until_ready(infer(x, parameters)), inference_results)
    return Computation(lambda: jax.block_until_ready(step(x, parameters, dy)), training_results)


def _parameters(weights):
    arrays = [weights.kernel, weights.recurrent_kernel, weights.bias]
    return [jnp.asarray(array) for array in arrays if array is not None]


def _lstm(x, parameters, state, mask, dropout, activation, ahead, reverse):
    kernel, recurrent_kernel, *bias = parameters

    def project(x):
        z = x @ kernel
        return z + bias[0] if bias else z

    gate_kernels = jnp.stack(jnp.split(recurrent_kernel, 4, axis=1))

    def step(carry, inputs):
        h, c = carry
        z, keep = inputs
        z = z if ahead else project(z)
        if dropout is None:
            z = z + h @ recurrent_kernel
        else:
            z = z + jnp.concatenate(jnp.einsum("gbh,ghk->gbk", h * dropout, gate_kernels), -1)
        i, f, candidate, o = jnp.split(z, 4, axis=-1)
        c_next = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * activation(candidate)
        h_next = jax.nn.sigmoid(o) * activation(c_next)
        if keep is not None:
            h_next, c_next = jnp.where(keep, h_next, h), jnp.where(keep, c_next, c)
        return (h_next, c_next), h_next

    inputs = project(x) if ahead else x
    final, y = jax.lax.scan(step, state, (inputs, mask), reverse=reverse)
    return y, final
