"""Targets and sample weights in the structure and with the axes of a model's outputs."""

import keras
import numpy as np
from keras import tree

from pylstm.errors import RaggedError, StructureError, TimestepError
from pylstm.keras_graph import is_of_keras
from pylstm.models.data.classes import wrong_label
from pylstm.models.data.columns import (
    Dense,
    Sequences,
    Stacked,
    columns_of,
    map_columns,
    other_lengths,
)
from pylstm.models.data.meeting_inputs import check_meeting_inputs
from pylstm.models.data.output_lengths import output_lengths, output_steps
from pylstm.models.data.padded_targets import (
    may_have_padding,
    not_behind_the_steps,
    unpad_targets,
)
from pylstm.models.data.structure import is_several, named
from pylstm.models.graph.outputs import map_targets, output_shapes
from pylstm.models.graph.windows import check_outputs


def fit_targets(model, columns):
    """Targets by name or in order as the model has its outputs, per step without padding.

    Raises:
        TimestepError: As `check_meeting_inputs`, `check_losses` and `unpad_targets`, and for
            targets per step of outputs per sample, or the other way round, or of other steps, at
            which Keras' loss fails.
        RaggedError: As `check_losses`.
        ShapeError: As `wrong_labels`.
    """
    check_meeting_inputs(model, columns.x)
    if columns.y is None:
        return columns
    shapes = output_shapes(model, columns.x)
    y, sample_weight = (_arranged(part, model) for part in (columns.y, columns.sample_weight))
    check_losses(model, columns._replace(y=y), shapes)
    columns = unpad_targets(columns._replace(y=y, sample_weight=sample_weight), shapes, model)
    for _, error, fails in other_steps(model, columns, shapes):
        if fails:
            raise error
    for _, error in wrong_labels(model, columns, shapes):
        raise error
    y = map_targets(shapes, _for_output, columns.y)
    if not columns.is_dense and isinstance(y, (tuple, dict)):
        y = _with_unused(model, y, columns.size)
    return columns._replace(y=y)


def check_losses(model, columns, shapes):
    """Checks that the losses can compare outputs of sequences of several lengths with targets.

    Args:
        As `other_steps`, of targets that may have padding.

    Raises:
        TimestepError: As `check_outputs`.
        RaggedError: One is Keras' CTC, which takes no masks.
    """
    y = columns.y
    if not any(isinstance(column, Sequences) for column in columns_of(columns.x)):
        return
    for (where, target), name, loss in _with_losses(model, y, shapes):
        if target is not None and len(shapes.get(name, ())) > 2 and _is(loss, "CTC", "ctc"):
            raise RaggedError(
                "PYL130",
                "Keras' CTC loss takes no mask, and would count padded steps",
                layer=model.name,
                expected="outputs without padding",
                got="those of sequences of different lengths",
                fix=f"((x[None], y[None]) for x, y in zip(x, {where}))     one sequence a batch",
            )
    parts = y.items() if isinstance(y, dict) else enumerate(y) if isinstance(y, tuple) else None
    check_outputs(model, parts and {name for name, part in parts if part is not None})


