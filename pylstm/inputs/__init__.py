"""The input contract: from what users have to what the layer computes on."""

from pylstm.inputs.arguments import prepare, readable_shape
from pylstm.inputs.corrections import Correction
from pylstm.inputs.masks import check_mask_value

__all__ = ["Correction", "check_mask_value", "prepare", "readable_shape"]
