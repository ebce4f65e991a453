"""Settings and fixtures of every test."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import numpy as np
import pytest

# The same examples in every run; the first call of a compiled graph is no slow test.
hypothesis.settings.register_profile("pylstm", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("pylstm")


@pytest.fixture
def rng():
    return np.random.default_rng(20)
