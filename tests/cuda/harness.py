"""Runs the CUDA kernels through the CPU shim, on guarded and poisoned buffers."""

import dataclasses

import ml_dtypes
import numpy as np

from pylstm.ops import INPUTS
from tests import tolerances

GUARD_BYTES = 256
ALIGNMENT = 64
DTYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One call: sizes and options, in the terms of `csrc/core/problem.h`."""

    batch: int = 3
    time: int = 4
    features: int = 5
    units: int = 6
    dtype: str = "float32"
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    use_bias: bool = True
    mask: str = ""  # none, or "right" and "left" padding, "holes"; rows without a step among them
    recurrent_dropout: bool = False
    go_backwards: bool = False
    return_sequences: bool = True
    zero_output_for_mask: bool = False
    allow_tf32: bool = False
    scale: float = 1.0  # of the inputs and the bias
    unaligned: bool = False  # inputs begin one element past 16 bytes, as slices may

    def error(self, got, exact, backward=False):
        """The error of `got` as a fraction of the accepted one."""
        dtype = "tf32" if self.allow_tf32 else self.dtype
        return tolerances.error(got, exact) / tolerances.tolerance(dtype, backward)

    def problem(self, shim, *, save_for_backward):
        problem = shim.Problem()
        problem.batch, problem.time = self.batch, self.time
        problem.features, problem.units = self.features, self.units
        problem.dtype = getattr(shim.DType, self.dtype)
        problem.activation = shim.Activation.__members__[self.activation]
        problem.recurrent_activation = shim.Activation.__members__[self.recurrent_activation]
        problem.use_bias = self.use_bias
        problem.has_mask = bool(self.mask)
        problem.has_recurrent_dropout = self.recurrent_dropout
        problem.go_backwards = self.go_backwards
        problem.return_sequences = self.return_sequences
        problem.zero_output_for_mask = self.zero_output_for_mask
        problem.save_for_backward = save_for_backward
        problem.allow_tf32 = self.allow_tf32
        return problem

    def options(self):
        """Keyword arguments of the reference."""
        return {
            "activation": self.activation,
            "recurrent_activation": self.recurrent_activation,
            "go_backwards": self.go_backwards,
            "return_sequences": self.return_sequences,
            "zero_output_for_mask": self.zero_output_for_mask,
        }

    def inputs(self, seed=0):
        """Arrays in the case's element type; mask is bool, absent ones None."""
        rng = np.random.default_rng(seed)
        b, t, f, h = self.batch, self.time, self.features, self.units
        dtype = DTYPES[self.dtype]

        def normal(*shape, scale=1.0):
            return guarded(shape, dtype, rng.normal(size=shape) * scale, self.unaligned)

        dropout = rng.binomial(1, 0.7, size=(4, b, h)) / 0.7
        mask = guarded((b, t), np.bool_, self._mask(rng)) if self.mask else None
        x = normal(b, t, f, scale=self.scale)
        if mask is not None:
            x[~mask] = np.nan  # padding may hold anything
        return {
            "x": x,
            "h0": normal(b, h, scale=0.5),
            "c0": normal(b, h, scale=0.5),
            "kernel": normal(f, 4 * h, scale=max(f, 1) ** -0.5),
            "recurrent_kernel": normal(h, 4 * h, scale=h**-0.5),
            "bias": normal(4 * h, scale=0.5 * self.scale) if self.use_bias else None,
            "mask": mask,
            "recurrent_dropout": guarded((4, b, h), dtype, dropout)
            if self.recurrent_dropout
            else None,
        }

    def output_gradients(self, seed=1):
        rng = np.random.default_rng(seed)
        b, t, h = self.batch, self.time, self.units
        shapes = {
            "dy": (b, t, h) if self.return_sequences else (b, h),
            "dh": (b, h),
            "dc": (b, h),
        }
        dtype = DTYPES[self.dtype]
        return {n: guarded(s, dtype, rng.normal(size=s)) for n, s in shapes.items()}

    def _mask(self, rng):
        b, t = self.batch, self.time
        lengths = rng.integers(0, t + 1, size=(b, 1))
        steps = np.arange(t)
        if self.mask == "right":
            return steps < lengths
        if self.mask == "left":
            return steps >= lengths
        mask = rng.random((b, t)) < 0.5
        mask[0] = False
        return mask


def guarded(shape, dtype, value=None, unaligned=False):
    """An array between two guards, aligned or one element past it; without a value it holds NaN.

    Inputs are guarded too: what a kernel reads beyond them is NaN.
    """
    dtype = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    base = np.full(nbytes + 2 * GUARD_BYTES + 2 * ALIGNMENT, 0xFF, np.uint8)
    start = GUARD_BYTES + (-(base.ctypes.data + GUARD_BYTES) % ALIGNMENT)
    start += dtype.itemsize * unaligned
    array = base[start : start + nbytes].view(dtype).reshape(shape)
    if value is not None:
        array[...] = value
    return array


def assert_guards_intact(arrays):
    for name, array in arrays.items():
        if array is None:
            continue
        base = array
        while base.base is not None:
            base = base.base
        start = array.ctypes.data - base.ctypes.data
        outside = np.concatenate([base[:start], base[start + array.nbytes :]])
        assert (outside == 0xFF).all(), f"written outside of {name}"


def forward(shim, case, device, inputs, *, save_for_backward=False, seed=0):
    """Returns y, h, c and, when saved, the reserve."""
    problem = case.problem(shim, save_for_backward=save_for_backward)
    dtype = DTYPES[case.dtype]
    b, t, h = case.batch, case.time, case.units
    outputs = {
        "y": guarded((b, t, h) if case.return_sequences else (b, h), dtype),
        "h": guarded((b, h), dtype),
        "c": guarded((b, h), dtype),
        "reserve": guarded((problem.reserve_bytes(),), np.uint8) if save_for_backward else None,
        "workspace": guarded((shim.forward_workspace_bytes(problem, device),), np.uint8),
    }
    shim.lstm_forward(problem, device, seed, {**inputs, **outputs})
    assert_guards_intact({**inputs, **outputs})
    del outputs["workspace"]
    return outputs


def backward(shim, case, device, inputs, reserve, output_gradients, *, input_gradient=True, seed=0):
    """Returns the gradients of all inputs, or of all but x."""
    problem = case.problem(shim, save_for_backward=True)
    problem.input_gradient = input_gradient
    dtype = DTYPES[case.dtype]
    gradients = {
        "d" + name: guarded(inputs[name].shape, dtype)
        for name in INPUTS[:6]
        if inputs[name] is not None and (input_gradient or name != "x")
    }
    workspace = guarded((shim.backward_workspace_bytes(problem, device),), np.uint8)
    buffers = {
        **inputs,
        **output_gradients,
        **gradients,
        "reserve": reserve,
        "workspace": workspace,
    }
    shim.lstm_backward(problem, device, seed, buffers)
    assert_guards_intact(buffers)
    return gradients
