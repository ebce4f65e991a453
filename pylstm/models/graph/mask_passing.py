"""The mask of padded steps on its way through a model's graph.

Keras loses it with a warning at a layer that does not support masking, and without one at every
operation that is no layer, such as `x / 2`: padded steps then count as real. In a graph that
`MaskPassing` runs, what computes each step by itself passes the mask on, as do convolutions and
poolings (see `windows`), and the rest is an error.
"""

import functools
import weakref

import keras
from keras import tree

from pylstm.array_types import dtype_name
from pylstm.errors import PylstmError
from pylstm.inputs.masks import beside_features, both
from pylstm.keras_graph import (
    Functional,
    GetItem,
    get_keras_mask,
    is_of_keras,
    is_recurrent,
    nodes_of,
    set_keras_mask,
)
from pylstm.models.graph.indexing import index_masked
from pylstm.models.graph.mask_rules import (
    computes_each_step,
    mask_lost,
    passes_mask,
    passes_or_makes_mask,
    takes_average,
    takes_maximum,
)
from pylstm.models.graph.steps import refused_steps, with_any_steps
from pylstm.models.graph.windows import call_on_windows, steps_in_front, window_of


class MaskPassing(Functional):
    """A functional model that loses the mask of no padded step, and takes any number of steps.

    Raises:
        RaggedError: A layer or operation loses the mask, from its call.
        TimestepError: One does not take another number of steps than the model declares.
    """

    def _run_through_graph(self, inputs, operation_fn=lambda op: op, call_fn=None):
        if call_fn is None and any(_mask_of(x) is not None for x in tree.flatten(inputs)):
            plain_fn = operation_fn

            def operation_fn(operation):
                operation = _passing_masks(operation)
                return functools.partial(_call_and_pass, operation, plain_fn(operation))

        try:
            return super()._run_through_graph(inputs, operation_fn, call_fn)
        except (PylstmError, Warning):  # which filters make an error
            raise
        except Exception as error:
            refused = refused_steps(self, inputs)
            if refused is None:
                raise
            raise refused from error

    def _convert_inputs_to_tensors(self, flat_inputs):
        """As Keras', which casts to the declared dtype and loses the mask, on JAX for good."""
        converted = super()._convert_inputs_to_tensors(flat_inputs)
        for x, tensor in zip(flat_inputs, converted, strict=False):  # Keras says what is too many
            if _mask_of(x) is not None:
                set_keras_mask(tensor, _mask_of(x))
        return converted

    @Functional.input_spec.getter
    def input_spec(self):
        """As Keras', but for any number of steps."""
        specs = super().input_spec
        if not hasattr(self, "_manual_input_spec"):
            for spec in specs or ():
                spec.shape = with_any_steps(spec.shape)
        return specs

    def compute_mask(self, inputs, previous_mask):
        """None: an output carries the mask that the layer which made it has set."""
        return None


_passing = weakref.WeakKeyDictionary()  # a graph of Keras' to a `MaskPassing` of the same layers


def _call_and_pass(operation, call, *args, **kwargs):
    """Calls an operation; its outputs get the mask of its inputs where each step is of that step.

    Args:
        operation: A layer, or an operation of `keras.ops`.
        call: What calls it.
        *args, **kwargs: What it is called with.

    Raises:
        RaggedError: It loses the mask.
    """
    masked = [(x, _mask_of(x)) for x in tree.flatten((args, kwargs)) if _mask_of(x) is not None]
    if not masked:
        return call(*args, **kwargs)
    is_layer = isinstance(operation, keras.Layer)
    if not (passes_mask(operation) if is_layer else passes_or_makes_mask(operation)):
        raise mask_lost(operation)
    mask = None  # layers that take tensors of several lengths have each its own
    if type(operation) is GetItem or computes_each_step(operation):
        mask = _mask_of_all(masked)
    if type(operation) is GetItem:
        taken = index_masked(*args, mask)
        if taken is None:
            raise mask_lost(operation)
        return taken
    if window := window_of(operation):
        return call_on_windows(window, call, *masked[0])
    if _joins_steps(operation):
        return _join_steps(call, *args, **kwargs)
    args, kwargs = _prepared(operation, args, kwargs, masked[0][0], mask)
    outputs = call(*args, **kwargs)
    for x, own in masked:
        if get_keras_mask(x) is None:  # MultiHeadAttention has taken it off
            set_keras_mask(x, own)
    if computes_each_step(operation):
        for output in tree.flatten(outputs):
            if _mask_of(output) is None or isinstance(operation, keras.layers.Softmax):
                set_keras_mask(output, mask)
    elif is_layer and _leaves_masks_to_keras(operation):
        _complete_masks(operation, outputs, masked)
    return outputs


def _joins_steps(operation):
    """Whether a layer puts sequences one behind the other."""
    if type(operation) is not keras.layers.Concatenate:
        return False
    shapes = [node.outputs[0].shape for node in nodes_of(operation)]
    return all(
        operation.axis % len(shape) == 1 and (len(shape) > 2 or shape[1] is None)
        for shape in shapes
    )


def _join_steps(call, inputs):
    """Calls such a layer. To a convolution, padding between two sequences would be steps of theirs,
    so it goes behind both."""
    masks = [
        keras.ops.ones(keras.ops.shape(x)[:2], "bool") if _mask_of(x) is None else _mask_of(x)
        for x in inputs
    ]
    y = call([_without_mask(x) for x in inputs])  # Keras makes no mask of steps of those of tokens
    y, mask = steps_in_front(y, keras.ops.concatenate(masks, axis=1))
    set_keras_mask(y, mask)
    return y


def _mask_of_all(masked):
    masks = {id(mask): mask for _, mask in masked}
    return functools.reduce(keras.ops.logical_and, masks.values())


