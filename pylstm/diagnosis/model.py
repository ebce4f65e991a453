"""What the model itself tells: stacking, and which code computes."""

import keras
from keras import tree

from pylstm.diagnosis.report import Finding, of_error, summary_of
from pylstm.errors import PylstmError
from pylstm.keras_graph import is_recurrent, layers_of
from pylstm.layer import LSTM
from pylstm.models.graph.steps import has_open_steps
from pylstm.models.graph.time_distributed import check_time_distributed
from pylstm.routing import choose_route


def check_stacking(model):
    """Looks for a layer that gets a recurrent layer's last step only, or its states, too."""
    last = None  # the recurrent layer whose last step comes to the next layer
    for layer in model.layers if isinstance(model, keras.Sequential) else ():
        if is_recurrent(layer):
            if layer.return_state and layer is not model.layers[-1]:
                what = "the next layer gets a list: the output and the states"
                fix = "return_state=False, or a pylstm.Model, where each goes where you write it"
                yield Finding("error", "PYL211", f"layer '{layer.name}'", what, fix)
            if last is not None:
                what = summary_of("PYL106")
                fix = f"return_sequences=True in '{last.name}'"
                yield Finding("error", "PYL106", f"layer '{layer.name}'", what, fix)
            last = None if layer.return_sequences else layer
        elif last is not None and not _keeps_rank(layer):
            last = None


def check_steps(model, x, padded):
    """Looks for a layer that would drop steps, where a graph does not know their number."""
    if keras.backend.backend() != "tensorflow" or model.run_eagerly:
        return
    spec = keras.utils.unpack_x_y_sample_weight(getattr(x, "element_spec", None))[0]
    parts = [part for part in tree.flatten(spec) if getattr(part, "shape", None) is not None]
    is_open = bool(padded) or any(part.shape.rank and has_open_steps(part) for part in parts)
    if is_open:
        try:
            check_time_distributed(model)
        except PylstmError as error:
            yield of_error(f"layer '{error.layer}'", error)


def check_routes(model):
    """Says which LSTM layers do not run the fused kernel, and why."""
    anything = keras.ops.zeros((1, 1, 1))  # where Keras puts tensors
    for layer in layers_of(model):
        where = f"layer '{layer.name}'"
        if isinstance(layer, LSTM):
            try:
                route = choose_route(layer, anything)
            except PylstmError as error:
                yield of_error(where, error)
                continue
            if route.path != "fused":
                yield Finding("note", "PYL208", where, route.reason)
        elif isinstance(layer, keras.layers.LSTM):
            what = "a keras.layers.LSTM; pylstm.LSTM takes over its weights"
            yield Finding("note", "PYL208", where, what, "model = pylstm.convert(model)")


def _keeps_rank(layer):
    """Whether a layer is known to make vectors of vectors."""
    try:
        return len(layer.compute_output_shape((None, 1))) == 2
    except Exception:  # it is not built, or its author left that out
        return False
