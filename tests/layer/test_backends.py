"""The layer on Keras' other backends."""

import pathlib

import pytest

from tests import backends

HERE = pathlib.Path(__file__).parent
# Of the comparisons with stock Keras, some of each kind: JAX compiles every loop anew.
SELECTED = "holes or relu or options or dropout or zero or inference or state"


def run_tests(backend, file, *options):
    pytest_options = ["-q", "-p", "no:cacheprovider", *options]
    backends.run_python(
        backend, "-m", "pytest", *pytest_options, str(HERE / file), JAX_ENABLE_X64="1"
    )


@pytest.mark.parametrize("backend", backends.OTHERS)
@pytest.mark.parametrize("name", ["parity", "dropout", "second_derivative"])
def test_numbers_of_stock_keras(name, backend):
    run_tests(backend, f"test_{name}.py", "-k", SELECTED)


@pytest.mark.parametrize("backend", backends.OTHERS)
def test_own_features(backend):
    run_tests(backend, f"backends/on_{backend}.py")
