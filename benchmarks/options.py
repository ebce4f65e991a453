"""`python -m benchmarks.options results.json`: what each option costs, added to the results.

A case with the option and the same without it take turns, each in processes of its own: so a slow
spell of the machine hits both.
"""

import sys
from pathlib import Path

import numpy as np

from benchmarks.cases import OPTIONS, Case, Mode
from benchmarks.process import PeerError
from benchmarks.report import KERNEL, OURS
from benchmarks.runner import (
    FULL_EFFORT,
    Effort,
    add_section,
    prepare,
    running_peers,
    time_in_turns,
)


def main():
    add_section(Path(sys.argv[1]), "options", measure_all)


def measure_all() -> list[dict]:
    chosen = [(case, mode) for case in OPTIONS for mode in case.modes]
    with running_peers([OURS, KERNEL]) as (peers, _), running_peers([OURS, KERNEL]) as (others, _):
        return [measure(*each, peers, others, FULL_EFFORT) for each in chosen]


def measure(case: Case, mode: Mode, peers: dict, others: dict, effort: Effort) -> dict:
    """Returns each peer's time with the option over its time without, a ratio of medians.

    Args:
        peers: The processes that run the case, by name.
        others: Those that run it without its options.

    Raises:
        PeerError: A result is wrong, or a process ended.
    """
    ready = {}
    for part, processes in ((case, peers), (case.without_options(), others)):
        for name, outcome in prepare(part, mode, processes).items():
            if "failed" in outcome:
                raise PeerError(f"{name}, {part.name} {mode}: {outcome['failed']}")
            if "error" in outcome:
                ready[name, part] = processes[name]
    samples_of, failures = time_in_turns(ready, effort)
    for (name, part), reason in failures.items():
        raise PeerError(f"{name}, {part.name} {mode}: {reason}")
    medians = {key: np.median(samples) for key, samples in samples_of.items()}
    return {
        "name": case.name,
        "mode": mode,
        "over_default": {
            name: seconds / medians[name, case.without_options()]
            for (name, part), seconds in medians.items()
            if part is case
        },
    }


if __name__ == "__main__":
    main()
