"""pylstm: a drop-in for `keras.layers.LSTM` on fused kernels."""

from pylstm._library import register_tensorflow_op
from pylstm._version import __version__

register_tensorflow_op()  # before Keras is imported: without TensorFlow it gives the clearer error

from pylstm import errors
from pylstm.config import show_config
from pylstm.convert import convert, to_keras
from pylstm.diagnosis import diagnose
from pylstm.functional import lstm
from pylstm.inputs.dataset import dataset
from pylstm.inputs.padding import PaddedBatch, pad, ragged, unpad
from pylstm.layer import LSTM
from pylstm.models import Model, Sequential

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
