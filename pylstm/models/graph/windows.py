"""Convolutions and poolings of masked steps, such that each sequence gives what it gives alone.

Keras' layers know no masks: they would count padding as steps.
"""

import bisect
from typing import NamedTuple

import keras
from keras import ops, tree

from pylstm.errors import TimestepError
from pylstm.inputs.masks import beside_features
from pylstm.keras_graph import direct_layers_of, drops_steps, node_of, set_keras_mask
from pylstm.models.graph.steps import graph_of, refusing, with_steps

_CONVOLUTIONS = tuple(
    getattr(keras.layers, name) for name in ("Conv1D", "DepthwiseConv1D", "SeparableConv1D")
)
_POOLINGS = (keras.layers.AveragePooling1D, keras.layers.MaxPooling1D)
_ATTENTIONS = tuple(
    getattr(keras.layers, name)
    for name in ("Attention", "GroupQueryAttention", "MultiHeadAttention")
)
_WITHOUT_STEPS = (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalMaxPooling1D)


class Window(NamedTuple):
    """The steps from which a layer computes one step of its output.

    Attributes:
        steps: From the first to the last of them.
        stride: From one window to the next.
        padding: "valid": all of them lie within the sequence; "causal": the layer adds zeros in
            front of it; "same": and behind it.
    """

    steps: int
    stride: int
    padding: str

    @property
    def keeps_steps(self):
        """Whether the output has a step for each of the input."""
        return self.stride == 1 and (self.steps == 1 or self.padding != "valid")

    def count(self, steps):
        """How many steps the output has for so many of the input; none if that is below 1."""
        missing = self.steps - 1 if self.padding == "valid" else 0
        return (steps - missing - 1) // self.stride + 1


def window_of(operation):
    """The `Window` of a layer of which each sequence can give what it gives alone, else None.

    With padding "same" a stride, or a pooling, goes by what is added to the longest.
    """
    if not slides(operation) or operation.data_format != "channels_last":
        return None
    (stride,), padding = operation.strides, operation.padding
    if type(operation) in _POOLINGS:
        (steps,) = operation.pool_size
    else:
        steps = (operation.kernel_size[0] - 1) * operation.dilation_rate[0] + 1
    if padding == "same" and (stride > 1 or type(operation) in _POOLINGS):
        return None
    return Window(steps, stride, padding)


def slides(operation):
    """Whether a layer of Keras' computes its steps from windows."""
    return type(operation) in (*_CONVOLUTIONS, *_POOLINGS)


def call_on_windows(window, call, x, mask):
    """The output of a layer that has such a window, with its mask.

    Masked steps are zeros, as those that the layer adds itself. Where the output has other steps,
    those that count move to the front first, so that every sequence begins with a window. One that
    is shorter than a window gives no step.

    Args:
        window: The layer's.
        call: Calls the layer.
        x: (B, T, F).
        mask: bool (B, T).
    """
    if window.keeps_steps:
        y = call(ops.where(beside_features(mask, x), x, 0))
        set_keras_mask(y, mask)
        return y
    x, is_real = steps_in_front(x, mask)
    y = call(ops.where(beside_features(is_real, x), x, 0))
    count = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
    set_keras_mask(y, ops.arange(ops.shape(y)[1]) < window.count(count))
    return y


def steps_in_front(x, mask):
    """x (B, T, ...) with the steps that count in front of the others, in order, and its mask."""
    position = ops.arange(ops.shape(x)[1])
    order = ops.argsort(ops.where(mask, position, position + ops.shape(x)[1]), axis=1)
    count = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
    order = ops.reshape(order, (*ops.shape(order), *[1] * (len(x.shape) - 2)))
    return ops.take_along_axis(x, order, axis=1), position < count


