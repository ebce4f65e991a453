"""Runs one LSTM call through `pylstm._core` and compares it with the float64 reference."""

from dataclasses import dataclass, field, replace

import ml_dtypes  # noqa: F401  (makes NumPy know bfloat16)
import numpy as np

from pylstm import _core
from pylstm.reference import lstm_backward, lstm_forward
from tests.tolerances import assert_close

RESULTS = ("y", "h", "c")
GRADIENTS = ("dx", "dh0", "dc0", "dkernel", "drecurrent_kernel", "dbias")


@dataclass(frozen=True)
class Case:
    """Sizes and options of a call."""

    batch: int = 5
    time: int = 7
    features: int = 3
    units: int = 17
    dtype: str = "float32"
    bias: bool = True
    mask: str | None = None
    dropout: bool = False
    scale: float = 1.0  # of the values
    options: dict = field(default_factory=dict)
    isa: str | None = None
    threads: int = 1

    def __str__(self):
        parts = [f"B{self.batch}T{self.time}F{self.features}H{self.units}", self.dtype]
        parts += [name for name in ("dropout",) if getattr(self, name)]
        parts += [] if self.bias else ["nobias"]
        parts += [self.mask] if self.mask else []
        parts += [f"{k}={v}" for k, v in self.options.items()]
        return "-".join(parts)

    def with_(self, **changes):
        return replace(self, **changes)


def make_mask(kind, batch, time, rng):
    """(B, T) bool: what is masked.

    Padding "right" or "left", "holes" anywhere, those and every other of the "rows", those and all
    but "one" row, or "all".
    """
    lengths = rng.integers(0, time + 1, batch)
    steps = np.arange(time)
    if kind == "right":
        return steps < lengths[:, None]
    if kind == "left":
        return steps >= time - lengths[:, None]
    mask = rng.random((batch, time)) < 0.6
    if kind == "rows":
        mask[::2] = False
    if kind == "one":
        mask[1:] = False
    if kind == "all":
        mask[:] = False
    return mask


def make_inputs(case, seed=0):
    """Arguments of forward in order, in the case's dtype; masked inputs are NaN."""
    rng = np.random.default_rng(seed)
    b, t, f, h = case.batch, case.time, case.features, case.units

    def normal(*shape, scale=1.0):
        return (rng.standard_normal(shape) * scale * case.scale).astype(case.dtype)

    x = normal(b, t, f)
    mask = make_mask(case.mask, b, t, rng) if case.mask else None
    if mask is not None:
        x[~mask] = np.nan
    dropout = None
    if case.dropout:
        dropout = ((rng.random((4, b, h)) < 0.7) / 0.7).astype(case.dtype)
    return [
        x,
        normal(b, h, scale=0.5),
        normal(b, h, scale=0.5),
        normal(f, 4 * h, scale=1 / max(f, 1) ** 0.5),
        normal(h, 4 * h, scale=1 / max(h, 1) ** 0.5),
        normal(4 * h, scale=0.5) if case.bias else None,
        mask,
        dropout,
    ]


def make_output_gradients(case, seed=1):
    """dy, dh, dc."""
    rng = np.random.default_rng(seed)
    b, h = case.batch, case.units
    y = (b, case.time, h) if case.options.get("return_sequences", True) else (b, h)
    return [rng.standard_normal(shape).astype(case.dtype) for shape in (y, (b, h), (b, h))]


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
