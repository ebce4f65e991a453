"""`pylstm.Sequential` and `pylstm.Model`: functional and subclassed, copied and saved."""

import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

import pylstm
from pylstm import errors
from tests.data import sequences
from tests.models.stock import classifier, two_inputs


def test_several_outputs():
    signal = keras.Input((None, 5))
    steps = pylstm.LSTM(3, return_sequences=True)(signal)
    outputs = {"steps": keras.layers.Dense(1)(steps), "last": pylstm.LSTM(2)(steps)}
    model = pylstm.Model(signal, outputs)
    model.compile("sgd", {"steps": "mse", "last": "mse"})
    seqs = sequences()
    y = {"steps": [np.zeros((len(seq), 1)) for seq in seqs], "last": np.zeros((6, 2))}
    model.fit(seqs, y, verbose=0)
    predicted = model.predict(seqs, verbose=0)
    assert [len(rows) for rows in predicted["steps"]] == [len(seq) for seq in seqs]
    assert predicted["last"].shape == (6, 2)


class Subclassed(pylstm.Model):
    def __init__(self):
        super().__init__()
        self.lstm = pylstm.LSTM(3)

    def call(self, x, training=False):
        return self.lstm(x, training=training)


def test_subclassed_model():
    seqs = sequences()
    model = Subclassed()
    model.compile("sgd", "mse")
    model.fit(seqs, np.zeros((6, 3)), verbose=0)
    for got, seq in zip(model.predict(seqs, verbose=0), seqs, strict=True):
        np.testing.assert_allclose(got, model(seq[None])[0], atol=1e-6)


@pytest.mark.parametrize("kind", [tuple, dict])
@pytest.mark.parametrize("lengths", [(3, 2, 4), (3, 3, 3)])
def test_subclassed_model_of_several_inputs(kind, lengths):
    class Joined(pylstm.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.lstm = keras.layers.Dense(3), pylstm.LSTM(3)

        def call(self, x):
            meta, signal = x.values() if kind is dict else x
            return self.dense(meta) + self.lstm(signal)

    seqs, meta = sequences(lengths), np.linspace(0, 1, 6).reshape(3, 2)
    x = {"a": meta, "b": seqs} if kind is dict else (meta, seqs)
    model = Joined()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit(x, np.ones((3, 3)), epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    want = [model.dense(meta[i : i + 1]) + model.lstm(seqs[i][None]) for i in range(3)]
    np.testing.assert_allclose(model.predict(x, verbose=0), np.concatenate(want), atol=1e-6)
    if kind is tuple:
        with pytest.raises(errors.StructureError, match=r"PYL146(?s:.*)list of 2 inputs"):
            model.predict((meta, seqs, seqs))


def test_subclass_of_a_functional_model_leaves_the_base_alone():
    class Encoder(pylstm.Model):
        def __init__(self):
            signal = keras.Input((None, 5))
            super().__init__(signal, pylstm.LSTM(3)(signal))

    assert Encoder().predict(sequences(), verbose=0).shape == (6, 3)
    assert Subclassed().predict(sequences(), verbose=0).shape == (6, 3)


def test_a_functional_model_at_the_end_of_several_classes():
    class Named:
        pass

    class Base(Named, pylstm.Model):
        pass

    class Reversed(Base):
        def __init__(self):
            signal = keras.Input((None, 5))
            super().__init__(signal, pylstm.LSTM(3)(keras.ops.flip(signal, 1)))

    model = Reversed()
    assert isinstance(model, Base)
    with pytest.raises(errors.RaggedError, match="PYL130"):
        model.predict(sequences(), verbose=0)
    assert Subclassed().predict(sequences(), verbose=0).shape == (6, 3)
    assert "Functional" not in str(pylstm.Model.__mro__)


def test_inputs_by_their_name():
    seqs, model = sequences(), Subclassed()
    expected = model(seqs)
    np.testing.assert_array_equal(model(x=seqs), expected)
    np.testing.assert_array_equal(model(training=False, x=seqs), expected)
    variables = model.trainable_variables, model.non_trainable_variables
    np.testing.assert_array_equal(model.stateless_call(*variables, x=seqs)[0], expected)
    with pytest.raises(TypeError, match="'x'"):
        model(training=False)


def test_a_list_that_can_be_inputs_or_sequences_is_refused():
    x = [np.zeros((2, 5), np.float32)] * 2
    with pytest.raises(errors.RankError, match=r"\[PYL102\].*inputs or the sequences") as caught:
        Subclassed().predict(x)
    assert "np.stack(x)" in caught.value.fix
    assert "tuple(x)" in caught.value.fix


@pytest.mark.parametrize("lengths", [(3, 2), (4, 4)])
def test_a_list_of_batches_of_one_that_can_be_inputs_or_sequences_is_refused(lengths):
    """Where there are targets, these tell."""
    seqs = sequences(lengths)
    x = [seq[None] for seq in seqs]
    for run in (Subclassed().predict, Subclassed()):
        with pytest.raises(
            errors.RankError, match=r"\[PYL102\].*inputs or the sequences"
        ) as caught:
            run(x)
    fixed = eval(caught.value.fix.partition("     ")[0], {"np": np, "x": x})
    model = Subclassed()
    got = model.predict(fixed, verbose=0)
    want = np.concatenate([model(seq[None]) for seq in seqs])
    np.testing.assert_allclose(got, want, atol=1e-6)
    model = Subclassed()
    model.compile("sgd", "mse")
    with pytest.warns(errors.ShapeCorrectionWarning, match="PYL123"):
        assert model.fit(x, np.zeros((2, 3)), verbose=0)


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_save_and_load_in_a_second_process(kind, tmp_path):
    model = classifier()
    if kind == "functional":
        model = pylstm.Model(model.inputs, model.outputs)
    expected = model.predict(sequences(), verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", *sequences(), expected=expected)
    script = f"""
        import keras, numpy as np, pylstm
        model = keras.saving.load_model("model.keras")
        assert isinstance(model, pylstm.{"Sequential" if kind == "sequential" else "Model"})
        data = np.load("data.npz")
        got = model.predict([data[f"arr_{{i}}"] for i in range(6)], verbose=0)
        np.testing.assert_allclose(got, data["expected"], atol=1e-6)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_functional_model_clones_to_its_own_kind():
    model = two_inputs(dict)
    clone = keras.models.clone_model(model)
    assert type(clone) is type(model)
    clone.set_weights(model.get_weights())
    x = {"signal": sequences(), "meta": np.zeros((6, 2))}
    np.testing.assert_allclose(clone.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)


def test_a_sequential_model_copies_by_its_config():
    """keras.models.clone_model makes a keras.Sequential of every Sequential."""
    model = classifier()
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    np.testing.assert_allclose(
        copy.predict(sequences(), verbose=0), model.predict(sequences(), verbose=0), atol=1e-6
    )
