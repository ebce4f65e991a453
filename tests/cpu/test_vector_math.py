"""The activations on vectors, one value at a time, over the whole range of the type.

With recurrent_activation="linear", z_i = 1, z_f = 0 and z_g = x, the cell state after one step is
activation(x), exactly.
"""

import numpy as np
import pytest

from pylstm import _core
from pylstm.reference import ACTIVATIONS

# Largest errors in units of the last place: what vector_math.h states.
ULPS = {
    ("tanh", "float32"): 2,
    ("sigmoid", "float32"): 1.6,
    ("exponential", "float32"): 1.1,
    ("tanh", "float64"): 3,
    ("sigmoid", "float64"): 3,
    ("exponential", "float64"): 3,
}
BY_TABLE = {("tanh", "float32"): 1, ("exponential", "float32"): 0.9}
ULPS_OF_ISA = {
    "baseline": ULPS | {("tanh", "float32"): 2.3, ("sigmoid", "float32"): 2},  # no FMA
    "avx512": ULPS | BY_TABLE,
    "avx512_bf16": ULPS | BY_TABLE,
    "amx_bf16": ULPS | BY_TABLE,
}

isas = pytest.mark.parametrize("isa", _core.isas())


def apply(name, x, isa):
    n = len(x)
    zeros = np.zeros((n, 1), x.dtype)
    kernel = np.array([[0, 0, 1, 0]], x.dtype)
    bias = np.array([1, 0, 0, 0], x.dtype)
    _, _, c, _ = _core.forward(
        x.reshape(n, 1, 1),
        zeros,
        zeros,
        kernel,
        np.zeros((1, 4), x.dtype),
        bias,
        activation=name,
        recurrent_activation="linear",
        isa=isa,
    )
    return c[:, 0]


def apply_by_bias(name, value, isa):
    """The same for one value that may be infinite or NaN: it must not meet the kernel's zeros."""
    zero = np.zeros((1, 1), value.dtype)
    bias = np.array([1, 0, value, 0], value.dtype)
    kernel = np.zeros((1, 4), value.dtype)
    options = {"activation": name, "recurrent_activation": "linear", "isa": isa}
    return _core.forward(zero[None], zero, zero, kernel, kernel, bias, **options)[2].item()


def whole_range(dtype):
    """Every sign, exponent and leading bits of the fraction, with random bits behind."""
    rng = np.random.default_rng(0)
    bits = {"float32": np.uint32, "float64": np.uint64}[dtype]
    width = np.dtype(bits).itemsize * 8
    high = np.repeat(np.arange(1 << 16, dtype=bits), 8) << bits(width - 16)
    low = rng.integers(0, 1 << (width - 16), len(high), dtype=bits)
    x = (high | low).view(dtype)
    # Where the functions change.
    near = [rng.uniform(-limit, limit, 1 << 19).astype(dtype) for limit in (1, 20)]
    return np.concatenate([x[np.isfinite(x)], *near])


def exact(name, x):
    x = x.astype(np.longdouble)
    if name == "tanh":
        return np.tanh(x)
    if name == "exponential":
        return np.exp(x)
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


@isas
@pytest.mark.parametrize(("name", "dtype"), ULPS)
def test_units_of_the_last_place(name, dtype, isa):
    x = whole_range(dtype)
    with np.errstate(all="ignore"):
        expected = exact(name, x)
        rounded = expected.astype(dtype)
        got = apply(name, x, isa)
    finite = np.isfinite(rounded) & np.isfinite(got)
    smallest = np.finfo(dtype).smallest_normal
    denormal = np.abs(rounded) < smallest
    assert (np.abs(got[denormal]) <= smallest).all()
    normal = finite & ~denormal
    spacing = np.spacing(np.abs(rounded[normal])).astype(np.longdouble)
    ulps = np.abs(got[normal] - expected[normal]) / spacing
    worst = ulps.argmax()
    limit = ULPS_OF_ISA.get(isa, ULPS)[name, dtype]
    assert ulps[worst] <= limit, f"x = {x[normal][worst]!r}: {float(ulps[worst])} ulp"
    # Where one overflows, so does the other, but for the last value before it.
    overflow = ~finite
    largest = np.finfo(dtype).max
    assert (np.minimum(got[overflow], rounded[overflow]) > largest * (1 - 1e-6)).all()


@isas
@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_special_values(name, dtype, isa):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array(
        [np.nan, 0.0, -0.0, np.inf, -np.inf, tiny, -tiny, 1e15, -1e15, 30, -30, 0.5, -0.5], dtype
    )
    with np.errstate(all="ignore"):
        expected = ACTIVATIONS[name][0](x.astype(np.float64)).astype(dtype)
    got = [apply_by_bias(name, value, isa) for value in x]
    rtol = 1e-6 if dtype == "float32" else 1e-14
    smallest = np.finfo(dtype).smallest_normal  # denormals may be zero
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=smallest)


@isas
@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_denormals_count_as_zero(dtype, isa):
    """Arithmetic with them takes many times as long; its caller's, afterwards, is as before."""
    tiny = np.finfo(dtype).smallest_normal
    x = np.array([tiny / 2, -tiny / 2, tiny, -tiny], dtype)
    np.testing.assert_array_equal(apply("linear", x, isa), [0, 0, tiny, -tiny])
    assert (x / 2 != 0).all()


@isas
def test_denormals_of_float16_count(isa):
    x = np.arange(-0x3FF, 0x400, dtype=np.int16)
    x = (np.abs(x) | (x & -0x8000)).view(np.float16)
    np.testing.assert_array_equal(apply("linear", x, isa), x)
