"""Keras models that take sequences as people have them: lists of arrays of any length."""

from pylstm.models.data.dataset import dataset
from pylstm.models.model import Model, Sequential
from pylstm.models.sequence_inputs import SequenceInputs

__all__ = ["Model", "SequenceInputs", "Sequential", "dataset"]
