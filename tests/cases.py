"""One LSTM call: its sizes and options, with random inputs and output gradients."""

from dataclasses import dataclass, field, replace

import ml_dtypes  # noqa: F401  (makes NumPy know bfloat16)
import numpy as np

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
        parts += ["dropout"] if self.dropout else []
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
