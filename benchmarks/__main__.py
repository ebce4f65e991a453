"""`python -m benchmarks`: pylstm and its peers, in turns, on one machine."""

import argparse
import json
import signal
import sys
from datetime import datetime
from pathlib import Path

from benchmarks import machine, report
from benchmarks.cases import FULL, QUICK, SIX
from benchmarks.peers import PEERS
from benchmarks.runner import (
    FULL_EFFORT,
    MAIN_EFFORT,
    QUICK_EFFORT,
    run_case,
    running_peers,
    select,
)

_PLACE = {case.name: place for place, case in enumerate(FULL)}


def main() -> int:
    options = _parse()
    selected = list(select(QUICK if options.quick else FULL, options.filter))
    if not selected:
        print(f"no case matches --filter {options.filter!r}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no peer stays behind
    print("starting the peers ...", flush=True)
    with running_peers(options.peers) as (peers, absent):
        for name, reason in absent.items():
            print(f"without {PEERS[name]}: {reason}")
        versions = {k: v for peer in peers.values() for k, v in peer.versions.items()}
        results = Results(options.output, {**machine.describe(), "versions": versions})
        for number, (case, mode) in enumerate(selected, 1):
            print(f"[{number}/{len(selected)}] {case.name} {mode} ...", end=" ", flush=True)
            full = MAIN_EFFORT if case in SIX else FULL_EFFORT
            record = run_case(case, mode, peers, QUICK_EFFORT if options.quick else full)
            record["peers"] |= {name: {"failed": reason} for name, reason in absent.items()}
            print(report.line(record), flush=True)
            results.add(record)
    print("\n" + report.table(results.content["records"]))
    print(f"\n{options.output}")
    return 0


def _parse():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes' look: few cases")
    parser.add_argument("--filter", default="", metavar="WORDS", help='such as "H128 training"')
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/benchmarks/results.json"),
        help="continued, where it was made on the same machine with the same versions and commit",
    )
    return parser.parse_args()


class Results:
    """The file of results, written after each case so that nothing is lost."""

    def __init__(self, path, environment):
        self._path = path
        self.content = {"environment": environment, "records": []}
        if path.exists():
            earlier = json.loads(path.read_text())
            if earlier["environment"] == environment:
                self.content = earlier
            else:
                written = datetime.fromtimestamp(path.stat().st_mtime)
                kept = path.rename(path.with_stem(f"{path.stem}-{written:%Y%m%d-%H%M%S}"))
                print(f"results of another machine, version or commit are now in {kept}")
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, record):
        records = self.content["records"]
        same = (record["name"], record["mode"])
        records[:] = [r for r in records if (r["name"], r["mode"]) != same]
        records.append(record)
        records.sort(key=lambda r: (_PLACE[r["name"]], r["mode"]))
        self._path.write_text(json.dumps(self.content, indent=1))


if __name__ == "__main__":
    sys.exit(main())
