"""`benchmarks.gpu.tasks`: what crashes or hangs costs itself alone."""

import sys
import textwrap
import time

import pytest

from benchmarks.gpu import record, tasks

WORKER = """
    import os, pathlib, sys, time
    from benchmarks.gpu import tasks

    def wrong():
        raise ValueError("no")

    todo = [
        ("good", lambda: {"error": 0.5}),
        ("wrong", wrong),
        ("crashes", os.abort),
        ("hangs", lambda: time.sleep(60)),
        ("last", lambda: {"process": os.getpid()}),
    ]
    path, until = pathlib.Path(sys.argv[1]), time.time() + 60
    tasks.work(path, "checks", todo, until, recover=lambda: None, limit=1)
    """


@pytest.fixture
def results(tmp_path):
    return record.Record.start(tmp_path, {"device": "GPU", "date": "2026-01-02T03:04:05"})


def test_a_task_costs_itself_at_most(results):
    command = [sys.executable, "-c", textwrap.dedent(WORKER), results.path]
    tasks.supervise(command, results, "checks", time.time() + 60)
    ended = {"failed": "ended its process, or took more than 1 s"}
    last = results.content["checks"].pop("last")
    assert last["process"] > 0
    assert results.content["checks"] == {
        "good": {"error": 0.5},
        "wrong": {"failed": "ValueError: no"},
        "crashes": ended,
        "hangs": ended,
    }


def test_a_process_that_starts_no_task_ends_it(results):
    with pytest.raises(SystemExit, match="failed with 3"):
        command = [sys.executable, "-c", "raise SystemExit(3)"]
        tasks.supervise(command, results, "checks", time.time() + 60)


def test_no_task_starts_after_the_end(results):
    def never():
        raise AssertionError

    late = time.time() - 1
    tasks.work(results.path, "checks", [("late", never)], late, recover=never)
    tasks.supervise(["does not exist"], results, "checks", late)
    assert record.Record(results.path).content["checks"] == {}


def test_a_new_process_where_nothing_else_helps(results):
    def broken():
        raise RuntimeError("the device is lost")

    with pytest.raises(RuntimeError, match="lost"):
        todo = [("first", broken), ("second", broken)]
        tasks.work(results.path, "checks", todo, time.time() + 60, recover=broken)
    assert list(record.Record(results.path).content["checks"]) == ["first"]
