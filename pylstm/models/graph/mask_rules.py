"""Which layers and operations of a graph pass on the mask of padded steps, and which lose it."""

import keras
import numpy as np

from pylstm.array_types import dtype_name
from pylstm.errors import RaggedError
from pylstm.keras_graph import (
    All,
    Any,
    GetItem,
    Max,
    Min,
    is_of_keras,
    is_recurrent,
    node_of,
    nodes_of,
)
from pylstm.models.graph.indexing import keeps_steps, takes_end
from pylstm.models.graph.windows import slides, window_of

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
    Argmax Argmin Argsort Average Concatenate CountNonzero Cumprod Cumsum Diff Flip Glu LayerNorm
    LogSoftmax Logsumexp Max Mean Median Min Norm Normalize Prod RMSNorm Repeat Softmax Sort
    Sparsemax Split Std Sum Take TakeAlongAxis Var
    """.split()  # noqa: SIM905
)
_OF_NEW_AXIS = ("ExpandDims", "OneHot", "Squeeze", "Stack")
_PRODUCTS = ("Dot", "Inner", "Matmul", "Tensordot")
_LOOKUPS = tuple(
    getattr(keras.layers, name)
    for name in ("Discretization", "Embedding", "Hashing", "IntegerLookup")
)
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


def passes_mask(operation):
    """Whether a layer or operation passes on the mask of its input, or needs none behind it."""
    if isinstance(operation, keras.Model):
        return True
    if computes_each_step(operation) or takes_maximum(operation) or window_of(operation):
        return True
    if type(operation) is GetItem:
        return keeps_all_steps(operation) or takes_end(_index_of(operation)[0])
    return getattr(operation, "supports_masking", False) and not _mixes(operation)


def passes_or_makes_mask(operation):
    """Whether an operation that is no layer passes a mask on, or may be part of one: what `Masking`
    computes is in the graph, too."""
    if type(operation) is GetItem or computes_each_step(operation):
        return True
    outputs = [output for node in nodes_of(operation) for output in node.outputs]
    return not reduces_steps(operation) and all(dtype_name(y) == "bool" for y in outputs)


def keeps_all_steps(operation):
    """Whether an index in a graph, such as `x[..., 0]`, is behind the steps."""
    return keeps_steps(*_index_of(operation))


def _index_of(operation):
    """The key of an `x[key]` in a graph, and the number of axes of x."""
    x, key = nodes_of(operation)[0].arguments.args
    return key, len(x.shape)


def takes_maximum(operation):
    """Whether a layer takes the largest of all steps: masked ones can be made too small for it."""
    return _pools_steps(operation, keras.layers.GlobalMaxPooling1D)


def takes_average(operation):
    """Whether a layer divides by the number of steps that count."""
    return _pools_steps(operation, keras.layers.GlobalAveragePooling1D)


def _pools_steps(operation, kind):
    return type(operation) is kind and operation.data_format == "channels_last"


def computes_each_step(operation):
    """Whether every step of the output is of that step of the inputs, with or without a mask."""
    if isinstance(operation, _LOOKUPS):
        makes_mask = getattr(operation, "mask_zero", False)  # itself
        return not makes_mask and getattr(operation, "output_mode", "int") == "int"
    if isinstance(operation, keras.Layer):
        return isinstance(operation, _POINTWISE_LAYERS) or _tells_of_no_mask(operation)
    if not is_of_keras(operation):
        return False
    kind = type(operation).__name__
    if kind in _ALONG_AXIS:
        return all(axis > 1 for axis in _axes_from_front(operation))
    if kind in _OF_NEW_AXIS:
        return _is_behind_steps(operation)
    if kind == "Einsum":
        return _sums_within_steps(operation, operation.subscripts)
    return kind in _POINTWISE or (kind in _PRODUCTS and _multiplies_features(operation))


def _tells_of_no_mask(layer):
    """Whether a layer of Keras' computes each step by itself, and yet supports no mask."""
    kind = type(layer).__name__ if is_of_keras(layer) else None
    if kind == "EinsumDense":  # whose activation may be along the last axis
        keeps_features = all(
            len(node.outputs[0].shape) > 2 or not has_steps(node.input_tensors[0])
            for node in nodes_of(layer)
        )
        return keeps_features and _sums_within_steps(layer, layer.equation)
    return kind == "RMSNormalization" and not _mixes(layer)


