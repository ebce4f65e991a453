"""`pylstm.show_config` says what there is and what can run."""

import re
import subprocess
import sys
import textwrap

import pytest

import pylstm
from pylstm import _core, _gpus, config
from pylstm.errors import BackendLoadError


def test_names_every_kernel(capsys):
    pylstm.show_config()
    printed = capsys.readouterr().out
    assert f"pylstm          {pylstm.__version__}" in printed
    assert re.search(f"cpu {_core.selected_isa('float32')} +selected\n", printed)
    for isa in _core.isas():
        assert f"cpu {isa}" in printed
    assert "tensorflow op   for CPU" in printed


@pytest.mark.parametrize("isa", _core.isas())
def test_every_kernel_that_can_run_can_be_chosen(isa, capsys, monkeypatch):
    monkeypatch.setenv("PYLSTM_ISA", isa)
    assert _core.selected_isa() == isa
    pylstm.show_config()
    selected = dict(re.findall(r"cpu (\w+) +selected(.*)\n", capsys.readouterr().out))
    assert _core.selected_isa("float32") in (isa, "avx512")
    assert _core.selected_isa("bfloat16") == isa
    expected = {isa: " for bfloat16"} | {_core.selected_isa("float32"): ""}
    assert selected == expected


@pytest.mark.skipif("amx_bf16" not in _core.isas(), reason="needs AMX")
def test_linux_is_asked_for_tile_registers_only_where_they_are_used():
    """What a process has once asked for it keeps, and its signal handlers need larger stacks."""
    script = """
        import ctypes, importlib.util, sys
        import ml_dtypes

        spec = importlib.util.spec_from_file_location("_core", sys.argv[1])
        _core = importlib.util.module_from_spec(spec)  # alone: other libraries may ask, too
        spec.loader.exec_module(_core)

        def granted():
            permissions = ctypes.c_uint64()
            ctypes.CDLL(None).syscall(158, 0x1022, ctypes.byref(permissions))  # arch_prctl
            return bool(permissions.value >> 18 & 1)

        assert "amx_bf16" in _core.isas() and not granted()
        assert _core.selected_isa("float32") == "avx512" and not granted()
        assert _core.selected_isa("bfloat16") == "amx_bf16" and granted()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), _core.__file__], check=True)


def test_the_instruction_set_of_what_has_none():
    with pytest.raises(ValueError, match="floating dtype"):
        _core.selected_isa("int32")


def test_says_what_a_kernel_needs(capsys, monkeypatch):
    class Processor:
        def isas():
            return ["baseline"]

        def selected_isa(dtype):
            return "baseline"

        def quota_cores():
            return 2

    monkeypatch.setattr(config, "load_core", lambda: Processor)
    pylstm.show_config()
    printed = capsys.readouterr().out
    assert "cpu avx2        cannot run: needs AVX2" in printed
    assert "cpu baseline    selected" in printed
    assert "cpu threads     at most 2" in printed


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
    return re.search(r"  cuda +(.*?)\n  gpu last", capsys.readouterr().out, re.DOTALL)[1]


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
        ("all-major", {61, 70, 75, 80, 86, 89, 90, 100, 120}),
        ("No CUDA devices found.-real", {61, 70, 75, 80, 86, 89, 90, 100, 120}),  # CMake's "native"
    ],
)
def test_which_code_runs_where(monkeypatch, architectures, runs):
    monkeypatch.setattr(_gpus, "built_with", {"CUDA_ARCHITECTURES": architectures}.get)
    capabilities = (61, 70, 75, 80, 86, 89, 90, 100, 120)
    assert {c for c in capabilities if _gpus.Gpu("", c).obstacle is None} == runs


@pytest.mark.parametrize(
    ("status", "code", "got"),
    [
        (2, "PYL136", "CUDA: it"),
        (98, "PYL135", "CUDA: it\nNVIDIA Old: its compute capability is 6.1"),
        (209, "PYL135", "CUDA: it\nNVIDIA Old: its compute capability is 6.1"),
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


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (None, "never; csrc here is 01"),
        ("01", "csrc 01 (as here) on GPU, 2026-01-02"),
        ("23", "csrc 23 (not 01, which is here) on GPU, 2026-01-02"),
    ],
)
def test_says_what_a_gpu_last_ran(capsys, monkeypatch, last, says):
    from pylstm import _gpu_run

    run = last and {"device": "GPU", "date": "2026-01-02T03:04:05+00:00", "csrc": last}
    monkeypatch.setattr(_gpu_run, "LAST", run)
    monkeypatch.setattr(_gpu_run, "CSRC", "01")
    pylstm.show_config()
    assert f"gpu last ran    {says}\n" in capsys.readouterr().out


def test_names_a_wrong_choice(capsys, monkeypatch):
    monkeypatch.setenv("PYLSTM_ISA", "avx1024")
    with pytest.raises(ValueError, match="avx1024"):
        _core.selected_isa()
    pylstm.show_config()
    assert "avx1024" in capsys.readouterr().out


def test_every_instruction_set_is_described():
    assert set(_core.isas()) <= set(config.CPU_KERNELS)
