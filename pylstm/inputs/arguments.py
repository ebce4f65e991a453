"""The input contract as a layer applies it: anything in, well-formed input or an error out."""

from typing import Any, NamedTuple

import keras
import numpy as np

from pylstm.array_types import FLOATS, dtype_name, is_dense, name_of, static_shape
from pylstm.errors import PylstmError
from pylstm.inputs import explain
from pylstm.inputs.containers import as_dense, as_numbers, unreported
from pylstm.inputs.contract import Origin
from pylstm.inputs.corrections import Corrections
from pylstm.inputs.knowledge import (
    built_from,
    callers_of,
    is_distributed,
    known_to,
    loses_mask,
    memory_of,
    origin_of,
    remember_timesteps,
    wrapper_of,
)
from pylstm.inputs.masks import as_mask, both, from_lengths, from_value
from pylstm.inputs.reading import apply_reading, choose_reading
from pylstm.inputs.states import as_states
from pylstm.keras_graph import get_keras_mask, last_step_layer


class Prepared(NamedTuple):
    """Well-formed arguments of one call of the layer.

    Attributes:
        sequences: (batch, time, features), an array, tensor or symbolic tensor.
        mask: bool (batch, time), or None.
        initial_state: [h, c], each (batch, units), or None.
        corrections: A tuple of `Correction`, what was changed.
    """

    sequences: Any
    mask: Any
    initial_state: Any
    corrections: tuple


def prepare(layer, sequences, mask=None, lengths=None, initial_state=None):
    """Reads the arguments of a layer's call.

    Args:
        layer: A `pylstm.LSTM`.
        sequences: Anything that holds sequences.
        mask: bool (batch, time) in any container, or None.
        lengths: Integers (batch,), or None.
        initial_state: [h, c], or None.

    Returns:
        `Prepared`. Well-formed arguments come back as the same objects.

    Raises:
        PylstmError: An argument cannot be read, or can be read in several ways.
    """
    try:
        return _prepare(layer, sequences, mask, lengths, initial_state)
    except PylstmError as error:
        raise error.at(layer.name) from None


# AutoGraph need not rewrite what decides by static shapes alone.
prepare.autograph_info__ = {}


def readable_shape(layer, shape):
    """The (batch, time, features) that an input of a shape is read as.

    For wrappers such as `keras.layers.Bidirectional`, which build a layer without calling it.

    Raises:
        PylstmError: The shape cannot be read.
    """
    wrapper = wrapper_of(layer)
    is_first = wrapper is not None and not layer.built and callers_of(layer) == [wrapper]
    # Of a symbolic input the size of a batch is rarely known.
    origin = Origin.CALL if is_first and shape[0] is not None else Origin.LAYER
    try:
        if any(isinstance(part, tuple) for part in shape):  # of a list of sequences
            raise explain.several_tensors(shape)
        known, source = known_to(layer), built_from(layer)
        return choose_reading(tuple(shape), None, known, origin, unreported, source).shape
    except PylstmError as error:
        raise error.at((wrapper or layer).name) from None


def _prepare(layer, sequences, mask, lengths, initial_state):
    known = known_to(layer)
    corrections = Corrections(layer.name, known, layer.validate)
    carried = get_keras_mask(sequences)  # of an earlier layer
    if _is_well_formed(sequences, known):
        if mask is lengths is initial_state is layer.mask_value is carried is None:
            return Prepared(sequences, None, None, ())
        x, joined, one_sequence = sequences, None, False
    else:
        x, joined, one_sequence = _read(layer, sequences, known, corrections)
    is_carried = mask is None
    mask = carried if is_carried else mask
    if _is_of_sequences(layer, mask):
        mask = None  # as in `LSTM.call`
    if mask is not None:
        mask = as_mask(mask, x, corrections, one_sequence)
    mask = both(mask, _own_masks(layer, x, joined, lengths, known))
    if mask is None and x.shape[1] == 0 != x.shape[0] and not layer.return_sequences:
        raise explain.no_steps(static_shape(x), dtype_name(x), known)
    if initial_state is not None:
        batch = static_shape(x)[0]
        initial_state = as_states(initial_state, batch, layer.units, layer.compute_dtype)
    if is_carried and mask is carried and x is sequences:
        mask = None  # Keras finds it there, too, or, with initial states, ignores it.
    return Prepared(x, mask, initial_state, corrections.warn(memory_of(layer).warned))


