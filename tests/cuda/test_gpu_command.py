"""`python -m benchmarks.gpu`, as far as it goes without a GPU."""

import json
import runpy
import subprocess
import sys
import textwrap

import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import cases, readme, record, report


def test_without_a_gpu_it_says_so_and_fails(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="needs a GPU and its tools; not found: nvidia-smi"):
        command.main([])


def test_the_hash_is_of_names_and_contents(tmp_path):
    (tmp_path / "a.cu").write_text("1")
    first = record.source_hash(tmp_path)
    assert record.source_hash(tmp_path) == first
    (tmp_path / "a.cu").write_text("2")
    second = record.source_hash(tmp_path)
    (tmp_path / "a.cu").rename(tmp_path / "b.cu")
    assert len({first, second, record.source_hash(tmp_path)}) == 3


def content(device="GPU", date="2026-01-02T03:04:05+00:00", csrc="0123", **sections):
    about = {"device": device, "date": date, "csrc": csrc}
    return {"environment": about, "checks": {}, "sanitizer": {}, "timings": {}} | sections


def timing(peers, group="DeepBench", mode="inference", **sizes):
    case = {"group": group, "batch": 16, "time": 100, "features": 64, "units": 512}
    case |= {"dtype": "float16", "activation": "tanh", "padding": None, "recurrent_dropout": 0.0}
    peers = {name: {"error": 0.0, "median": seconds} for name, seconds in peers.items()}
    return {"mode": mode, "case": case | sizes, "kernel": "grid", "reason": "", "peers": peers}


def test_the_newest_record(tmp_path):
    assert record.newest(tmp_path) is None
    for name, date in (("b", "2026-01-02T03:04:05+00:00"), ("a", "2026-01-02T03:04:06+00:00")):
        (tmp_path / f"gpu-{name}.json").write_text(json.dumps(content(date=date)))
    (tmp_path / "cpu-c.json").write_text(json.dumps({"records": []}))
    assert record.newest(tmp_path)["environment"]["date"] == "2026-01-02T03:04:06+00:00"


def test_every_result_is_on_disk_at_once(tmp_path):
    results = record.Record.start(tmp_path / "new", content(device="NVIDIA X1")["environment"])
    assert results.path.name == "gpu-NVIDIA-X1-2026-01-02T0304.json"
    results.put("checks", "one", {"error": 0.5})
    assert record.Record(results.path).content["checks"] == {"one": {"error": 0.5}}
    assert [path.name for path in results.path.parent.iterdir()] == [results.path.name]


def test_what_a_build_learns_of_the_newest_record(tmp_path):
    path = tmp_path / "_gpu_run.py"
    script = [sys.executable, record.__file__, path]
    subprocess.run(script, check=True, cwd=tmp_path)  # without the repository on its path
    newest, written = record.newest(), runpy.run_path(path)
    assert written["CSRC"] == record.source_hash()
    assert (written["LAST"] is None) == (newest is None)
    path.write_text(record.module(content(), "4567"))
    assert runpy.run_path(path)["LAST"] == content()["environment"]


def test_the_readme_says_on_what_a_gpu_last_ran():
    """Where this fails, run python -m benchmarks.gpu.readme."""
    text = readme.README.read_text()
    assert f"<!-- gpu: begin -->\n\n{readme.part(record.newest())}\n\n<!-- gpu: end -->" in text


def test_the_report():
    timings = {
        "A inference": timing({"pylstm": 1e-4, "cudnn": 4e-4}),
        "B inference": timing({"pylstm": 2e-4, "cudnn": 2e-4}, dtype="bfloat16"),
        "C inference": timing({"pylstm": 1e-4, "keras_layer": 1e-3}, padding="left"),
        "D training": timing({"pylstm": 3e-4}, mode="training", group="Haste"),
        "E inference": {"failed": "ended its process"},
    }
    timings["D training"]["peers"]["cudnn"] = {"failed": "wrong: error 1.0e+00"}
    checks = {"good": {"error": 0.5}, "bad": {"failed": "7.0 times the tolerance"}}
    sanitizer = {"memcheck": {"findings": 0, "checks": 7}, "racecheck": {"failed": "race"}}
    made = content(timings=timings, checks=checks, sanitizer=sanitizer)
    text = report.text(made)
    assert "| A | grid | 0.70 | 1.00 | 4.00 |  | 4.00× |" in text
    assert "| D | grid | 1.40 | 3.00 |  |" in text
    assert "| inference: DeepBench and six shapes, against cuDNN | 2.00× | 1.00× | 2 |" in text
    assert "| inference: bfloat16, against cuDNN | 1.00× | 1.00× | 1 |" in text
    assert "| H up to 512, B up to 16, 16-bit | 1.00 | 2.00 | 3 |" in text
    assert "2 checks, 1 failed" in text
    assert "memcheck: no findings in 7 checks\ncompute-sanitizer racecheck: findings" in text
    assert f"5 of {sum(len(case.modes) for case in cases.TIMED)} timings were reached" in text
    assert [line.split(":")[0] for line in report.failures(made)] == [
        "FAILED checks bad",
        "FAILED sanitizer racecheck",
        "FAILED timings E inference",
    ]
    assert "1 of 2 checks passed" in readme.part(made)


