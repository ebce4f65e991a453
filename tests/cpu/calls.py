"""Runs one LSTM call through `pylstm._core` and compares it with the float64 reference."""

import numpy as np

from pylstm import _core
from pylstm.reference import lstm_backward, lstm_forward
from tests.cases import GRADIENTS, RESULTS, make_inputs, make_output_gradients
from tests.tolerances import assert_close


def run_forward(case, inputs, **options):
    run = {"isa": case.isa, "threads": case.threads, "poison": True}
    return _core.forward(*inputs, **case.options, **run, **options)


def run_backward(case, inputs, reserve, gradients, **options):
    run = {"isa": case.isa, "threads": case.threads, "poison": True}
    return _core.backward(*inputs, reserve, *gradients, **case.options, **run, **options)


_newest = {}  # what `exact` has last returned, by its case


def exact(case, inputs, gradients):
    """The results and gradients of the reference; kept, for ISAs and threads come in turn."""
    key = repr(case.with_(isa=None, threads=1))
    if key not in _newest:
        _newest.clear()
        _newest[key] = (
            lstm_forward(*inputs, **case.options),
            lstm_backward(*inputs, *gradients, **case.options),
        )
    return _newest[key]


def check(case):
    """Asserts that forward and backward agree with the reference; returns what they gave."""
    inputs, gradients = make_inputs(case), make_output_gradients(case)
    *plain, no_reserve = run_forward(case, inputs)
    assert no_reserve is None
    *results, reserve = run_forward(case, inputs, save_for_backward=True)
    for name, a, b in zip(RESULTS, plain, results, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=f"{case}: {name} depends on saving")
    exact_results, exact_gradients = exact(case, inputs, gradients)
    for name, got, want in zip(RESULTS, results, exact_results, strict=True):
        assert_close(got, want, case.dtype, what=f"{case}: {name}")
    backward = run_backward(case, inputs, reserve, gradients)
    no_dx, *others = run_backward(case, inputs, reserve, gradients, input_gradient=False)
    assert no_dx is None
    for name, a, b in zip(GRADIENTS[1:], others, backward[1:], strict=True):
        np.testing.assert_array_equal(a, b, err_msg=f"{case}: {name} depends on dx")
    for name, got, want in zip(GRADIENTS, backward, exact_gradients, strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            assert_close(got, want, case.dtype, backward=True, what=f"{case}: {name}")
    return tuple(results), backward
