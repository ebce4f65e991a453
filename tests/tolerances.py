"""How far a result may be from the exact one, by dtype and pass: one table for every suite.

An error is the largest absolute difference, as a fraction of the largest absolute value of the
exact result (or of 1, whichever is greater). Where another computation stands in place of the exact
one, such as Keras' training, a test has a tolerance of its own.
"""

import numpy as np

_TOLERANCES = {
    # dtype: (forward, backward)
    "float64": (1e-13, 1e-12),
    "float32": (3e-6, 1e-5),
    "float16": (2e-3, 1e-2),
    "bfloat16": (1e-2, 5e-2),
    "tf32": (3e-3, 1e-2),  # float32 whose products a GPU may round
}


def tolerance(dtype, backward=False):
    """The accepted error for a dtype (NumPy dtype or name) or "tf32"."""
    return _TOLERANCES[dtype if dtype == "tf32" else np.dtype(dtype).name][backward]


def error(got, exact):
    """The error of `got`, as defined above; inf where it is not finite but should be."""
    got, exact = np.asarray(got).astype(np.float64), np.asarray(exact, np.float64)
    assert got.shape == exact.shape, f"shape {got.shape}, expected {exact.shape}"
    if got.size == 0:
        return 0.0
    difference = np.abs(got - exact).max()
    return difference / max(1.0, np.abs(exact).max()) if np.isfinite(difference) else np.inf


def assert_close(got, exact, dtype, backward=False, what=""):
    """Raises AssertionError where an array is further from the exact result than the table says."""
    found, accepted = error(got, exact), tolerance(dtype, backward)
    assert found <= accepted, f"{what}: error {found:.3g}, accepted {accepted:.3g} ({dtype})"
