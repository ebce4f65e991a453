"""Errors of Keras' and TensorFlow's are explained where they are of the data, and only there."""

import inspect
import re
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import pylstm
from pylstm import errors
from tests.data import sequences
from tests.models.stock import classifier

X = np.zeros((4, 3, 5), np.float32)
Y = np.array([0, 1, 1, 0])


class Failing(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        raise RuntimeError("my dashboard: Invalid dtype: object")


class OfUnknownRank(keras.layers.Layer):
    def call(self, x):
        return x + len(tf.TensorShape(None).as_list())


@pytest.mark.parametrize("x", [X, sequences([3, 2, 4, 2])], ids=["array", "list"])
@pytest.mark.parametrize("in_batches", [False, True])
def test_an_error_of_a_callback_stays_as_it_is(x, in_batches):
    data = (pylstm.dataset(x, Y), None) if in_batches else (x, Y)
    with pytest.raises(RuntimeError, match=r"^my dashboard: Invalid dtype: object$"):
        classifier().fit(*data, callbacks=[Failing()], verbose=0)


def test_an_error_of_a_callback_stays_as_it_is_beside_one_of_a_later_batch():
    """Batches are made before it is their turn."""
    came = threading.Event()

    def fail(epoch, logs):
        assert came.wait(60)
        raise RuntimeError("my dashboard: Invalid dtype: object")

    def batches():
        yield sequences([3, 2]), Y[:2]
        yield sequences([3, 2]), Y[:2]
        came.set()
        yield [["no", "number"]], Y[:1]

    with pytest.raises(RuntimeError, match=r"^my dashboard: Invalid dtype: object$"):
        failing = keras.callbacks.LambdaCallback(on_epoch_end=fail)
        classifier().fit(batches(), steps_per_epoch=2, callbacks=[failing], verbose=0)


@pytest.mark.parametrize("in_batches", [False, True])
def test_an_error_of_a_layer_stays_as_it_is(in_batches):
    model = pylstm.Sequential([pylstm.LSTM(2), OfUnknownRank()])
    model.compile("sgd", "mse")
    x = tf.data.Dataset.from_tensors(X) if in_batches else X
    with pytest.raises(ValueError, match="unknown TensorShape") as caught:
        model.predict(x, verbose=0)
    assert not isinstance(caught.value, errors.PylstmError)


def test_keras_own_error_is_of_the_data_only_where_it_iterates_over_them(monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("Invalid dtype: object")

    monkeypatch.setitem(fail.__globals__, "__name__", "keras.somewhere")
    monkeypatch.setattr(keras.Sequential, "predict", fail)
    with pytest.raises(ValueError, match=r"^Invalid dtype: object$"):
        classifier().predict(X)
    with pytest.raises(errors.StructureError, match=r"PYL147(?s:.*)arrays of objects"):
        classifier().predict(iter([(X,)]))


def test_a_torch_loader_of_other_arrays(monkeypatch):
    """As Keras on JAX says it."""

    def fail(*args, **kwargs):
        raise AttributeError("'numpy.ndarray' object has no attribute 'cpu'")

    monkeypatch.setitem(fail.__globals__, "__name__", "keras.somewhere")
    monkeypatch.setattr(keras.Sequential, "predict", fail)
    with pytest.raises(errors.StructureError, match=r"PYL147(?s:.*)tensors") as caught:
        classifier().predict(iter([(X,)]))
    assert caught.value.got == "numpy.ndarray"
    assert caught.value.fix.startswith("pylstm.dataset(")  # lists of tensors, Keras takes none here


def test_a_torch_loader_of_packed_sequences():
    torch = pytest.importorskip("torch")
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(3, 5), torch.ones(2, 5)])
    loader = torch.utils.data.DataLoader([0], collate_fn=lambda _: (packed, torch.zeros(2)))
    with pytest.raises(errors.StructureError, match=r"PYL147(?s:.*)PackedSequence") as caught:
        classifier().fit(loader, verbose=0)
    assert caught.value.fix.startswith("pylstm.dataset(")


@pytest.mark.parametrize("steps", [[3, 3, 3], [3, 2, 4]])
def test_a_torch_loader_of_lists_whose_last_batch_is_partial(steps):
    torch = pytest.importorskip("torch")
    x = [torch.ones(size, 5) for size in steps]
    loader = torch.utils.data.DataLoader(x, batch_size=2, collate_fn=lambda batch: (batch,))
    with pytest.raises(errors.StructureError, match=r"PYL147(?s:.*)got: +lists") as caught:
        classifier().predict(loader, verbose=0)
    assert "pylstm.dataset(sequences, labels)     instead of a DataLoader" in caught.value.fix


