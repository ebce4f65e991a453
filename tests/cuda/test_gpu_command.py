"""`python -m benchmarks.gpu`, as far as it goes without a GPU."""

import json
import runpy
import subprocess
import sys

import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import readme, record


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


def test_the_newest_result(tmp_path):
    assert record.newest(tmp_path) is None
    for name, date in (("b", "2026-01-02T03:04:05+00:00"), ("a", "2026-01-02T03:04:06+00:00")):
        (tmp_path / f"gpu-{name}.json").write_text(json.dumps({"date": date}))
    (tmp_path / "cpu-c.json").write_text(json.dumps({"date": "2027"}))
    assert record.newest(tmp_path) == {"date": "2026-01-02T03:04:06+00:00"}


def test_what_a_build_learns_of_the_newest_result(tmp_path):
    path = tmp_path / "_gpu_run.py"
    script = [sys.executable, record.__file__, path]
    subprocess.run(script, check=True, cwd=tmp_path)  # without the repository on its path
    last = record.newest()
    written = runpy.run_path(path)
    assert written["CSRC"] == record.source_hash()
    assert written["LAST"] == (last and {name: last[name] for name in written["LAST"]})

    made = {"device": "GPU", "date": "2026-01-02", "csrc": "0123", "rows": []}
    path.write_text(record.module(made, "4567"))
    assert runpy.run_path(path)["LAST"] == {"device": "GPU", "date": "2026-01-02", "csrc": "0123"}


def test_the_readme_says_on_what_a_gpu_last_ran():
    """Where this fails, run python -m benchmarks.gpu.readme."""
    text = readme.README.read_text()
    assert f"<!-- gpu: begin -->\n\n{readme.part(record.newest())}\n\n<!-- gpu: end -->" in text


def test_modules_load_without_keras():
    code = (
        "import sys; from benchmarks.gpu import modules;"
        "print(modules.load('reference').__name__, 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["pylstm.reference", "False"]
