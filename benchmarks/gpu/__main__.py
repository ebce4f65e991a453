"""`python -m benchmarks.gpu`: one command for a machine with a GPU.

It builds the kernels for that GPU, checks values and gradients against float64 on guarded and
poisoned buffers and on several streams, times the kernels beside cuDNN and Keras, and runs small
checks under compute-sanitizer. Each result is written to benchmarks/results as it comes; what there
is no time for is left out, and said. It needs nvcc, CMake, ninja, and for this Python torch,
pybind11 and ml_dtypes; no network.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from benchmarks.gpu import record, report, tasks

ROOT = record.ROOT
# Seconds at most: of the checks, and of each tool of compute-sanitizer.
CHECKS, TOOL = 150, 60
TOOLS = ("memcheck", "racecheck")
DONE = "checked: "  # what each check prints under them


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=8.5, help="for all of it, and one more if something hangs"
    )
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--results", type=pathlib.Path, default=record.RESULTS)
    options = parser.parse_args(arguments)
    end = time.time() + 60 * options.minutes
    missing = [tool for tool in ("nvidia-smi", "nvcc", "cmake", "ninja") if not shutil.which(tool)]
    if missing:
        sys.exit(f"benchmarks.gpu needs a GPU and its tools; not found: {', '.join(missing)}")

    build(options.build)
    import torch  # only where there is a GPU

    results = record.Record.start(options.results, record.environment(torch))
    print(f"results: {results.path}", flush=True)
    sanitizer = shutil.which("compute-sanitizer")
    after_timings = end - (len(TOOLS) * TOOL if sanitizer else 0)
    for section, module, until in (
        ("checks", "tests.cuda.on_gpu", min(time.time() + CHECKS, after_timings)),
        ("timings", "benchmarks.gpu.timing", after_timings),
    ):
        command = [sys.executable, "-m", module, results.path, str(until)]
        tasks.supervise(command, results, section, until)
    for tool in TOOLS:
        results.put("sanitizer", tool, sanitize(sanitizer, tool, TOOL))
    print(report.text(results.content))
    sys.exit(1 if report.failures(results.content) else None)


def build(folder):
    """The two Python modules, for the GPUs of this machine."""
    configure = ["cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", "-DPYLSTM_CUDA=ON"]
    configure += ["-DCMAKE_CUDA_ARCHITECTURES=native", f"-DPython_EXECUTABLE={sys.executable}"]
    for command in (configure, ["cmake", "--build", folder, "--target", "_core", "_cuda"]):
        print("+", *command, flush=True)
        done = subprocess.run(command, check=False, cwd=ROOT)
        if done.returncode:
            sys.exit(f"failed with {done.returncode}: {' '.join(map(str, command))}")


def sanitize(sanitizer, tool, seconds):
    """Runs the small checks under a tool of compute-sanitizer; returns its result."""
    if sanitizer is None:
        return {"refused": "compute-sanitizer is not on the PATH"}
    command = [sanitizer, f"--tool={tool}", "--error-exitcode=9"]
    if tool == "memcheck":
        command.append("--report-api-errors=no")  # torch asks the driver for what it may refuse
    command += [sys.executable, "-m", "tests.cuda.on_gpu", "--sanitize"]
    # Each tensor is an allocation of its own, whose ends the tool knows.
    environment = os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # to stop what the tool watches, too
    )
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        if "=========     " in said:  # a finding; its own banner has no indented line
            return {"failed": said[-4000:]}
        return {"refused": f"stopped after {seconds} s, {said.count(DONE)} checks without findings"}
    if process.returncode:
        return {"failed": f"exit status {process.returncode}: {said[-4000:]}"}
    return {"findings": 0, "checks": said.count(DONE)}


if __name__ == "__main__":
    main()