def test_a_torch_loader_of_tuples():
    torch = pytest.importorskip("torch")
    x = tuple(torch.ones(size, 5) for size in (3, 2))
    loader = torch.utils.data.DataLoader([0], collate_fn=lambda _: (x, torch.zeros(2)))
    with pytest.raises(errors.RaggedError, match="PYL114") as caught:
        classifier().fit(loader, verbose=0)
    assert "pylstm.dataset(sequences, labels)     instead of a DataLoader" in caught.value.fix


def test_an_explained_error_keeps_the_one_it_explains():
    data = tf.data.Dataset.from_generator(
        lambda: iter(sequences([3, 2])), output_signature=tf.TensorSpec((None, 5))
    )
    with pytest.raises(errors.RaggedError, match=r"PYL115.*different lengths") as caught:
        classifier().predict(data.batch(2), verbose=0)
    assert isinstance(caught.value.__cause__, tf.errors.InvalidArgumentError)


@pytest.mark.filterwarnings("error::pylstm.errors.ShapeCorrectionWarning")
@pytest.mark.parametrize("batches", [tf.data.Dataset.from_tensors, lambda x: iter([(x,)])])
def test_a_warning_that_is_an_error_stays_a_warning(batches):
    model = pylstm.Sequential([pylstm.LSTM(2)])
    with pytest.raises(errors.ShapeCorrectionWarning, match="PYL123"):
        model.predict(batches(X[:, None]), verbose=0)


METHODS = [
    name
    for name in dir(keras.Model)
    if name in ("fit", "evaluate", "predict") or name.endswith("_on_batch")
]


@pytest.mark.parametrize("name", METHODS)
def test_the_trainer_takes_keras_arguments_in_their_order(name):
    def arguments(model_type):
        parameters = inspect.signature(getattr(model_type, name)).parameters.values()
        return [(each.name, each.kind, each.default) for each in parameters]

    assert len(METHODS) == 6
    assert arguments(pylstm.Model) == arguments(pylstm.Sequential) == arguments(keras.Model)


def test_arguments_by_position():
    x = sequences([3, 2, 4, 2])
    model = classifier()
    history = model.fit(x, Y, 2, 3, 0, None, 0.0, None, True, None, None, 1)
    assert history.epoch == [1, 2]
    assert len(model.evaluate(x, Y, 2, 0, None, 1)) == 2
    assert len(model.predict(x, 2, 0, 1)) == 2  # one batch of two


PUBLIC = [getattr(pylstm, name) for name in pylstm.__all__ if name.islower()]
PUBLIC = [each for each in PUBLIC if inspect.isfunction(each)]


@pytest.mark.parametrize("function", [*PUBLIC, *(getattr(pylstm.Model, name) for name in METHODS)])
def test_a_type_checker_knows_what_a_public_function_returns(function):
    """Else `mypy --strict` refuses a call of it, though the package says that it has types."""
    assert "return" in inspect.get_annotations(function), function.__qualname__


class Sum(pylstm.Model):
    def __init__(self):
        super().__init__()
        self.a, self.b = pylstm.LSTM(2), pylstm.LSTM(2)

    def call(self, x):
        return self.a(x[0]) + self.b(x[1])


def _sum_of(join):
    a, b = keras.Input((None, 5), name="a"), keras.Input((None, 5), name="b")
    return pylstm.Model([a, b], join(pylstm.LSTM(2)(a), pylstm.LSTM(2)(b)))


@pytest.mark.parametrize("as_given", [list, np.stack, pylstm.pad, pylstm.ragged])
@pytest.mark.parametrize("kind", ["graph", "class"])
def test_inputs_of_different_numbers_of_samples(kind, as_given):
    model = _sum_of(lambda a, b: a + b) if kind == "graph" else Sum()
    a, b = (as_given(sequences([3] * size)) for size in (4, 6))
    model((a, a))
    for x in ((a, b), [a, b], {"a": a, "b": b}):
        for function in (model, model.predict, model.predict_on_batch):
            if kind == "class" and not isinstance(x, tuple):
                continue
            with pytest.raises(errors.BatchMismatchError, match=r"PYL110\] layer '\w+'") as caught:
                function(x)
            assert len(re.findall(r"x\[\S+\] has [46] samples", caught.value.got)) == 2


def test_samples_may_differ_where_the_model_pairs_them_otherwise():
    """A score for each pair, one sample for all, and an output of each input."""
    a, b = sequences([3, 2, 4]), sequences([3, 2])
    assert _sum_of(lambda a, b: a @ keras.ops.transpose(b))((a, b)).shape == (3, 2)
    assert _sum_of(lambda a, b: a + b)((a, b[:1])).shape == (3, 2)
    assert [y.shape[0] for y in _sum_of(lambda a, b: [a, b])((a, b))] == [3, 2]


def test_an_error_of_a_model_on_as_many_samples_stays_as_it_is():
    class Failing(Sum):
        def call(self, x):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Failing()((sequences([3, 2]), sequences([2, 2])))
