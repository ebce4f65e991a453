"""`keras.layers.LSTM` on Keras' torch backend, eager as `fit` and `predict` run it."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import torch

from benchmarks.layers import make_layer
from benchmarks.machine import CORES
from benchmarks.peers import Computation
from benchmarks.problem import name_gradients

torch.set_num_threads(CORES)


def versions():
    return {"keras": keras.__version__, "torch": torch.__version__}


def refusal(case, mode):
    return None


def prepare(problem, mode, lstm=keras.layers.LSTM):
    layer = make_layer(problem, lstm)
    x, dy = torch.from_numpy(problem.x), torch.from_numpy(problem.dy)
    weights = [variable.value for variable in layer.trainable_variables]

    @torch.no_grad()
    def infer():
        return layer(x, training=False)

    def step():
        y = layer(x, training=True)
        return y, torch.autograd.grad(y, [x, *weights], dy)

    def training_results(returned):
        y, (dx, *by_weights) = returned
        gradients = name_gradients(0, *(g.numpy() for g in by_weights))
        return {"y": y.detach().numpy(), "dx": dx.numpy(), **gradients}

    if mode == "inference":
        return Computation(infer, lambda y: {"y": y.numpy()})
    x.requires_grad_()
    return Computation(step, training_results)