def other_steps(model, columns, shapes):
    """Targets per step beside outputs that have no steps, and the other way round, or of a fixed
    number of other steps.

    Args:
        model: A Keras model.
        columns: `Columns`, of targets without padding.
        shapes: The shapes of the model's outputs, by name or number.

    Yields:
        What the user calls the target, its `TimestepError`, and whether a loss fails at it; else
        it is broadcast, which may be meant.
    """
    y = columns.y
    steps = set().union(*map(_steps_of, columns_of(columns.x)))
    inputs = [pair for pair in named("x", columns.x) if isinstance(pair[1], Sequences)]
    asks = len(inputs) > 1 or (inputs and may_have_padding(y, shapes))
    known = output_lengths(model, columns.x, shapes) if asks else {}
    for (where, target), name, loss in _with_losses(model, y, shapes):
        output, lengths = shapes.get(name), known.get(name)
        if target is None or output is None:
            continue
        by_class, is_by_step = tells_classes(loss), isinstance(target, Sequences)
        if is_by_step and target.steps and max(target.lengths) > target.steps:
            yield where, _of_longer_targets(model, where, target, inputs), True
        elif is_by_step and lengths is not None and not np.array_equal(target.lengths, lengths):
            pair = next(pair for pair in inputs if np.array_equal(pair[1].lengths, lengths))
            yield where, other_lengths(where, target, *pair), True
        elif is_by_step and tuple(output) == (None, None):
            yield where, _of_squeezed_steps(model, where, target, output), True
        elif len(output) == 2 and _looks_per_step(target, steps, output, by_class):
            fix = "return_sequences=True in the last recurrent layer, or one entry of y per sample"
            error = _of_other_steps(model, where, target, "step", output, "sample", fix)
            yield where, error, is_by_step or by_class
        elif len(output) == 3 and _looks_per_sample(target, steps, output, by_class):
            fix = "return_sequences=False in the last recurrent layer, or a y (batch, time, ...)"
            error = _of_other_steps(model, where, target, "sample", output, "step", fix)
            may_be_meant = target.shape[1:] == (1,) == output[2:] and None not in steps
            may_be_meant &= not _is(loss, "BinaryCrossentropy", "binary_crossentropy")
            yield where, error, by_class or (_compares(loss) and not may_be_meant)
        elif _is_cut(target, lengths, output) and _compares(loss):
            yield where, not_behind_the_steps(where, target, lengths), True
        elif _may_have_other_steps(target, output, by_class) and _compares(loss):
            number = output_steps(model, columns.x, shapes).get(name)
            if number not in (None, 1, target.shape[1]):
                error = _of_fixed_steps(model, where, target, output, number, by_class)
                yield where, error, True


def _with_losses(model, y, shapes):
    """What the user calls each target, and the target; the name of its output; its loss."""
    parts, of_all = named("y", y), getattr(model, "loss", None)
    losses = _of_each_output(model, of_all, y) or [of_all] * len(parts)
    return zip(parts, y if isinstance(y, dict) else shapes, losses, strict=False)


def wrong_labels(model, columns, shapes):
    """Labels for which a model has no output, as its loss tells classes apart.

    Args:
        As `other_steps`.

    Yields:
        What the user calls the labels, and a `ShapeError`.
    """
    weights, names = columns.sample_weight, getattr(model, "output_names", None) or ()
    for (where, target), name, loss in _with_losses(model, columns.y, shapes):
        if target is None or name not in shapes or not tells_classes(loss):
            continue
        known_as = name if isinstance(name, str) else dict(enumerate(names)).get(name)
        own = weights.get(name) if isinstance(weights, dict) else weights
        own = weights[name] if isinstance(weights, tuple) else own
        output = (known_as, shapes[name])
        error = wrong_label(model, where, target, output, _resolved(loss), own)
        if error is not None:
            yield where, error


def _steps_of(column):
    """The number of steps of a column, if it is one, and None where other samples may have more."""
    lengths = {*column.lengths} if isinstance(column, Sequences) else ()
    return {*column.shape[1:2], *(lengths if len(lengths) == 1 else ())}


def _looks_per_step(target, steps, output, by_class):
    """Whether a target has an entry for each step of an input, beside an `output` (batch, K).

    Args:
        target: A column.
        steps: The numbers of steps that the inputs have; None for several lengths.
        by_class: Whether an entry is the number of a class, and so without an axis of its own.
    """
    if isinstance(target, Sequences):
        return True
    sizes = target.shape[1:]
    if len(sizes) == 1:
        return by_class and sizes[0] in steps - {1}
    if sizes == (output[1], 1) and not by_class:  # an axis of 1 that the losses of Keras drop
        return False
    return len(sizes) > 1 and sizes[0] in steps


