"""Tasks that may crash or hang: each costs itself at most, and every result is recorded at once.

A process works through a list of tasks and notes each in the record before it starts it. Where a
task ends the process, the next one goes on behind it.
"""

import signal
import subprocess
import sys
import time

from benchmarks.gpu.record import Record

LIMIT = 60  # seconds a task


def supervise(command, record, section, until):
    """Runs a command that calls `work` as often as it takes.

    Raises:
        SystemExit: A process ended without having started a task.
    """
    while time.time() < until:
        done_before = len(Record(record.path).content[section])
        grace = until - time.time() + LIMIT  # to end the task in progress
        try:
            code = subprocess.run(command, check=False, timeout=grace).returncode
        except subprocess.TimeoutExpired:
            code = "a hang"
        record.content = Record(record.path).content
        if code == 0:
            return
        if len(record.content[section]) == done_before:
            sys.exit(f"failed with {code}: {' '.join(map(str, command))}")


def work(path, section, tasks, until, *, recover, limit=LIMIT):
    """Does the tasks that have no result yet, in this process.

    Args:
        path: The record.
        section: Where the results go.
        tasks: Pairs of a name and a function that returns its result, a dict.
        until: No task starts after this time, in seconds since the epoch.
        recover: Called after a failure; raises where only a new process helps.
        limit: Whole seconds after which a task ends the process.
    """
    record = Record(path)
    for name, task in tasks:
        if name in record.content[section]:
            continue
        if time.time() > until:
            return
        record.put(section, name, {"failed": f"ended its process, or took more than {limit} s"})
        signal.alarm(limit)
        try:
            result = task()
        except Exception as error:
            result = {"failed": f"{type(error).__name__}: {error}"}
        signal.alarm(0)
        record.put(section, name, result)
        print(f"{name}: {describe(result)}", flush=True)
        if "failed" in result:
            recover()


def describe(result):
    """A result as a line of progress."""
    return ", ".join(f"{name} {value}" for name, value in result.items())