def _leaves_masks_to_keras(layer):
    """Whether Keras alone decides about the masks of a layer's outputs: it gives that of the first
    input to the first output."""
    if is_of_keras(layer):
        return isinstance(layer, keras.layers.Lambda)
    if isinstance(layer, (Functional, keras.Sequential)):
        return False
    return getattr(layer.compute_mask, "_is_default", False) or _makes_no_output_mask(layer)


def _makes_no_output_mask(model):
    """Whether Keras takes a model to say that its outputs have no mask, as it does of subclasses of
    `pylstm.Model`."""
    return getattr(model.compute_mask, "__func__", None) is MaskPassing.compute_mask


def _complete_masks(layer, outputs, masked):
    """Gives outputs that have the steps of the inputs, and no mask, that of the inputs.

    Raises:
        RaggedError: The layer does not say that it passes masks on.
    """
    for place, output in enumerate(tree.flatten(outputs)):
        if _mask_of(output) is None and _keeps_steps(layer, place):
            if not layer.supports_masking or _makes_no_output_mask(layer):
                raise mask_lost(layer)
            set_keras_mask(output, _mask_of_all(masked))


def _keeps_steps(layer, place):
    """Whether an output of a layer has as many steps as an input, as far as the graph tells."""

    def steps(x):  # None, too
        return {x.shape[1]} if len(x.shape) > 2 or x.shape[1:] == (None,) else set()

    return any(
        steps(node.outputs[place]) & set().union(*map(steps, node.input_tensors))
        for node in nodes_of(layer)
    )


def _prepared(operation, args, kwargs, x, mask):
    """The arguments, changed for the layers that ignore the mask of x or use it wrongly."""
    if isinstance(operation, keras.Layer):
        kwargs = {**kwargs, **_joined_masks(operation, args, kwargs)}
        if computes_each_step(operation) and not operation.supports_masking:
            # Keras would warn that the mask is lost.
            args, kwargs = tree.map_structure(_without_mask, (args, kwargs))
    if isinstance(operation, keras.layers.Dot):
        args, kwargs = tree.map_structure(_without_masked_steps, (args, kwargs))
    elif takes_maximum(operation):
        args, kwargs = tree.map_structure(_with_small_masked_steps, (args, kwargs))
    elif takes_average(operation):
        given = kwargs.get("mask")
        zeroed, counted = _with_steps_to_count(x, _mask_of(x) if given is None else given)
        args, kwargs = tree.map_structure(lambda a: zeroed if a is x else a, (args, kwargs))
        kwargs = {**kwargs, "mask": counted}
    elif isinstance(operation, keras.layers.Softmax):
        given = kwargs.get("mask")
        if given is None or len(given.shape) == 2:  # which it would lay over steps and features
            kwargs = {**kwargs, "mask": beside_features(both(given, mask), x)}
    return args, kwargs


def _joined_masks(layer, args, kwargs):
    """The mask arguments that have to say more than those which a layer would get.

    A graph holds the masks that its own layers made, such as `Embedding`'s, and they would count in
    the place of those that come with the tensors. Of several tensors, such as initial states, Keras
    hands on no `mask`.
    """
    joined = {}
    tensors = layer._call_signature.bind_partial(*args, **kwargs).arguments
    for position, (name, value) in enumerate(tensors.items()):
        argument = f"{name}_mask" if position else "mask"
        own, given = tree.map_structure(_mask_of, value), kwargs.get(argument)
        if given is not None or (position == 0 and is_recurrent(layer)):
            joined[argument] = _both_of_each(own, given)
    return joined


def _both_of_each(own, given):
    if isinstance(own, (list, tuple)) and isinstance(given, (list, tuple)):
        return [_both_of_each(*pair) for pair in zip(own, given, strict=True)]
    if given is None:
        return own
    of_steps = all(len(getattr(mask, "shape", ())) == 2 for mask in (own, given))
    return both(own, given) if of_steps else given


def _passing_masks(operation):
    """Of a model of Keras' own inside another, its graph as `MaskPassing`; else the operation."""
    graph = operation._functional if type(operation) is keras.Sequential else operation
    if type(graph) is not Functional:
        return operation
    if graph not in _passing:
        _passing[graph] = MaskPassing(graph._inputs_struct, graph._outputs_struct)
    return _passing[graph]


def _mask_of(x):
    """The mask of a tensor with values; symbolic tensors carry those of a graph in the making."""
    return None if isinstance(x, keras.KerasTensor) else get_keras_mask(x)


def _without_mask(x):
    return x if _mask_of(x) is None else keras.ops.copy(x)


def _without_masked_steps(x):
    mask = _mask_of(x)
    return x if mask is None else keras.ops.where(beside_features(mask, x), x, 0)


def _with_steps_to_count(x, mask):
    """x and its mask, where a sequence without a step has zeros that count: the mean is 0."""
    mask = keras.ops.cast(mask, "bool")
    without = keras.ops.logical_not(keras.ops.any(mask, axis=1, keepdims=True))
    zeroed = keras.ops.where(beside_features(without, x), keras.ops.zeros((), x.dtype), x)
    return zeroed, keras.ops.logical_or(mask, without)


def _with_small_masked_steps(x):
    """x with masked steps too small to be the maximum; zeros in a sequence that has no other."""
    mask = _mask_of(x)
    if mask is None:
        return x
    mask = beside_features(mask, x)
    if dtype_name(x) == "bool":
        return keras.ops.logical_and(mask, x)
    least = keras.ops.where(keras.ops.any(mask, axis=1, keepdims=True), float("-inf"), 0.0)
    return keras.ops.where(mask, x, keras.ops.cast(least, x.dtype))
