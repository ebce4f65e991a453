"""`pylstm.ops.cuda` and the binding under it: NumPy is the framework, a CPU the device."""

import contextlib
import subprocess
import sys

import numpy as np
import pytest

from pylstm import reference
from pylstm.errors import DeviceError
from pylstm.ops import INPUTS, cuda
from tests.cuda import harness
from tests.cuda.harness import Case


class HostFramework:
    """Arrays of NumPy, as `pylstm.ops.cuda` asks for them; new ones are guarded and hold NaN."""

    OutOfMemory = MemoryError

    def __init__(self):
        self.made = {}
        self.elsewhere = set()  # the id of each array that is on another device

    def dense(self, array):
        return np.ascontiguousarray(array)

    def address(self, array):
        return array.ctypes.data

    def device(self, array):
        return "cuda:1" if id(array) in self.elsewhere else "cuda:0"

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
    tensors = [inputs[name] for name in INPUTS]
    *outputs, reserve = cuda.forward(framework, tensors, save_for_backward=True, **case.options())
    expected = reference.lstm_forward(**inputs, **case.options())
    for name, value, want in zip("yhc", outputs, expected, strict=True):
        assert case.error(value, want) <= 1, name
    gradients = cuda.backward(
        framework, tensors, reserve, output_gradients.values(), **case.options()
    )
    expected = reference.lstm_backward(**inputs, **output_gradients, **case.options())
    for value, want in zip(gradients, expected, strict=True):
        assert (value is None) == (want is None)
        if want is not None:
            assert case.error(value, want, backward=True) <= 1
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
    assert cuda.forward(framework, [inputs[name] for name in INPUTS])[-1] is None


def test_a_shape_that_does_not_fit(framework):
    inputs = Case().inputs()
    inputs["kernel"] = inputs["kernel"][:-1]
    with pytest.raises(ValueError, match=r"feature"):
        cuda.forward(framework, [inputs[name] for name in INPUTS])


def test_an_output_gradient_that_does_not_fit(framework):
    inputs = Case().inputs()
    tensors = [inputs[name] for name in INPUTS]
    *_, reserve = cuda.forward(framework, tensors, save_for_backward=True)
    with pytest.raises(ValueError, match=r"dh"):
        cuda.backward(framework, tensors, reserve, (None, inputs["h0"][:1], None))


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        ("kernel", np.float64, "expected: kernel of float32, as x(.|\n)*got: +kernel of float64"),
        ("recurrent_dropout", np.float16, "got: +recurrent_dropout of float16"),
        ("mask", np.float32, "expected: mask of bool(.|\n)*got: +mask of float32"),
        ("mask", np.int32, "got: +mask of int32"),
        ("dh", np.float64, "expected: dh of float32, as x(.|\n)*got: +dh of float64"),
    ],
)
def test_a_dtype_that_does_not_fit(framework, name, dtype, message):
    case = Case(mask="right", recurrent_dropout=True)
    arrays = case.inputs() | case.output_gradients()
    arrays[name] = arrays[name].astype(dtype)
    tensors = [arrays[name] for name in INPUTS]
    with pytest.raises(TypeError, match=message):
        cuda.backward(framework, tensors, None, [arrays[name] for name in ("dy", "dh", "dc")])
    if name in INPUTS:
        with pytest.raises(TypeError, match=message):
            cuda.forward(framework, tensors)


def test_an_array_on_another_device(framework):
    inputs = Case().inputs()
    framework.elsewhere.add(id(inputs["bias"]))
    with pytest.raises(DeviceError, match=r"PYL138(.|\n)*kernel on cuda:0(.|\n)*bias on cuda:1"):
        cuda.forward(framework, [inputs[name] for name in INPUTS])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda reserve: reserve[:-4], r"is uint8 \(1436,\) on cuda:0, expected .* \(1440,\)"),
        (lambda reserve: reserve[:0], r"is uint8 \(0,\)"),
        (lambda reserve: reserve.view(np.int8), r"is int8 \(1440,\)"),
        (lambda reserve: reserve.reshape(2, -1), r"is uint8 \(2, 720\)"),
        (lambda reserve: np.append(reserve, reserve)[8:1448], "is not aligned to 64 bytes"),
    ],
)
def test_a_reserve_that_is_not_that_of_forward(framework, spoil, message):
    inputs = Case().inputs()
    tensors = [inputs[name] for name in INPUTS]
    *_, reserve = cuda.forward(framework, tensors, save_for_backward=True)
    with pytest.raises(ValueError, match=message):
        cuda.backward(framework, tensors, spoil(reserve), (None, None, None))


