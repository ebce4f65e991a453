"""Swaps the LSTM layers of a model for those of pylstm, and back."""

import keras

from pylstm.layer import LSTM

# What the pylstm layer's configuration has and Keras' does not.
_OWN_OPTIONS = ("kernel", "validate", "mask_value")


def convert(model):
    """Makes a copy of a model whose `keras.layers.LSTM` are `pylstm.LSTM`.

    Args:
        model: A Keras model or layer. LSTM layers inside wrappers such as
            `keras.layers.Bidirectional` and inside nested models count, those of
            subclasses of `keras.layers.LSTM` do not.

    Returns:
        The copy, with the same names, weights, random states and, if the model is
        compiled, the same losses, metrics and optimizer state.

    Raises:
        ValueError: The model makes LSTM layers in its own Python code, out of reach.
    """
    return _rebuild(model, _to_pylstm, keras.layers.LSTM)


def to_keras(model):
    """Makes a copy of a model whose `pylstm.LSTM` are `keras.layers.LSTM`.

    The inverse of `convert`, with the same argument, result and errors. The options
    that only `pylstm.LSTM` has are dropped.
    """
    return _rebuild(model, _to_keras, LSTM)


def _rebuild(model, swap, swapped):
    """Copies `model` by way of its serialized form, to which `swap` is applied.

    No layer of the class `swapped` may be left.
    """
    original = keras.saving.serialize_keras_object(model)
    serialized = _map_objects(original, swap)
    try:
        # The model is at hand, so its lambdas are as safe as it is and its classes are known.
        copy = keras.saving.deserialize_keras_object(
            serialized, custom_objects=_custom_classes(model), safe_mode=False
        )
    except TypeError:
        # A constructor that takes no configuration: what none names, its code makes.
        if serialized == original:
            _refuse_leftovers(model, swapped)
        raise
    _refuse_leftovers(copy, swapped)
    for target, source in zip(copy.variables, model.variables, strict=True):
        target.assign(keras.ops.copy(source.value))  # JAX would share the buffer
    if getattr(model, "optimizer", None) is not None:
        # The copy's optimizer is built; that of a model never trained has no slots yet.
        pairs = zip(copy.optimizer.variables, model.optimizer.variables, strict=False)
        for target, source in pairs:
            target.assign(keras.ops.copy(source.value))
    return copy


def _map_objects(node, swap):
    """Applies `swap` to every serialized object in a nest of dicts and lists."""
    if isinstance(node, dict):
        node = {key: _map_objects(value, swap) for key, value in node.items()}
        return swap(node) if "class_name" in node else node
    if isinstance(node, (list, tuple)):
        return type(node)(_map_objects(item, swap) for item in node)
    return node


def _to_pylstm(entry):
    if (entry.get("module"), entry["class_name"]) != ("keras.layers", "LSTM"):
        return entry
    return {**entry, **_identity(LSTM)}


def _to_keras(entry):
    if entry.get("registered_name") != _identity(LSTM)["registered_name"]:
        return entry
    config = {k: v for k, v in entry["config"].items() if k not in _OWN_OPTIONS}
    return {**entry, **_identity(keras.layers.LSTM), "config": config}


def _identity(layer_class):
    """The part of a serialized layer that names its class."""
    serialized = keras.saving.serialize_keras_object(layer_class(1, name="lstm"))
    return {key: serialized[key] for key in ("module", "class_name", "registered_name")}


def _custom_classes(model):
    classes = {type(layer) for layer in model._flatten_layers()}
    return {
        keras.saving.get_registered_name(custom): custom
        for custom in classes
        if not custom.__module__.startswith("keras.")
    }


def _refuse_leftovers(model, layer_class):
    for layer in model._flatten_layers():
        if type(layer) is layer_class:
            raise ValueError(
                f"Layer '{layer.name}' is made by the Python code of a model or layer, not by "
                "its configuration. Name the other LSTM class in that code instead."
            )
