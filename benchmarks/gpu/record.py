"""Results, with what they are results of: the device, the date, the commit and the sources.

`record.py FILE` writes the newest of them, and the hash of the sources as they are, to a Python
file; the build makes pylstm/_gpu_run.py with it. It imports nothing that a build might lack.
"""

import datetime
import hashlib
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
SECTIONS = ("checks", "sanitizer", "timings")


class Record:
    """A file of results, written after each of them: what ends the run takes none away.

    `content` is {"environment": ..., section: {name: result, a dict}, ...}.
    """

    def __init__(self, path):
        self.path = path
        self.content = json.loads(path.read_text())

    @classmethod
    def start(cls, folder, about):
        """A new one, `<folder>/gpu-<device>-<date>.json`, for the environment `about`."""
        device, date = about["device"].replace(" ", "-"), about["date"][:16].replace(":", "")
        path = folder / f"gpu-{device}-{date}.json"
        folder.mkdir(parents=True, exist_ok=True)
        empty = {section: {} for section in SECTIONS}
        path.write_text(json.dumps({"environment": about} | empty))
        return cls(path)

    def put(self, section, name, result):
        self.content[section][name] = result
        beside = self.path.with_suffix(".part")
        beside.write_text(json.dumps(self.content, indent=1) + "\n")
        os.replace(beside, self.path)


def environment(torch):
    """What the results will be results of."""
    return {
        "device": torch.cuda.get_device_name(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "csrc": source_hash(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


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


def newest(folder=RESULTS):
    """The content that was recorded last, or None."""
    contents = [json.loads(path.read_text()) for path in folder.glob("gpu-*.json")]
    return max(contents, key=lambda content: content["environment"]["date"], default=None)


def module(content, csrc):
    """The Python source that tells pylstm about a record and about its own sources' hash."""
    last = content and {name: content["environment"][name] for name in ("device", "date", "csrc")}
    return (
        '"""What a GPU last ran. Written by benchmarks/gpu/record.py."""\n\n'
        f"CSRC = {csrc!r}  # the hash of the sources that this was built from\n"
        f"LAST = {last!r}\n"
    )


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_text(module(newest(), source_hash()))
