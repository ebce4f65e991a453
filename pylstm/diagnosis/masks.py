"""Where the mask of padded steps gets lost on its way through a model."""

import keras
from keras import tree

from pylstm.diagnosis.ragged import front_and_readers
from pylstm.diagnosis.report import Finding, of_error
from pylstm.errors import PylstmError
from pylstm.keras_graph import Functional, GetItem, is_recurrent, layers_of, nodes_in_turn
from pylstm.models import SequenceInputs
from pylstm.models.graph.declared import declared_shapes
from pylstm.models.graph.mask_rules import (
    computes_each_step,
    keeps_all_steps,
    mask_lost,
    passes_mask,
    reduces_steps,
    takes_maximum,
)
from pylstm.models.graph.mask_values import makes_mask, padding_value
from pylstm.models.graph.windows import window_of


def check_masks(model, padded):
    """Looks for layers that lose the mask of padded steps.

    Args:
        model: A Keras model. The graph of a subclassed one is not known.
        padded: The names of its inputs that hold sequences of several lengths.
    """
    for name in padded:
        try:
            padding_value(model, name)
        except PylstmError as error:
            yield of_error(f"layer '{error.layer}'", error)
    names = list(declared_shapes(model))
    masked = {names.index(name) for name in padded if name in names}
    if isinstance(model, keras.Sequential) and padded:
        masked = {0}
    is_checked = isinstance(model, SequenceInputs) and bool(padded)
    # Keras' own models get ragged tensors, which have no mask that could be lost.
    ragged = {each for name in padded for each in front_and_readers(model, name)[0]}

    def supports_masking(operation):
        return operation in ragged or getattr(operation, "supports_masking", False)

    lost, _ = _follow(model, masked, passes_mask if is_checked else supports_masking)
    for operation, is_before_recurrent in lost.items():
        if is_checked:
            yield of_error(f"layer '{operation.name}'", mask_lost(operation))
        elif is_before_recurrent:
            kind = type(operation).__name__
            what = f"{kind} drops the mask: after it, padded steps count as real"
            yield Finding("warning", "PYL204", f"layer '{operation.name}'", what)


def _follow(model, masked, passes):
    """Follows the masks of some inputs, and those that layers make, through a model's graph.

    Args:
        model: A Keras model.
        masked: The places of the inputs that have a mask.
        passes: Called for an operation; whether it passes a mask on.

    Returns:
        The operations that lose a mask, each with whether a recurrent layer comes behind it, and
        the places of the outputs that have a mask.
    """
    nodes, inputs, outputs = _graph(model)
    carried = {inputs[place] for place in masked if place < len(inputs)}
    lost, behind = {}, {}  # `behind` has for a tensor the operations that lost its mask
    for operation, sources, results, is_boolean in nodes:
        if is_boolean and not (passes is passes_mask and _goes_by_mask(operation)):
            continue  # it computes a mask
        losers = set().union(*(behind.get(source, ()) for source in sources))
        if any(is_recurrent(layer) for layer in layers_of(operation)):
            lost.update(dict.fromkeys(losers, True))
        places = {place for place, source in enumerate(sources) if source in carried}
        if isinstance(operation, (keras.Sequential, Functional)):
            lost_inside, places = _follow(operation, places, passes)
            lost.update(lost_inside)
            carried |= {results[place] for place in places if place < len(results)}
        elif makes_mask(operation):
            carried.update(results)
        elif places and passes(operation):
            carried |= _with_steps(operation, results, len(places) == len(sources))
        elif places:
            lost.setdefault(operation, False)
            losers.add(operation)
        if losers and _with_steps(operation, results, True):
            behind.update(dict.fromkeys(results, losers))
    return lost, {place for place, output in enumerate(outputs) if output in carried}


def _graph(model):
    """The operations of a model in turn, with the keys of their tensors and whether they give
    booleans; its inputs; its outputs."""
    if isinstance(model, keras.Sequential):
        layers = model.layers
        nodes = [(layer, [i], [i + 1], False) for i, layer in enumerate(layers)]
        return nodes, [0], [len(layers)]
    if not isinstance(model, Functional):
        return [], [], []
    nodes = [
        (
            node.operation,
            _keys(node.input_tensors),
            _keys(node.outputs),
            all(output.dtype == "bool" for output in node.outputs),
        )
        for node in nodes_in_turn(model)
    ]
    return nodes, _keys(model.inputs), _keys(model.outputs)


def _keys(tensors):
    return [id(tensor) for tensor in tensors]


def _goes_by_mask(operation):
    """Whether an operation passes on or loses the mask of booleans, too."""
    return type(operation) is GetItem or computes_each_step(operation) or reduces_steps(operation)


def _with_steps(operation, results, all_masked):
    """Those results that have the steps of the operation's input, and so their mask."""
    if isinstance(operation, keras.Model):
        return set()  # of a subclass, which tells nothing
    if takes_maximum(operation):
        return set()  # Keras does not tell that it drops them
    if type(operation) is GetItem:
        return set(results) if keeps_all_steps(operation) else set()
    is_of_each = computes_each_step(operation) or window_of(operation)
    if not isinstance(operation, keras.Layer) or is_of_each:
        return set(results)
    mask = object()
    try:
        masks = tree.flatten(operation.compute_mask(None, mask))
    except Exception:  # it looks at its inputs, of which one without steps may be the query
        return set(results) if all_masked else set()
    return {result for result, each in zip(results, masks, strict=False) if each is mask}
