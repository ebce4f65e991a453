"""The largest error against float64 is at most twice stock Keras' own, in every quantity.

Largest over several draws of several cases: the largest of one draw is mostly chance.
"""

import keras
import numpy as np
import pytest

from tests.layer.compare import outputs_and_gradients, pair

CASES = [
    {"batch": 8, "time": 30, "features": 13, "units": 33},
    {"batch": 3, "time": 50, "features": 5, "units": 64, "return_sequences": True},
    {"batch": 16, "time": 12, "features": 80, "units": 50, "go_backwards": True},
    {"batch": 4, "time": 20, "features": 7, "units": 17, "recurrent_activation": "hard_sigmoid"},
    {"batch": 4, "time": 20, "features": 7, "units": 32, "activation": "softsign"},
]


def errors_of(dtype, case, seed):
    """Relative errors of stock and ours, each an array over all outputs and gradients."""
    batch, time, features, units = (case[k] for k in ("batch", "time", "features", "units"))
    options = {k: v for k, v in case.items() if k not in ("batch", "time", "features", "units")}
    rng = np.random.default_rng(seed)
    policy = keras.DTypePolicy(dtype)
    stock, ours = pair(units, features, seed=seed, dtype=dtype, return_state=True, **options)
    exact = pair(units, features, dtype="float64", return_state=True, **options)[0]
    exact.set_weights(_rounded(stock.get_weights(), policy.compute_dtype))
    arrays = [rng.standard_normal((batch, time, features))]
    arrays += [rng.standard_normal((batch, units)) for _ in range(2)]
    x, *states = _rounded(arrays, policy.compute_dtype)
    mask = np.arange(time) < rng.integers(1, time + 1, (batch, 1))

    def run(layer, to):
        cast = [keras.ops.cast(a, to) for a in (x, *states)]
        outputs, gradients = outputs_and_gradients(layer, cast[0], cast[1:], mask=mask)
        return outputs + gradients

    reference = run(exact, "float64")
    return (
        np.array(
            [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(got, reference, strict=True)]
        )
        for got in (run(stock, policy.compute_dtype), run(ours, policy.compute_dtype))
    )


def _rounded(arrays, dtype):
    """The values that remain in `dtype`, so that only the computation's error is seen."""
    return [np.asarray(keras.ops.cast(keras.ops.cast(a, dtype), "float64")) for a in arrays]


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_error_is_at_most_twice_that_of_stock(dtype):
    errors = [errors_of(dtype, case, seed) for case in CASES for seed in range(4)]
    stock, ours = (np.max(each, axis=0) for each in zip(*errors, strict=True))
    assert (ours <= 2 * stock).all(), f"stock {stock}\nours  {ours}"
