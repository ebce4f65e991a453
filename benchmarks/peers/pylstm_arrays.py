"""pylstm's NumPy binding: the CPU kernel without a framework."""

import os

import pylstm
from benchmarks.peers import Computation
from benchmarks.problem import name_gradients
from pylstm import _core


def versions():
    return {"pylstm": pylstm.__version__, "pylstm ISA": _core.selected_isa()}


def refusal(case, mode):
    return "one direction a call" if case.bidirectional else None


def prepare(problem, mode):
    (weights,) = problem.weights
    inputs = (problem.x, problem.h0, problem.c0, weights.kernel, weights.recurrent_kernel)
    inputs += (weights.bias, problem.mask, problem.recurrent_dropout)
    options = {"activation": problem.case.activation, "threads": os.cpu_count()}

    def infer():
        return _core.forward(*inputs, **options)

    def step():
        y, _, _, reserve = _core.forward(*inputs, save_for_backward=True, **options)
        return y, _core.backward(*inputs, reserve, problem.dy, None, None, **options)

    def training_results(returned):
        y, (dx, _, _, *by_weights) = returned
        return {"y": y, "dx": dx, **name_gradients(0, *by_weights)}

    if mode == "training":
        return Computation(step, training_results)
    return Computation(infer, lambda out: dict(zip("yhc", out[:3], strict=True)))