def has_changed_steps(symbolic):
    """Whether a tensor of a graph has other steps than an input, by a layer with a window."""
    behind = {id(symbolic): symbolic}
    while behind:
        node = node_of(behind.popitem()[1])
        if node is None or isinstance(node.operation, _WITHOUT_STEPS):  # whose output may have one
            continue
        graph = graph_of(node.operation)
        steps = [x for x in graph.outputs if len(x.shape) > 2] if graph else ()
        if any(map(has_changed_steps, steps)) or (not graph and _changes_steps(node.operation)):
            return True
        # Attention has the steps of its queries, which come first.
        is_attention = isinstance(node.operation, _ATTENTIONS)
        sources = node.input_tensors[:1] if is_attention else node.input_tensors
        behind.update((id(x), x) for x in sources if len(x.shape) > 2)
    return False


def check_long_enough(model, lengths):
    """Checks that each sequence has the steps of a window, where a layer adds none.

    Args:
        model: A Keras model.
        lengths: Those of the sequences (N,), by the names of its inputs.

    Raises:
        TimestepError: One has fewer.
    """
    shortest = {name: int(each.min()) for name, each in lengths.items() if len(each)}
    if not shortest or not _changes_steps(model):
        return
    refuses = _refusing(model, shortest)
    if refuses is None or window_of(refuses) is None:  # another layer says more itself
        return

    def is_enough(steps):
        each = {name: max(steps, number) for name, number in shortest.items()}
        return _refusing(model, each) is None

    least, longest = min(shortest.values()), max(int(each.max()) for each in lengths.values())
    tried = range(least, longest + 1)
    enough = bisect.bisect_left(tried, True, key=is_enough)
    fix = 'padding="causal" in each Conv1D, which then adds steps'
    if enough < len(tried):
        fix += f"\n[s for s in sequences if len(s) >= {tried[enough]}]     without the shorter ones"
    raise TimestepError(
        "PYL108",
        layer=refuses.name,
        expected=f"the steps of one window of a {type(refuses).__name__} in each sequence",
        got=f"a sequence of {least} step" + ("s" if least != 1 else ""),
        fix=fix,
    )


def check_outputs(model, names=None):
    """Checks that the outputs by step, of sequences of several lengths, have the steps of these:
    targets of other lengths could not be padded as they are.

    Args:
        model: A Keras model.
        names: Those of the outputs that have targets, or their numbers; None for all.

    Raises:
        TimestepError: One has others.
    """
    graph = graph_of(model)
    if graph is not None:
        struct = getattr(model, "output", None)
        named = struct.items() if isinstance(struct, dict) else enumerate(graph.outputs)
        outputs = tree.flatten([each for name, each in named if names is None or name in names])
        changes = any(has_changed_steps(x) for x in outputs if len(x.shape) > 2)
    else:
        layers = getattr(model, "layers", ()) if isinstance(model, keras.Sequential) else ()
        changes = False
        for layer in layers:
            pools = drops_steps(layer) or isinstance(layer, _WITHOUT_STEPS)
            changes = (changes or _changes_steps(layer)) and not pools
    if changes:
        raise TimestepError(
            "PYL120",
            "a convolution or pooling changes the number of steps, for which there are targets",
            expected="outputs with the steps of x, or one per sample",
            got="other steps, and sequences of different lengths",
            fix='padding="same" in each Conv1D, with strides=1, and no pooling of steps',
        )


def _refusing(model, steps):
    """The first layer that does not take so many steps, by the names of inputs; None if all do."""
    if graph_of(model) is not None:
        return refusing(model, with_steps(model, steps))
    if not isinstance(model, keras.Sequential):
        return None
    (number,) = steps.values()
    for layer in model.layers:  # it is not built yet
        window = window_of(layer)
        number = window.count(number) if window else number
        if number < 1:
            return layer
        if drops_steps(layer):
            break
    return None


def _changes_steps(operation):
    """Whether it is a layer with a window that does, or a model with one: any other layer may call
    those inside it on other axes, as `TimeDistributed` does."""
    if isinstance(operation, keras.Model):
        return any(map(_changes_steps, direct_layers_of(operation)))
    window = window_of(operation)
    return window is not None and not window.keeps_steps