def _is_of_sequences(layer, mask):
    """Whether a mask (batch,) is of whole sequences: it masks what they give."""
    if len(getattr(mask, "shape", ())) != 1 or dtype_name(mask) != "bool":
        return False
    return is_distributed(layer)


def _own_masks(layer, x, joined, lengths, known):
    """The steps that count by what the layer itself knows: joining, `mask_value`, `lengths`."""
    mask = joined
    if layer.mask_value is not None and not isinstance(x, keras.KerasTensor):
        mask = both(mask, from_value(x, layer.mask_value, layer.variable_dtype))
    wrapper = None if mask is None else loses_mask(layer)
    if wrapper is not None:
        value = layer.mask_value if joined is None else None
        raise explain.mask_made_inside(static_shape(x), dtype_name(x), known, wrapper, value)
    return mask if lengths is None else both(mask, from_lengths(lengths, x))


def _is_well_formed(value, known):
    """Whether nothing has to be read, checked or converted: the common case, made cheap."""
    kind = type(value)
    if kind is not np.ndarray and (not is_dense(value) or not keras.ops.is_tensor(value)):
        return False
    shape, dtype = value.shape, value.dtype
    if getattr(shape, "rank", 0) is None or len(shape) != 3:
        return False
    batch, steps, features = shape
    return (
        name_of(dtype) in FLOATS
        and getattr(dtype, "isnative", True)
        and features is not None
        and features == known.features
        and known.batch in (None, batch)
        and steps != 0
        and _is_declared(steps, known)
    )


def _read(layer, value, known, report):
    """Reads any value as (batch, time, features).

    Returns:
        The array or tensor; the mask of sequences of several lengths, or None; and whether
        the value was one sequence without a batch axis.
    """
    x, joined = as_dense(value, report)
    x = as_numbers(x, layer.compute_dtype, report)
    dtype = dtype_name(x)
    if isinstance(x, keras.KerasTensor):
        previous = last_step_layer(x)
        if previous is not None:
            raise explain.last_step_only(previous, x.shape, dtype, known)
    origin = origin_of(x, layer) if joined is None else Origin.JOINED
    reading = choose_reading(static_shape(x), dtype, known, origin, report, built_from(layer))
    x = apply_reading(reading, x)
    x = _check_sizes(layer, x, known)
    if isinstance(x, keras.KerasTensor):
        remember_timesteps(x, layer)
    elif joined is None and not _is_declared(x.shape[1], known):
        report(
            "PYL124",
            got=explain.other_steps(static_shape(x), dtype, known),
            done="(computed as it is)",
            line=f"keras.Input((None, {x.shape[2]})) for any number of steps",
        )
    return x, joined, reading.expand == 0


def _check_sizes(layer, x, known):
    """Checks what must hold of (batch, time, features); returns `x`, checked."""
    shape, dtype = static_shape(x), dtype_name(x)
    batch, _, features = shape
    if features is None and known.features is None:
        raise explain.unknown_features(shape, dtype, known)
    if layer.stateful and batch is None and not layer.built:
        raise explain.unknown_batch(shape, dtype)
    if known.batch in (None, batch):
        return x
    error = explain.stateful_batch(shape, dtype, known)
    if batch is not None:
        raise error
    if keras.backend.backend() == "tensorflow" and not isinstance(x, keras.KerasTensor):
        import tensorflow as tf

        # Only the running graph will know.
        message = f"{error.at(layer.name)}\n"  # TensorFlow writes on behind it.
        check = tf.debugging.assert_equal(tf.shape(x)[0], known.batch, message=message)
        with tf.control_dependencies([check]):
            return tf.identity(x)
    return x


def _is_declared(steps, known):
    declared = known.timesteps
    if not declared or steps is None or None in declared:
        return True
    return any(steps == each for each in declared)  # a tensor while torch traces, of another hash