def reduces_steps(operation):
    """Whether an operation, of booleans too, makes one of all steps, such as `keras.ops.any`."""
    if type(operation) not in (All, Any, Max, Min):
        return False
    return operation.axis is None or not _step_axes(operation).isdisjoint(operation.axis)


def _step_axes(operation):
    """The axis of the steps in the inputs of a layer or operation, from the front and the end."""
    inputs = [node.input_tensors[0] for node in nodes_of(operation) if node.input_tensors]
    ranks = {len(x.shape) for x in inputs if has_steps(x)} if inputs else {3}
    return {1} | {1 - rank for rank in ranks} if ranks else set()


def has_steps(symbolic):
    """Whether a tensor that carries a mask still has steps: some layers keep the mask, though they
    pool (batch, time, features) to (batch, features)."""
    while len(symbolic.shape) == 2 and symbolic.shape[1] is not None:
        node = node_of(symbolic)
        source = next(iter(node.input_tensors), None)
        if source is None or len(source.shape) > 2:
            return not isinstance(node.operation, keras.Layer)  # indexing drops no steps
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
    ranks = {len(node.input_tensors[0].shape) for node in nodes_of(operation)}
    axes = _axes(operation)
    return {0 if axis is None else axis % rank for axis in axes for rank in ranks} or {0}


def _multiplies_features(operation):
    """Whether a product sums over features, by a constant, such as `x @ weights`."""
    for node in nodes_of(operation):
        x, weights = node.arguments.args
        if isinstance(weights, keras.KerasTensor):
            return False
        if type(operation).__name__ == "Matmul" and np.ndim(weights) > 2:  # one for each sample
            return False
        rank = len(x.shape)
        axes = getattr(operation, "axes", 1)  # of `tensordot`
        summed = range(rank - axes, rank) if isinstance(axes, int) else axes[0]
        if has_steps(x) and any(axis % rank < 2 for axis in summed):
            return False
    return True


def _sums_within_steps(operation, equation):
    """Whether what has steps in an einsum begins with the same two indices as its output."""
    terms, arrow, result = equation.replace(" ", "").partition("->")
    for node in nodes_of(operation):
        is_layer = isinstance(operation, keras.Layer)
        operands = node.input_tensors if is_layer else node.arguments.args
        first = _indices(result, node.outputs[0])[:2]
        for term, x in zip(terms.split(","), operands, strict=False):  # a layer has its weights
            is_symbolic = isinstance(x, keras.KerasTensor) and len(x.shape) > 1
            if is_symbolic and has_steps(x) and _indices(term, x)[:2] != first:
                return False
    return bool(arrow)


def _indices(term, x):
    """The index of each axis of x in a term of an einsum, of those that `...` stands for a number
    from its end."""
    head, _, tail = term.partition("...")
    return [*head, *range(len(x.shape) - len(head) - len(tail), 0, -1), *tail]


def _mixes(layer):
    """Whether a layer of Keras' counts masked steps in others, though it passes the mask on."""
    kind = type(layer).__name__ if is_of_keras(layer) else None
    if kind in _NORMALIZATIONS:
        return not _step_axes(layer).isdisjoint(_axes(layer))
    is_over_last = kind == "Activation" and layer.activation in _OVER_LAST_AXIS
    if is_over_last or kind in ("BatchNormalization", "Dense"):
        return -1 in _step_axes(layer)  # of (batch, time)
    if kind == "Dot":  # over the steps it is a sum, to which masked ones can be made to add 0
        return layer.axes not in (1, [1, 1], (1, 1))
    if is_recurrent(layer):  # its outputs are in reverse, but not the mask that comes with them
        return getattr(layer, "go_backwards", False) and layer.return_sequences
    if kind == "GlobalAveragePooling1D":  # over the features, Keras lays the mask over them
        return not takes_average(layer)
    return kind == "GroupNormalization"


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
    elif slides(operation) and operation.data_format == "channels_last":
        fix = f'padding="valid" in {kind}, whose windows begin elsewhere in each sequence now'
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
