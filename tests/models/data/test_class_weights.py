"""`class_weight` is a weight of each sample or step, as Keras reads it."""

import keras
import numpy as np
import pytest

import pylstm
from pylstm import errors
from tests.data import sequences
from tests.models.stock import LABELS, PLAIN, assert_same_weights, by_step, classifier, per_step


def test_class_weight():
    seqs = sequences()
    by_class, by_sample = classifier(), classifier()
    by_class.fit(seqs, LABELS, class_weight={0: 0.5, 1: 2.0}, **PLAIN)
    by_sample.fit(seqs, LABELS, sample_weight=np.where(LABELS, 2.0, 0.5), **PLAIN)
    assert_same_weights(by_class, by_sample)


def test_class_weight_by_step():
    seqs = sequences()
    steps = per_step(seqs)
    by_class = classifier(return_sequences=True)
    by_step = classifier(return_sequences=True)
    by_class.fit(seqs, steps, class_weight={1: 3.0}, **PLAIN)
    by_step.fit(seqs, steps, sample_weight=[np.where(s, 3.0, 1.0) for s in steps], **PLAIN)
    assert_same_weights(by_class, by_step)
    one_hot = classifier(return_sequences=True)
    one_hot.compile(keras.optimizers.SGD(0.5), keras.losses.CategoricalCrossentropy(True))
    one_hot.fit(seqs, [np.eye(2)[s] for s in steps], class_weight={1: 3.0}, **PLAIN)
    assert_same_weights(one_hot, by_step)
    with pytest.raises(ValueError, match="cannot be given at the same time"):
        by_class.fit(seqs, steps, class_weight={1: 3.0}, sample_weight=[1.0] * 6, **PLAIN)


@pytest.mark.parametrize("lengths", [[6] * 6, [2] * 6, [3]])
@pytest.mark.parametrize("kind", ["built", "unbuilt"])
def test_class_weight_by_step_of_equal_lengths(kind, lengths):
    """Labels are by step where the output is, whatever Keras takes them for."""
    seqs = sequences(lengths)
    steps = per_step(seqs)
    weights = [np.where(s, 3.0, 1.0) for s in steps]
    want = by_step(kind).train_on_batch(seqs, steps, weights)
    for y in steps, np.stack(steps), np.stack(steps)[..., None]:
        got = by_step(kind).train_on_batch(seqs, y, class_weight={1: 3.0})
        assert got == pytest.approx(want, rel=1e-5)
    history = by_step(kind).fit(seqs, steps, class_weight={1: 3.0}, verbose=0).history
    assert history["loss"] == pytest.approx([want], rel=1e-5)


@pytest.mark.parametrize("lengths", [[6] * 6, [3] * 6, [3, 6, 1, 4, 4, 2]])
def test_class_weight_by_step_of_a_dataset(lengths):
    seqs = sequences(lengths)
    steps = per_step(seqs)
    got, want = by_step("built"), by_step("built")
    batches = pylstm.dataset(seqs, steps, batch_size=2, shuffle=False)
    got.fit(batches, class_weight={1: 3.0}, verbose=0)
    want.fit(seqs, steps, batch_size=2, shuffle=False, class_weight={1: 3.0}, verbose=0)
    assert_same_weights(got, want)
    weighted = pylstm.dataset(seqs, steps, sample_weight=[1.0] * 6)
    with pytest.raises(errors.OptionError, match="cannot be given at the same time"):
        got.fit(weighted, class_weight={1: 3.0}, verbose=0)


@pytest.mark.parametrize("struct", [dict, tuple])
def test_class_weight_of_several_outputs(struct):
    signal = keras.Input((None, 5))
    steps = pylstm.LSTM(2, return_sequences=True)(signal)
    outputs = {"steps": steps, "last": pylstm.LSTM(2)(steps)}
    y = {"steps": per_step(sequences()), "last": LABELS}
    if struct is tuple:
        outputs, y = list(outputs.values()), tuple(y.values())
    model = pylstm.Model(signal, outputs)
    model.compile("sgd", "mse")
    with pytest.raises(errors.OptionError, match=r"\[PYL144\].* of a single output") as caught:
        model.fit(sequences(), y, class_weight={1: 3.0})
    assert caught.value.got == "targets of 2 outputs"


def test_class_weight_leaves_the_held_out_samples_alone():
    model = by_step("built")
    model.optimizer.learning_rate = 0.0
    options = {"class_weight": {1: 3.0}, "validation_split": 0.5, "verbose": 0}
    for lengths in ([3] * 6, (3, 2, 4, 2, 3, 1)):
        seqs = sequences(lengths)
        want = model.evaluate(seqs[3:], per_step(seqs)[3:], verbose=0)
        history = model.fit(seqs, per_step(seqs), **options).history
        assert history["val_loss"] == pytest.approx([want], rel=1e-5)


def test_class_weight_of_one_hot_targets_stays_keras():
    seqs, one_hot = sequences([2] * 6), np.eye(2)[LABELS]
    models = classifier(), classifier()
    for model, y in zip(models, (one_hot, list(one_hot)), strict=True):
        model.compile(keras.optimizers.SGD(0.5), keras.losses.CategoricalCrossentropy(True))
        model.fit(seqs, y, class_weight={1: 3.0}, **PLAIN)
    assert_same_weights(*models)


def test_class_weight_of_targets_that_can_be_read_in_two_ways():
    seqs = sequences([2] * 6)
    with pytest.raises(errors.RankError, match=r"\[PYL102\].*per step or one-hot") as caught:
        by_step("subclassed").fit(seqs, per_step(seqs), class_weight={1: 3.0})
    assert caught.value.got == "6 targets (2,), and outputs of unknown shape"
    y, class_weight = per_step(seqs), {1: 3.0}
    weights = eval(caught.value.fix.split("     ")[0].removeprefix("sample_weight="), locals())
    assert by_step("subclassed").fit(seqs, y, sample_weight=weights, verbose=0)
