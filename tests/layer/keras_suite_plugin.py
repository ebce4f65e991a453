"""Pytest plugin: runs Keras' own tests with `pylstm.LSTM` instead of Keras' LSTM.

Writes the outcomes and the number of calls of the fused operation to the JSON file that
the environment variable PYLSTM_SUITE_REPORT names.
"""

import collections
import json
import os
import pathlib

import keras.src.layers.rnn.bidirectional
import keras.src.layers.rnn.lstm

import pylstm
from pylstm.ops import load_ops

_counts = collections.Counter()
_op = load_ops(keras.backend.backend())
_lstm = _op.lstm


def _counting(*args, **kwargs):
    _counts["fused_calls"] += 1
    return _lstm(*args, **kwargs)


_op.lstm = _counting
for _module in (
    keras.layers,
    keras.src.layers,
    keras.src.layers.rnn.lstm,
    keras.src.layers.rnn.bidirectional,
):
    _module.LSTM = pylstm.LSTM


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        _counts[report.outcome] += 1


def pytest_sessionfinish():
    pathlib.Path(os.environ["PYLSTM_SUITE_REPORT"]).write_text(json.dumps(_counts))
