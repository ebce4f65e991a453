"""Outputs by step come back without the steps of padding."""

import keras
import numpy as np
import pytest

import pylstm
from tests.data import sequences
from tests.models.stock import assert_predicts_each_alone, classifier


def test_outputs_by_step_come_back_without_padding():
    seqs = sequences()
    model = classifier(return_sequences=True)
    assert_predicts_each_alone(model, seqs, seqs, return_sequences=True)
    outputs = model.predict(seqs, batch_size=2, verbose=0)
    assert [output.shape for output in outputs] == [(len(seq), 2) for seq in seqs]
    on_batch = model.predict_on_batch(seqs)
    for got, want in zip(on_batch, outputs, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)
    for batches in (pylstm.dataset(seqs, batch_size=2), iter([(seqs[:2],), (seqs[2:],)])):
        for got, want in zip(model.predict(batches, verbose=0), outputs, strict=True):
            assert isinstance(got, np.ndarray)
            np.testing.assert_allclose(got, want, atol=1e-6)
    even = sequences([3] * 4)
    want = model.predict(even, verbose=0)
    assert want.shape == (4, 3, 2)
    batches = [(even[:3],), (even[3:],)]  # of which nobody knows that all are equally long
    got = model.predict(iter(batches), verbose=0)
    assert isinstance(got, np.ndarray)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert isinstance(model.predict(iter([*batches, (seqs,)]), verbose=0), list)


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("options", [{"front": [keras.layers.Masking(0.0)]}, {"mask_value": 0.0}])
def test_a_step_that_a_layer_masks_has_its_row(options, step):
    seqs = sequences()
    seqs[2][step] = 0
    outputs = classifier(return_sequences=True, **options).predict(seqs, verbose=0)
    assert [len(rows) for rows in outputs] == [len(seq) for seq in seqs]
    np.testing.assert_array_equal(outputs[2][step], outputs[2][step - 1])


def test_outputs_by_step_of_two_inputs_have_each_its_own_length():
    inputs = [keras.Input((None, 5)), keras.Input((None, 5))]
    model = pylstm.Model(inputs, [pylstm.LSTM(2, return_sequences=True)(x) for x in inputs])
    x = sequences(), sequences([2, 3, 4, 1, 2, 1])
    for rows, seqs in zip(model.predict(x, verbose=0), x, strict=True):
        assert [len(row) for row in rows] == [len(seq) for seq in seqs]