def test_a_reserve_on_another_device(framework):
    inputs = Case().inputs()
    tensors = [inputs[name] for name in INPUTS]
    *_, reserve = cuda.forward(framework, tensors, save_for_backward=True)
    framework.elsewhere.add(id(reserve))
    with pytest.raises(ValueError, match=r"on cuda:1, expected .* on cuda:0"):
        cuda.backward(framework, tensors, reserve, (None, None, None))


def test_a_reserve_that_is_not_dense_is_copied(framework):
    case = Case()
    inputs, upstream = case.inputs(), case.output_gradients().values()
    tensors = [inputs[name] for name in INPUTS]
    *_, reserve = cuda.forward(framework, tensors, save_for_backward=True)
    framework.dense = lambda array: array if array.flags.c_contiguous else aligned_copy(array)
    expected = cuda.backward(framework, tensors, reserve, upstream)
    sparse = np.repeat(reserve, 2)[::2]
    for value, want in zip(
        cuda.backward(framework, tensors, sparse, upstream), expected, strict=True
    ):
        np.testing.assert_array_equal(value, want)


def aligned_copy(array):
    return harness.guarded(array.shape, array.dtype, array)


def test_a_workspace_that_is_not_aligned(framework, monkeypatch):
    def empty(shape, dtype, like):
        return harness.guarded(shape, dtype or like.dtype, unaligned=dtype == "uint8")

    monkeypatch.setattr(framework, "empty", empty)
    inputs = Case().inputs()
    with pytest.raises(ValueError, match="workspace is not aligned"):
        cuda.forward(framework, [inputs[name] for name in INPUTS])


def test_the_device_is_current_before_an_array_is_copied(framework, monkeypatch):
    """Also where there is no memory for the copy."""
    current = []

    @contextlib.contextmanager
    def on_device(array):
        current.append(framework.device(array))
        try:
            yield
        finally:
            current.pop()

    def dense(array):
        assert current == ["cuda:0"]
        raise MemoryError("tried to allocate 7 GiB")

    monkeypatch.setattr(framework, "on_device", on_device)
    monkeypatch.setattr(framework, "dense", dense)
    inputs = Case().inputs()
    tensors = [inputs[name] for name in INPUTS]
    with pytest.raises(DeviceError, match=r"PYL136(.|\n)*7 GiB"):
        cuda.forward(framework, tensors)
    with pytest.raises(DeviceError, match=r"PYL136(.|\n)*7 GiB"):
        cuda.backward(framework, tensors, None, (None, None, None))


def test_no_memory_left(framework, monkeypatch):
    def empty(shape, dtype, like):
        raise MemoryError("tried to allocate 7 GiB")

    monkeypatch.setattr(framework, "empty", empty)
    inputs = Case().inputs()
    with pytest.raises(DeviceError, match=r"PYL136(.|\n)*7 GiB(.|\n)*fix: +a smaller batch"):
        cuda.forward(framework, [inputs[name] for name in INPUTS])


def test_an_error_of_cuda(framework, binding, monkeypatch):
    def failing(array):
        error = binding.CudaError("CUDA: lstm_forward: an illegal memory access")
        error.status = 700
        raise error

    monkeypatch.setattr(framework, "current_stream", failing)
    inputs = Case().inputs()
    with pytest.raises(DeviceError, match=r"PYL137(.|\n)*got: +CUDA: lstm_forward: an illegal"):
        cuda.forward(framework, [inputs[name] for name in INPUTS])


def test_the_devices(binding):
    assert binding.devices() == [("shim", 90)]
    assert binding.driver_version() == binding.runtime_version == 13000


def test_an_unknown_activation(framework):
    inputs = Case().inputs()
    with pytest.raises(ValueError, match="unknown activation 'tanhh'"):
        cuda.forward(framework, [inputs[name] for name in INPUTS], activation="tanhh")


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


ENDLESS = """
import importlib.util, sys, threading
import numpy as np
spec = importlib.util.spec_from_file_location("_cuda", sys.argv[1])
cuda = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cuda)
shapes = {"x": (1, 1, 1), "h0": (1, 1), "c0": (1, 1), "kernel": (1, 4), "recurrent_kernel": (1, 4)}
call = cuda.Call(dtype="float32", shapes=shapes)
arrays = {name: np.zeros(shape, "float32") for name, shape in shapes.items()}
arrays |= {"y": arrays["x"], "h": arrays["h0"], "c": arrays["c0"]}
pointers = {name: array.ctypes.data for name, array in arrays.items()}
workspace = np.zeros(call.forward_workspace_bytes + 64, "uint8")
pointers["workspace"] = -(-workspace.ctypes.data // 64) * 64
started = threading.Event()
def compute():
    while True:
        call.forward(pointers, 0)
        started.set()
threading.Thread(target=compute, daemon=True).start()
assert started.wait(60)
"""


def test_the_process_ends_while_a_thread_computes(binding):
    command = [sys.executable, "-c", ENDLESS, binding.__file__]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
