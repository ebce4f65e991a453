"""The true results of a benchmark's case, in float64 on the device: `pylstm.reference` would take
longer than everything that is timed."""

import numpy as np
import torch

from benchmarks.problem import name_gradients

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


def results(problem, mode, device):
    """As `benchmarks.problem.reference_results`, for one direction that keeps no state."""

    def tensor(array):
        return torch.from_numpy(np.asarray(array, np.float64)).to(device)

    (weights,) = problem.weights
    x, kernel, recurrent_kernel = map(tensor, (problem.x, weights.kernel, weights.recurrent_kernel))
    trained = [x, kernel, recurrent_kernel]
    if weights.bias is not None:
        trained.append(tensor(weights.bias))
    mask = None if problem.mask is None else torch.from_numpy(problem.mask).to(device)
    dropout = 1 if problem.recurrent_dropout is None else tensor(problem.recurrent_dropout)
    with torch.set_grad_enabled(mode == "training"):
        for value in trained:
            value.requires_grad_(mode == "training")
        y = _lstm(*trained, mask=mask, dropout=dropout, activation=problem.case.activation)
    named = {"y": y}
    if mode == "training":
        dx, *by_weights = torch.autograd.grad(y, trained, tensor(problem.dy))
        named |= {"dx": dx} | name_gradients(0, *by_weights)
    return {name: value.detach().cpu().numpy() for name, value in named.items()}


def _lstm(x, kernel, recurrent_kernel, bias=0, *, mask, dropout, activation):
    activation = ACTIVATIONS[activation]
    units = recurrent_kernel.shape[0]
    z = x @ kernel + bias
    recurrent = recurrent_kernel.reshape(units, 4, units).transpose(0, 1)
    h = c = x.new_zeros(len(x), units)
    outputs = []
    for t in range(x.shape[1]):
        rows = z[:, t].reshape(-1, 4, units).transpose(0, 1)
        i, f, g, o = rows + (h.expand(4, -1, -1) * dropout) @ recurrent
        new_c = f.sigmoid() * c + i.sigmoid() * activation(g)
        new_h = o.sigmoid() * activation(new_c)
        if mask is None:
            h, c = new_h, new_c
        else:
            h = torch.where(mask[:, t, None], new_h, h)
            c = torch.where(mask[:, t, None], new_c, c)
        outputs.append(h)
    return torch.stack(outputs, 1)
