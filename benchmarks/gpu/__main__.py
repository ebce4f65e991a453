"""`python -m benchmarks.gpu`: one command for a machine with a GPU.

It builds the kernels for that GPU, checks values and gradients against float64 on poisoned buffers
and two streams, runs the small checks under compute-sanitizer, times the kernels beside cuDNN, and
writes what it found to benchmarks/results. It needs nvcc, CMake, ninja, and for this Python torch,
pybind11 and ml_dtypes; no network.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys

from benchmarks.gpu import record

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    missing = [tool for tool in ("nvidia-smi", "nvcc", "cmake", "ninja") if not shutil.which(tool)]
    if missing:
        sys.exit(f"benchmarks.gpu needs a GPU and its tools; not found: {', '.join(missing)}")

    build(options.build)
    run([sys.executable, "-m", "benchmarks.gpu.check"])
    sanitizer = shutil.which("compute-sanitizer")
    for tool in ("memcheck", "racecheck") if sanitizer else ():
        command = [sanitizer, f"--tool={tool}", "--error-exitcode=1", sys.executable]
        run([*command, "-m", "benchmarks.gpu.check", "--small"])

    from benchmarks.gpu import timing  # torch, only where there is a GPU

    rows = timing.measure()
    print(timing.table(rows))
    path = record.write(options.results, rows, sanitized=bool(sanitizer))
    print(f"written: {path}")


def build(folder):
    """The two Python modules, for the GPUs of this machine."""
    configure = ["cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", "-DPYLSTM_CUDA=ON"]
    configure += ["-DCMAKE_CUDA_ARCHITECTURES=native", f"-DPython_EXECUTABLE={sys.executable}"]
    run(configure)
    run(["cmake", "--build", folder, "--target", "_core", "_cuda"])


def run(command):
    """Runs a command in the repository's root; its failure ends this program."""
    print("+", *command, flush=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        sys.exit(f"failed with {done.returncode}: {' '.join(map(str, command))}")


if __name__ == "__main__":
    main()
