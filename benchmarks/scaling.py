"""`python -m benchmarks.scaling results.json`: how the kernel's time grows, added to the results.

Time against T, B and H on one thread and on all, by the NumPy binding. A slope is that of the
logarithms: 1 where twice the size takes twice the time. Results are checked before they are timed.
"""

import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.cases import Case
from benchmarks.problem import (
    TOLERANCES,
    arithmetic,
    draw_problem,
    largest_error,
    name_gradients,
    reference_results,
)
from benchmarks.runner import add_section
from pylstm import _core

SWEEPS = {
    "T": [Case("scaling", 32, t, 64, 128) for t in (25, 50, 100, 200, 400)],
    "B": [Case("scaling", b, 50, 64, 128) for b in (6, 12, 24, 48, 96, 192)],
    "H": [Case("scaling", 32, 25, 64, h) for h in (64, 128, 256, 512, 1024)],
}
_SECONDS = 0.5  # for each time


def main():
    add_section(Path(sys.argv[1]), "scaling", measure_all)


def measure_all() -> list[dict]:
    return [measure(name, cases) for name, cases in SWEEPS.items()]


def measure(name: str, cases: list[Case]) -> dict:
    """Returns medians in seconds and their slopes, by pass and number of threads."""
    sizes = [{"T": c.time, "B": c.batch, "H": c.units}[name] for c in cases]
    times: dict[str, dict[int, list[float]]] = {"forward": {}, "backward": {}}
    problems = [draw_problem(case) for case in cases]
    for threads in (1, machine.CORES):
        for problem in problems:
            for which, seconds in _times(problem, threads).items():
                times[which].setdefault(threads, []).append(seconds)
    work = [arithmetic(problem, "inference") for problem in problems]
    return {
        "name": name,
        "sizes": sizes,
        "arithmetic_slope": slope(sizes, work),
        "passes": [
            {"pass": which, "threads": n, "seconds": each, "slope": slope(sizes, each)}
            for which, by_threads in times.items()
            for n, each in by_threads.items()
        ],
    }


def slope(sizes, values) -> float:
    """Returns the slope of the line through the logarithms, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _times(problem, threads):
    (weights,) = problem.weights
    inputs = (problem.x, problem.h0, problem.c0, weights.kernel, weights.recurrent_kernel)
    inputs += (weights.bias, None, None)

    def forward():
        return _core.forward(*inputs, threads=threads)

    y, _, _, reserve = _core.forward(*inputs, save_for_backward=True, threads=threads)

    def backward():
        return _core.backward(*inputs, reserve, problem.dy, None, None, threads=threads)

    dx, _, _, *by_weights = backward()
    got = {"y": y, "dx": dx, **name_gradients(0, *by_weights)}
    error = largest_error(problem, got, reference_results(problem, "training"))
    if not error <= TOLERANCES["float32"]:
        raise ArithmeticError(f"{problem.case.name} on {threads} threads: error {error:.1e}")
    return {"forward": _median(forward), "backward": _median(backward)}


def _median(call):
    samples = []
    end = time.perf_counter() + _SECONDS
    while len(samples) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
    return float(np.median(samples))


if __name__ == "__main__":
    main()
