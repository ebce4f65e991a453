"""`python -m benchmarks.backends results.json`: pylstm beside Keras on each of Keras' backends.

The records, of all backends in one run, are added to the results, with the commit of that run.
"""

import sys
from pathlib import Path

from benchmarks import report
from benchmarks.cases import SIX
from benchmarks.peers import KERAS_BACKENDS
from benchmarks.runner import Effort, add_section, run_case, running_peers

_EFFORT = Effort(rounds=5, calls=1, turn=0.05, seconds=1.0)  # a call may take 20 seconds


def main():
    add_section(Path(sys.argv[1]), "backends", measure_all)


def measure_all() -> list[dict]:
    names = [name for pair in KERAS_BACKENDS.values() for name in pair]
    records = []
    with running_peers(names) as (peers, absent):
        for name, reason in absent.items():
            print(f"without {name}: {reason}")
        for case in SIX:
            for mode in case.modes:
                record = run_case(case, mode, peers, _EFFORT)
                record["peers"] |= {name: {"failed": reason} for name, reason in absent.items()}
                print(f"{case.name} {mode}: {report.line(record)}", flush=True)
                records.append(record)
    return records


if __name__ == "__main__":
    main()
