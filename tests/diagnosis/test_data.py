"""How `pylstm.diagnose` reads datasets, iterators, text and what is no data."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import pylstm
from pylstm.diagnosis import diagnose
from tests.data import LENGTHS, sequences
from tests.diagnosis.support import LABELS, dense, found, fused, with_value


def samples_of(x, y, shape=(None, 5)):
    signature = (tf.TensorSpec(shape, tf.float32), tf.TensorSpec((), tf.int32))
    return tf.data.Dataset.from_generator(
        lambda: zip(x, y, strict=True), output_signature=signature
    )


def test_batch_of_several_lengths():
    finding = found(diagnose(fused(), samples_of(sequences(), LABELS).batch(3)), "PYL115")
    assert "(3, 5) and (2, 5) in one batch" in finding.what
    assert "ragged_batch" in finding.fix


@pytest.mark.parametrize("model", [pylstm.Sequential, keras.Sequential])
def test_batches_of_a_dataset(model):
    layers = [keras.Input(batch_shape=(4, None, 5)), pylstm.LSTM(3, stateful=True)]
    data = tf.data.Dataset.from_tensor_slices((np.tile(dense(), (4, 1, 1)), LABELS * 4))
    assert diagnose(model(layers), data.batch(4)).ok
    for batches, size in ((data.take(6).batch(4), 2), (data.batch(8), 8)):
        finding = found(diagnose(model(layers), batches), "PYL109")
        assert f"axis 0 is {size}, not 4" in finding.what
        assert "dataset.batch(4, drop_remainder=True)" in finding.fix
    assert diagnose(model([pylstm.LSTM(3, stateful=True)]), data.batch(8)).ok


@pytest.mark.parametrize("model", [pylstm.Sequential, keras.Sequential])
@pytest.mark.parametrize("front", [[keras.Input((None, 5))], []])
def test_a_dataset_of_single_samples(model, front):
    model = model([*front, pylstm.LSTM(3)])
    (finding,) = diagnose(model, samples_of(dense(), LABELS, shape=(4, 5)))
    assert (finding.level, finding.code) == ("error", "PYL101")
    assert finding.fix == "dataset.batch(32)"


@pytest.mark.parametrize("model", [pylstm.Sequential, keras.Sequential])
def test_ragged_targets_of_a_dataset(model):
    model = model([keras.Input((None, 5)), pylstm.LSTM(1, return_sequences=True)])
    y = [np.ones((t, 1), np.float32) for t in LENGTHS]
    data = tf.data.Dataset.from_tensor_slices((pylstm.ragged(sequences()), pylstm.ragged(y)))
    finding = found(diagnose(model, data.batch(2)), "PYL147")
    assert (finding.level, finding.what) == (
        "error",
        "the batches differ, or hold what Keras does not take: y (None, None, 1), ragged",
    )
    with_targets = data.batch(2).map(lambda x, y: (x, y.to_tensor()))  # a line of the fix
    assert diagnose(model, with_targets).ok
    model.compile("sgd", lambda y, given: keras.ops.mean((y.to_tensor() - given) ** 2))
    assert diagnose(model, data.batch(2)).ok != isinstance(model, pylstm.Sequential)


@pytest.mark.parametrize(
    "parts", [lambda x: x, lambda x: (x, x[:, 0]), lambda x: {"x": x}], ids=["x", "x, y", "dict"]
)
def test_windows_of_a_dataset(parts):
    dataset = tf.data.Dataset.from_tensor_slices(parts(dense(10)[0])).window(4)
    finding = found(diagnose(fused(), dataset), "PYL146")
    assert (finding.level, finding.where) == ("error", "x")
    flat = eval(finding.fix, {"tf": tf, "dataset": dataset})
    x, _, _ = keras.utils.unpack_x_y_sample_weight(flat.element_spec)
    assert keras.tree.flatten(x)[0].shape == (None, 4, 5)
    assert diagnose(fused(), flat).ok


def test_unknown_rank():
    data = samples_of(dense(), LABELS, shape=None).batch(3)
    finding = found(diagnose(fused(), data), "PYL107")
    assert "set_shape" in finding.fix


def test_batches_are_read_and_the_same_finding_comes_once():
    seqs = with_value(np.nan, index=5, at=(0, 0))
    report = diagnose(fused(), pylstm.dataset(seqs, LABELS, batch_size=2, shuffle=False))
    assert "x[1][0][0] = nan" in found(report, "PYL201").what
    assert found(report, "PYL126").level == "fixed"
    assert diagnose(fused(), samples_of(sequences(), LABELS).ragged_batch(2)).ok


@pytest.mark.parametrize("iterator", [iter, lambda batches: (b for b in batches)])
def test_an_iterator_is_not_used_up(iterator):
    batches = iterator([(dense(), LABELS)])
    assert "only once" in found(diagnose(fused(), batches), "PYL209").what
    assert next(batches)[1] is LABELS


@pytest.mark.parametrize("x", [None, object(), 3.0, {}, [], [{}], {"a": None}])
@pytest.mark.parametrize("y", [None, np.zeros(())])
def test_what_is_no_data_is_an_error(x, y):
    (finding,) = diagnose(fused(), x, y)
    assert finding.level == "error"
    assert finding.code in ("PYL101", "PYL118", "PYL142", "PYL146")


def test_a_dataset_that_pads_with_another_value_than_is_masked(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(keras.backend, "backend", lambda: "jax")
        data = pylstm.dataset(sequences(), LABELS, 6, mask_value=-2.0)
        padded_later = pylstm.dataset(sequences(), LABELS, 6)

    def plain(**options):
        return keras.Sequential(fused(**options).layers)

    finding = found(diagnose(plain(), data), "PYL130")
    assert finding.what == "padded with -2.0, and the model masks no value"
    finding = found(diagnose(plain(mask_value=-1.0), data), "PYL130")
    assert finding.fix == "mask_value=-1.0 in pylstm.dataset and in the first layer"
    assert diagnose(plain(mask_value=-2.0), data).ok
    assert "mask_value=-1.0" in found(diagnose(plain(), padded_later), "PYL114").fix
    for options in ({}, {"mask_value": -1.0}):
        assert diagnose(fused(**options), data).ok
        assert diagnose(fused(**options), padded_later).ok


@pytest.mark.parametrize("convert", [list, np.array, tf.constant, pd.Series])
def test_text(convert):
    words = keras.layers.TextVectorization(vocabulary=["no", "yes"])
    layers = [words, keras.layers.Embedding(4, 2), pylstm.LSTM(3)]
    text = convert(["no", "yes no", "yes", "no", "no", "yes"])
    for model in (
        pylstm.Sequential([keras.Input((1,), dtype="string"), *layers]),
        pylstm.Sequential(layers),
    ):
        assert list(diagnose(model, text, LABELS)) == []
        assert found(diagnose(model, text, LABELS[:5]), "PYL110").level == "error"
        assert "does not hold text" in found(diagnose(model, dense(), LABELS), "PYL148").what


def test_batches_of_lists():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return sequences(), np.array(LABELS)

    plain = keras.Sequential(fused().layers)
    assert "pylstm.ragged(x)" in found(diagnose(plain, Batches()), "PYL147").fix
    in_processes = Batches(use_multiprocessing=True)
    assert "pylstm.ragged(x)" in found(diagnose(fused(), in_processes), "PYL147").fix
    report = diagnose(fused(), Batches())
    assert report.ok, report


def test_several_inputs_are_named():
    signal, meta = keras.Input((None, 5), name="signal"), keras.Input((2,), name="meta")
    joined = keras.layers.Concatenate()([pylstm.LSTM(3)(signal), meta])
    model = pylstm.Model({"signal": signal, "meta": meta}, joined)
    x = {"signal": with_value(np.inf), "meta": np.full((6, 2), np.nan)}
    where = {finding.where for finding in diagnose(model, x) if finding.code == "PYL201"}
    assert where == {"x['signal']", "x['meta']"}
