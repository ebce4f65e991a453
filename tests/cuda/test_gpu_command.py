"""`python -m benchmarks.gpu`, as far as it goes without a GPU."""

import subprocess
import sys

import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import record


def test_without_a_gpu_it_says_so_and_fails(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="needs a GPU and its tools; not found: nvidia-smi"):
        command.main([])


def test_a_failing_command_ends_it():
    with pytest.raises(SystemExit, match="failed with 3"):
        command.run([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_hash_is_of_names_and_contents(tmp_path):
    (tmp_path / "a.cu").write_text("1")
    first = record.source_hash(tmp_path)
    assert record.source_hash(tmp_path) == first
    (tmp_path / "a.cu").write_text("2")
    second = record.source_hash(tmp_path)
    (tmp_path / "a.cu").rename(tmp_path / "b.cu")
    assert len({first, second, record.source_hash(tmp_path)}) == 3


def test_modules_load_without_keras():
    code = (
        "import sys; from benchmarks.gpu import modules;"
        "print(modules.load('reference').__name__, 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["pylstm.reference", "False"]
