"""Arrays of each framework that `pylstm.lstm` takes, to and from NumPy."""

import importlib

import ml_dtypes
import numpy as np
import pytest


class NumPy:
    name = "numpy"

    def array(self, value):
        return value

    def numpy(self, array):
        return array


class TensorFlow:
    name = "tensorflow"

    def __init__(self):
        self.module = importlib.import_module("tensorflow")

    def array(self, value):
        return self.module.constant(value)

    def numpy(self, array):
        return array.numpy()

    def gradients(self, function, inputs, output_gradients):
        with self.module.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(*inputs)
        return tape.gradient(outputs, inputs, output_gradients)


class Torch:
    name = "torch"

    def __init__(self):
        self.module = importlib.import_module("torch")

    def array(self, value):
        if value.dtype == ml_dtypes.bfloat16:
            return self.module.from_numpy(value.astype("float32")).bfloat16()
        return self.module.from_numpy(value.copy())

    def numpy(self, array):
        if array.dtype == self.module.bfloat16:
            return array.detach().float().numpy().astype(ml_dtypes.bfloat16)
        return array.detach().numpy()

    def gradients(self, function, inputs, output_gradients):
        inputs = [tensor.requires_grad_() for tensor in inputs]
        return self.module.autograd.grad(function(*inputs), inputs, output_gradients)


class Jax:
    name = "jax"

    def __init__(self):
        self.module = importlib.import_module("jax")
        self.module.config.update("jax_enable_x64", True)

    def array(self, value):
        return self.module.numpy.asarray(value)

    def numpy(self, array):
        return np.asarray(array)

    def gradients(self, function, inputs, output_gradients):
        _, gradient = self.module.vjp(function, *inputs)
        return gradient(tuple(output_gradients))


FRAMEWORKS = {"numpy": NumPy, "tensorflow": TensorFlow, "torch": Torch, "jax": Jax}


def load(name):
    """The framework, or a skip that says that it is not installed."""
    pytest.importorskip(name, reason=f"{name} is not installed")
    return FRAMEWORKS[name]()
