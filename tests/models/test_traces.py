"""One model takes one rank of data after another, and data after an error."""

import threading

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import pylstm
from pylstm import errors
from pylstm.models.traces import make_by_rank
from tests.data import sequences
from tests.models.stock import LABELS, classifier


def test_another_rank_than_in_an_earlier_call():
    x = np.stack(sequences([3] * 6))
    model = classifier()
    for y in (LABELS, LABELS[:, None], pd.Series(LABELS), pd.DataFrame(LABELS)):
        model.fit(x, y, verbose=0)
        model.evaluate(x, y, verbose=0)
        model.train_on_batch(x, y)
        model.test_on_batch(x, y)
    series = pylstm.Sequential([keras.Input((None, 1)), pylstm.LSTM(2)])
    want = series(x[..., :1])
    for same in (x[..., 0], x[..., :1], x[..., :1, None], x[..., 0]):
        np.testing.assert_allclose(series.predict(same, verbose=0), want, atol=1e-6)
        np.testing.assert_allclose(series.predict_on_batch(same), want, atol=1e-6)


class Halves(keras.utils.PyDataset):
    """Two batches."""

    def __init__(self, x, y):
        super().__init__()
        self.parts = x, y

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return tuple(part[3 * index : 3 * index + 3] for part in self.parts)


@pytest.mark.parametrize(
    "batches",
    [Halves, lambda *xy: tf.data.Dataset.from_tensor_slices(xy).batch(3)],
    ids=["pydataset", "tf.data"],
)
def test_batches_of_another_rank_than_in_an_earlier_call(batches):
    traces = []

    class Spy(pylstm.Sequential):
        def train_step(self, data):
            traces.append(data[0].shape)
            return super().train_step(data)

    x = np.stack(sequences([3] * 6, features=1))
    model = Spy([keras.Input((None, 1)), pylstm.LSTM(2)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = model(x).numpy() + 1.0
    for same in (x, x[..., 0], x, x[..., 0]):
        history = model.fit(batches(same, y), validation_data=batches(same, y), verbose=0).history
        assert history["loss"] + history["val_loss"] == pytest.approx([1.0, 1.0])
        assert model.evaluate(batches(same, y), verbose=0) == pytest.approx(1.0)
        np.testing.assert_allclose(model.predict(batches(same, y), verbose=0), y - 1.0, atol=1e-6)
    assert [len(shape) for shape in traces] == [3, 2]  # each traced once


def test_the_fix_after_an_error_in_the_first_fit():
    seqs = sequences()
    model = classifier(front=[keras.layers.ZeroPadding1D(1)])
    with pytest.raises(errors.RaggedError, match=r"PYL130") as caught:
        model.fit(seqs, LABELS, verbose=0)
    assert "pylstm.pad(sequences).x" in caught.value.fix
    for _ in range(2):
        model.fit(pylstm.pad(seqs).x, LABELS, verbose=0)


def test_two_threads_that_make_a_function_at_once():
    model = classifier()
    second_makes, first_done = threading.Event(), threading.Event()
    made = []

    def make(force):
        model.predict_function = lambda batches: threading.current_thread().name
        made.append(force)
        if len(made) == 1:
            second.start()
            second_makes.wait(0.5)
        else:
            second_makes.set()
            first_done.wait(0.5)

    make_by_rank(model, "predict_function", make, force=True)
    batches = [(np.ones((2, 3, 5), "float32"),)]
    second = threading.Thread(target=model.predict_function, args=[batches])
    model.predict_function(batches)
    first_done.set()
    second.join()
    assert len(made) == 2
    assert model.predict_function(batches) == threading.current_thread().name
