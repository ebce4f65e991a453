"""Fixtures of the layer's tests."""

import keras
import pytest

from pylstm.ops import load_ops


@pytest.fixture(autouse=True)
def fresh_keras():
    """Leaves no policy, name counter or seed of one test to the next."""
    keras.utils.set_random_seed(7)
    yield
    keras.utils.clear_session(free_memory=False)  # collecting garbage would take half of the time


@pytest.fixture
def fused_calls(monkeypatch):
    """A list that grows by the keyword arguments of every call of the fused operation."""
    calls = []
    op = load_ops(keras.backend.backend())
    lstm = op.lstm

    def spy(*args, **kwargs):
        calls.append(kwargs)
        return lstm(*args, **kwargs)

    monkeypatch.setattr(op, "lstm", spy)
    return calls
