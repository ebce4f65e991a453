"""CuPy's and torch's ways to the kernels, through the shim: host memory stands for the GPU's."""

import contextlib
import functools
import sys
import types
from typing import ClassVar

import numpy as np
import pytest

from pylstm import functional, ops, reference
from pylstm.errors import DeviceError
from pylstm.ops import cuda
from tests.cuda import harness
from tests.cuda.harness import Case

STREAM = 4096  # what the shim gets and leaves alone


class Recorder:
    """`pylstm._cuda`, which also keeps the streams that it was called with."""

    def __init__(self, binding):
        self._binding = binding
        self.streams = []
        self.CudaError = binding.CudaError

    def Call(self, **options):
        call = self._binding.Call(**options)
        return types.SimpleNamespace(
            forward_workspace_bytes=call.forward_workspace_bytes,
            backward_workspace_bytes=call.backward_workspace_bytes,
            reserve_bytes=call.reserve_bytes,
            forward=functools.partial(self._run, call.forward),
            backward=functools.partial(self._run, call.backward),
        )

    def _run(self, run, pointers, stream):
        self.streams.append(stream)
        run(pointers, stream)


@pytest.fixture
def recorder(binding, monkeypatch):
    recorder = Recorder(binding)
    monkeypatch.setattr(cuda, "load_cuda", lambda: recorder)
    return recorder


class Device(contextlib.AbstractContextManager):
    """CuPy's; as a context it is the current one."""

    current: ClassVar = [0]  # the last

    def __init__(self, number):
        self.id = number

    def __enter__(self):
        self.current.append(self.id)

    def __exit__(self, *_):
        self.current.pop()


class Array(np.ndarray):
    """CuPy's array as far as pylstm uses it: it is on the device that was current."""

    device = None  # NumPy's own cannot be set

    def __array_finalize__(self, _):
        self.device = Device(Device.current[-1])

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.ctypes.data)


class Foreign:
    """Another library's array on the GPU."""

    def __init__(self, array):
        self.array = array
        self.__cuda_array_interface__ = {"version": 3}


@pytest.fixture
def cupy(monkeypatch):
    """A module of the name, on host memory."""

    def asarray(value):
        if isinstance(value, Array) and value.device.id == Device.current[-1]:
            return value
        return np.asarray(value.array if isinstance(value, Foreign) else value).view(Array)

    module = types.ModuleType("cupy")
    module.ndarray = Array
    module.asarray = asarray
    module.ascontiguousarray = lambda a: asarray(a) if a.flags.c_contiguous else a.copy()
    module.empty = lambda shape, dtype: harness.guarded(shape, dtype).view(Array)
    module.zeros = lambda shape, dtype: np.zeros(shape, dtype).view(Array)
    module.arange = lambda stop: np.arange(stop).view(Array)
    stream = types.SimpleNamespace(ptr=STREAM)
    memory = types.SimpleNamespace(OutOfMemoryError=MemoryError)
    module.cuda = types.SimpleNamespace(memory=memory, get_current_stream=lambda number: stream)
    Array.__module__ = "cupy"
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.delitem(sys.modules, "pylstm.ops.cupy", raising=False)
    monkeypatch.setattr(ops, "_loaded", {})
    functional._module_name.cache_clear()
    functional._framework_of.cache_clear()
    yield module
    sys.modules.pop("pylstm.ops.cupy", None)


CASE = Case(batch=3, time=4, features=5, units=7)


def arguments():
    inputs = CASE.inputs()
    expected = reference.lstm_forward(**inputs)[0]
    state = [inputs.pop("h0"), inputs.pop("c0")]
    return {n: a for n, a in inputs.items() if a is not None}, state, expected


@pytest.mark.parametrize("among", [(), ("kernel",), ("x", "recurrent_kernel", "bias")])
def test_cupy(recorder, cupy, among):
    """NumPy's arrays `among` CuPy's are copied."""
    inputs, state, expected = arguments()
    inputs = {n: a if n in among else cupy.asarray(a) for n, a in inputs.items()}
    y = functional.lstm(**inputs, initial_state=state)
    assert isinstance(y, Array)
    assert CASE.error(y, expected) <= 1
    assert recorder.streams == [STREAM]


