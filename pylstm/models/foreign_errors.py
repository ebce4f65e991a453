"""Explains the errors of `tf.data` and of graphs, which have left pylstm's error behind."""

import contextlib
import re
import traceback

import keras

from pylstm.array_types import static_shape
from pylstm.errors import (
    DTypeError,
    PylstmError,
    RaggedError,
    StructureError,
    is_of_user,
    quoted_error,
)
from pylstm.inputs import explain
from pylstm.inputs.contract import Known
from pylstm.keras_graph import has_ragged
from pylstm.models.data.columns import other_sizes
from pylstm.models.data.structure import named

_DATASET = "pylstm.dataset(sequences, labels)     instead of a DataLoader"
_MEANINGS = []  # (pattern, function from its match to the error that says what the text means)


@contextlib.contextmanager
def readable_errors(iterates=True):
    """Raises pylstm's errors in place of those that `tf.data` and graphs make of them.

    Args:
        iterates: Whether Keras iterates over data that the user has made. Only then can the
            text of its errors be of such data, and only where no code of the user's raised it.

    Raises:
        RaggedError: A `tf.data.Dataset` batches sequences of different lengths.
        RankError: A `tf.data.Dataset` does not say how many axes its tensors have.
        DTypeError: Keras does not know the type of x.
        StructureError: The batches differ, or hold what Keras does not take.
        PylstmError: The error that `tf.data` or a graph quotes.
    """
    try:
        yield
    except (PylstmError, Warning):
        raise
    except Exception as error:
        found = quoted_error(str(error))
        if found is None and iterates and not _is_users(error):
            found = _meaning(str(error))
        if found is None:
            raise
        raise found from error


def other_sizes_of(model, x):
    """The error of inputs of different numbers of samples, on which a model fails; None if equal.

    Only where it fails: one sample may go with each of another input, or a score with each pair.

    Args:
        model: A Keras model.
        x: What it computes on: a tensor, or a tuple, list or dict of them.
    """
    parts = named("x", tuple(x) if isinstance(x, list) else x)
    shapes = [(where, static_shape(part)) for where, part in parts if hasattr(part, "shape")]
    sizes = {where: shape[0] for where, shape in shapes if shape and shape[0] is not None}
    return other_sizes(sizes, model.name) if len(set(sizes.values())) > 1 else None


def _is_users(error):
    """Whether code of the user's, such as a callback, raised an error or called what did."""
    return any(is_of_user(frame) for frame, _ in traceback.walk_tb(error.__traceback__))


def _meaning(text):
    """The pylstm error that says what the text of another error means, or None."""
    for pattern, explained in _MEANINGS:
        found = pattern.search(text)
        if found:
            return explained(found)
    return None


def _where_it_says(*patterns):
    """Adds a function to `_MEANINGS`."""

    def added(explained):
        _MEANINGS.append((re.compile("|".join(patterns), re.DOTALL), explained))
        return explained

    return added


# What `batch` says, and what it says where tf.data has fused it with the `map` before.
@_where_it_says(
    r"Cannot batch tensors with different shapes in component \d+.*?"
    r"First element had shape \[([\d,]*)\] and element \d+ had shape \[([\d,]*)\]",
    r"Cannot add tensor to the batch: number of elements does not match.*?"
    r"\[tensor\]: \[([\d,]*)\], \[batch\]: \[([\d,]*)\]",
)
def _unequal(found):
    shapes = (f"({s.replace(',', ', ')})" for s in found.groups() if s is not None)
    return RaggedError(
        "PYL115",
        expected="sequences of one length, or ragged batches",
        got=f"{' and '.join(shapes)} in one batch",
        fix="dataset.ragged_batch(batch_size) instead of batch, "
        "or pylstm.dataset(sequences, labels)"
        if has_ragged()
        else "pylstm.dataset(sequences, labels)     from the original lists",
    )


# What Keras says of a generator's third batch, or a later one, and tf.data of a PyDataset's.
@_where_it_says(
    r"(G|`g)enerator`? yielded an element of shape (\(.*?\)) "
    r"where an element of shape (\(.*?\)) was"
)
def _other_sizes(found):
    of_generator = found[1] == "G"
    return StructureError(
        "PYL147",
        expected=f"{found[3]}, as the first batches",
        got=found[2],
        fix="keras.Input((None, features)) in front     for any number of steps"
        if of_generator
        else "list(x)     instead of an array x, and of targets per step",
    )


# What tf.data says of a generator that yields ragged and dense tensors in turn, and Keras where it
# joins the predictions of lists with those of arrays.
@_where_it_says(
    r"`generator` yielded an element [^\n]*Ragged",
    r"'Rows' object has no attribute 'append'",
    r"^(?:Expected an instance of collections\.namedtuple, got \[|Node type mismatch; expected "
    r"<function namedtuple)",
)
def _other_kind(found):
    return StructureError(
        "PYL147",
        expected="lists of sequences in every batch, or arrays in every batch",
        got="some of each",
        fix="list(x)     instead of x, where it is an array",
    )


