"""The batches of a model that keeps states: each as large as the number of states."""

from pylstm.errors import BatchMismatchError


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
    layers = [layer for layer in model._flatten_layers() if getattr(layer, "stateful", False)]
    if not layers:
        return
    batch = min(batch_size, size)
    states = next((n for n in map(_number_of_states, layers) if n is not None), batch)
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


def _number_of_states(layer):
    return getattr(layer, "_expected_batch_size", None)


def _fix(size, states):
    if size < states:
        return f"keras.Input((None, features), batch_size={size})     to keep as many states"
    if size % states == 0:
        return f"batch_size={states}"
    return f"pylstm.dataset(x, y, {states}, drop_remainder=True)"
