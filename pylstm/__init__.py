"""pylstm: a drop-in for `keras.layers.LSTM` on fused kernels."""

import sys

from pylstm._version import __version__
from pylstm.errors import BackendLoadError
from pylstm.ops import register_op

try:  # before Keras is imported, whose error without TensorFlow is less clear
    register_op()
except BackendLoadError as error:
    if sys.orig_argv[-2:] != ["-m", "pylstm"]:
        raise
    sys.exit(f"failed: {error}")  # `python -m pylstm` imports this first: the message is enough

from pylstm import errors
from pylstm.config import show_config
from pylstm.convert import convert, to_keras
from pylstm.diagnosis import diagnose
from pylstm.functional import lstm
from pylstm.inputs.padding import PaddedBatch, pad, ragged, unpad
from pylstm.layer import LSTM
from pylstm.models import Model, Sequential, dataset

__all__ = [
    "LSTM",
    "Model",
    "PaddedBatch",
    "Sequential",
    "__version__",
    "convert",
    "dataset",
    "diagnose",
    "errors",
    "lstm",
    "pad",
    "ragged",
    "show_config",
    "to_keras",
    "unpad",
]
