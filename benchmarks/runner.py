"""Runs cases: every peer checked first, then timed in turns. Adds sections to results."""

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.cases import Case, Mode
from benchmarks.problem import arithmetic, draw_problem, reference_results
from benchmarks.process import PeerError, PeerProcess


@dataclass(frozen=True)
class Effort:
    """How long to time each peer on each case."""

    rounds: int  # turns that every peer gets at least
    calls: int  # a turn, at least
    turn: float  # seconds a turn, where the calls take less
    seconds: float  # for each peer, that the rounds go on: many, lest a slow spell hit one alone


MAIN_EFFORT = Effort(rounds=5, calls=3, turn=0.05, seconds=1.0)  # for what the README shows
FULL_EFFORT = Effort(rounds=3, calls=2, turn=0.05, seconds=0.5)
QUICK_EFFORT = Effort(rounds=3, calls=1, turn=0.05, seconds=0.0)


@contextmanager
def running_peers(names: Iterable[str]):
    """Starts the peers; yields those that run and why the others do not, by name."""
    running, absent = {}, {}
    try:
        for name in names:
            try:
                running[name] = PeerProcess(name)
            except PeerError as error:
                absent[name] = str(error)
        yield running, absent
    finally:
        for peer in running.values():
            peer.close()


def run_case(case: Case, mode: Mode, peers: dict[str, PeerProcess], effort: Effort) -> dict:
    """Returns the record of one case and mode: what `results.json` holds."""
    problem = draw_problem(case)
    record = {
        "name": case.name,
        "mode": mode,
        "case": asdict(case),
        "flop": arithmetic(problem, mode),
        "rates": machine.measure_rates(),
    }
    if case.streaming:
        recurrent_kernel = problem.weights[0].recurrent_kernel
        record["rates"]["read"] = machine.measure_read_rate(recurrent_kernel.nbytes)
    record["peers"] = prepare(case, mode, peers)
    ready = {name: peer for name, peer in peers.items() if "error" in record["peers"][name]}
    samples_of, failures = time_in_turns(ready | {"fma": machine.FmaLoop()}, effort)
    record["rates"]["fma_in_turns"] = float(np.median(samples_of.pop("fma")))
    for name, samples in samples_of.items():
        q1, median, q3 = np.percentile(samples, [25, 50, 75])
        record["peers"][name] |= {"median": median, "q1": q1, "q3": q3, "calls": len(samples)}
    record["peers"] |= {name: {"failed": reason} for name, reason in failures.items()}
    return record


def prepare(case: Case, mode: Mode, peers: dict[str, PeerProcess]) -> dict[str, dict]:
    """Prepares and checks a case on every peer; returns "error", "refused" or "failed" of each."""
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        expected_path = Path(folder, "expected.npz")
        np.savez(expected_path, **reference_results(draw_problem(case), mode))
        for name, peer in peers.items():
            try:
                if refusal := peer.refusal(case, mode):
                    outcomes[name] = {"refused": refusal}
                else:
                    outcomes[name] = {"error": peer.prepare(case, mode, expected_path)}
            except PeerError as error:
                outcomes[name] = {"failed": str(error)}
    return outcomes


def time_in_turns(
    peers: dict[str, PeerProcess], effort: Effort
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Lets each take its turns. One that fails takes no more, and has no samples.

    Returns:
        The samples of all turns of each, for a peer the seconds of every call; and, of those that
        failed, why.
    """
    samples = {name: [] for name in peers}
    failures = {}
    order = list(peers)
    shuffle = random.Random(0).shuffle  # nobody always follows the same neighbour
    end = time.perf_counter() + effort.seconds * len(peers)
    rounds = 0
    while order and (rounds < effort.rounds or time.perf_counter() < end):
        shuffle(order)
        for name in order:
            try:
                samples[name] += peers[name].take_turn(effort.turn, effort.calls)
            except PeerError as error:
                failures[name] = str(error)
                del samples[name]
        order = [name for name in order if name in samples]
        rounds += 1
    return samples, failures


def add_section(path: Path, name: str, measure: Callable[[], list]) -> None:
    """Adds to a file of results the records that `measure` returns, and their commit.

    Raises:
        SystemExit: The file is of another machine, or of another Python or NumPy.
    """
    content = json.loads(path.read_text())
    there, here = content["environment"], machine.describe()
    commit = here.pop("commit")  # may be another: it is told beside the section
    differences = [
        f"  {key}: {there.get(key)} there, {value} here"
        for key, value in here.items()
        if value != there.get(key)
    ]
    if differences:
        what = f"{path} is of another machine, Python or NumPy"
        fix = "  fix: python -m benchmarks --output FILE     for results of this one"
        raise SystemExit("\n".join([what, *differences, fix]))
    content[name] = {"commit": commit, "records": measure()}
    path.write_text(json.dumps(content, indent=1))


def select(cases: Iterable[Case], text: str) -> Iterator[tuple[Case, Mode]]:
    """Yields the cases and modes whose "group name mode" has every word of `text`."""
    wanted = set(text.split())
    for case in cases:
        for mode in case.modes:
            if wanted <= {*case.group.split(), *case.name.split(), mode}:
                yield case, mode
