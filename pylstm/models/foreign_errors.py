"""Explains the errors of `tf.data` and of graphs, which have left pylstm's error behind."""

import contextlib
import re

from pylstm.errors import DTypeError, PylstmError, RaggedError, quoted_error
from pylstm.inputs import explain
from pylstm.inputs.contract import Known

# What `batch` says, and what it says where tf.data has fused it with the `map` before.
_UNEQUAL = re.compile(
    r"Cannot batch tensors with different shapes in component \d+.*?"
    r"First element had shape \[([\d,]*)\] and element \d+ had shape \[([\d,]*)\]"
    r"|Cannot add tensor to the batch: number of elements does not match.*?"
    r"\[tensor\]: \[([\d,]*)\], \[batch\]: \[([\d,]*)\]",
    re.DOTALL,
)
# What Keras says of a generator's third batch, or a later one, and tf.data of a PyDataset's.
_OTHER_BATCH = re.compile(
    r"(G|`g)enerator`? yielded an element of shape (\(.*?\)) "
    r"where an element of shape (\(.*?\)) was"
)
# What tf.data says of one, for ragged tensors after dense ones, or before them.
_OTHER_KIND = re.compile(r"`generator` yielded an element .*Ragged")
# What Keras says of one with or without targets or weights, other than the first.
_OTHER_PARTS = re.compile(r"tuple arity mismatch; expected: (\d), got: (\d)")
# What tf.data says of the lists in a PyDataset's batches.
_LISTS = "`output_signature` must contain objects that are subclass of `tf.TypeSpec`"
# Keras quotes the data, and means its container.
_UNKNOWN_TYPE = re.compile(r"Unrecognized data type: x=.*\(of type <class '(.*)'>\)", re.DOTALL)
# What Keras, JAX and torch say of batches that hold these.
_HOLDS_NO_NUMBERS = {
    "Invalid dtype: object": ("arrays of objects", "list(x)     in the place of x"),
    "The problematic value is of type <class 'numpy.ndarray'>": (
        "arrays of objects",
        "list(x)     in the place of x",
    ),
    "NestedTensorImpl doesn't support sizes": (
        "nested tensors",
        "list(x.unbind())     in the place of x",
    ),
}
# What Keras says where it builds or calls a model.
_UNKNOWN_RANK = (
    "as_list() is not defined on an unknown TensorShape",
    "Cannot take the length of shape with unknown rank",
)


@contextlib.contextmanager
def readable_errors(failures=()):
    """Raises pylstm's errors in the place of those that `tf.data` and graphs make of them.

    Args:
        failures: A list to which the data's own generator appends the errors it raises:
            `tf.data` keeps their text only.

    Raises:
        RaggedError: A `tf.data.Dataset` batches sequences of different lengths.
        RankError: A `tf.data.Dataset` does not say how many axes its tensors have.
        DTypeError: Keras does not know the type of x.
        PylstmError: The error that a graph quotes.
    """
    try:
        yield
    except PylstmError:
        raise
    except Exception as error:
        found = failures[0] if failures else _explained(str(error))
        if found is None:
            raise
        raise found from None


def _explained(text):
    """The pylstm error that says what the text of another error means, or None."""
    unequal = _UNEQUAL.search(text)
    if unequal:
        first, other = (
            f"({shape.replace(',', ', ')})" for shape in unequal.groups() if shape is not None
        )
        return RaggedError(
            "PYL115",
            expected="sequences of one length, or ragged batches",
            got=f"{first} and {other} in one batch",
            fix="dataset.ragged_batch(batch_size) in the place of batch, "
            "or pylstm.dataset(sequences, labels)",
        )
    other_batch = _OTHER_BATCH.search(text)
    if other_batch:
        of_generator = other_batch[1] == "G"
        return RaggedError(
            "PYL114",
            f"the {'generator' if of_generator else 'dataset'}'s batches differ in their sizes",
            expected=f"{other_batch[3]}, as the first batches",
            got=other_batch[2],
            fix="keras.Input((None, features)) in front     for any number of steps"
            if of_generator
            else "list(x)     in the place of an array x, and of targets per step",
        )
    if _OTHER_KIND.search(text):
        return RaggedError(
            "PYL114",
            "the generator's batches differ in their kind",
            expected="lists of sequences in every batch, or arrays in every batch",
            got="some of each",
            fix="list(x)     in the place of x, where it is an array",
        )
    other_parts = _OTHER_PARTS.search(text)
    if other_parts:
        return RaggedError(
            "PYL114",
            "the generator's batches differ in their parts",
            expected="(x, y, sample_weight) in every batch, or (x, y) in every batch",
            got=f"{other_parts[1]} parts in one, {other_parts[2]} in another",
            fix="sample_weight in every batch, or in none. Targets per step in lists of several "
            "lengths have some",
        )
    if _LISTS in text:
        return RaggedError(
            "PYL114",
            "the batches of the dataset hold lists",
            expected="batches (x, y) of arrays or ragged tensors",
            got=text[len(_LISTS) :].strip(),
            fix="pylstm.ragged(x)     in the place of a list of sequences x, "
            "np.asarray(y) of a list of targets y",
        )
    for said, (got, fix) in _HOLDS_NO_NUMBERS.items():
        if said in text:
            expected = "batches (x, y) of numbers, or x a list of sequences"
            what = f"the batches of the dataset hold {got}"
            return RaggedError("PYL114", what, expected=expected, got=got, fix=fix)
    unknown = _UNKNOWN_TYPE.search(text)
    if unknown:
        return DTypeError(
            "PYL118",
            "x is not an array, a dataset or a list of sequences",
            expected="a list of arrays (time, features), numbers (batch, time, features), "
            "or batches of these",
            got=unknown[1],
            fix=_way_to_pass(unknown[1].rpartition(".")[2]),
        )
    if any(message in text for message in _UNKNOWN_RANK):
        return explain.unknown_rank("in the dataset", Known())
    return quoted_error(text)


def _way_to_pass(kind):
    """The line that passes on what is no data, by the name of its type."""
    if kind.endswith("GroupBy"):
        return "[group for _, group in x]"
    if kind in ("function", "method"):
        return "x()     if it is a generator function"
    return "list(x), if it holds the sequences"