def test_padding_on_the_right_is_compared_with_both_ways_of_cudnn():
    times = {"pylstm": 1e-4, "cudnn": 4e-4, "cudnn_unpacked": 2e-4}
    timings = {"A inference": timing(times, group="padded", padding="right")}
    text = report.summary(content(timings=timings))
    assert "| inference: right padding, against cuDNN packed | 4.00× | 4.00× | 1 |" in text
    assert "| inference: right padding, against cuDNN on padding | 2.00× | 2.00× | 1 |" in text


def test_our_own_wrong_result_is_a_failure():
    made = timing({})
    made["peers"]["pylstm"] = {"error": 1.0, "failed": "wrong: error 1.0e+00"}
    (line,) = report.failures(content(timings={"A": made}))
    assert line == "FAILED timings A: pylstm wrong: error 1.0e+00"


def test_every_timed_case_has_its_own_name():
    assert len({case.name for case in cases.TIMED}) == len(cases.TIMED)


TOOL = """#!/bin/sh
echo "========= COMPUTE-SANITIZER"
echo "checked: one"
{}
"""


@pytest.mark.parametrize(
    ("ends", "result"),
    [
        ("exit 0", {"findings": 0, "checks": 1}),
        ("exit 9", {"failed": "exit status 9: ========= COMPUTE-SANITIZER\nchecked: one\n"}),
        ("sleep 60", {"refused": "stopped after 1 s, 1 checks without findings"}),
        (
            "echo '=========     at lstm'; sleep 60",
            {"failed": "========= COMPUTE-SANITIZER\nchecked: one\n=========     at lstm\n"},
        ),
    ],
)
def test_what_compute_sanitizer_says(tmp_path, ends, result):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(TOOL.format(ends))
    tool.chmod(0o755)
    assert command.sanitize(str(tool), "memcheck", 1) == result


class Gpu:
    """What the command asks of torch, on a machine with a made-up device."""

    __version__ = "2.0"

    class cuda:
        def get_device_name():
            return "Made Up"

    class version:
        cuda = "13.0"

    class backends:
        class cudnn:
            def version():
                return 9


@pytest.mark.parametrize("failing", [False, True])
def test_the_whole_command(tmp_path, monkeypatch, capsys, failing):
    """With a made-up device, and processes that record a result each."""
    made = {
        "tests.cuda.on_gpu": {"failed": "NaN"} if failing else {"error": 1.0},
        "benchmarks.gpu.timing": timing({"pylstm": 1e-4, "cudnn": 2e-4}),
    }

    def supervise(line, results, section, until):
        results.put(section, "A inference", made[line[2]])

    tools = {"nvidia-smi", "nvcc", "cmake", "ninja"}
    monkeypatch.setattr(command.shutil, "which", lambda tool: tool if tool in tools else None)
    monkeypatch.setattr(command, "build", lambda folder: None)
    monkeypatch.setattr(command.tasks, "supervise", supervise)
    monkeypatch.setitem(sys.modules, "torch", Gpu)
    with pytest.raises(SystemExit) as ended:
        command.main(["--results", str(tmp_path)])
    assert bool(ended.value.code) == failing
    saved = record.newest(tmp_path)
    assert saved["environment"]["device"] == "Made Up"
    assert saved["environment"]["csrc"] == record.source_hash()
    assert saved["sanitizer"]["memcheck"] == {"refused": "compute-sanitizer is not on the PATH"}
    assert "| A | grid | 0.70 | 1.00 | 2.00 | 2.00× |" in capsys.readouterr().out


def test_it_runs_without_keras_and_tensorflow():
    pytest.importorskip("torch", reason="torch is not installed")
    code = """
        import sys
        sys.modules |= dict.fromkeys(["keras", "tensorflow"])  # as if they were not installed
        import tests.cuda.on_gpu, benchmarks.gpu.timing, torch
        x, kernel, recurrent_kernel = torch.ones(2, 3, 4), torch.ones(4, 20), torch.ones(5, 20)
        y = tests.cuda.on_gpu.functional.lstm(x.requires_grad_(), kernel, recurrent_kernel)
        y.sum().backward()
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
