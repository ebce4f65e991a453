"""`pylstm.show_config` says what there is and what can run."""

import re

import pytest

import pylstm
from pylstm import _core, config


def test_names_every_kernel(capsys):
    pylstm.show_config()
    printed = capsys.readouterr().out
    assert f"pylstm        {pylstm.__version__}" in printed
    assert re.search(f"cpu {_core.selected_isa()} +selected", printed)
    for isa in _core.isas():
        assert f"cpu {isa}" in printed
    assert "tensorflow op for CPU" in printed


def test_says_what_a_kernel_needs(capsys, monkeypatch):
    class Processor:
        def isas():
            return ["baseline"]

        def selected_isa():
            return "baseline"

    monkeypatch.setattr(config, "load_core", lambda: Processor)
    pylstm.show_config()
    printed = capsys.readouterr().out
    assert "cpu avx2      cannot run: needs AVX2" in printed
    assert "cpu baseline  selected" in printed


@pytest.mark.parametrize(
    ("version", "reason"), [(None, "built without a CUDA compiler"), ("13.0", "finds no GPU")]
)
def test_says_why_cuda_cannot_run(capsys, monkeypatch, version, reason):
    monkeypatch.setattr(config, "built_with", {"CUDA_VERSION": version}.get)
    monkeypatch.setattr(config, "_gpus", lambda tf: [])
    pylstm.show_config()
    assert re.search(f"cuda +cannot run: .*{reason}", capsys.readouterr().out)


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
    assert f"gpu last ran  {says}\n" in capsys.readouterr().out


def test_names_a_wrong_choice(capsys, monkeypatch):
    monkeypatch.setenv("PYLSTM_ISA", "avx1024")
    with pytest.raises(ValueError, match="avx1024"):
        _core.selected_isa()
    pylstm.show_config()
    assert "avx1024" in capsys.readouterr().out


def test_every_instruction_set_is_described():
    assert set(_core.isas()) <= set(config.CPU_KERNELS)