# What Keras says of a batch with targets or weights after one without, or the other way round.
@_where_it_says(r"tuple arity mismatch; expected: (\d), got: (\d)")
def _other_parts(found):
    return StructureError(
        "PYL147",
        expected="(x, y, sample_weight) in every batch, or (x, y) in every batch",
        got=f"{found[1]} parts in one, {found[2]} in another",
        fix="sample_weight in every batch, or in none     pylstm adds it to targets per step of "
        "different lengths",
    )


# What tf.data says of the lists in a PyDataset's batches, or Keras where they differ in size.
@_where_it_says(
    r"`output_signature` must contain objects that are subclass of `tf\.TypeSpec`",
    r"list arity mismatch; expected: \d+, got: \d+",
)
def _lists(found):
    return StructureError(
        "PYL147",
        expected="batches (x, y) of arrays or ragged tensors",
        got="lists",
        fix="pylstm.ragged(x)     in a PyDataset, instead of a list of sequences x, "
        f"np.asarray(y) of a list of targets y\n{_DATASET}",
    )


# What Keras says of a list or tuple of targets from a torch DataLoader, or a PyDataset on JAX and
# torch.
@_where_it_says(
    r"y_true and y_pred have different structures\.\ny_true: ([\[(].*?[\])])\ny_pred: \*\s*$"
)
def _list_of_targets(found):
    size = found[1].count("*")
    return StructureError(
        "PYL147",
        expected="batches (x, y) with one array y, as the model has one output",
        got=f"y a {'list' if found[1].startswith('[') else 'tuple'} of {size}",
        fix="pylstm.pad(y).x     for targets per step\nnp.stack(y)     for one per sample\n"
        "torch.as_tensor(...) around either     in a DataLoader",
    )


# What Keras says of a torch DataLoader's batches of other arrays than torch's.
@_where_it_says(r"'((?:numpy\.)?\w+)' object has no attribute 'cpu'")
def _no_torch_tensors(found):
    return StructureError(
        "PYL147",
        expected="tensors, or lists of tensors (time, features) as x",
        got=found[1],
        fix=_in_a_loader("torch.as_tensor(...) of each array"),
    )


# What torch says where Keras takes a `PackedSequence` of a batch for a tuple of its arrays.
@_where_it_says(
    r"'(?:KerasTensor|str)' object has no attribute 'device'",
    r"'str' object has no attribute 'type'",
)
def _packed(found):
    return StructureError(
        "PYL147",
        expected="tensors, or lists of tensors (time, features) as x, and tensors as y",
        got="PackedSequence",
        fix=_in_a_loader(
            "torch.nn.utils.rnn.unpack_sequence(x)     instead of x,\n"
            "torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)[0]     instead of packed y"
        ),
    )


# What Keras, JAX and torch say of batches that hold no numbers.
@_where_it_says(
    r"Invalid dtype: object",
    r"The problematic value is of type <class 'numpy\.ndarray'>",
    r"(NestedTensorImpl doesn't support sizes|\.numpy\(\) is not supported for tensor subclasses)",
)
def _no_numbers(found):
    nested = found[1] is not None
    got = "nested tensors" if nested else "arrays of objects"
    return StructureError(
        "PYL147",
        expected="batches (x, y) of numbers, or x a list of sequences",
        got=got,
        fix=_in_a_loader("list(x.unbind())     instead of x")
        if nested
        else "list(x)     instead of x",
    )


# Keras quotes the data, and means its container.
@_where_it_says(r"Unrecognized data type: x=.*\(of type <class '(.*)'>\)")
def _unknown_type(found):
    return DTypeError(
        "PYL142",
        expected="a list of arrays (time, features), numbers (batch, time, features), "
        "or batches of these",
        got=found[1],
        fix=_way_to_pass(found[1].rpartition(".")[2]),
    )


# What Keras says where it builds or calls a model.
@_where_it_says(
    r"as_list\(\) is not defined on an unknown TensorShape",
    r"Cannot take the length of shape with unknown rank",
)
def _unknown_rank(found):
    return explain.unknown_rank("in the dataset", Known())


def _in_a_loader(line):
    """The lines for a torch DataLoader, of which Keras takes no lists on TensorFlow."""
    if keras.backend.backend() == "tensorflow":
        return _DATASET
    return f"{line}, in collate_fn\n{_DATASET}"


def _way_to_pass(kind):
    """The line that passes on what is no data, by the name of its type."""
    if kind.endswith("GroupBy"):
        return "[group for _, group in x]"
    if kind in ("function", "method"):
        return "x()     if it is a generator function"
    return "list(x), if it holds the sequences"
