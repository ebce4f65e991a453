"""`keras.layers.LSTM` on the TensorFlow backend, in a compiled `tf.function` as `fit` runs it,
or eager."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf

from benchmarks.layers import make_layer
from benchmarks.peers import Computation
from benchmarks.problem import name_gradients


def versions():
    return {"keras": keras.__version__, "tensorflow": tf.__version__}


def refusal(case, mode):
    return None


def prepare(problem, mode, lstm=keras.layers.LSTM):
    """Prepares a layer of class `lstm` with the problem's weights."""
    layer = make_layer(problem, lstm)
    x = tf.constant(problem.x)
    mask = None if problem.mask is None else tf.constant(problem.mask)
    if problem.case.streaming:
        return _streaming(problem, layer, x)
    return (_inference if mode == "inference" else _training)(problem, layer, x, mask)


def _inference(problem, layer, x, mask):
    def forward(x, mask):
        return layer(x, mask=mask, training=False)

    return Computation(_call_of(problem, forward, x, mask), lambda y: {"y": y.numpy()})


def _streaming(problem, layer, x):
    def step(x, h, c):
        return layer(x, initial_state=[h, c], training=False)

    states = tf.constant(problem.h0), tf.constant(problem.c0)
    return Computation(
        _call_of(problem, step, x, *states),
        lambda out: dict(zip("yhc", (t.numpy() for t in out), strict=True)),
    )


def _training(problem, layer, x, mask):
    inputs = 0 if problem.case.first_layer else 1

    def step(x, mask, dy):
        watched = [x] * inputs
        with tf.GradientTape() as tape:
            tape.watch(watched)
            y = layer(x, mask=mask, training=True)
        sources = [*watched, *layer.trainable_variables]
        return y, tape.gradient(y, sources, output_gradients=dy)

    def results(returned):
        y, gradients = returned
        named, by_weights = {"y": y.numpy()}, gradients[inputs:]
        if inputs:
            named["dx"] = gradients[0].numpy()
        each = len(by_weights) // len(problem.weights)
        for direction in range(len(problem.weights)):
            own = by_weights[direction * each : (direction + 1) * each]
            named |= name_gradients(direction, *(g.numpy() for g in own))
        return named

    dy = tf.constant(problem.dy)
    return Computation(_call_of(problem, step, x, mask, dy), results)


def _call_of(problem, function, *args):
    """A call of `function` on `args`: eager, or as a graph without the search for it.

    That search is 0.1 ms of Python, which a model pays once for all of its layers.
    """
    if problem.case.eager:
        return lambda: function(*args)
    graph = tf.function(function).get_concrete_function(*args)
    return lambda: graph(*args)
