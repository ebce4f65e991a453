"""`torch.nn.LSTM`, where rows have lengths as packed sequences or as padding, whichever is faster.

`batch_first`, as the others' data; time major, torch's default, measured the same.
"""

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.machine import CORES
from benchmarks.peers import Computation, fastest
from benchmarks.problem import name_gradients

torch.set_num_threads(CORES)


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
    # Backwards a row without packing would begin with its padding.
    ways = (True, False) if case.padding and not case.bidirectional else (True,)
    return fastest([prepare_one(problem, mode, packed) for packed in ways])


def prepare_one(problem, mode, packed, device="cpu"):
    """Without `packed` the layer computes the padding, too, and its outputs there do not count."""
    case = problem.case
    layer = torch.nn.LSTM(
        case.features,
        case.units,
        bias=case.use_bias,
        batch_first=True,
        bidirectional=case.bidirectional,
        dtype=to_tensor(problem.x).dtype,
        device=device,
    )
    layer.train(mode == "training")
    _set_weights(layer, problem)
    x = to_tensor(problem.x).to(device)
    lengths = torch.from_numpy(problem.lengths) if packed and case.padding else None

    def forward():
        if lengths is None:
            return layer(x)[0]
        steps = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(layer(steps)[0], batch_first=True, total_length=case.time)[0]

    @torch.inference_mode()
    def infer():
        return forward()

    @torch.inference_mode()
    def stream():
        y, (h, c) = layer(x, state)
        return y, h[0], c[0]

    def step():
        y = forward()
        inputs = [] if case.first_layer else [x]
        return y, torch.autograd.grad(y, [*_trained(layer), *inputs], dy)

    def training_results(returned):
        y, gradients = returned
        named = {"y": to_numpy(y)}
        if not case.first_layer:
            *gradients, dx = gradients
            named["dx"] = to_numpy(dx)
        each = 3 if case.use_bias else 2
        for direction in range(case.directions):
            kernel, recurrent, *bias = gradients[direction * each : (direction + 1) * each]
            bias = [to_numpy(b) for b in bias]
            named |= name_gradients(direction, to_numpy(kernel.T), to_numpy(recurrent.T), *bias)
        return named

    if case.streaming:
        state = tuple(to_tensor(s[None]).to(device) for s in (problem.h0, problem.c0))
        return Computation(
            stream,
            lambda out: {"y": to_numpy(out[0]), "h": to_numpy(out[1]), "c": to_numpy(out[2])},
        )
    if mode == "inference":
        return Computation(infer, lambda y: {"y": to_numpy(y)})
    x.requires_grad_(not case.first_layer)
    dy = to_tensor(problem.dy).to(device)
    return Computation(step, training_results)


def _set_weights(layer, problem):
    values = []
    for weights in problem.weights:
        values += [weights.kernel.T, weights.recurrent_kernel.T]
        if weights.bias is not None:
            values += [weights.bias, np.zeros_like(weights.bias)]  # torch has a second bias
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), values, strict=True):
            parameter.copy_(to_tensor(value))


def _trained(layer):
    """Its second bias is not trained, so that it does no more than the others."""
    return [p for name, p in layer.named_parameters() if not name.startswith("bias_hh")]


def to_tensor(array):
    array = np.ascontiguousarray(array)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_numpy(tensor):
    return tensor.detach().double().cpu().numpy()
