"""pylstm on NumPy arrays, without a framework: `pylstm.lstm`, and for gradients its binding."""

import pylstm
from benchmarks.peers import Computation
from benchmarks.problem import name_gradients
from pylstm import _core


def versions():
    return {
        "pylstm": pylstm.__version__,
        "pylstm ISA": _core.selected_isa("float32"),
        "pylstm ISA for bfloat16": _core.selected_isa("bfloat16"),
    }


def refusal(case, mode):
    return "one direction a call" if case.bidirectional else None


def prepare(problem, mode):
    (weights,) = problem.weights
    own = (weights.kernel, weights.recurrent_kernel, weights.bias)
    options = {"activation": problem.case.activation}

    def infer():
        return pylstm.lstm(
            problem.x,
            *own,
            initial_state=(problem.h0, problem.c0),
            mask=problem.mask,
            recurrent_dropout=problem.recurrent_dropout,
            return_state=True,
            **options,
        )

    inputs = (problem.x, problem.h0, problem.c0, *own, problem.mask, problem.recurrent_dropout)

    def step():
        y, _, _, reserve = _core.forward(*inputs, save_for_backward=True, **options)
        given = (*inputs, reserve, problem.dy, None, None)
        return y, _core.backward(*given, input_gradient=not problem.case.first_layer, **options)

    def training_results(returned):
        y, (dx, _, _, *by_weights) = returned
        named = {"y": y, **name_gradients(0, *by_weights)}
        return named if dx is None else named | {"dx": dx}

    if mode == "training":
        return Computation(step, training_results)
    return Computation(infer, lambda out: dict(zip("yhc", out, strict=True)))
