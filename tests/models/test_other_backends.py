"""pylstm's models on each of Keras' backends, a process each; the others have no ragged tensors."""

import textwrap

import pytest

from tests import backends

SCRIPT = """
    import keras, ml_dtypes, numpy as np, pytest, pylstm

    rng = np.random.default_rng(0)
    seqs = [rng.normal(size=(t, 3)).astype("float32") for t in (3, 2, 4, 1)]
    steps = [np.zeros((len(s), 2)) for s in seqs]

    def model_of(*front, **options):
        lstm = pylstm.LSTM(4, **options)
        model = pylstm.Sequential([keras.Input((None, 3)), *front, lstm, keras.layers.Dense(2)])
        model.compile("sgd", "mse")
        return model

    for model in (model_of(keras.layers.Masking(-1.0)), model_of(mask_value=-1.0)):
        history = model.fit(seqs, np.zeros((4, 2)), epochs=3, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
        outputs = model.predict(seqs, batch_size=2, verbose=0)
        called = keras.ops.convert_to_numpy(model(seqs))
        for output, row, seq in zip(outputs, called, seqs, strict=True):
            alone = keras.ops.convert_to_numpy(model(seq[None]))[0]
            np.testing.assert_allclose(output, alone, atol=1e-6)
            np.testing.assert_allclose(row, alone, atol=1e-6)

    assert model.layers[0].path == "fused"

    each = keras.layers.TimeDistributed(keras.layers.Dense(3))
    assert pylstm.diagnose(model_of(keras.layers.Masking(-1.0), each), seqs).ok

    data = pylstm.dataset(seqs, np.zeros((4, 2)), batch_size=2, mask_value=-1.0)
    model = model_of(mask_value=-1.0)
    assert np.isfinite(model.fit(data, verbose=0).history["loss"]).all()
    with pytest.raises(pylstm.errors.RaggedError, match="a value for padding"):
        pylstm.dataset(seqs, np.zeros((4, 2)))

    model = model_of(mask_value=-1.0, return_sequences=True)
    loss = model.fit(seqs, steps, batch_size=2, verbose=0, shuffle=False).history["loss"]
    assert np.isfinite(loss).all()
    assert model.predict(seqs, batch_size=2, verbose=0).shape == (4, 4, 2)

    model = model_of(keras.layers.Masking(-9999.0))
    for dtype in "uint8", "float16", "bfloat16":
        others = [np.abs(s).astype(dtype) for s in seqs]
        called = keras.ops.convert_to_numpy(model(others))
        outputs = model.predict(others, verbose=0)
        for output, row, seq in zip(outputs, called, others, strict=True):
            alone = keras.ops.convert_to_numpy(model(seq[None].astype("float32")))[0]
            np.testing.assert_allclose(output, alone, atol=1e-6)
            np.testing.assert_allclose(row, alone, atol=1e-6)

    inputs = [keras.Input((None, 3)), keras.Input((None, 3))]
    values = zip(inputs, (-1.0, -2.0))
    branches = [pylstm.LSTM(2)(keras.layers.Masking(value)(x)) for x, value in values]
    with pytest.raises(pylstm.errors.RaggedError, match="look for several values"):
        pylstm.Model(inputs, branches).predict((seqs, seqs))
    with pytest.raises(pylstm.errors.RaggedError, match="changes the padding"):
        model_of(keras.layers.Dense(3), keras.layers.Masking(-1.0)).predict(seqs)

    with pytest.raises(pylstm.errors.RaggedError, match="there are no ragged tensors"):
        model_of().predict(seqs)
"""


PADDED_BATCHES = """
    import keras, numpy as np, pylstm

    rng = np.random.default_rng(0)
    seqs = [rng.normal(size=(t, 3)).astype("float32") for t in (3, 2, 4, 1)]
    targets = rng.normal(size=(4, 2)).astype("float32")

    class OneBatch(keras.utils.PyDataset):
        def __init__(self, batch):
            super().__init__()
            self.batch = batch

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return self.batch

    layers = [keras.layers.Dense(5, "relu"), pylstm.LSTM(2)]
    model = pylstm.Sequential([keras.Input((None, 3)), *layers])
    model.compile("sgd", "mse")
    outputs = np.concatenate([keras.ops.convert_to_numpy(model(seq[None])) for seq in seqs])
    batch = pylstm.pad(seqs)
    for x in batch, (batch,), (batch, targets):
        np.testing.assert_allclose(model.predict(OneBatch(x), verbose=0), outputs, atol=1e-6)
    loss = np.mean((outputs - targets) ** 2)
    np.testing.assert_allclose(model.evaluate(OneBatch((batch, targets)), verbose=0), loss, 1e-5)
    history = model.fit(OneBatch((batch, targets)), verbose=0).history
    np.testing.assert_allclose(history["loss"], loss, 1e-5)
"""


@pytest.mark.parametrize("backend", backends.OTHERS)
def test_sequences_of_several_lengths(backend):
    backends.run_python(backend, "-c", textwrap.dedent(SCRIPT))


@pytest.mark.parametrize("backend", ["tensorflow", *backends.OTHERS])
def test_padded_batches_of_a_dataset_keep_their_mask(backend):
    """A `PaddedBatch` is a tuple of three, which Keras would take for x, y and sample_weight."""
    backends.run_python(backend, "-c", textwrap.dedent(PADDED_BATCHES))
