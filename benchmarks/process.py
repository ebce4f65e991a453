"""A peer in a process of its own, stopped whenever it is not its turn.

Inside one process the frameworks' spinning thread pools slow each other down several times over;
a stopped process cannot spin.
"""

import importlib
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np

from benchmarks.problem import TOLERANCES, draw_problem, largest_error
from benchmarks.quiet import native_logs_hidden

_MOST_CALLS = 1000  # a turn
_SPAWN = multiprocessing.get_context("spawn")  # so that no peer inherits another's threads


class PeerError(Exception):
    """The peer could not do what it was asked; the message is its own."""


class PeerProcess:
    """Runs one module of `benchmarks.peers`; running only inside its methods.

    Raises:
        PeerError: From every method, where the peer raised an exception or its process ended.
    """

    def __init__(self, name: str):
        self._pipe, child_end = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(name, child_end), daemon=True)
        self._process.start()
        child_end.close()
        try:
            self.versions = self._reply()
        except PeerError:
            self.close()
            raise

    def refusal(self, case, mode) -> str | None:
        return self._ask("refusal", case, mode)

    def prepare(self, case, mode, expected_path: Path) -> float:
        """Prepares the case, runs it once, and returns its largest error."""
        return self._ask("prepare", case, mode, expected_path)

    def take_turn(self, seconds: float, calls: int) -> list[float]:
        """Calls for so many seconds, at least `calls` times; returns the seconds of each call.

        One more comes first and does not count: it finds the caches cold after the pause.
        """
        return self._ask("take_turn", seconds, calls)

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self):
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._pipe.close()

    def _ask(self, *request):
        if self._process.exitcode is not None:  # its pid may be another process's by now
            raise self._ended()
        os.kill(self.pid, signal.SIGCONT)
        return self._reply(request)

    def _reply(self, request=None):
        try:
            if request:
                self._pipe.send(request)
            succeeded, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise self._ended() from None
        os.kill(self.pid, signal.SIGSTOP)
        if not succeeded:
            raise PeerError(answer)
        return answer

    def _ended(self):
        return PeerError(f"the process ended with code {self._process.exitcode}")


def _serve(name, pipe):
    """The child's life: answers (True, result) or (False, error message) to each request."""
    with native_logs_hidden():
        try:
            worker = Worker(importlib.import_module(f"benchmarks.peers.{name}"))
            pipe.send((True, worker.peer.versions()))
        except Exception as error:
            pipe.send((False, _describe(error)))
            return
        while True:
            method, *arguments = pipe.recv()
            try:
                pipe.send((True, getattr(worker, method)(*arguments)))
            except Exception as error:
                pipe.send((False, _describe(error)))


def _describe(error):
    first_line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first_line}"


class Worker:
    """The peer inside its process."""

    def __init__(self, peer):
        self.peer = peer
        self.computation = None

    def refusal(self, case, mode):
        return self.peer.refusal(case, mode)

    def prepare(self, case, mode, expected_path):
        self.computation = None  # frees the last one's memory first
        problem = draw_problem(case)
        self.computation = self.peer.prepare(problem, mode)
        results = self.computation.results(self.computation.run())
        with np.load(expected_path) as expected:
            error = largest_error(problem, results, expected)
        if not error <= TOLERANCES[case.dtype]:
            raise ValueError(f"error {error:.1e}, allowed {TOLERANCES[case.dtype]:.0e}")
        return error

    def take_turn(self, seconds, calls):
        end = time.perf_counter() + seconds
        self._time_call()
        samples = [self._time_call() for _ in range(calls)]
        while time.perf_counter() < end and len(samples) < _MOST_CALLS:
            samples.append(self._time_call())
        return samples

    def _time_call(self):
        start = time.perf_counter()
        returned = self.computation.run()
        seconds = time.perf_counter() - start
        del returned  # freeing it is not the call's
        return seconds
