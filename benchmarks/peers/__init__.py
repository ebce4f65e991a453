"""The peers, one module each, imported only in a process of its own.

A peer module offers

- `versions() -> dict[str, str]`, the packages behind it;
- `refusal(case, mode) -> str | None`, why it cannot compute a case, or None where it can;
- `prepare(problem, mode) -> Computation`.

Data lies in each framework's own layout and weights are converted before any time counts.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# In the order of the report: module name -> title.
PEERS = {
    "pylstm_layer": "pylstm",
    "pylstm_arrays": "pylstm (NumPy)",
    "keras_layer": "Keras (TF)",
    "torch_lstm": "torch",
    "onnx_runtime": "ONNX Runtime",
    "jax_scan": "JAX",
}

# Keras' backends: the peers that are Keras' layer and ours there.
KERAS_BACKENDS = {
    "TensorFlow": ("keras_layer", "pylstm_layer"),
    "JAX": ("keras_jax", "pylstm_jax"),
    "torch": ("keras_torch", "pylstm_torch"),
}


@dataclass(frozen=True)
class Computation:
    """One call, ready to be timed.

    Attributes:
        run: Computes everything and returns when it is done, results left in the framework.
        results: Turns what `run` returned into arrays named and laid out as by
            `problem.reference_results`.
    """

    run: Callable[[], Any]
    results: Callable[[Any], dict[str, np.ndarray]]


def fastest(ways: list[Computation]) -> Computation:
    """Returns that of several ways to compute the same whose calls take least."""
    return ways[0] if len(ways) == 1 else min(ways, key=_seconds)


def _seconds(computation):
    computation.run()  # may compile
    times = []
    while len(times) < 3 and sum(times) < 0.5:
        start = time.perf_counter()
        computation.run()
        times.append(time.perf_counter() - start)
    return min(times)
