"""Checks targets beside the inputs, and both beside what the model gives."""

from pylstm.diagnosis.finite import check_finite, has_own_loss
from pylstm.diagnosis.model import check_stacking
from pylstm.diagnosis.report import Finding, of_error, unchecked
from pylstm.diagnosis.values import rows_of
from pylstm.errors import PylstmError
from pylstm.models import SequenceInputs
from pylstm.models.data.columns import Columns, columns_of, read_columns
from pylstm.models.data.feeding import feed
from pylstm.models.data.padded_targets import unpad_targets
from pylstm.models.data.reading import count_samples
from pylstm.models.data.separating import split_targets
from pylstm.models.data.structure import named
from pylstm.models.data.targets import check_losses, other_steps, wrong_labels
from pylstm.models.graph.declared import declared_shapes
from pylstm.models.graph.outputs import count_outputs, output_shapes
from pylstm.models.graph.stateful import check_batch


def check_targets(model, x, y, is_read, in_batches):
    """Checks targets, and the number of samples.

    Args:
        model: A Keras model.
        x: Its inputs as columns.
        y: Targets as given, or None.
        is_read: Whether pylstm reads them, rather than Keras, and can take x.
        in_batches: Whether they are a batch that goes to Keras as it is.

    Returns:
        A list of `Finding`.
    """
    try:
        y = split_targets(y, count_outputs(model), columns_of(x)[0].size)
        columns = read_columns(x, y)
    except PylstmError as error:
        return [of_error("y", error)]
    findings, is_own = [], has_own_loss(model)
    for (where, raw), (_, column) in zip(named("y", y), named("y", columns.y), strict=True):
        if column is not None:
            findings += check_finite(where, raw, rows_of(column), is_own)
    try:
        if in_batches:
            check_batch(model, columns_of(x)[0].shape)
        else:
            size = next((shape[0] for shape in declared_shapes(model).values()), None)
            feed(model, Columns(x), size)
    except PylstmError as error:
        findings.append(of_error("x", error))
    return findings + ([] if y is None else _check_outputs(model, columns, is_read))


def check_lists(model, y):
    """Looks for targets that Keras refuses or takes for something else, beside x that it takes."""
    y = split_targets(y, count_outputs(model), count_samples(y))
    for where, part in named("y", y):
        if isinstance(part, list) and not isinstance(model, SequenceInputs):
            what = f"Keras refuses a list of {len(part)} targets"
            yield Finding("error", "PYL146", where, what, "np.asarray(y)")


def _check_outputs(model, columns, is_read):
    """Looks for targets of classes or, where pylstm reads them, of steps that no output has."""
    is_read = is_read and not any(check_stacking(model))  # that finding names the layer to change
    try:
        shapes = output_shapes(model, columns.x)
    except Exception as error:  # a layer of Keras' refuses
        return [unchecked("model", error)] if is_read else []
    try:
        if is_read:
            check_losses(model, columns, shapes)
            columns = unpad_targets(columns, shapes, model)
    except PylstmError as error:
        return [of_error("y", error)]
    steps = other_steps(model, columns, shapes) if is_read else ()
    return [
        *(of_error(where, error) for where, error in wrong_labels(model, columns, shapes)),
        *(
            of_error(where, error)._replace(level="error" if fails else "warning")
            for where, error, fails in steps
        ),
    ]
