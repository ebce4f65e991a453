"""Compares the axes of an input with those that a model declares."""

import keras

from pylstm.array_types import may_equal
from pylstm.diagnosis.report import Finding, of_error, summary_of
from pylstm.inputs import explain
from pylstm.inputs.contract import Known
from pylstm.keras_graph import Functional, drops_steps, is_of_keras, is_recurrent, layers_of
from pylstm.models import SequenceInputs
from pylstm.models.data.columns import Dense, Sequences
from pylstm.models.data.entering import strictest_validate
from pylstm.models.data.feeding import takes_ragged
from pylstm.models.graph.mask_values import layers_behind
from pylstm.models.graph.steps import declares_steps, with_any_steps


def check_shape(model, name, where, column, shape, is_ragged):
    """Checks the axes of one input, as the model reads them.

    Args:
        model: A Keras model.
        name: The input's name, or None.
        where: What the user calls it.
        column: The column.
        shape: What the model declares for it, or None.
        is_ragged: Whether it came as a ragged tensor, or as another batch that has its lengths.

    Returns:
        A list of `Finding`.
    """
    if shape is None:
        is_new = not model.built and _reads_features_last(model, name)
        return _check_axes(where, column) if is_new else []
    if isinstance(model, Functional) and not is_ragged:
        taken = with_any_steps(shape) if isinstance(model, SequenceInputs) else shape
        finding = _check_declared(where, column.shape, taken)
        if finding is not None:
            return [finding]
    steps = column.shape[1:2] if isinstance(column, Dense) else column.lengths
    if len(shape) != 3 or not len(steps):
        return []
    if isinstance(column, Dense) and max(steps) == 0 and any(map(drops_steps, layers_of(model))):
        error = explain.no_steps(column.shape, None, Known(features=shape[2]))
        return [of_error(where, error)]
    if _warns_of_steps(model, column) and any(shape[1] not in (None, each) for each in steps):
        level = "error" if strictest_validate(model) == "strict" else "fixed"
        what = f"{min(steps)} to {max(steps)} steps, declared as {shape[1]}"
        return [Finding(level, "PYL124", where, what, f"keras.Input((None, {shape[2]}))")]
    return _check_axes(where, column) if shape[2] is None else []


def _check_axes(where, column):
    """Looks for features that may be steps, where no layer knows the number of features."""
    if not isinstance(column, Dense) or len(column.shape) != 3:
        return []
    _, steps, features = column.shape
    if not features > 2 * steps > 0:
        return []
    what = f"{steps} steps of {features} features: is axis 2 the time?"
    fix = "np.transpose(x, (0, 2, 1)) for MFCCs (features, time) as librosa makes them"
    return [Finding("note", "PYL207", where, what, fix)]


def _reads_features_last(model, name):
    """Whether a recurrent layer comes first, or behind layers that keep the axes."""
    for layer, _ in layers_behind(model, name):
        if is_recurrent(layer):
            return True
        keeps_steps = getattr(layer, "supports_masking", False) and is_of_keras(layer)
        if not keeps_steps or isinstance(layer, keras.layers.Lambda):
            return False
    return False


def _check_declared(where, given, shape):
    """What a functional model of Keras refuses: another shape than its `keras.Input` says."""
    if len(given) == len(shape) + 1 and given[-1] == 1:
        given = given[:-1]
    elif len(given) == len(shape) - 1 and shape[-1] == 1:
        given = (*given, 1)
    code, fix = "PYL101", f"keras.Input({given[1:]})"
    if len(given) == len(shape):
        if may_equal(given[1:], shape[1:]):
            return None
        code = "PYL103"
        if len(shape) == 3:
            code, fix = "PYL124", f"keras.Input((None, {shape[2]}))"
    what = f"{summary_of(code)}: {given}, declared as {shape}"
    return Finding("error", code, where, what, fix)


def _warns_of_steps(model, column):
    """Whether a model says so where someone wrote down other steps; its first data did not."""
    if isinstance(column, Sequences):
        return declares_steps(model) and not takes_ragged(model)  # which has no number of steps
    return declares_steps(model) or isinstance(model, Functional)
