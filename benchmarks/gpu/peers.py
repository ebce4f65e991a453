"""What is timed beside each other on a GPU."""

import importlib.util

import torch

from benchmarks.peers import Computation, torch_lstm
from benchmarks.problem import name_gradients
from pylstm import functional

DEVICE = "cuda"


class Pylstm:
    """`pylstm.lstm` on torch tensors."""

    def refusal(self, case, mode):
        return None

    def prepare(self, problem, mode):
        (weights,) = problem.weights
        arrays = (problem.x, weights.kernel, weights.recurrent_kernel, weights.bias)
        x, *by_weights = trained = [_tensor(array) for array in arrays if array is not None]
        options = {
            "mask": _tensor(problem.mask),
            "recurrent_dropout": _tensor(problem.recurrent_dropout),
            "activation": problem.case.activation,
        }

        @torch.inference_mode()
        def infer():
            return functional.lstm(x, *by_weights, **options)

        def step():
            y = functional.lstm(x, *by_weights, **options)
            return y, torch.autograd.grad(y, trained, dy)

        def results(returned):
            y, gradients = returned
            dx, *by_weights = map(torch_lstm.to_numpy, gradients)
            return {"y": torch_lstm.to_numpy(y), "dx": dx} | name_gradients(0, *by_weights)

        if mode == "inference":
            return Computation(infer, lambda y: {"y": torch_lstm.to_numpy(y)})
        for value in trained:
            value.requires_grad_()
        dy = _tensor(problem.dy)
        return Computation(step, results)

    def synchronize(self):
        if DEVICE == "cuda":
            torch.cuda.synchronize()


class Cudnn(Pylstm):
    """`torch.nn.LSTM`: cuDNN, with packed sequences where rows have lengths."""

    packed = True

    def refusal(self, case, mode):
        return torch_lstm.refusal(case, mode)

    def prepare(self, problem, mode):
        return torch_lstm.prepare_one(problem, mode, self.packed, DEVICE)


class CudnnUnpacked(Cudnn):
    """The same, over the padding on the right, too: its outputs there differ and do not count."""

    packed = False

    def refusal(self, case, mode):
        return super().refusal(case, mode) if case.padding else "no padding"


class Keras:
    """`keras.layers.LSTM` on TensorFlow, where that has a GPU."""

    def refusal(self, case, mode):
        if importlib.util.find_spec("tensorflow") is None:
            return "no TensorFlow"
        import tensorflow as tf

        return None if tf.config.list_physical_devices("GPU") else "TensorFlow finds no GPU"

    def prepare(self, problem, mode):
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(problem.case.dtype == "tf32")
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)  # torch is in this process, too
        return self._module().prepare(problem, mode)

    def synchronize(self):
        import tensorflow as tf

        tf.test.experimental.sync_devices()

    def _module(self):
        from benchmarks.peers import keras_layer

        return keras_layer


class PylstmLayer(Keras):
    """`pylstm.LSTM` on TensorFlow, where that has a GPU."""

    def _module(self):
        from benchmarks.peers import pylstm_layer

        return pylstm_layer


PEERS = {
    "pylstm": Pylstm(),
    "cudnn": Cudnn(),
    "cudnn_unpacked": CudnnUnpacked(),
    "pylstm_layer": PylstmLayer(),
    "keras_layer": Keras(),
}


def _tensor(array):
    return None if array is None else torch_lstm.to_tensor(array).to(DEVICE)
