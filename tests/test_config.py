"""`pylstm.show_config` says what there is and what can run."""

import re
import subprocess
import sys
import textwrap

import pytest

import pylstm
from pylstm import _core, config


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
