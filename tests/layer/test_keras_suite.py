"""Keras' own recurrent tests, as its wheel carries them, pass with `pylstm.LSTM`."""

import json
import os
import pathlib
import subprocess
import sys

import keras.src.layers.rnn

FILES = ("lstm_test.py", "bidirectional_test.py", "rnn_test.py", "time_distributed_test.py")


def test_keras_own_tests_pass(tmp_path):
    folder = pathlib.Path(keras.src.layers.rnn.__file__).parent
    report = tmp_path / "report.json"
    plugins = ["-p", "no:cacheprovider", "-p", "tests.layer.keras_suite_plugin"]
    files = [str(folder / name) for name in FILES]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, *plugins, *files],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYLSTM_SUITE_REPORT": str(report),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    counts = json.loads(report.read_text())
    assert counts.pop("fused_calls") >= 50
    assert counts == {"passed": 43, "skipped": 1}  # as for stock Keras 3.15.1
