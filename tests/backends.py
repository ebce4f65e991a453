"""Keras chooses its backend once in a process, so what concerns another one runs in another."""

import importlib.util
import os
import subprocess
import sys

import pytest

OTHERS = ["jax", "torch"]  # than TensorFlow, on which the tests run


def run_python(backend, *arguments, cwd=None, **environment):
    """Runs Python with a backend of Keras.

    The test is skipped where that is not installed, and fails where the program does.

    Returns:
        What it printed.
    """
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "XLA_FLAGS": "--xla_backend_optimization_level=0",  # JAX's tests are mostly compiling
            "PYTHONPATH": os.pathsep.join(sys.path),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout
