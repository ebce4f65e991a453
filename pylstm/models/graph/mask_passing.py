"""The mask of padded steps on its way through a model's graph.

Keras loses it with a warning at a layer that does not support masking, and without one at every
operation that is no layer, such as `x / 2`: padded steps then count as real. In a graph that
`MaskPassing` runs, what computes each step by itself passes the mask on, and the rest is an error.
"""

import functools
import weakref

import keras
import numpy as np
from keras import tree
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask
from keras.src.models.functional import Functional
from keras.src.ops.numpy import All, Any, GetItem, Max, Min

from pylstm.array_types import dtype_name
from pylstm.errors import PylstmError, RaggedError
from pylstm.inputs.masks import beside_features, both
from pylstm.keras_graph import is_of_keras, is_recurrent, producer
from pylstm.models.graph.indexing import index_masked, keeps_steps, takes_end

from pylstm.models.graph.steps import refused_steps, with_any_steps

# Operations of `keras.ops` that compute each number by itself, by the names of their classes.
_POINTWISE = frozenset(
    """
    Abs Absolute Add Angle Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Array
    BinaryCrossentropy BitwiseAnd BitwiseInvert BitwiseLeftShift BitwiseNot BitwiseOr
    BitwiseRightShift BitwiseXor Cast Cbrt Ceil Celu Clip Conj Conjugate ConvertToTensor Copy
    Cos Cosh Deg2rad Divide DivideNoNan Elu EmptyLike Equal Erf Erfc Erfinv Exp Exp2 Expm1
    Fabs Floor FloorDivide Fmax Fmin Fmod FullLike Gcd Gelu Greater GreaterEqual HardShrink
    HardSigmoid HardSilu HardTanh Heaviside Hypot I0 Imag Isclose Isfinite Isinf Isnan
    Isneginf Isposinf Isreal Lcm Ldexp LeakyRelu LeftShift Less LessEqual Log Log10 Log1p Log2
    LogSigmoid Logaddexp Logaddexp2 LogicalAnd LogicalNot LogicalOr LogicalXor Maximum Minimum
    Mish Mod Multiply NanToNum Negative Nextafter NotEqual OnesLike Polar Power Rad2deg Real
    ReLU Reciprocal Relu Relu6 RightShift Round Rsqrt SaturateCast Selu Sigmoid Sign Signbit Silu
    Sin Sinc Sinh SoftShrink Softplus Softsign SparsePlus SparseSigmoid Sqrt Square Squareplus
    StopGradient Subtract Tan Tanh TanhShrink Threshold TrueDivide Trunc Where ZerosLike
    """.split()  # noqa: SIM905  (a list has a line for each)
)
# Those that compute numbers along an axis, which may be behind the steps.
_ALONG_AXIS = frozenset(
    """
    Argmax Argmin Argsort Average Concatenate CountNonzero Cumprod Cumsum Diff Flip Glu LogSoftmax
    Logsumexp Max Mean Median Min Norm Normalize Prod Repeat Softmax Sort Sparsemax
    Split Std Sum Take TakeAlongAxis Var
    """.split()  # noqa: SIM905
)
_OF_NEW_AXIS = ("ExpandDims", "OneHot", "Squeeze", "Stack")
# Keras passes the mask of these on only if all their inputs have one.
_POINTWISE_LAYERS = tuple(
    getattr(keras.layers, name)
    for name in ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract", "Softmax")
)
_NORMALIZATIONS = ("LayerNormalization", "RMSNormalization", "UnitNormalization")
_OVER_LAST_AXIS = tuple(
    getattr(keras.activations, name) for name in ("log_softmax", "softmax", "sparsemax")
)
# What does over the steps that count what `keras.ops` does over all, by the names of its classes.
_POOLINGS = {
    "All": "~keras.layers.GlobalMaxPooling1D()(~x)",
    "Any": "keras.layers.GlobalMaxPooling1D()(x)",
    "Max": "keras.layers.GlobalMaxPooling1D()(x)",
    "Mean": "keras.layers.GlobalAveragePooling1D()(x)",
}


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


_passing = weakref.WeakKeyDictionary()  # of the same layers, by Keras' graph


def passes_mask(operation):
    """Whether a layer or operation passes on the mask of its input, or needs none behind it."""
    if isinstance(operation, keras.Model):
        return True
    if computes_each_step(operation) or takes_maximum(operation):
        return True
    if type(operation) is GetItem:
        return keeps_all_steps(operation) or takes_end(_index_of(operation)[0])
    return getattr(operation, "supports_masking", False) and not _mixes(operation)


def keeps_all_steps(operation):
    """Whether an index in a graph, such as `x[..., 0]`, is behind the steps."""
    return keeps_steps(*_index_of(operation))


def _index_of(operation):
    """The key of an `x[key]` in a graph, and the number of axes of x."""
    x, key = operation._inbound_nodes[0].arguments.args
    return key, len(x.shape)


def takes_maximum(operation):
    """Whether a layer takes the largest of all steps: masked ones can be made too small for it."""
    return _pools_steps(operation, keras.layers.GlobalMaxPooling1D)


def _takes_average(operation):
    """Whether a layer divides by the number of steps that count."""
    return _pools_steps(operation, keras.layers.GlobalAveragePooling1D)


def _pools_steps(operation, kind):
    return type(operation) is kind and operation.data_format == "channels_last"


def computes_each_step(operation):
    """Whether every step of the output is of that step of the inputs, with or without a mask."""
    if isinstance(operation, keras.layers.Embedding):
        return not operation.mask_zero  # else it makes a mask itself
    if isinstance(operation, keras.Layer):
        return isinstance(operation, _POINTWISE_LAYERS)
    if not is_of_keras(operation):
        return False
    kind = type(operation).__name__
    if kind in _ALONG_AXIS:
        return all(axis > 1 for axis in _axes_from_front(operation))
    if kind in _OF_NEW_AXIS:
        return _is_behind_steps(operation)
    return kind in _POINTWISE or (kind == "Matmul" and _multiplies_features(operation))


def reduces_steps(operation):
    """Whether an operation, of booleans too, makes one of all steps, such as `keras.ops.any`."""
    if type(operation) not in (All, Any, Max, Min):
        return False
    return operation.axis is None or not _step_axes(operation).isdisjoint(operation.axis)


def _step_axes(operation):
    """The axis of the steps in the inputs of a layer or operation, from the front and the end."""
    inputs = [node.input_tensors[0] for node in operation._inbound_nodes if node.input_tensors]
    ranks = {len(x.shape) for x in inputs if has_steps(x)} if inputs else {3}
    return {1} | {1 - rank for rank in ranks} if ranks else set()


def has_steps(symbolic):
    """Whether a tensor has steps where it carries a mask: as some layers keep it, they may have
    pooled (batch, time, features) to (batch, features)."""
    while len(symbolic.shape) == 2 and symbolic.shape[1] is not None:
        operation = producer(symbolic)
        node = operation._inbound_nodes[symbolic._keras_history.node_index]
        source = next(iter(node.input_tensors), None)
        if source is None or len(source.shape) > 2:
            return not isinstance(operation, keras.Layer)  # indexing drops no steps
        symbolic = source
    return True


def _is_behind_steps(operation):
    """Whether the axes that an operation adds or drops come behind the batch and the steps."""
    return all(axis is not None and (axis > 1 or axis == -1) for axis in _axes(operation))


def _axes(operation):
    return operation.axis if isinstance(operation.axis, (list, tuple)) else (operation.axis,)


def _axes_from_front(operation):
    """The axes along which an operation computes, of its calls with tensors of several ranks all.

    Without an axis it computes along all: the first stands for them.
    """
    ranks = {len(node.input_tensors[0].shape) for node in operation._inbound_nodes}
    axes = _axes(operation)
    return {0 if axis is None else axis % rank for axis in axes for rank in ranks} or {0}


def _multiplies_features(operation):
    """Whether a matrix product is with a constant, such as `x @ weights`."""
    arguments = [node.arguments.args for node in operation._inbound_nodes]
    return all(not isinstance(b, keras.KerasTensor) and np.ndim(b) == 2 for _, b in arguments)


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
    if not (passes_mask(operation) if is_layer else _passes_or_makes_mask(operation)):
        raise mask_lost(operation)
    mask = None  # layers that take tensors of several lengths have each its own
    if type(operation) is GetItem or computes_each_step(operation):
        mask = _mask_of_all(masked)
    if type(operation) is GetItem:
        taken = index_masked(*args, mask)
        if taken is None:
            raise mask_lost(operation)
        return taken
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


def _passes_or_makes_mask(operation):
    """Whether an operation that is no layer passes a mask on, or may be part of one: what `Masking`
    computes is in the graph, too."""
    if type(operation) is GetItem or computes_each_step(operation):
        return True
    outputs = [output for node in operation._inbound_nodes for output in node.outputs]
    return not reduces_steps(operation) and all(dtype_name(y) == "bool" for y in outputs)


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
    return getattr(layer.compute_mask, "_is_default", False) or _is_of_pylstm(layer)


def _is_of_pylstm(model):
    """Whether a model is subclassed from `pylstm.Model`: Keras then takes it that it says of the
    masks of its outputs that there are none."""
    return getattr(model.compute_mask, "__func__", None) is MaskPassing.compute_mask


def _complete_masks(layer, outputs, masked):
    """Gives outputs that have the steps of the inputs, and no mask, that of the inputs.

    Raises:
        RaggedError: The layer does not say that it passes masks on.
    """
    for place, output in enumerate(tree.flatten(outputs)):
        if _mask_of(output) is None and _keeps_steps(layer, place):
            if not layer.supports_masking or _is_of_pylstm(layer):
                raise mask_lost(layer)
            set_keras_mask(output, _mask_of_all(masked))


def _keeps_steps(layer, place):
    """Whether an output of a layer has as many steps as an input, as far as the graph tells."""

    def steps(x):  # None, too
        return {x.shape[1]} if len(x.shape) > 2 or x.shape[1:] == (None,) else set()

    return any(
        steps(node.outputs[place]) & set().union(*map(steps, node.input_tensors))
        for node in layer._inbound_nodes
    )


def _prepared(operation, args, kwargs, x, mask):
    """The arguments as those layers need them that do not go by the mask of x, or not rightly."""
    if isinstance(operation, keras.Layer):
        kwargs = {**kwargs, **_joined_masks(operation, args, kwargs)}
    if isinstance(operation, keras.layers.Embedding):  # Keras would warn that the mask is lost
        args = tree.map_structure(keras.ops.copy, args)
    elif isinstance(operation, keras.layers.Dot):
        args, kwargs = tree.map_structure(_without_masked_steps, (args, kwargs))
    elif takes_maximum(operation):
        args, kwargs = tree.map_structure(_with_small_masked_steps, (args, kwargs))
    elif _takes_average(operation):
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


def _mixes(layer):
    """Whether a layer of Keras' counts masked steps in others, though it passes the mask on."""
    kind = type(layer).__name__ if is_of_keras(layer) else None
    if kind in _NORMALIZATIONS:
        axes = getattr(layer, "axis", -1)
        axes = axes if isinstance(axes, (list, tuple)) else (axes,)
        return not _step_axes(layer).isdisjoint(axes)
    if kind == "Dense" or (kind == "Activation" and layer.activation in _OVER_LAST_AXIS):
        return -1 in _step_axes(layer)  # of (batch, time)
    if kind == "Dot":  # over the steps it is a sum, to which masked ones can be made to add 0
        return layer.axes not in (1, [1, 1], (1, 1))
    if is_recurrent(layer):  # its outputs are in reverse, but not the mask that comes with them
        return getattr(layer, "go_backwards", False) and layer.return_sequences
    return kind == "GroupNormalization"


def _without_masked_steps(x):
    mask = _mask_of(x)
    return x if mask is None else keras.ops.where(beside_features(mask, x), x, 0)


def _with_steps_to_count(x, mask):
    """x and its mask, where a sequence without a step has zeros that count, lest it be 0 / 0."""
    mask = keras.ops.cast(mask, "bool")
    without = keras.ops.logical_not(keras.ops.any(mask, axis=1, keepdims=True))
    zeroed = keras.ops.where(beside_features(without, x), keras.ops.zeros((), x.dtype), x)
    return zeroed, keras.ops.logical_or(mask, without)


def _with_small_masked_steps(x):
    """x with masked steps that are no maximum, but of a sequence without a step, which gives 0."""
    mask = _mask_of(x)
    if mask is None:
        return x
    mask = beside_features(mask, x)
    if dtype_name(x) == "bool":
        return keras.ops.logical_and(mask, x)
    least = keras.ops.where(keras.ops.any(mask, axis=1, keepdims=True), float("-inf"), 0.0)
    return keras.ops.where(mask, x, keras.ops.cast(least, x.dtype))


def mask_lost(operation):
    """The error for a layer or operation that does not pass the mask on."""
    kind = type(operation).__name__
    if isinstance(operation, keras.layers.Lambda):
        fix = (
            "keras.layers.Lambda(function, mask=lambda x, mask: mask)     if it takes steps one by "
            "one\nx[:, -1] without Lambda, in pylstm.Model     if it takes the last step"
        )
    elif is_recurrent(operation):
        fix = f"keras.layers.Bidirectional({kind}(units, return_sequences=True)), which puts the "
        fix += "backward outputs in the order of the mask"
    elif is_of_keras(operation) and kind in _POOLINGS and operation.axis in ([1], [-2]):
        fix = f"{_POOLINGS[kind]}     over the steps that count"
    elif is_of_keras(operation) and kind == "Softmax":
        fix = f"keras.layers.Softmax(axis={operation.axis})(x)     over the steps that count"
    elif kind in ("Activation", "UnitNormalization") and -1 in _step_axes(operation):
        fix = "keras.layers.Softmax()(x)     for weights of the steps that count"
    elif isinstance(operation, keras.Model):
        fix = "def compute_mask(self, inputs, previous_mask): return previous_mask     "
        fix += f"in {kind}, if it takes steps one by one"
    elif isinstance(operation, keras.Layer) and not is_of_keras(operation):
        fix = f"self.supports_masking = True in {kind}.__init__, if it takes steps one by one"
    else:
        fix = "pylstm.pad(sequences).x instead of the sequences, if padding may count as steps"
    return RaggedError(
        "PYL130",
        layer=operation.name,
        expected="a layer that passes the mask of padded steps on",
        got=f"{kind}, which does not, behind sequences of different lengths",
        fix=fix,
    )
