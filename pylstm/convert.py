"""Swaps the LSTM layers of a model for those of pylstm, and back."""

import contextlib
import tempfile
import threading
import types

import keras

from pylstm.errors import DTypeError, OptionError, warn_user
from pylstm.keras_graph import direct_layers_of, is_of_keras, layers_of
from pylstm.layer import LSTM

# What the pylstm layer's configuration has and Keras' does not.
_OWN_OPTIONS = ("kernel", "validate", "mask_value")
_changing = threading.RLock()


def convert(model: keras.Layer) -> keras.Layer:
    """Makes a copy of a model with `pylstm.LSTM` for every `keras.layers.LSTM`.

    Args:
        model: A Keras model or layer. LSTM layers inside wrappers such as
            `keras.layers.Bidirectional` and inside nested models count, those of
            subclasses of `keras.layers.LSTM` do not.

    Returns:
        The copy, with the same names, weights, states, random states and frozen parts and, if
        the model is compiled, the same losses, metrics and optimizer state. It warns where that
        state begins anew, as the model has lost or gained variables since. Functions, such as those
        of `keras.layers.Lambda`, are the very same. A model with a `compile` of its own
        is compiled where `keras.saving.load_model` does that. While the model is read, its
        functions have other names and its `compiled` is False: train it in no other thread then.

    Raises:
        DTypeError: `model` is no model or layer.
        TypeError: Keras cannot make it from its configuration.
        OptionError: The model makes LSTM layers in its own Python code, out of reach, or a layer
            of a nested model or wrapper is also used outside of that.
    """
    return _rebuild(model, _to_pylstm, keras.layers.LSTM)


def to_keras(model: keras.Layer) -> keras.Layer:
    """Makes a copy of a model with `keras.layers.LSTM` for every `pylstm.LSTM`.

    The inverse of `convert`, with the same argument, result and errors. `kernel` and
    `validate`, which only `pylstm.LSTM` has, are dropped. On JAX it warns of stateful layers:
    `predict` and `fit` lose the states of Keras'.

    Raises:
        OptionError: Also where a layer has a `mask_value`, which `keras.layers.LSTM` lacks.
    """
    copy = _rebuild(model, _to_keras, LSTM)
    stateful = [layer.name for layer in layers_of(model) if type(layer) is LSTM and layer.stateful]
    if stateful and keras.backend.backend() == "jax":
        warn_user(
            f"On JAX, predict, evaluate and fit lose the states of keras.layers.LSTM after each "
            f"batch: {', '.join(map(repr, stateful))}. model(x), the call itself, keeps them.",
            UserWarning,
        )
    return copy


def _rebuild(model, swap, swapped):
    """Copies `model` by way of its serialized form, to which `swap` is applied.

    No layer of the class `swapped` may be left.
    """
    if not isinstance(model, keras.layers.Layer):
        raise DTypeError(
            "PYL142",
            expected="a Keras model or layer",
            got=type(model).__name__,
            fix="keras.saving.load_model(path)     for a saved one",
        )
    layers = _without_inputs(model)
    original, known = _serialize(model, layers)
    serialized = _map_objects(original, swap)
    try:
        copy = _deserialize(serialized, known)
    except TypeError:
        # A constructor that takes no configuration: what none names, its code makes.
        if serialized == original:
            _refuse_leftovers(model, swapped)
        raise
    _refuse_leftovers(copy, swapped)
    copies = _without_inputs(copy)
    if len(copies) != len(layers):
        _refuse_shared(layers)
    pairs = list(zip(layers, copies, strict=True))
    for source, target in pairs:
        target.trainable = source.trainable
        if isinstance(source, keras.layers.LSTM):  # whose configuration lacks both
            target.use_cudnn = source.use_cudnn
            target.cell.implementation = source.cell.implementation
        if isinstance(source, keras.layers.RNN) and source.stateful and source.built:
            _assign(keras.tree.flatten(target.states), keras.tree.flatten(source.states))
        _pass_on_what_is_saved(source, target)
    sources, targets = _variables(model), _variables(copy)
    _assign(targets, sources)
    twins = {}
    for source, target in zip(sources, targets, strict=True):
        target.trainable = source.trainable
        twins[id(source)] = target
    for source, target in pairs:
        if getattr(source, "compiled", False):
            _compile_like(source, target, twins)
    return copy


def _without_inputs(model):
    """The layers of a model but those of its inputs, which nested models may share."""
    return [layer for layer in layers_of(model) if not isinstance(layer, keras.layers.InputLayer)]


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
    if entry.get("registered_name") != keras.saving.get_registered_name(LSTM):
        return entry
    config = {k: v for k, v in entry["config"].items() if k not in _OWN_OPTIONS}
    value = entry["config"]["mask_value"]
    if value is not None:  # without it the numbers would be others
        raise OptionError(
            "PYL145",
            layer=config["name"],
            expected="mask_value=None, as keras.layers.LSTM has no such option",
            got=f"mask_value={value}",
            fix=f"keras.layers.Masking({value}) in front of the layer in its place",
        )
    return {**entry, **_identity(keras.layers.LSTM), "config": config}


