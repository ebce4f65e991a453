"""`python -m benchmarks.gpu.timing RECORD UNTIL`: the peers of peers.py on the cases of cases.py.

Every peer's results are checked against float64 before its time counts. A time is that of a call
as a program makes it, from the host, averaged over a turn of many calls and one synchronization;
turns go round, and medians are over turns.
"""

import dataclasses
import functools
import pathlib
import sys
import time

import numpy as np
import torch

from benchmarks.gpu import peers, reference, tasks
from benchmarks.gpu.cases import TIMED
from benchmarks.problem import TOLERANCES, draw_problem, largest_error
from pylstm.ops import cuda
from pylstm.ops import torch as torch_ops

TURNS = 11
TURN = 0.004  # seconds, or one call where that takes longer


def measure(case, mode):
    """The record of one case and mode."""
    tf32 = case.dtype == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    problem = _draw(case)
    expected = reference.results(problem, mode, peers.DEVICE)
    results, ready = {}, {}
    for name, peer in peers.PEERS.items():
        try:
            if refusal := peer.refusal(case, mode):
                results[name] = {"refused": refusal}
                continue
            computation = peer.prepare(problem, mode)
            error = largest_error(problem, computation.results(computation.run()), expected)
        except Exception as failure:
            results[name] = {"failed": f"{type(failure).__name__}: {failure}"}
            peer.synchronize()  # raises where no peer can run any more
            continue
        results[name] = {"error": error}
        if error <= TOLERANCES[case.dtype]:
            ready[name] = (computation.run, peer.synchronize)
        else:
            results[name] |= {"failed": f"wrong: error {error:.1e}"}
    for name, samples in time_in_turns(ready).items():
        q1, median, q3 = np.percentile(samples, [25, 50, 75])
        results[name] |= {"median": median, "q1": q1, "q3": q3}
    kernel, reason = chosen_kernel(problem)
    return {
        "mode": mode,
        "case": dataclasses.asdict(case),
        "kernel": kernel,
        "reason": reason,
        "peers": results,
    }


@functools.lru_cache(1)  # both modes, one after the other
def _draw(case):
    return draw_problem(case)


def time_in_turns(ready):
    """Seconds a call, one for each turn, by name; `ready` has pairs of a call and a function that
    waits for it."""
    calls, samples = {}, {name: [] for name in ready}
    for name, (run, synchronize) in ready.items():
        for _ in range(3):
            seconds = _turn(run, synchronize, 1)
        calls[name] = max(1, round(TURN / seconds))
    for _ in range(TURNS):
        for name, (run, synchronize) in ready.items():
            samples[name].append(_turn(run, synchronize, calls[name]))
    return samples


def _turn(run, synchronize, calls):
    synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    synchronize()
    return (time.perf_counter() - start) / calls


def chosen_kernel(problem):
    """The name of our kernel that computes a problem, and why it does."""
    (weights,) = problem.weights
    arrays = {
        "x": problem.x,
        "h0": problem.h0,
        "c0": problem.c0,
        "kernel": weights.kernel,
        "recurrent_kernel": weights.recurrent_kernel,
        "bias": weights.bias,
        "mask": problem.mask,
        "recurrent_dropout": problem.recurrent_dropout,
    }
    call = cuda.load_cuda().Call(
        dtype=problem.x.dtype.name,
        shapes={name: list(array.shape) for name, array in arrays.items() if array is not None},
        activation=problem.case.activation,
        allow_tf32=torch_ops.Cuda.allow_tf32(),
    )
    return call.kernel


def main():
    path, until = pathlib.Path(sys.argv[1]), float(sys.argv[2])
    todo = (
        (f"{case.name} {mode}", functools.partial(measure, case, mode))
        for case in TIMED
        for mode in case.modes
    )
    tasks.work(path, "timings", todo, until, recover=torch.cuda.synchronize)


if __name__ == "__main__":
    main()
