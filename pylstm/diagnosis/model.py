"""What the model itself tells: stacking, where a mask is lost, which code computes."""

import itertools

import keras

from pylstm.diagnosis.report import Finding, of_error
from pylstm.errors import CODES, PylstmError
from pylstm.inputs.columns import Sequences
from pylstm.inputs.knowledge import is_recurrent
from pylstm.inputs.mask_passing import mask_lost, passes_mask
from pylstm.inputs.mask_values import padding_value
from pylstm.inputs.time_distributed import check_time_distributed
from pylstm.layer import LSTM
from pylstm.routing import choose_route


def check_stacking(model):
    """Looks for a recurrent layer that gets its input's last step only."""
    if isinstance(model, keras.Sequential):
        for first, second in itertools.pairwise(model.layers):
            if is_recurrent(first) and is_recurrent(second) and not first.return_sequences:
                what = CODES["PYL106"].summary
                fix = f"return_sequences=True in '{first.name}'"
                yield Finding("error", "PYL106", f"layer '{second.name}'", what, fix)


def check_masks(model, columns):
    """Looks for layers that lose the mask of padded steps before a recurrent layer."""
    ragged = any(isinstance(column, Sequences) for column in columns)
    if ragged:
        try:
            check_time_distributed(model)
        except PylstmError as error:
            yield of_error(f"layer '{error.layer}'", error)
    if isinstance(model, keras.Sequential):
        yield from _follow_mask(model, ragged)


def check_routes(model):
    """Says which LSTM layers do not run the fused kernel, and why."""
    for layer in model._flatten_layers():
        where = f"layer '{layer.name}'"
        if isinstance(layer, LSTM):
            route = choose_route(layer)
            if route.path != "fused":
                yield Finding("note", "PYL208", where, route.reason)
        elif isinstance(layer, keras.layers.LSTM):
            what = "a keras.layers.LSTM; pylstm.LSTM takes over its weights"
            yield Finding("note", "PYL208", where, what, "model = pylstm.convert(model)")


def _follow_mask(model, padded):
    layers, masked = model.layers, padded
    if padded:
        try:
            padding_value(model, None)
        except PylstmError as error:
            yield of_error(f"layer '{error.layer}'", error)
    last = max((i for i, layer in enumerate(layers) if is_recurrent(layer)), default=0)
    for layer in layers[:last]:
        makes_mask = isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False)
        keeps_mask = passes_mask(layer) if padded else layer.supports_masking
        if masked and not keeps_mask and padded:
            yield of_error(f"layer '{layer.name}'", mask_lost(layer))
        elif masked and not keeps_mask:
            what = f"{type(layer).__name__} passes no mask on: behind it padded steps count as real"
            yield Finding("warning", "PYL204", f"layer '{layer.name}'", what)
        masked = makes_mask or (masked and keeps_mask)
