"""The batches of a model that keeps states: each as large as the number of states."""

from pylstm.errors import BatchMismatchError
from pylstm.inputs import explain
from pylstm.inputs.contract import Known
from pylstm.keras_graph import layers_of


def check_batches(model, size, batch_size):
    """Checks the batches that Keras makes of some samples.

    Args:
        model: A Keras model.
        size: The number of samples. Fewer than `batch_size` make one batch, a whole one.
        batch_size: What was asked for.

    Raises:
        BatchMismatchError: A layer is stateful and keeps another number of states than a batch
            has samples.
    """
    if not keeps_states(model):
        return
    batch = min(batch_size, size)
    states = _number_of_states(model) or batch
    partial = size % batch if batch else 0
    if batch == states and not partial:
        return
    raise BatchMismatchError(
        "PYL109",
        layer=model.name,
        expected=f"whole batches of {states}",
        got=f"{size} samples"
        + (f": the last batch has {partial}" if partial else f" in batches of {batch}"),
        fix=_fix(size, states),
    )


def check_batch(model, shape):
    """As `check_batches`, for a batch of a dataset, by its shape."""
    states = _number_of_states(model)
    if states not in (None, shape[0]):
        raise explain.stateful_batch(shape, None, Known(batch=states))


def keeps_states(model):
    """Whether a layer of a model is stateful."""
    return bool(_stateful_layers(model))


def _number_of_states(model):
    """Of how many samples a model keeps the states; None if of none, or not known yet."""
    sizes = (getattr(layer, "_expected_batch_size", None) for layer in _stateful_layers(model))
    return next((size for size in sizes if size is not None), None)


def _stateful_layers(model):
    return [layer for layer in layers_of(model) if getattr(layer, "stateful", False)]


def _fix(size, states):
    if size < states:
        return f"keras.Input((None, features), batch_size={size})     to keep as many states"
    if size % states == 0:
        return f"batch_size={states}"
    return f"pylstm.dataset(x, y, {states}, shuffle=False, drop_remainder=True)"