def _identity(layer_class):
    """The part of a serialized layer that names its class."""
    serialized = keras.saving.serialize_keras_object(layer_class(1, name="lstm"))
    return {key: serialized[key] for key in ("module", "class_name", "registered_name")}


def _serialize(thing, holders):
    """Serializes `thing`, whose parts are `holders`, without how they are compiled.

    Keras writes down a lambda as its code, without what that refers to, and other functions
    by names that several may have. So each gets a name of its own while it is written down.

    Returns:
        The serialized form, and by name the functions and classes that Keras does not know.
    """
    values = [value for holder in holders for value in (holder, *vars(holder).values())]
    functions = {
        value
        for value in values
        if isinstance(value, types.FunctionType)
        and value is not getattr(keras.activations, value.__name__, None)
    }
    known = {f"function {number}": function for number, function in enumerate(functions)}
    changes = [(function, "__name__", name) for name, function in known.items()]
    changes += [(h, "compiled", False) for h in holders if getattr(h, "compiled", False)]
    with _changed(changes):
        serialized = keras.saving.serialize_keras_object(thing)
    for value in values:
        if hasattr(value, "get_config") and not is_of_keras(value):
            known[keras.saving.get_registered_name(type(value))] = type(value)
    return serialized, known


@contextlib.contextmanager
def _changed(changes):
    """Sets attributes for a while. Takes triples of object, attribute and value.

    One thread at a time: a second one would find the values of the first, and restore those.
    """
    with _changing:
        before = [(thing, name, getattr(thing, name)) for thing, name, _ in changes]
        try:
            for change in changes:
                setattr(*change)
            yield
        finally:
            for change in before:
                setattr(*change)


def _deserialize(serialized, known):
    # What it was made from is at hand, so its lambdas are as safe as that.
    return keras.saving.deserialize_keras_object(serialized, custom_objects=known, safe_mode=False)


def _compile_like(source, target, twins):
    """Compiles `target` as `source` is, with the state of its optimizer."""
    if type(source).compile is not keras.Model.compile:  # only the class knows its arguments
        target.compile_from_config(source.get_compile_config())
        return
    # The optimizer has been wrapped for float16 if it was to be.
    options = {**source._compile_config.config, "optimizer": source.optimizer}
    target.compile(**keras.tree.map_structure(_own_copy, options), auto_scale_loss=False)
    if source.optimizer is None:
        return
    if source.optimizer.built:
        trained = source.optimizer._trainable_variables
        gained = {id(v) for v in source.trainable_variables} - {id(v) for v in trained}
        trained = [twins.get(id(v)) for v in trained]
        if gained or any(twin is None for twin in trained):
            warn_user(
                f"Model {source.name!r} has other variables than its optimizer was built with. "
                f"That of the copy begins anew, as after model.compile(...).",
                UserWarning,
            )
            return
        target.optimizer.build(trained)
    _assign(target.optimizer.variables, source.optimizer.variables)


def _own_copy(option):
    """The option, copied if it has variables, which two models must not share."""
    if not isinstance(option, (keras.Metric, keras.Optimizer)):
        return option
    return _deserialize(*_serialize(option, [option]))


def _variables(model):
    """All but the states of recurrent layers, which on JAX only those of pylstm have in here."""
    layers = [layer for layer in layers_of(model) if isinstance(layer, keras.layers.RNN)]
    states = {id(state) for layer in layers for state in keras.tree.flatten(layer.states)}
    return [variable for variable in model.variables if id(variable) not in states]


def _assign(targets, sources):
    for target, source in zip(targets, sources, strict=True):
        target.assign(keras.ops.copy(source.value))  # JAX would share the buffer


def _pass_on_what_is_saved(source, target):
    """Gives a layer what a file holds of another beside its configuration: also what is no
    variable, such as a vocabulary, or computed of variables, as `keras.layers.Normalization` does.
    """
    store = {}
    source.save_own_variables(store)
    target.load_own_variables(store)
    if hasattr(source, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            source.save_assets(folder)
            target.load_assets(folder)


def _refuse_leftovers(model, layer_class):
    for layer in layers_of(model):
        if type(layer) is layer_class:
            raise OptionError(
                "PYL145",
                layer=layer.name,
                expected="a layer that is made by the configuration of the model",
                got="one made by the Python code of a model or layer",
                fix="use the other LSTM class in that code",
            )


def _refuse_shared(layers):
    """Raises where several of the layers hold the same one, of which each would get its own."""
    for layer in layers:
        names = [holder.name for holder in layers if layer in direct_layers_of(holder)]
        if len(names) > 1:
            raise OptionError(
                "PYL145",
                layer=layer.name,
                expected="each layer inside one model or wrapper, as in Keras' configuration",
                got=f"one inside several: {', '.join(map(repr, names))}",
                fix="call this layer itself in place of a nested model or wrapper around it",
            )
