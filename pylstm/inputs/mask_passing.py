"""The mask of padded steps on its way through a model's graph.

Keras loses it with a warning at a layer that does not support masking, and without one at every
operation that is no layer, such as `x / 2`: padded steps then count as real. In a graph that
`MaskPassing` runs, what computes each step by itself passes the mask on, and the rest is an error.
"""

import functools
import weakref

import keras
from keras import tree
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask
from keras.src.models.functional import Functional

from pylstm.array_types import dtype_name
from pylstm.errors import RaggedError

# Operations of `keras.ops` that compute each number by itself, by the names of their classes.
_ARITHMETIC = ["Add", "Divide", "Maximum", "Minimum", "Multiply", "Power", "Subtract", "TrueDivide"]
_ROUNDING = ["Cast", "Ceil", "Clip", "Floor", "FloorDivide", "Mod", "NanToNum", "Round", "Sign"]
_COMPARISONS = ["Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual", "Where"]
_FUNCTIONS = ["Absolute", "Cos", "Exp", "Expm1", "Log", "Log10", "Log1p", "Log2", "Negative"]
_MORE_FUNCTIONS = ["Reciprocal", "Sin", "Sqrt", "Square", "StopGradient", "Tanh"]
_ACTIVATIONS = ["Elu", "Gelu", "HardSigmoid", "HardTanh", "LeakyRelu", "LogSigmoid", "Relu"]
_MORE_ACTIVATIONS = ["Relu6", "Selu", "Sigmoid", "Silu", "Softplus", "Softsign"]
_POINTWISE = {*_ARITHMETIC, *_ROUNDING, *_COMPARISONS, *_FUNCTIONS, *_MORE_FUNCTIONS}
_POINTWISE |= {*_ACTIVATIONS, *_MORE_ACTIVATIONS}


class MaskPassing(Functional):
    """A functional model that loses the mask of no padded step.

    Raises:
        RaggedError: A layer or operation loses the mask, from its call.
    """

    def _run_through_graph(self, inputs, operation_fn=lambda op: op, call_fn=None):
        if call_fn is None and any(_mask_of(x) is not None for x in tree.flatten(inputs)):
            plain_fn = operation_fn

            def operation_fn(operation):
                operation = _passing_masks(operation)
                return functools.partial(_call_and_pass, operation, plain_fn(operation))

        return super()._run_through_graph(inputs, operation_fn, call_fn)

    def compute_mask(self, inputs, previous_mask):
        """None: an output carries the mask that the layer which made it has set."""
        return None


_passing = weakref.WeakKeyDictionary()  # of the same layers, by Keras' graph


def passes_mask(operation):
    """Whether a layer or operation passes on the mask of its input, or needs none behind it."""
    is_model = isinstance(operation, keras.Model)
    supports_masking = getattr(operation, "supports_masking", False)
    return is_model or supports_masking or _computes_each_step(operation)


def _call_and_pass(operation, call, *args, **kwargs):
    masks = [_mask_of(x) for x in tree.flatten((args, kwargs))]
    masks = {id(mask): mask for mask in masks if mask is not None}
    if not masks:
        return call(*args, **kwargs)
    is_layer = isinstance(operation, keras.Layer)
    if is_layer and not passes_mask(operation):
        raise mask_lost(operation)
    if is_layer and _computes_each_step(operation):  # else Keras would warn that the mask is lost
        args = tree.map_structure(keras.ops.copy, args)
    outputs = call(*args, **kwargs)
    if _computes_each_step(operation):
        set_keras_mask(outputs, functools.reduce(keras.ops.logical_and, masks.values()))
    elif not is_layer and not _are_boolean(outputs):
        raise mask_lost(operation)
    return outputs


def _passing_masks(operation):
    """Of a model of Keras' own inside another, its graph as `MaskPassing`; else the operation."""
    graph = operation._functional if type(operation) is keras.Sequential else operation
    if type(graph) is not Functional:
        return operation
    if graph not in _passing:
        _passing[graph] = MaskPassing(graph._inputs_struct, graph._outputs_struct)
    return _passing[graph]


def _are_boolean(outputs):
    """Whether an operation may be part of a mask: what `Masking` computes is in the graph, too."""
    return all(dtype_name(y) == "bool" for y in tree.flatten(outputs))


def _mask_of(x):
    """The mask of a tensor with values; symbolic tensors carry those of a graph in the making."""
    return None if isinstance(x, keras.KerasTensor) else get_keras_mask(x)


def _computes_each_step(operation):
    if isinstance(operation, keras.layers.Embedding):
        return not operation.mask_zero  # else it makes a mask itself
    if isinstance(operation, keras.Layer):
        return False
    return is_of_keras(operation) and type(operation).__name__ in _POINTWISE


def mask_lost(operation):
    """The error for a layer or operation that does not pass the mask on."""
    kind = type(operation).__name__
    if isinstance(operation, keras.layers.Lambda):
        fix = (
            "keras.layers.Lambda(function, mask=lambda x, mask: mask), if it takes steps one by one"
        )
    elif isinstance(operation, keras.Layer) and not is_of_keras(operation):
        fix = f"self.supports_masking = True in {kind}.__init__, if it takes steps one by one"
    else:
        fix = "pylstm.pad(sequences).x in the place of the sequences, if padding may count as steps"
    return RaggedError(
        "PYL130",
        layer=operation.name,
        expected="a layer that passes the mask of padded steps on",
        got=f"{kind}, which does not, behind sequences of different lengths",
        fix=fix,
    )


def is_of_keras(operation):
    """Whether a layer or operation is Keras' own."""
    return type(operation).__module__.startswith("keras.")
