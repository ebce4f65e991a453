"""What this machine is, and the rates that it reaches at best: the roofline's roof."""

import ctypes
import os
import platform
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

CORES = len(os.sched_getaffinity(0))
_SECONDS = 0.02  # at least, for each measurement


def describe() -> dict[str, str | int]:
    """Names the processor, the system and the commit that is measured."""
    return {
        "processor": _processor(),
        "cores": CORES,
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "commit": _commit(),
    }


def measure_rates() -> dict[str, float]:
    """Measures, on all cores, a large sgemm and a loop of multiply-adds, in FLOP/s."""
    return {"sgemm": _sgemm_rate(), "fma": _fma_rate()}


class FmaLoop:
    """The loop of multiply-adds as one who takes turns with the peers."""

    def take_turn(self, seconds: float, calls: int) -> list[float]:
        """Returns the rates that it reached within about `seconds`, in FLOP/s.

        Each is the best of several calls, the first among them, so `calls` asks for no more.
        """
        end = time.perf_counter() + seconds
        rates = [_fma_rate()]
        while time.perf_counter() < end:
            rates.append(_fma_rate())
        return rates


def measure_read_rate(n_bytes: int) -> float:
    """Measures how fast all cores together read the same `n_bytes`, a share each, in bytes/s."""
    count = max(256, n_bytes // 4 // CORES // 256 * 256)
    data = [np.ones(count, np.float32) for _ in range(CORES)]

    library = _library()

    def read(core, repeats):
        sink = ctypes.c_float()
        library.read_floats(_pointer(data[core]), count, repeats, ctypes.byref(sink))
        return 4.0 * count * repeats

    return _rate(read)


def _fma_rate():
    library = _library()

    def multiply_add(core, repeats):
        return library.multiply_add(repeats, ctypes.byref(ctypes.c_float()))

    return _rate(multiply_add)


def _sgemm_rate(n=2048):
    a = np.ones((n, n), np.float32)
    out = np.empty_like(a)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        np.matmul(a, a, out=out)
        times.append(time.perf_counter() - start)
    return 2.0 * n**3 / min(times)


def _rate(work):
    """Runs `work(core, repeats)` on every core at once; returns the most work done per second."""
    with ThreadPoolExecutor(CORES) as threads:

        def timed(repeats):
            start = time.perf_counter()
            done = sum(threads.map(work, range(CORES), [repeats] * CORES))
            return time.perf_counter() - start, done

        repeats = 1
        while min(timed(repeats)[0] for _ in range(3)) < _SECONDS:
            repeats *= 2
        return max(done / seconds for seconds, done in (timed(repeats) for _ in range(3)))


@cache
def _library():
    source = Path(__file__).with_name("machine.c")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "machine.so")
        compiler = os.environ.get("CC", "cc")
        flags = ["-O3", "-march=native", "-shared", "-fPIC"]
        subprocess.run([compiler, *flags, "-o", target, source], check=True)
        library = ctypes.CDLL(str(target))
    library.multiply_add.argtypes = [ctypes.c_int64, ctypes.c_void_p]
    library.multiply_add.restype = ctypes.c_double
    library.read_floats.argtypes = [
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_void_p,
    ]
    library.read_floats.restype = None
    return library


def _pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _commit():
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
