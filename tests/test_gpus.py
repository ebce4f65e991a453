"""The GPUs as `pylstm.show_config` names them, and the errors of those that cannot be used."""

import re

import pytest

import pylstm
from pylstm import _gpus, config
from pylstm.errors import BackendLoadError


class CudaError(RuntimeError):
    def __init__(self, text, status):
        super().__init__(text)
        self.status = status


class Cuda:
    """The module `pylstm._cuda` on a machine with a driver for CUDA 13 and two GPUs."""

    CudaError = CudaError
    runtime_version = 13000

    def driver_version():
        return 13010

    def devices():
        return [("NVIDIA Old", 61), ("NVIDIA New", 90)]


@pytest.fixture
def cuda(monkeypatch):
    monkeypatch.setattr(_gpus, "load_cuda", lambda: Cuda)
    facts = {"CUDA_VERSION": "13.0.88", "CUDA_ARCHITECTURES": "75-real;90a-real;90-virtual"}
    monkeypatch.setattr(config, "built_with", lambda name: facts.get(name, ""))
    monkeypatch.setattr(_gpus, "built_with", facts.get)
    return Cuda


def shown(capsys):
    pylstm.show_config()
    return re.search(r"  cuda +(.*?)\n(  \w|$)", capsys.readouterr().out, re.DOTALL)[1]


def test_says_that_there_is_no_cuda(capsys, monkeypatch):
    monkeypatch.setattr(config, "built_with", lambda name: None)
    assert shown(capsys) == "cannot run: built without the CUDA kernels"


def test_says_that_the_cuda_library_is_broken(capsys, monkeypatch, cuda):
    def broken():
        raise BackendLoadError("PYL132", got="_cuda.so: no such symbol")

    monkeypatch.setattr(_gpus, "load_cuda", broken)
    assert shown(capsys) == "cannot run: _cuda.so: no such symbol"


@pytest.mark.parametrize(
    ("version", "found"), [(0, "no NVIDIA driver"), (12040, "a driver for CUDA 12.4")]
)
@pytest.mark.parametrize(("runtime", "needed"), [(13000, "13.0"), (14020, "14.2")])
def test_says_which_driver_it_needs(capsys, monkeypatch, cuda, version, found, runtime, needed):
    monkeypatch.setattr(cuda, "driver_version", lambda: version)
    monkeypatch.setattr(cuda, "runtime_version", runtime)
    assert shown(capsys) == f"cannot run: {found}; needs a driver for CUDA {needed} or newer"


def test_says_that_there_is_no_gpu(capsys, monkeypatch, cuda):
    def none():
        raise CudaError("CUDA: cudaGetDeviceCount: no CUDA-capable device is detected", 100)

    monkeypatch.setattr(cuda, "devices", none)
    assert "cannot run: CUDA: cudaGetDeviceCount: no CUDA-capable device" in shown(capsys)


def test_says_on_which_gpus_it_runs(capsys, cuda):
    old, new = shown(capsys).split("\n")
    assert old.startswith("NVIDIA Old: cannot run: its compute capability is 6.1, and pylstm was")
    assert new.strip() == "NVIDIA New: can run"


@pytest.mark.parametrize(
    ("architectures", "runs"),
    [
        ("80-real", {80, 86, 89}),
        ("86-real", {86, 89}),
        ("90a-real", {90}),
        ("90-virtual", {90, 100, 120}),
        ("89", {89, 90, 100, 120}),
        ("75-real;80-real;86-real;89-real;90", {75, 80, 86, 89, 90, 100, 120}),
        ("90;100-real;120-real", {90, 100, 120}),
        ("all-major", {61, 70, 75, 80, 86, 89, 90, 100, 120}),
        ("No CUDA devices found.-real", {61, 70, 75, 80, 86, 89, 90, 100, 120}),  # CMake's "native"
    ],
)
def test_which_code_runs_where(monkeypatch, cuda, architectures, runs):
    monkeypatch.setattr(_gpus, "built_with", {"CUDA_ARCHITECTURES": architectures}.get)
    capabilities = (61, 70, 75, 80, 86, 89, 90, 100, 120)
    assert {c for c in capabilities if _gpus.Gpu("", c).obstacle is None} == runs


def test_an_older_driver_does_not_compile_the_kernels(monkeypatch, cuda):
    monkeypatch.setattr(_gpus, "built_with", {"CUDA_ARCHITECTURES": "90;100-real"}.get)
    monkeypatch.setattr(cuda, "runtime_version", 13010)
    assert _gpus.Gpu("", 120).obstacle is None
    monkeypatch.setattr(cuda, "driver_version", lambda: 13000)
    assert _gpus.Gpu("", 90).obstacle is None
    assert _gpus.Gpu("", 100).obstacle is None
    assert _gpus.Gpu("", 120).obstacle == (
        "its compute capability is 12.0: it needs a driver for CUDA 13.1 or newer, "
        "or pylstm built for 12.0"
    )


@pytest.mark.parametrize(
    ("status", "code", "got"),
    [
        (2, "PYL136", "CUDA: it"),
        (98, "PYL135", "CUDA: it\nNVIDIA Old: its compute capability is 6.1"),
        (209, "PYL135", "CUDA: it\nNVIDIA Old: its compute capability is 6.1"),
        (222, "PYL135", "CUDA: it\nNVIDIA Old: its compute capability is 6.1"),
        (700, "PYL137", "CUDA: it"),
    ],
)
def test_an_error_of_cuda_is_explained(cuda, status, code, got):
    error = _gpus.explain(CudaError("CUDA: it", status))
    assert isinstance(error, RuntimeError)
    assert error.code == code
    assert error.got.startswith(got)


def test_a_missing_driver_is_the_explanation(monkeypatch, cuda):
    monkeypatch.setattr(cuda, "driver_version", lambda: 0)
    assert _gpus.explain(CudaError("CUDA: it", 35)).got == "no NVIDIA driver"
