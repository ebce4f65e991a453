"""Results, with what they are results of: the device, the date, the commit and the sources.

`record.py FILE` writes the newest of them, and the hash of the sources as they are, to a Python
file; the build makes pylstm/_gpu_run.py with it. It imports nothing that a build might lack.
"""

import datetime
import hashlib
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def source_hash(folder=ROOT / "csrc"):
    """A hash of all sources, their names and contents."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def commit():
    """The checked-out commit, "-dirty" where files differ from it; "unknown" without git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def write(folder, rows, *, sanitized):
    """Writes rows (dicts) to `<folder>/gpu-<device>-<date>.json` and returns the path."""
    import torch

    device = torch.cuda.get_device_name()
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    result = {
        "device": device,
        "date": date,
        "commit": commit(),
        "csrc": source_hash(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "sanitized": sanitized,
        "rows": rows,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"gpu-{device.replace(' ', '-')}-{date[:16].replace(':', '')}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def newest(folder=RESULTS):
    """The result that was recorded last, or None."""
    results = [json.loads(path.read_text()) for path in folder.glob("gpu-*.json")]
    return max(results, key=lambda result: result["date"], default=None)


def module(result, csrc):
    """The Python source that tells pylstm about a result and about its own sources' hash."""
    last = result and {name: result[name] for name in ("device", "date", "csrc")}
    return (
        '"""What a GPU last ran. Written by benchmarks/gpu/record.py."""\n\n'
        f"CSRC = {csrc!r}  # the hash of the sources that this was built from\n"
        f"LAST = {last!r}\n"
    )


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_text(module(newest(), source_hash()))