def _looks_per_sample(target, steps, output, by_class):
    """Whether a target has one entry for all steps, beside an `output` (batch, time, features)."""
    sizes = target.shape[1:]
    if isinstance(target, Sequences) or sizes not in ((), (1,), output[2:]):
        return False
    if sizes == output[2:] != (1,) and not by_class:  # numbers of steps by chance
        return True
    return {*sizes}.isdisjoint({*steps, output[1]})


def _is_cut(target, lengths, output):
    """Whether an array of labels has too few steps for an output of these lengths, or None.

    One step is for all.
    """
    if lengths is None or not isinstance(target, Dense) or len(target.shape) != len(output) - 1:
        return False
    return len(target.shape) > 1 and 1 < target.shape[1] < lengths.max()


def _may_have_other_steps(target, output, by_class):
    """Whether an array of targets per step has not the steps that an output declares."""
    if not isinstance(target, Dense) or len(output) < 3 or output[1] in (None, 1):
        return False
    rank = len(target.shape)
    is_per_step = rank == len(output) or (rank == len(output) - 1 and (by_class or output[-1] == 1))
    return is_per_step and target.shape[1] not in (1, output[1])


def _of_other_steps(model, where, target, given, output, wanted, fix):
    return TimestepError(
        "PYL120",
        f"{where} has one entry per {given}, the model one output per {wanted}",
        layer=model.name,
        expected=f"{where} per {wanted}, as the output {output}",
        got=f"{where} {target.shape}",
        fix=fix,
    )


def _of_longer_targets(model, where, target, inputs):
    x = next(x for x, column in inputs if np.array_equal(column.lengths, target.lengths))
    steps, longest = target.steps, max(target.lengths)
    return TimestepError(
        "PYL120",
        f"{where} has more steps than the model's output",
        layer=model.name,
        expected=f"{where} of at most {steps} steps, which the output always has",
        got=f"{where} of up to {longest} steps",
        fix=f"{x}, {where} = ([s[:{steps}] for s in part] for part in ({x}, {where}))     to cut "
        f"both\nor a model whose output has {longest} steps",
    )


def _of_fixed_steps(model, where, target, output, steps, by_class):
    given = target.shape[1]
    axes = ["batch", f"time={steps}"]
    if len(target.shape) == len(output) == 3:
        axes.append(f"features={1 if by_class else output[2]}")
    if given > steps:
        fix = f"np.asarray({where})[:, :{steps}]     instead of {where}, to cut it"
    else:
        fix = f"keras.layers.Cropping1D((0, {steps - given}))     behind the output, to cut it"
    return TimestepError(
        "PYL120",
        f"{where} has other steps than the model's output",
        layer=model.name,
        expected=f"{where} ({', '.join(axes)}), as the output {(output[0], steps, *output[2:])}",
        got=f"{where} {target.shape}",
        fix=f"{fix}\nor a model whose output has {given} steps",
    )


def _of_squeezed_steps(model, where, target, output):
    return TimestepError(
        "PYL120",
        f"{where} has one entry per step, and the model's output no axis of features",
        layer=model.name,
        expected=f"an output (batch, time, 1) beside {where} per step",
        got=f"output {output}, {where} {target.shape}",
        fix="keras.layers.Dense(1)(h) as the output, without [..., 0]",
    )


def tells_classes(loss):
    """Whether a loss takes the numbers of classes."""
    return _is(loss, "SparseCategoricalCrossentropy", "sparse_categorical_crossentropy")


def _is(loss, class_name, function_name):
    """Whether a loss, as `compile` takes it, is this one of Keras'."""
    of_class = isinstance(_resolved(loss), getattr(keras.losses, class_name))
    return of_class or _resolved(loss) is getattr(keras.losses, function_name)


