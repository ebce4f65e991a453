"""`pylstm.ops.cuda` and the binding under it: NumPy is the framework, a CPU the device."""

import contextlib

import harness
import numpy as np
import pytest
from harness import Case

from pylstm import reference
from pylstm.errors import DeviceError
from pylstm.ops import cuda

NAMES = ("x", "h0", "c0", "kernel", "recurrent_kernel", "bias", "mask", "recurrent_dropout")


class HostFramework:
    """Arrays of NumPy, as `pylstm.ops.cuda` asks for them; new ones are guarded and hold NaN."""

    OutOfMemory = MemoryError

    def __init__(self):
        self.made = {}

    def dense(self, array):
        return np.ascontiguousarray(array)

    def address(self, array):
        return array.ctypes.data

    def empty(self, shape, dtype, like):
        array = harness.guarded(shape, dtype or like.dtype)
        self.made[len(self.made)] = array
        return array

    def current_stream(self, array):
        return 0

    def on_device(self, array):
        return contextlib.nullcontext()

    def allow_tf32(self):
        return False


@pytest.fixture
def framework(binding, monkeypatch):
    monkeypatch.setattr(cuda, "load_cuda", lambda: binding)
    return HostFramework()


@pytest.mark.parametrize("dtype", harness.DTYPES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mask": "holes", "recurrent_dropout": True, "return_sequences": False},
        {"use_bias": False, "go_backwards": True, "activation": "relu"},
    ],
)
def test_forward_and_backward(framework, dtype, options):
    case = Case(dtype=dtype, **options)
    inputs, output_gradients = case.inputs(), case.output_gradients()
    tensors = [inputs[name] for name in NAMES]
    *outputs, reserve = cuda.forward(framework, tensors, save_for_backward=True, **case.options())
    expected = reference.lstm_forward(**inputs, **case.options())
    for name, value, want in zip("yhc", outputs, expected, strict=True):
        assert harness.relative_error(value, want) <= case.tolerance, name
    gradients = cuda.backward(
        framework, tensors, reserve, output_gradients.values(), **case.options()
    )
    expected = reference.lstm_backward(**inputs, **output_gradients, **case.options())
    for value, want in zip(gradients, expected, strict=True):
        assert (value is None) == (want is None)
        if want is not None:
            assert harness.relative_error(value, want) <= 2 * case.tolerance
    no_dx, *others = cuda.backward(
        framework,
        tensors,
        reserve,
        output_gradients.values(),
        input_gradient=False,
        **case.options(),
    )
    assert no_dx is None
    for value, want in zip(others, gradients[1:], strict=True):
        np.testing.assert_array_equal(value, want)
    harness.assert_guards_intact(framework.made)


def test_inference_keeps_no_reserve(framework):
    inputs = Case().inputs()
    assert cuda.forward(framework, [inputs[name] for name in NAMES])[-1] is None


def test_a_shape_that_does_not_fit(framework):
    inputs = Case().inputs()
    inputs["kernel"] = inputs["kernel"][:-1]
    with pytest.raises(ValueError, match=r"feature"):
        cuda.forward(framework, [inputs[name] for name in NAMES])


def test_an_output_gradient_that_does_not_fit(framework):
    inputs = Case().inputs()
    tensors = [inputs[name] for name in NAMES]
    *_, reserve = cuda.forward(framework, tensors, save_for_backward=True)
    with pytest.raises(ValueError, match=r"dh"):
        cuda.backward(framework, tensors, reserve, (None, inputs["h0"][:1], None))


def test_no_memory_left(framework, monkeypatch):
    def empty(shape, dtype, like):
        raise MemoryError("tried to allocate 7 GiB")

    monkeypatch.setattr(framework, "empty", empty)
    inputs = Case().inputs()
    with pytest.raises(DeviceError, match=r"PYL136(.|\n)*7 GiB(.|\n)*fix: +a smaller batch"):
        cuda.forward(framework, [inputs[name] for name in NAMES])


def test_an_error_of_cuda(framework, binding, monkeypatch):
    def failing(array):
        error = binding.CudaError("CUDA: lstm_forward: an illegal memory access")
        error.status = 700
        raise error

    monkeypatch.setattr(framework, "current_stream", failing)
    inputs = Case().inputs()
    with pytest.raises(DeviceError, match=r"PYL137(.|\n)*got: +CUDA: lstm_forward: an illegal"):
        cuda.forward(framework, [inputs[name] for name in NAMES])


def test_the_devices(binding):
    assert binding.devices() == [("shim", 90)]
    assert binding.driver_version() == binding.runtime_version == 13000


def test_an_unknown_activation(framework):
    inputs = Case().inputs()
    with pytest.raises(ValueError, match="unknown activation 'tanhh'"):
        cuda.forward(framework, [inputs[name] for name in NAMES], activation="tanhh")


def test_a_missing_pointer(binding):
    shapes = {
        "x": [2, 3, 4],
        "h0": [2, 5],
        "c0": [2, 5],
        "kernel": [4, 20],
        "recurrent_kernel": [5, 20],
    }
    call = binding.Call(dtype="float32", shapes=shapes)
    with pytest.raises(KeyError, match="x"):
        call.forward(pointers={}, stream=0)


def test_the_kernel_that_runs_it(binding):
    shapes = {
        "x": [2, 3, 4],
        "h0": [2, 5],
        "c0": [2, 5],
        "kernel": [4, 20],
        "recurrent_kernel": [5, 20],
    }
    assert binding.Call(dtype="float16", shapes=shapes).kernel[0] == "block"
    name, reason = binding.Call(dtype="float32", shapes=shapes).kernel
    assert name == "step"
    assert "TF32 is off" in reason
