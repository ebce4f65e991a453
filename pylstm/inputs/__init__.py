"""The input contract: from what users have to what the layer computes on."""

from pylstm.inputs.arguments import Prepared, prepare, readable_shape
from pylstm.inputs.corrections import Correction

__all__ = ["Correction", "Prepared", "prepare", "readable_shape"]
