"""Keras' own recurrent tests, as its wheel carries them, pass with `pylstm.LSTM`."""

import json
import os
import pathlib

import keras.src.layers.rnn
import pytest

from tests import backends

FILES = ("lstm_test.py", "bidirectional_test.py", "rnn_test.py", "time_distributed_test.py")


@pytest.mark.parametrize("backend", ["tensorflow", *backends.OTHERS])
def test_keras_own_tests_pass(backend, tmp_path):
    folder = pathlib.Path(keras.src.layers.rnn.__file__).parent
    report = tmp_path / "report.json"
    plugins = ["-p", "no:cacheprovider", "-p", "tests.layer.keras_suite_plugin"]
    backends.run_python(
        backend,
        *("-m", "pytest", "-q", "-c", os.devnull),
        *plugins,
        *(str(folder / name) for name in FILES),
        cwd=tmp_path,
        PYLSTM_SUITE_REPORT=str(report),
    )
    counts = json.loads(report.read_text())
    assert counts.pop("fused_calls") >= 50
    assert counts == {"passed": 43, "skipped": 1}  # as for stock Keras 3.15.1
