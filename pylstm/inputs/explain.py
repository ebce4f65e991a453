"""Says why an input cannot be read, and what to write instead."""

import math

from pylstm.errors import (
    BatchMismatchError,
    FeatureMismatchError,
    RaggedError,
    RankError,
    StructureError,
    TimestepError,
)
from pylstm.inputs.contract import Origin

STATES_APART = "layer(x, initial_state=[h, c])     for a list [x, h, c] of an input and its states"


def expected_input(known, built_from=None):
    """The input a layer takes, axes named: `(batch, time, features=6)`."""
    batch = "batch" if known.batch is None else f"batch={known.batch}"
    features = "features" if known.features is None else f"features={known.features}"
    origin = f"     built from {built_from}" if built_from and known.features else ""
    return f"({batch}, time, {features}){origin}"


def got_input(shape, dtype, remark=""):
    """What was given: `(32, 1440, 7) float32     axis 2 is 7, not 6`."""
    text = shape_text(shape) if dtype is None else f"{shape_text(shape)} {dtype}"
    return f"{text}     {remark}" if remark else text


def unreadable(shape, dtype, known, origin, choices, built_from=None):
    """The error for an input with no reading, or with several.

    Args:
        shape: Of the input, integers and None.
        dtype: Name of the input's dtype, or None where only a shape is at hand.
        known: The layer's `Known`.
        origin: The input's `Origin`.
        choices: What `contract.readings` returned: none or several.
        built_from: The shape that the layer was built from, if it is known.
    """
    parts = {
        "expected": expected_input(known, built_from),
        "got": got_input(shape, dtype),
    }
    if choices:
        lines = [f"{choice.line}     to mean {_meaning(choice)}" for choice in choices]
        return RankError("PYL102", fix="\n".join(lines), **parts)
    if len(shape) == 3:
        return _feature_mismatch(shape, dtype, known, parts)
    if len(shape) == 2:
        return _two_axes(shape, known, origin, parts)
    if len(shape) == 1:
        fix = "keras.ops.reshape(x, (1, -1, 1))     to mean one sequence with one feature"
        return RankError("PYL101", fix=fix, **parts)
    if len(shape) == 0:
        fix = "np.reshape(x, (1, 1, 1))     to mean one step of one feature"
        return RankError("PYL101", "a single number is not a sequence", fix=fix, **parts)
    fix = "reshape it to (batch, time, features); join the axes that are features into one"
    if origin in (Origin.LAYER, Origin.DECLARED) and None not in shape[2:]:
        joined = (shape[1] or -1, math.prod(shape[2:]))
        fix = f"keras.layers.Reshape({joined}) in front     if axis 1 is the time"
    return RankError("PYL101", fix=fix, **parts)


def _feature_mismatch(shape, dtype, known, parts):
    features = known.features
    if shape[1] == features:
        parts["got"] = got_input(shape, dtype, f"axis 1 is {features}, axis 2 is {shape[2]}")
        fix = "np.transpose(x, (0, 2, 1))     if axis 1 holds the features and axis 2 the time"
        return FeatureMismatchError("PYL104", fix=fix, **parts)
    parts["got"] = got_input(shape, dtype, f"axis 2 is {shape[2]}, not {features}")
    return FeatureMismatchError("PYL103", fix=_change_of_features(shape[2], features), **parts)


def _change_of_features(got, features):
    change = (
        f"drop {_count(got - features, 'feature')} (a one-hot class too many?)"
        if got > features
        else f"add the missing {_count(features - got, 'feature')}"
    )
    return f"{change}, or rebuild with keras.Input((None, {got}))"


def _two_axes(shape, known, origin, parts):
    rows, columns = shape
    features = known.features
    if origin is Origin.CALL and rows == features:
        fix = "keras.ops.transpose(x)[None]     if the rows are the features, the columns the time"
        return FeatureMismatchError("PYL104", fix=fix, **parts)
    if origin is Origin.CALL:
        parts["got"] += f"     axis 1 is {columns}, not {features}"
        return FeatureMismatchError("PYL103", fix=_change_of_features(columns, features), **parts)
    if features is not None and columns == features:
        # Of arrays, symbolic tensors and DataFrames alike.
        lines = (
            f"keras.ops.reshape(x, (-1, T, {columns}))     if sequences of T rows were joined",
            "keras.ops.expand_dims(x, 0)     if all rows together are one sequence",
            "keras.ops.expand_dims(x, 1)     if each row is a sequence of one step",
        )
    elif origin is Origin.LAYER:
        size = columns or -1
        lines = (
            "return_sequences=True in the layer in front, if that is recurrent",
            f"keras.layers.Reshape(({size}, 1)) in front     if axis 1 is the time",
            f"keras.layers.Reshape((1, {size})) in front     if axis 1 holds one step's features",
        )
    elif origin is Origin.JOINED:
        lines = (
            "[s[:, None] for s in x], keras.Input((None, 1))     if these are univariate",
            "keras.layers.Embedding(...) in front     if these are tokens",
        )
    else:
        lines = (
            f"keras.ops.expand_dims(x, -1), keras.Input(({columns}, 1))     if axis 1 is the time",
            f"keras.ops.expand_dims(x, 1), keras.Input((1, {columns or 'features'}))"
            "     if axis 1 holds the features of one step",
            "return_sequences=True in the layer before, if that is recurrent",
        )
    return RankError("PYL101", fix="\n".join(lines), **parts)


