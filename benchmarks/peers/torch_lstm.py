"""`torch.nn.LSTM`, packed sequences where rows have lengths.

`batch_first`, as the others' data; time major, torch's default, measured the same.
"""

import os

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.peers import Computation
from benchmarks.problem import name_gradients

torch.set_num_threads(os.cpu_count())


def versions():
    return {"torch": torch.__version__}


def refusal(case, mode):
    if case.activation != "tanh":
        return "tanh only"
    if case.recurrent_dropout:
        return "no recurrent dropout"
    if case.padding == "left":
        return "no left padding"
    return None


def prepare(problem, mode):
    case = problem.case
    layer = torch.nn.LSTM(
        case.features,
        case.units,
        bias=case.use_bias,
        batch_first=True,
        bidirectional=case.bidirectional,
        dtype=getattr(torch, case.dtype),
    )
    _set_weights(layer, problem)
    x = _tensor(problem.x)
    lengths = None if problem.lengths is None else torch.from_numpy(problem.lengths)

    def forward():
        if lengths is None:
            return layer(x)[0]
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=case.time)[0]

    @torch.inference_mode()
    def infer():
        return forward()

    @torch.inference_mode()
    def stream():
        y, (h, c) = layer(x, state)
        return y, h[0], c[0]

    def step():
        y = forward()
        return y, torch.autograd.grad(y, [x, *_trained(layer)], dy)

    def training_results(returned):
        y, (dx, *by_weights) = returned
        named = {"y": _array(y), "dx": _array(dx)}
        each = 3 if case.use_bias else 2
        for direction in range(case.directions):
            kernel, recurrent, *bias = by_weights[direction * each : (direction + 1) * each]
            bias = [_array(b) for b in bias]
            named |= name_gradients(direction, _array(kernel.T), _array(recurrent.T), *bias)
        return named

    if case.streaming:
        state = tuple(_tensor(s[None]) for s in (problem.h0, problem.c0))
        return Computation(
            stream, lambda out: {"y": _array(out[0]), "h": _array(out[1]), "c": _array(out[2])}
        )
    if mode == "inference":
        return Computation(infer, lambda y: {"y": _array(y)})
    x.requires_grad_()
    dy = _tensor(problem.dy)
    return Computation(step, training_results)


def _set_weights(layer, problem):
    values = []
    for weights in problem.weights:
        values += [weights.kernel.T, weights.recurrent_kernel.T]
        if weights.bias is not None:
            values += [weights.bias, np.zeros_like(weights.bias)]  # torch has a second bias
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), values, strict=True):
            parameter.copy_(_tensor(value))


def _trained(layer):
    """Its second bias is not trained, so that it does no more than the others."""
    return [p for name, p in layer.named_parameters() if not name.startswith("bias_hh")]


def _tensor(array):
    array = np.ascontiguousarray(array)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _array(tensor):
    return tensor.detach().double().numpy()