def test_cupy_without_memory_for_a_copy(recorder, cupy, monkeypatch):
    inputs, state, _ = arguments()
    inputs["x"] = cupy.asarray(inputs["x"])

    def asarray(value):
        raise MemoryError("tried to allocate 7 GiB")

    monkeypatch.setattr(cupy, "asarray", asarray)
    with pytest.raises(DeviceError, match=r"PYL136(.|\n)*7 GiB"):
        functional.lstm(**inputs, initial_state=state)


def test_cuda_array_interface(recorder, cupy):
    inputs, state, expected = arguments()
    y = functional.lstm(**{n: Foreign(a) for n, a in inputs.items()}, initial_state=state)
    assert isinstance(y, Array)
    assert CASE.error(y, expected) <= 1


def test_cupy_arrays_on_two_gpus(recorder, cupy):
    inputs, state, _ = arguments()
    inputs = {n: cupy.asarray(a) for n, a in inputs.items()}
    inputs["kernel"].device = Device(1)
    with pytest.raises(DeviceError, match=r"PYL138(.|\n)*x on cuda:0, kernel on cuda:1"):
        functional.lstm(**inputs, initial_state=state)


@pytest.mark.parametrize("among", [(), ("x",)])
def test_cupy_on_a_gpu_that_is_not_the_current_one(recorder, cupy, monkeypatch, among):
    """Without a state, with lengths and a mask, and a kernel that is not dense: all that is made
    for the call is made there."""
    made = []
    for name in ("asarray", "ascontiguousarray", "empty", "zeros", "arange"):
        make = getattr(cupy, name)

        def on_current(*args, make=make):
            made.append(Device.current[-1])
            return make(*args)

        monkeypatch.setattr(cupy, name, on_current)
    inputs, _, _ = arguments()
    with Device(1):
        placed = {n: a if n in among else np.asarray(a).view(Array) for n, a in inputs.items()}
        placed["kernel"] = np.asarray(inputs["kernel"].copy("F")).view(Array)
    mask, lengths = np.ones((CASE.batch, CASE.time), bool), np.array([4, 2, 3])
    y = functional.lstm(**placed, mask=mask, lengths=lengths)
    mask = np.arange(CASE.time) < lengths[:, None]
    zeros = np.zeros((CASE.batch, CASE.units), np.float32)
    inputs = inputs | {"h0": zeros, "c0": zeros, "mask": mask}
    expected = reference.lstm_forward(**inputs)[0]
    assert CASE.error(y, expected) <= 1
    assert y.device.id == 1
    assert set(made) == {1}


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("fp32_precision", "tf32", True),
        ("fp32_precision", "ieee", False),
        ("allow_tf32", True, True),
        ("allow_tf32", False, False),
    ],
)
def test_torch_says_whether_tf32_is_allowed(setting, value, allowed):
    """By its setting and by the older one, which raises once the newer one was set."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    op = pytest.importorskip("pylstm.ops.torch")
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        setattr(matmul, setting, value)
        assert op.Cuda.allow_tf32() is allowed
    finally:
        matmul.allow_tf32, matmul.fp32_precision = False, before


def test_torch_brings_its_current_stream(recorder, monkeypatch):
    """To the forward and the backward pass; torch's CPU tensors stand for those on a GPU."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    op = pytest.importorskip("pylstm.ops.torch")
    asked = []

    def current_stream(device):
        asked.append(device)
        return types.SimpleNamespace(cuda_stream=STREAM)

    monkeypatch.setattr(torch.cuda, "current_stream", current_stream)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    inputs, output_gradients = CASE.inputs(), CASE.output_gradients()
    tensors = [None if a is None else torch.from_numpy(a) for a in inputs.values()]
    options = ("tanh", "sigmoid", False, True, False)
    y, _, _, reserve = op._forward_cuda(*tensors, *options, True)
    upstream = [torch.from_numpy(a) for a in output_gradients.values()]
    gradients = op._backward_cuda(*tensors, reserve, *upstream, *options, True)
    assert CASE.error(y.numpy(), reference.lstm_forward(**inputs)[0]) <= 1
    expected = reference.lstm_backward(**inputs, **output_gradients)
    for got, right in zip(gradients, expected, strict=True):
        assert CASE.error(got.numpy(), right, backward=True) <= 1
    assert recorder.streams == [STREAM, STREAM]
    assert asked == [tensors[0].device] * 2