def _resolved(loss):
    """What the name of a loss stands for, alone in a list or dict, too; anything else, and a name
    that nobody knows, as it is."""
    if isinstance(loss, (list, tuple, dict)) and len(loss) == 1:
        (loss,) = loss.values() if isinstance(loss, dict) else loss
    try:
        return keras.losses.get(loss) if isinstance(loss, str) else loss
    except ValueError:
        return loss


def _compares(loss):
    """Whether this is a loss of Keras' that compares targets and outputs entry by entry.

    Where they differ in rank, it makes an error of shapes, or compares with other samples' entries.
    """
    return is_of_keras(_resolved(loss)) and not _is(loss, "CTC", "ctc")


def with_feature_axis(target):
    """Targets (T_i,) per step as (T_i, 1), which the losses of Keras take where they take (T_i,).

    Beside an output (N, T, 1) they would take (N, T) for one step of T features.
    """
    if not isinstance(target, (Sequences, Stacked)) or len(target.shape) != 2:
        return target
    if isinstance(target, Sequences):
        return Sequences([labels[:, None] for labels in target.values], target.steps)
    return Stacked(target.values[..., None])


def open_targets(columns):
    """As `fit_targets`, for a model that is not known yet."""
    columns = unpad_targets(columns)

    def open_one(target):
        return with_feature_axis(target) if isinstance(target, Sequences) else target

    return columns._replace(y=map_columns(open_one, columns.y))


def _for_output(target, shape):
    is_column = shape is not None and len(shape) == 3 and shape[-1] == 1
    return with_feature_axis(target) if is_column else target


def _with_unused(model, y, size):
    """Zeros in place of None, which no `PyDataset` yields, for outputs without a loss.

    Raises:
        StructureError: Such an output has a metric, which would count the zeros.
    """
    losses = _of_each_output(model, getattr(model, "loss", None), y)
    if losses is None:
        return y
    compiled = getattr(model, "_compile_metrics", None)
    options = ("_user_metrics", "_user_weighted_metrics")
    metrics = [_of_each_output(model, getattr(compiled, name, None), y) for name in options]
    metrics = [each or [None] * len(y) for each in metrics]
    parts = dict(y) if isinstance(y, dict) else dict(enumerate(y))
    for key, loss, *measured in zip(parts, losses, *metrics, strict=True):
        if parts[key] is not None or loss is not None:
            continue
        if any(measured):
            raise StructureError(
                "PYL146",
                layer=model.name,
                expected="a target for each output that has a loss or a metric",
                got=f"y[{key!r}] is None",
                fix=f"a target for y[{key!r}], or compile without its metric",
            )
        parts[key] = Dense(np.zeros((size, 1), keras.config.floatx()))
    return parts if isinstance(y, dict) else tuple(parts.values())


def _of_each_output(model, option, y):
    """An option of `compile`, such as the losses, in the order of several targets; None if it is
    none for each."""
    if not isinstance(y, (tuple, dict)):
        return None
    if isinstance(option, (list, tuple)) and len(option) == len(y):
        if not isinstance(y, dict):
            return option
        option = dict(zip(sorted(y), option, strict=True))  # the order in which Keras takes them
    if isinstance(option, dict):
        return [option.get(name) for name in (y if isinstance(y, dict) else model.output_names)]
    return None


def _arranged(part, model):
    """Targets or weights as a tuple or dict, whichever the outputs are.

    Keras pairs targets by name with a list of outputs, but not the weights beside them.
    """
    output = getattr(model, "output", None)
    names = getattr(model, "output_names", None) or ()
    if isinstance(output, dict) and is_several(part) and len(part) == len(output):
        return tree.pack_sequence_as(output, list(part))
    if not isinstance(part, dict) or isinstance(output, dict) or not set(part) <= set(names):
        return part
    if isinstance(output, keras.KerasTensor):
        return part[names[0]]
    return tuple(part.get(name) for name in names)