def last_step_only(previous, shape, dtype, known):
    """The error for an LSTM stacked on a recurrent layer that returns one step."""
    return RankError(
        "PYL106",
        f"the previous layer '{previous}' returns its last step only",
        expected=expected_input(known),
        got=got_input(shape, dtype, f"from '{previous}'"),
        fix=f"return_sequences=True in '{previous}'",
    )


def several_tensors(shapes):
    """The error for more tensors than the one that a layer takes."""
    return StructureError(
        "PYL146",
        expected="one tensor (batch, time, features)",
        got=", ".join(map(shape_text, shapes)),
        fix="batch = pylstm.pad(sequences); y = layer(batch.x, mask=batch.mask)     if they are "
        "sequences: Keras sees inputs in a list\n"
        "the first alone     if a layer with return_state=True gave (output, h, c)\n"
        f"{STATES_APART}",
    )


def unknown_rank(dtype, known):
    """The error for a tensor of which not even the number of axes is known."""
    features = known.features if known.features is not None else "features"
    shape = f"(None, None, {features})"
    return RankError(
        "PYL107",
        expected=expected_input(known),
        got=f"unknown shape {dtype}",
        fix=f"x.set_shape({shape}) in a function passed to dataset.map, or tf.ensure_shape(x, "
        f"{shape})",
    )


def unknown_features(shape, dtype, known):
    """The error for building a layer from an input whose feature size is not known."""
    return FeatureMismatchError(
        "PYL103",
        "the feature size must be known to build the weights",
        expected=expected_input(known),
        got=got_input(shape, dtype, "axis 2 is unknown"),
        fix="keras.Input((None, features)) with the number of features, or x.set_shape",
    )


def mask_made_inside(shape, dtype, known, wrapper, mask_value):
    """The error for a mask made inside a wrapper, behind which later layers would not see it.

    Args:
        shape: Of the input, as for `unreadable`.
        dtype: Of the input.
        known: The layer's `Known`.
        wrapper: Name of the wrapper.
        mask_value: The value that made the mask; None if it is of sequences of several lengths.
    """
    return RaggedError(
        "PYL128",
        expected=f"{expected_input(known)}, with its mask set before '{wrapper}'",
        got=got_input(shape, dtype, f"masked inside '{wrapper}'"),
        fix="pylstm.Sequential or pylstm.Model, which pad before the first layer"
        if mask_value is None
        else f"keras.layers.Masking({mask_value!r}) in front of '{wrapper}'",
    )


def no_steps(shape, dtype, known):
    """The error for asking for the last of no time steps."""
    return TimestepError(
        "PYL108",
        expected=f"at least one time step, {expected_input(known)}",
        got=got_input(shape, dtype, "axis 1 is 0"),
        fix="leave empty sequences out, or mark them as empty: lengths=[0, ...] with one step",
    )


def stateful_batch(shape, dtype, known):
    """The error for a batch that a stateful layer's states do not fit."""
    size = f"{shape[0]}, " if shape[0] is not None else ""
    return BatchMismatchError(
        "PYL109",
        expected=expected_input(known),
        got=got_input(shape, dtype, f"axis 0 is {size}not {known.batch}"),
        fix=f"dataset.batch({known.batch}, drop_remainder=True), or a number of samples that is "
        f"a multiple of {known.batch}",
    )


def unknown_batch(shape, dtype):
    """The error for building a stateful layer without knowing how many states it keeps."""
    return BatchMismatchError(
        "PYL109",
        "a stateful layer needs to know the batch size",
        expected="(batch=a number, time, features)",
        got=got_input(shape, dtype, "axis 0 is unknown"),
        fix="keras.Input((None, features), batch_size=...)",
    )


def other_steps(shape, dtype, known):
    """What was given, for a number of steps that `keras.Input` had not declared."""
    declared = " or ".join(str(steps) for steps in sorted(known.timesteps))
    return got_input(shape, dtype, f"axis 1 is {shape[1]}, declared as {declared}")


def refused_steps(layer, shape, declared):
    """The error for another number of steps than declared, which a layer behind does not take."""
    _, steps, features = shape
    return TimestepError(
        "PYL124",
        layer=layer,
        expected=f"(batch, time={declared[1]}, features={features}) into the model",
        got=got_input(shape, None, f"axis 1 is {steps}, not {declared[1]}"),
        fix=f"rebuild with keras.Input(({steps}, {features}))     if all data have {steps} steps",
    )


def _meaning(reading):
    batch, time, features = ("?" if size is None else size for size in reading.shape)
    return (
        f"{_count(batch, 'sequence')} of {_count(time, 'step')} with {_count(features, 'feature')}"
    )


def _count(number, noun):
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shape_text(shape):
    """A shape as it is written: `(32, None, 7)`."""
    inner = ", ".join("None" if size is None else str(size) for size in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"
