"""Results, with what they are results of: the device, the date, the commit and the sources."""

import datetime
import hashlib
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


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
    """Writes rows (dicts) to `<folder>/<device>-<date>.json` and returns the path."""
    import torch

    device = torch.cuda.get_device_name()
    date = datetime.date.today().isoformat()
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
    path = folder / f"{device.replace(' ', '-')}-{date}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path
