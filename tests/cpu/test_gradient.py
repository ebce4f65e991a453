"""The gradient against finite differences of the forward pass itself, in float64."""

import numpy as np
import pytest

from tests.cases import GRADIENTS, Case, make_inputs, make_output_gradients
from tests.cpu.calls import run_backward, run_forward


@pytest.mark.parametrize(
    "case",
    [
        Case(dtype="float64"),
        Case(dtype="float64", mask="holes", dropout=True),
        Case(dtype="float64", bias=False, options={"go_backwards": True}),
        Case(dtype="float64", mask="left", options={"return_sequences": False}),
        Case(
            dtype="float64",
            options={"activation": "gelu", "recurrent_activation": "softplus"},
        ),
    ],
    ids=str,
)
def test_finite_differences(case):
    case = case.with_(batch=3, time=4, features=2, units=9)
    inputs, gradients = make_inputs(case), make_output_gradients(case)
    reserve = run_forward(case, inputs, save_for_backward=True)[3]
    found = run_backward(case, inputs, reserve, gradients)

    def loss(changed):
        results = run_forward(case, changed)[:3]
        return sum((a * b).sum() for a, b in zip(results, gradients, strict=True))

    rng = np.random.default_rng(2)
    for i, name in enumerate(GRADIENTS):
        if inputs[i] is None:
            assert found[i] is None
            continue
        direction = rng.standard_normal(inputs[i].shape)
        step = 1e-6
        plus, minus = list(inputs), list(inputs)
        plus[i], minus[i] = inputs[i] + step * direction, inputs[i] - step * direction
        numeric = (loss(plus) - loss(minus)) / (2 * step)
        analytic = (found[i] * direction).sum()
        assert analytic == pytest.approx(numeric, rel=1e-6, abs=1e-7), name
