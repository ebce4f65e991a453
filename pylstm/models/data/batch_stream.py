"""Batches that come from an iterator or a `PyDataset`, one by one, as Keras' trainer takes them."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import tree

from pylstm.array_types import FLOATS, dtype_name, is_real, may_equal, static_shape
from pylstm.errors import DTypeError, PylstmError, RaggedError, RankError, StructureError
from pylstm.inputs.sequences import as_numpy, unpacked
from pylstm.keras_graph import has_ragged
from pylstm.models.data.columns import (
    Columns,
    Dense,
    Sequences,
    Stacked,
    columns_of,
    map_columns,
)
from pylstm.models.data.dataset import SequenceDataset, open_time
from pylstm.models.data.entering import unpack_batch
from pylstm.models.data.feeding import batch_alone, for_model, ragged_obstacle, takes_ragged
from pylstm.models.data.reading import read_parts
from pylstm.models.data.separating import map_inputs, named_inputs
from pylstm.models.data.structure import is_several
from pylstm.models.data.targets import fit_targets, tells_classes
from pylstm.models.graph.declared import count_inputs, declared_shapes
from pylstm.models.graph.outputs import count_outputs


def read_batches(model, batches, predicts=False):
    """Reads batches as they come; returns any other data as it is, or as the model takes it.

    Args:
        model: The model that is to take them.
        batches: A generator, other iterator or `PyDataset` of `(x,)`, `(x, y)` or
            `(x, y, sample_weight)`.
        predicts: Whether they are for `predict`.

    Raises:
        PylstmError: As `check_dataset`, for a `tf.data.Dataset`. The batches of an iterator raise
            later.
    """
    if hasattr(batches, "element_spec"):
        check_dataset(model, batches, predicts)
    if isinstance(batches, SequenceDataset):
        batches = batches.with_columns(fit_targets(model, batches.columns))
        return for_model(model, batches)
    if reads_dataset(batches):
        return _ReadDataset(model, batches)
    if not isinstance(batches, Iterator):
        return batches
    in_dtypes = _InDtypesOfFirst(model, "generator")
    return (in_dtypes(_read_batch(model, batch, "generator")) for batch in batches)


def check_dataset(model, dataset, predicts=False, targets=True):
    """Checks the batches of a `tf.data.Dataset`, as far as their specification tells.

    Args:
        model: The model that is to take them.
        dataset: The dataset.
        predicts: Whether they are for `predict`.
        targets: Whether the targets are for a loss of Keras'.

    Raises:
        RankError: It holds single samples.
        StructureError: It holds datasets, or ragged targets, which no loss of Keras takes.
        RaggedError: It has ragged inputs where there are no ragged tensors: on other backends,
            under XLA, on replicas.
        DTypeError: It has targets of strings.
    """
    _check_is_flat(model, dataset)
    x, y, _ = keras.utils.unpack_x_y_sample_weight(dataset.element_spec)
    _check_is_batch(model, "dataset", x, y)
    _check_inputs_stay_ragged(model, x, predicts)
    if targets:
        _check_targets(model, y)


def reads_dataset(batches):
    """Whether `batches` is a `PyDataset` of which `read_batches` reads what is not of arrays."""
    return isinstance(batches, keras.utils.PyDataset) and not batches.use_multiprocessing


class _ReadDataset(keras.utils.PyDataset):
    """The batches of another `PyDataset`; those of arrays as they are."""

    def __init__(self, model, batches):
        super().__init__(batches.workers, max_queue_size=batches.max_queue_size)
        self._model = model
        self._batches = batches
        self._in_dtypes = _InDtypesOfFirst(model, "PyDataset")

    @property
    def num_batches(self):
        return self._batches.num_batches

    def __getitem__(self, index):
        batch = self._batches[index]
        if not is_of_arrays(self._model, batch):
            batch = _read_batch(self._model, batch, "PyDataset")
        return self._in_dtypes(batch)

    def on_epoch_begin(self):
        self._batches.on_epoch_begin()

    def on_epoch_end(self):
        self._batches.on_epoch_end()


def is_of_arrays(model, batch):
    """Whether a batch holds arrays and tensors of numbers alone, as Keras takes them."""
    x, *targets = batch if is_several(batch) and len(batch) else (batch,)
    are_one = is_several(x) and count_inputs(model) == 1  # the samples of one input
    are_one |= any(map(is_several, targets)) and count_outputs(model) == 1
    return not are_one and _are_arrays(batch)


def _are_arrays(structure):
    if isinstance(structure, dict):
        structure = tuple(structure.values())
    if is_several(structure):
        return all(map(_are_arrays, structure))
    if structure is None:
        return True
    if not hasattr(structure, "dtype"):
        return False
    return dtype_name(structure) != "object" and getattr(structure.dtype, "isnative", True)


def _read_batch(model, batch, source):
    try:
        check_is_no_list_of_sequences(model, source, batch)
        names = "x", "y", "sample_weight"
        x, y, sample_weight = map(unpacked, unpack_batch(batch), names)
        _check_is_batch(model, source, x, y)
        data = read_parts(model, x, y, sample_weight)
        parts = (x, y, sample_weight)
        if data is not None:
            data = _of_any_length(model, _of_any_numbers(model, data))
            parts = data.values() if data.is_dense else batch_alone(model, data)
    except PylstmError as error:
        raise error.at(model.name) from None
    while parts[-1] is None:
        parts = parts[:-1]
    return parts


def _of_any_length(model, data):
    """The columns of a batch, that those after it may differ from in their number of steps.

    Keras takes for fixed what the first two batches have in common.
    """
    steps = {column.shape[1:2] for column in columns_of(data.x)}
    steps -= {(), (1,)}  # An axis of 1 that Keras knows of, its losses may drop.
    data = fit_targets(model, data._replace(x=map_inputs(model, _as_sequences, data.x)))
    if not takes_ragged(model):
        return data

    def opened(column, is_open):
        is_open &= isinstance(column, Dense)
        return Dense(open_time(np.asarray(column.values))) if is_open else column

    x = map_inputs(model, lambda each, shape: opened(each, _may_differ(each, shape)), data.x)
    targets = data.y, data.sample_weight
    return Columns(x, *map_columns(lambda each: opened(each, each.shape[1:2] in steps), targets))


def _of_any_numbers(model, data):
    """The columns of a batch, after whose whole numbers others may follow.

    TensorFlow takes the dtypes of the first batch for those of all. Losses compare floats, except
    those of classes, whose numbers are whole.
    """
    losses = [loss for loss in tree.flatten(getattr(model, "loss", None)) if loss is not None]
    if keras.backend.backend() != "tensorflow":
        return data
    are_any = losses and not any(map(tells_classes, losses))
    y = map_columns(_as_floats, data.y) if are_any else data.y
    return data._replace(y=y, sample_weight=map_columns(_as_floats, data.sample_weight))


def _as_floats(column):
    floatx = keras.config.floatx()
    if isinstance(column, Sequences):
        return Sequences([_cast(values, floatx) for values in column.values])
    return type(column)(_cast(column.values, floatx))


class _InDtypesOfFirst:
    """Batches in the dtypes of the first, as which TensorFlow takes all."""

    def __init__(self, model, source):
        self._model = model
        self._source = source
        self._dtypes = None

    def __call__(self, batch):
        """The batch, cast.

        Raises:
            RaggedError: That would change its numbers, of which TensorFlow cuts fractions off.
        """
        if keras.backend.backend() != "tensorflow":
            return batch
        parts = tree.flatten(batch)
        dtypes = [None if part is None else dtype_name(part) for part in parts]
        self._dtypes = self._dtypes or dtypes
        if dtypes == self._dtypes or len(dtypes) != len(self._dtypes):
            return batch
        cast = list(map(self._cast_to, parts, dtypes, self._dtypes))
        return tree.pack_sequence_as(batch, cast)

    def _cast_to(self, part, own, dtype):
        if None in (own, dtype) or own == dtype or not _is_castable(part):
            return part
        cast = _cast(part, dtype)
        values, same = (as_numpy(getattr(each, "flat_values", each)) for each in (part, cast))
        if dtype not in FLOATS and not np.array_equal(values, same):
            raise RaggedError(
                "PYL114",
                f"the {self._source}'s batches differ in their kind of numbers",
                layer=self._model.name,
                expected=f"{dtype} as in the first batch, or floats in every batch",
                got=f"{static_shape(part)} {own}",
                fix="np.asarray(y, 'float32')     instead of y, in every batch\n"
                "[np.asarray(s, 'float32') for s in x]     instead of lists x",
            )
        return cast


def _is_castable(part):
    return is_real(part.dtype) and (keras.ops.is_tensor(part) or hasattr(part, "__array__"))


def _cast(values, dtype):
    if keras.ops.is_tensor(values):
        return keras.ops.cast(values, dtype)
    with np.errstate(invalid="ignore"):  # of NaN as an integer
        return as_numpy(values).astype(dtype, copy=False)


def _as_sequences(column, declared):
    is_open = isinstance(column, Stacked) and _may_differ(column, declared)
    return Sequences(list(column.values)) if is_open else column


def _may_differ(column, declared):
    """Whether an input of this declared shape, or None, may have other steps in other batches."""
    rank = len(column.shape)
    return rank > 2 if declared is None else rank == len(declared) > 1 and declared[1] is None


# By the source of batches, what makes such of lists of sequences alone.
_OF_ALONE = {
    "generator": "yield (x,)     instead of yield x, and (x, y) with targets y",
    "PyDataset": "return (x,)     instead of return x, and (x, y) with targets y",
    "DataLoader": "collate_fn=lambda x: (x,)     instead of lists alone, and (x, y) with targets y",
}


def check_is_no_list_of_sequences(model, source, batch):
    """Refuses x instead of (x,): of a list, Keras takes the parts for x, y and weights.

    Raises:
        StructureError: The batch is a list of sequences.
    """
    is_list = isinstance(batch, list)  # of which Keras may have made a tuple
    if not is_list and (not is_several(batch) or len(batch) == 1):
        return
    shapes = [_shape_of(part) or () for part in batch]
    sizes = {shape[0] for shape in shapes if shape}
    declared = next(iter(declared_shapes(model).values()), None)
    are_samples = all(_is_sample(shape, declared) for shape in shapes)
    if are_samples or (is_list and (len(batch) > 3 or len(sizes) > 1)):
        raise StructureError(
            "PYL146",
            layer=model.name,
            expected="batches (x,), (x, y) or (x, y, sample_weight)",
            got=f"a {source} of lists of {len(batch)}: first {_described(batch[0])}",
            fix=_OF_ALONE[source],
        )


def _check_is_flat(model, dataset):
    """Checks that a `tf.data.Dataset` yields no datasets, as `window` makes them."""
    if not any(hasattr(spec, "element_spec") for spec in tree.flatten(dataset.element_spec)):
        return
    first = next(iter(dataset), None)
    steps = 0 if first is None else int(tree.flatten(first)[0].cardinality())
    steps = steps if steps > 0 else "T"  # unknown
    batch = f"batch({steps}, drop_remainder=True)"
    made = f"lambda w: w.{batch}"
    if not hasattr(dataset.element_spec, "element_spec"):  # but tuples or dicts of them
        made = f"lambda d: d.{batch}"
        made = f"lambda *w: tf.data.Dataset.zip(tf.nest.map_structure({made}, w))"
    raise StructureError(
        "PYL146",
        layer=model.name,
        expected="batches (x,), (x, y) or (x, y, sample_weight)",
        got=f"datasets of {steps} elements, as window makes them",
        fix=f"dataset.flat_map({made}).batch(32)",
    )


def _check_is_batch(model, source, x, y):
    """Checks that what a `source`, by its name, yields is a batch, as far as shapes tell."""
    targets, shapes = _shape_of(y), declared_shapes(model)
    sizes = targets[:1] if targets and source == "dataset" else ()
    given = x if isinstance(x, dict) or hasattr(x, "shape") else None
    samples = [
        _is_sample(_shape_of(unpacked(part)), shapes.get(name), sizes)
        for name, _, part in named_inputs(model, given)
    ]
    if targets == () or any(samples):
        raise RankError(
            "PYL101",
            f"the {source} yields single samples",
            layer=model.name,
            expected="batches (x,)" if y is None else "batches (x, y)",
            got=f"x {_described(x)}" + ("" if y is None else f", y {_described(y)}"),
            fix=_way_to_batches(source, x, y),
        )


def _check_inputs_stay_ragged(model, x, predicts):
    """Checks that no input is ragged where none can be: Keras makes zeros that count as steps of
    it, or stops."""
    ragged = _ragged(x)
    obstacle = ragged and ragged_obstacle(model, predicts)
    if obstacle:
        raise RaggedError(
            "PYL114",
            obstacle,
            layer=model.name,
            expected="sequences with their mask",
            got=f"a tf.data.Dataset of x {_shape_of(ragged[0])}, ragged",
            fix="pylstm.dataset(x, y)     of the original lists, in a pylstm.Sequential or "
            "pylstm.Model",
        )


def _ragged(specs):
    return [spec for spec in tree.flatten(specs) if getattr(spec, "ragged_rank", 0)]


def _check_targets(model, y):
    if any(spec.dtype == "string" for spec in tree.flatten(y) if spec is not None):
        raise DTypeError(
            "PYL118",
            "y does not hold numbers",
            layer=model.name,
            expected="numbers",
            got="a tf.data.Dataset of y of strings",
            fix="number = keras.layers.StringLookup(vocabulary=names, num_oov_indices=0)\n"
            "dataset.map(lambda x, y: (x, number(y)))",
        )
    ragged = _ragged(y)
    if ragged:
        raise StructureError(
            "PYL147",
            layer=model.name,
            expected="dense targets, with the mask of the model's output to tell the padding",
            got=f"y {_shape_of(ragged[0])}, ragged",
            fix="pylstm.dataset(x, y)     of lists, or where y has the steps of x,\n"
            "dataset.map(lambda x, y: (x, y.to_tensor()))",
        )


def _is_sample(shape, declared, sizes=()):
    """Whether a shape is that of one sample, and can be that of no batch.

    Args:
        shape: Integers and None; None if it is not known.
        declared: The shape of the model's input, or None.
        sizes: The size of the targets' first axis, if there is one.
    """
    if shape is None or declared is None or len(shape) >= len(declared):
        return False
    features = declared[-1]
    if len(shape) == 1 and (features is None or declared[2:] == (1,)):
        return True  # the steps of one sequence, without its feature axis
    if len(shape) != len(declared) - 1:
        return False
    if shape and sizes and not may_equal(shape[:1], sizes):
        return True
    # Of one feature, or of nobody knows how many, it can be a batch.
    return features not in (None, 1) and shape[-1] == features


def _shape_of(part):
    """The shape of an array, a spec or a number; None if it is not known."""
    if getattr(part, "is_nested", False):  # a tensor of torch's that raises when asked
        return None
    if hasattr(part, "shape"):
        return None if _holds_sequences(part) else static_shape(part)
    return () if isinstance(part, (int, float, str)) else None


def _holds_sequences(part):
    """Whether this is an array (N,) of objects, or a Series, of N sequences."""
    if len(part.shape or ()) != 1 or not part.shape[0] or dtype_name(part) != "object":
        return False
    first = next(iter(part))
    return hasattr(first, "__len__") and not isinstance(first, (str, bytes))


def _described(part):
    shape = _shape_of(part)
    if shape is None:
        return type(part).__name__
    return str(shape) if shape else "a single number"


def _way_to_batches(source, x, y):
    if source == "dataset":
        shapes = [_shape_of(spec) or () for spec in tree.flatten((x, y))]
        is_open = any(None in shape for shape in shapes)
        if not is_open:
            return "dataset.batch(32)"
        if has_ragged():
            is_by_step = hasattr(y, "shape") and None in (_shape_of(y) or ())
            to_dense = ".map(lambda x, y: (x, y.to_tensor()))" if is_by_step else ""
            return f"dataset.ragged_batch(32){to_dense}"
        samples = "dataset.as_numpy_iterator()"
        if y is None:
            return f"pylstm.dataset(list({samples}))"
        return f"x, y = zip(*{samples}); pylstm.dataset(list(x), list(y))"
    if source == "PyDataset":
        return "batches of samples from its __getitem__"
    if y is None:
        return "list(generator)     if it yields x\n[x for (x,) in generator]     if it yields (x,)"
    return "x, y = zip(*generator); pylstm.dataset(list(x), list(y))"
