"""pylstm's models on each of Keras' backends, a process each; the others have no ragged tensors."""

import textwrap

import pytest

from tests import backends

ONE_BATCH = """
    import keras

    class OneBatch(keras.utils.PyDataset):
        def __init__(self, batch):
            super().__init__()
            self.batch = batch

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return self.batch
"""

SCRIPT = (
    ONE_BATCH
    + """
    import keras, ml_dtypes, numpy as np, pytest, pylstm
    from keras.layers import GlobalAveragePooling1D, GlobalMaxPooling1D
    from tests.tolerances import assert_close

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

    plain = keras.Sequential(model_of(mask_value=-1.0).layers)
    plain.compile("sgd", "mse")
    data = pylstm.dataset(seqs, np.zeros((4, 2)), batch_size=2, mask_value=-1.0)
    assert np.isfinite(plain.fit(data, verbose=0).history["loss"]).all()
    with pytest.raises(pylstm.errors.RaggedError, match="a value for padding"):
        plain.fit(pylstm.dataset(seqs, np.zeros((4, 2))), verbose=0)

    import tensorflow as tf

    ragged = tf.ragged.constant([s.tolist() for s in seqs], ragged_rank=1, inner_shape=(3,))
    for x in ragged, OneBatch((seqs, np.zeros((4, 2)))):
        (finding,) = pylstm.diagnose(plain, x)
        assert finding.level == "error"
        assert "mask_value=-1.0" in finding.fix
    batches = tf.data.Dataset.from_tensor_slices((ragged, np.zeros((4, 2)))).batch(2)
    model = model_of()
    with pytest.raises(pylstm.errors.RaggedError, match="no ragged tensors on") as caught:
        model.evaluate(batches, verbose=0)
    assert caught.value.fix.startswith("pylstm.dataset(x, y)")
    assert not pylstm.diagnose(model, batches).ok

    model = model_of()
    model.compile("sgd", "mse", jit_compile=True)  # on torch its compiler would lose the masks
    for output, seq in zip(model.predict(seqs, verbose=0), seqs, strict=True):
        alone = keras.ops.convert_to_numpy(model(seq[None]))[0]
        np.testing.assert_allclose(output, alone, atol=1e-6)

    model = model_of(return_sequences=True)
    loss = model.fit(seqs, steps, batch_size=2, verbose=0, shuffle=False).history["loss"]
    assert np.isfinite(loss).all()
    batches = iter([(seqs[:2],), ([seqs[2]] * 2,)])
    for x, order in ((seqs, [0, 1, 2, 3]), (batches, [0, 1, 2, 2])):
        outputs = model.predict(x, batch_size=2, verbose=0)
        for output, index in zip(outputs, order, strict=True):
            alone = keras.ops.convert_to_numpy(model(seqs[index][None]))[0]
            np.testing.assert_allclose(output, alone, atol=1e-6)

    inputs = keras.Input((None, 3))
    rows = pylstm.LSTM(4, return_sequences=True)(inputs)
    ends = [rows[:, -1], *(p()(rows) for p in (GlobalMaxPooling1D, GlobalAveragePooling1D))]
    model = pylstm.Model(inputs, keras.layers.Concatenate()(ends))
    model.compile("sgd", "mse")
    outputs = model.predict([*seqs, np.zeros((0, 3), "float32")], batch_size=1, verbose=0)
    np.testing.assert_array_equal(outputs[-1], np.zeros(12))
    np.testing.assert_allclose(outputs[:1], model.predict(seqs[:1], verbose=0), atol=1e-6)

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
    branches = [pylstm.LSTM(2)(keras.layers.Masking(v)(inputs[0])) for v in (-1.0, -2.0)]
    with pytest.raises(pylstm.errors.RaggedError, match="look for several values"):
        pylstm.Model(inputs[0], branches).predict(seqs)
    with pytest.raises(pylstm.errors.RaggedError, match="changes the padding"):
        model_of(keras.layers.Dense(3), keras.layers.Masking(-1.0)).predict(seqs)

    model = pylstm.Model(inputs, pylstm.LSTM(2)(inputs[0] + inputs[1]))
    for run in model, model.predict:
        with pytest.raises(pylstm.errors.TimestepError, match="PYL120(?s:.*)sample 0"):
            run([seqs, seqs[::-1]])

    rows, eye = keras.layers.RMSNormalization()(inputs[0]), np.eye(3, dtype="float32")
    rows = keras.layers.EinsumDense("btf,fg->btg", (None, 4))(rows)
    rows = keras.ops.einsum("btf,fg->btg", rows, np.ones((4, 3), "float32"))
    model = pylstm.Model(inputs[0], pylstm.LSTM(2)(keras.ops.tensordot(rows, eye, axes=1)))
    for output, seq in zip(model.predict(seqs, verbose=0), seqs, strict=True):
        alone = keras.ops.convert_to_numpy(model(seq[None]))[0]
        np.testing.assert_allclose(output, alone, atol=1e-6)

    # Keras counts padded steps in an activity regularizer, those of a padded array and no more.
    regularizer = keras.regularizers.L2(1.0)
    five = [*seqs, rng.normal(size=(5, 3)).astype("float32")]
    model = model_of(
        keras.layers.Masking(-1.0),
        pylstm.LSTM(3, return_sequences=True, activity_regularizer=regularizer),
    )
    padded = pylstm.pad(five, value=-1.0).x
    losses = [model.evaluate(x, np.zeros((5, 2)), verbose=0) for x in (five, padded)]
    np.testing.assert_allclose(*losses, rtol=1e-5)

    class Steps(keras.layers.Layer):
        supports_masking = True

        def call(self, x):
            seen.add(x.shape[1])
            return x

    # JAX compiles for few lengths, and for one where there are few batches; torch compiles nothing.
    many = [rng.normal(size=(t, 3)).astype("float32") for t in [100, *[7, 20, 30] * 33]]
    is_torch = keras.backend.backend() == "torch"
    for size, lengths in (2, {25, 50, 100}), (4, {100}):
        seen = set()
        model = model_of(Steps(), return_sequences=True)
        outputs = model.predict(many, batch_size=size, verbose=0)
        seen &= {7, 20, 25, 30, 50, 100}  # not those that Keras makes a model with
        assert seen == ({7, 20, 30, 100} if is_torch else lengths)
        for index in (0, 1, -1):
            alone = keras.ops.convert_to_numpy(model(many[index][None]))[0]
            assert_close(outputs[index], alone, "float32")
"""
)


MASKS = """
    import keras, numpy as np, pytest, pylstm

    rng = np.random.default_rng(0)
    seqs = [rng.normal(size=(t, 3)).astype("float32") for t in (3, 2, 6, 1)]
    tokens = [rng.integers(1, 9, len(seq)) for seq in seqs]
    counts = [rng.integers(1, 9, seq.shape).astype("uint8") for seq in seqs]
    signal, text = keras.Input((None, 3)), keras.Input((None,))

    masked = pylstm.LSTM(3, mask_value=-1.0, return_sequences=True)(signal)
    residual = masked + pylstm.LSTM(3, return_sequences=True)(masked)
    embedded = keras.layers.Embedding(9, 3, mask_zero=True)(text)
    other = keras.Input((None, 3))
    values = ((-1.0, signal), (-2.0, other))
    branches = [pylstm.LSTM(4)(keras.layers.Masking(value)(x) * 2) for value, x in values]
    for model, x in (
        (pylstm.Model(signal, pylstm.LSTM(4)(keras.layers.Masking(-1.0)(signal) * 2)), seqs),
        (pylstm.Model(signal, pylstm.LSTM(4)(residual)), seqs),
        (pylstm.Model(signal, pylstm.LSTM(4)(signal * 2)), counts),
        (pylstm.Model(text, pylstm.LSTM(4)(embedded * 2)), tokens),
        (pylstm.Model([signal, other], keras.layers.Add()(branches)), (seqs, seqs[::-1])),
        (pylstm.Sequential([pylstm.LSTM(4)]), seqs),
    ):
        model.compile("sgd", "mse")
        inputs = x if isinstance(x, tuple) else (x,)
        rows = [tuple(part[None] for part in row) for row in zip(*inputs, strict=True)]
        called = [model(row if len(row) > 1 else row[0]) for row in rows]
        alone = np.concatenate([keras.ops.convert_to_numpy(row) for row in called])
        loss, y = (alone**2).mean(), np.zeros((4, 4))
        data = pylstm.dataset(x, batch_size=2, mask_value=-2.0)
        for outputs in (
            model.predict(x, batch_size=2, verbose=0),
            model.predict(data, verbose=0),
            model.predict(pylstm.dataset(x, batch_size=2), verbose=0),
            model.predict_on_batch(x),
        ):
            np.testing.assert_allclose(outputs, alone, atol=1e-6)
        for got in (
            model.evaluate(x, y, batch_size=2, verbose=0),
            model.test_on_batch(x, y),
            model.fit(x, y, verbose=0).history["loss"][0],
        ):
            np.testing.assert_allclose(got, loss, rtol=1e-4)

    for mix in (
        lambda steps: keras.ops.mean(steps, 1),
        keras.layers.ZeroPadding1D(1),
        keras.layers.Lambda(lambda steps: steps[:, -1]),
    ):
        steps = pylstm.LSTM(4, mask_value=-1.0, return_sequences=True)(signal)
        with pytest.raises(pylstm.errors.RaggedError, match="PYL130"):
            pylstm.Model(signal, mix(steps)).predict(seqs, verbose=0)

    model = pylstm.Model(signal, pylstm.LSTM(4)(keras.layers.ZeroPadding1D(1)(signal)))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.5), "mse")
    padded, y = pylstm.pad(seqs).x, rng.normal(size=(4, 4))
    model.fit(padded, y, verbose=0)
    weights = model.get_weights()
    for run in model.predict, lambda x: model.fit(x, y, verbose=0), lambda x: model.evaluate(x, y):
        with pytest.raises(pylstm.errors.RaggedError, match="PYL130"):
            run(seqs)
        for kept, weight in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(kept, weight)
    expected = keras.models.clone_model(model)
    expected.compile(keras.optimizers.SGD(0.1, momentum=0.5), "mse")
    expected.set_weights(weights)
    expected.optimizer.build(expected.trainable_variables)
    states = zip(expected.optimizer.variables, model.optimizer.variables, strict=True)
    for target, source in states:
        target.assign(source.numpy() if hasattr(source, "numpy") else source)

    def batches(last):
        yield padded, y
        yield padded, y
        yield last

    with pytest.raises(pylstm.errors.RaggedError, match="PYL130"):
        model.fit(batches((seqs, y)), verbose=0)
    for _ in range(2):
        expected.train_on_batch(padded, y)
    for kept, weight in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(kept, weight, atol=1e-6)
"""


PADDED_BATCHES = (
    ONE_BATCH
    + """
    import keras, numpy as np, pylstm

    rng = np.random.default_rng(0)
    seqs = [rng.normal(size=(t, 3)).astype("float32") for t in (3, 2, 4, 1)]
    targets = rng.normal(size=(4, 2)).astype("float32")

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
)


BATCHES_OF_NO_ARRAYS = (
    ONE_BATCH
    + """
    import keras, numpy as np, pylstm, pytest

    seqs = [np.ones((steps, 3), "float32") for steps in (2, 5)]
    objects = np.empty(2, object)
    objects[:] = seqs
    zeros = np.zeros(2, "float32")
    model = pylstm.Sequential([keras.Input((None, 3)), pylstm.LSTM(4), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    if keras.backend.backend() == "torch":
        import torch

        nested = torch.nested.nested_tensor([torch.tensor(seq) for seq in seqs])
        loader = torch.utils.data.DataLoader(
            [0], collate_fn=lambda _: (nested, torch.zeros(2, 1))
        )
        with pytest.raises(pylstm.errors.StructureError, match="PYL147(?s:.*)nested") as caught:
            model.fit(loader, verbose=0)
        assert len(eval(caught.value.fix.partition("     ")[0], None, {"x": nested})) == 2

        tensors = list(map(torch.tensor, seqs))
        loader = torch.utils.data.DataLoader(tensors, 2, collate_fn=list)
        with pytest.raises(pylstm.errors.StructureError, match="PYL146") as caught:
            model.predict(loader, verbose=0)
        line = caught.value.fix.partition("     ")[0].removeprefix("collate_fn=")
        loader = torch.utils.data.DataLoader(tensors, 2, collate_fn=eval(line))
        got = model.predict(loader, verbose=0)
        np.testing.assert_allclose(got, model.predict(seqs, verbose=0), rtol=1e-5)

        # Whether a batch's sequences are equally long is chance.
        by_step = pylstm.Sequential([keras.Input((None, 3)), pylstm.LSTM(4, return_sequences=True)])
        more = [*tensors, torch.zeros(4, 3)]
        for order in more, [more[2], more[2], *more], [more[2]] * 3:
            loader = torch.utils.data.DataLoader(order, 2, collate_fn=eval(line))
            got = by_step.predict(loader, verbose=0)
            assert isinstance(got, np.ndarray) == (len({*map(len, order)}) == 1)
            for rows, seq in zip(got, order, strict=True):
                alone = by_step.predict(seq[None], verbose=0)[0]
                np.testing.assert_allclose(rows, alone, atol=1e-6)

        pairs = lambda _: (tuple(tensors), (torch.zeros(1), torch.zeros(1)))
        loader = torch.utils.data.DataLoader([0], collate_fn=pairs)
        with pytest.raises(pylstm.errors.StructureError, match="PYL147(?s:.*)array y") as caught:
            model.fit(loader, verbose=0)
        assert caught.value.got == "y a tuple of 2"

        packed = torch.nn.utils.rnn.pack_sequence(tensors, enforce_sorted=False)
        want = model.evaluate(seqs, zeros, verbose=0)
        got = model.evaluate(OneBatch((packed, zeros)), verbose=0)
        np.testing.assert_allclose(got, want, rtol=1e-5)

        x, y = list(map(torch.tensor, seqs)), [torch.zeros(len(seq)) for seq in seqs]
        tagger = pylstm.Sequential([pylstm.LSTM(4, return_sequences=True), keras.layers.Dense(1)])
        tagger.compile("sgd", "mse")
        loader = torch.utils.data.DataLoader([0], collate_fn=lambda _: (x, y))
        with pytest.raises(pylstm.errors.StructureError, match="PYL147(?s:.*)list of") as caught:
            tagger.fit(loader, verbose=0)
        padded = eval(caught.value.fix.partition("     ")[0], None, {"pylstm": pylstm, "y": y})
        assert padded.shape == (2, max(map(len, seqs)))
        padded = torch.from_numpy(padded[..., None])
        loader = torch.utils.data.DataLoader([0], collate_fn=lambda _: (x, padded))
        assert pylstm.diagnose(tagger, loader).ok
        want = tagger.evaluate(seqs, [part.numpy() for part in y], verbose=0)
        np.testing.assert_allclose(tagger.evaluate(loader, verbose=0), want, 1e-5)
        labels = [part[:, None] for part in y]
        labels = torch.nn.utils.rnn.pack_sequence(labels, enforce_sorted=False)
        loader = torch.utils.data.DataLoader([0], collate_fn=lambda _: (packed, labels))
        with pytest.raises(pylstm.errors.StructureError, match="PYL147(?s:.*)Packed") as caught:
            tagger.evaluate(loader, verbose=0)
        lines, names = caught.value.fix.splitlines()[:2], {"torch": torch, "x": packed, "y": labels}
        dense = tuple(eval(line.partition("     ")[0], names) for line in lines)
        loader = torch.utils.data.DataLoader([0], collate_fn=lambda _: dense)
        np.testing.assert_allclose(tagger.evaluate(loader, verbose=0), want, 1e-5)
    want = model.evaluate(seqs, zeros, verbose=0)
    nested = [seq.tolist() for seq in seqs], [0.0, 0.0]
    swapped, tuples = (seqs, zeros.astype(">f4")), (tuple(seqs), tuple(zeros))
    for batch in (objects, zeros), (seqs, zeros), nested, swapped, tuples:
        assert pylstm.diagnose(model, OneBatch(batch)).ok
        np.testing.assert_allclose(model.evaluate(OneBatch(batch), verbose=0), want, rtol=1e-5)
        model.predict(OneBatch(batch), verbose=0)
    model.fit(OneBatch(nested), verbose=0)

    by_step = pylstm.Sequential([keras.Input((None, 3)), pylstm.LSTM(4, return_sequences=True)])
    for order in 1, -1:
        batches = [(seqs,), (np.ones((2, 3, 3)),)][::order]
        with pytest.raises(pylstm.errors.StructureError, match="PYL147(?s:.*)in every batch"):
            by_step.predict(iter(batches), verbose=0)

    # Each batch has its own length, of which JAX would compile each.
    class Traced(keras.layers.Layer):
        lengths = set()

        def call(self, x):
            self.lengths.add(x.shape[1])
            return x

    model = pylstm.Sequential([Traced(), pylstm.LSTM(4)])
    model.layers[0].supports_masking = True
    batches = [([np.ones((steps, 3)), np.ones((2, 3))],) for steps in (5, 6, 7, 8, 3, 4)]
    for batch in batches:
        model.predict_on_batch(batch[0])
    model.predict(iter(batches), verbose=0)
    if keras.backend.backend() == "jax":
        assert Traced.lengths <= {1, 4, 8}, Traced.lengths
"""
)


OTHER_STEPS = """
    import keras, numpy as np, pytest, pylstm
    from keras.layers import Bidirectional, Dense, Flatten
    from tests.inputs.support import corrections_of

    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(4, steps, 3)).astype("float32") for steps in (7, 4)]
    lists = [[row[:t] for row, t in zip(x, (len(x[0]), 2, 3, 1))] for x in arrays]
    y = np.zeros((4, 2), "float32")
    lstm = lambda: pylstm.LSTM(4)

    def model_of(kind, steps, *layers):
        inputs = x = keras.Input((steps, 3))
        for layer in layers:
            x = layer(x)
        model = kind(inputs, x) if kind is pylstm.Model else kind([inputs, *layers])
        model.compile("sgd", "mse")
        return model

    ways = {
        "call": lambda model, x: keras.ops.convert_to_numpy(model(x)),
        "predict": lambda model, x: model.predict(x, verbose=0),
        "evaluate": lambda model, x: model.evaluate(x, y, verbose=0),
        "fit": lambda model, x: model.fit(x, y, verbose=0).history["loss"],
    }

    one, both = (lambda: [lstm(), Dense(2)]), (lambda: [Bidirectional(lstm()), Dense(2)])
    for layers, x in (one, arrays[0]), (one, lists[0]), (one, lists[1]), (both, arrays[1]):
        free = model_of(pylstm.Model, None, *layers())
        start = free.get_weights()
        for way, run in ways.items():
            model = model_of(pylstm.Model, 5, *layers())
            for each in model, free:
                each.set_weights(start)
            got, warned = corrections_of(run, model, x)
            np.testing.assert_allclose(got, run(free, x), rtol=1e-5, atol=1e-6)
            assert warned == ["PYL124"] or isinstance(x, list)
            assert corrections_of(run, model, x)[1] == []  # once is enough
        levels = {finding.code: finding.level for finding in pylstm.diagnose(model, x)}
        assert levels.get("PYL124", "fixed" if isinstance(x, list) else None) == "fixed"

    for kind in (pylstm.Model, pylstm.Sequential):
        layers = pylstm.LSTM(4, return_sequences=True), Flatten(), Dense(2, name="behind")
        model = model_of(kind, 5, *layers)
        for way, run in ways.items():
            with pytest.raises(pylstm.errors.TimestepError, match="PYL124.*'behind'") as caught:
                run(model, arrays[0])
            assert "(batch, time=5, features=3)" in caught.value.expected
            assert caught.value.got.endswith("7, 3)     axis 1 is 7, not 5")
            assert caught.value.fix.startswith("rebuild with keras.Input((7, 3))")
            with pytest.raises(pylstm.errors.RaggedError, match="PYL130"):
                run(model, lists[0])
        (finding,) = pylstm.diagnose(model, arrays[0])
        assert (finding.level, finding.where) == ("error", "layer 'behind'")
"""


METRICS = """
    import keras, numpy as np, pylstm

    seqs = [np.ones((steps, 3), "float32") for steps in (3, 7, 1, 5)]
    right = [np.zeros(len(seq), int) for seq in seqs]
    wrong = [np.ones(len(seq), int) for seq in seqs]
    inputs = keras.Input((None, 3))
    layers = [
        keras.layers.Dense(2, "softmax", kernel_initializer="zeros", name=name)
        for name in ("first", "second")
    ]
    rows = pylstm.LSTM(4, return_sequences=True)(inputs)
    for outputs in layers[0](rows), {layer.name: layer(rows) for layer in layers}:
        model = pylstm.Model(inputs, outputs)
        for layer in layers:
            layer.set_weights([np.zeros((4, 2)), np.array([5.0, 0.0])])
        several = isinstance(outputs, dict)
        metrics = {name: ["accuracy"] for name in outputs} if several else ["accuracy"]
        loss = "sparse_categorical_crossentropy"
        loss = dict.fromkeys(outputs, loss) if several else loss
        model.compile(keras.optimizers.SGD(0.0), loss, metrics=metrics)
        for y, want in (right, 1.0), (wrong, 0.0):
            y = dict.fromkeys(outputs, y) if several else y
            fitted = model.fit(seqs, y, verbose=0).history
            on_batch = model.train_on_batch(seqs, y, return_dict=True)
            evaluated = model.evaluate(seqs, y, verbose=0, return_dict=True)
            names = [name for name in evaluated if "accuracy" in name]
            assert len(names) == (2 if several else 1)
            for name in names:
                assert fitted[name] == [want], (name, fitted)
                assert on_batch[name] == evaluated[name] == want
            model.reset_metrics()

    always = keras.layers.Dense(1, "sigmoid", kernel_initializer="zeros", bias_initializer="ones")
    model = pylstm.Model(inputs, always(rows))
    precision = keras.metrics.Precision(name="precision")
    model.compile(keras.optimizers.SGD(0.0), "mse", weighted_metrics=[precision])
    y = [*wrong[:2], *right[2:]]
    weights = [np.full(len(seq), weight) for seq, weight in zip(seqs, (1, 2, 3, 4))]
    for given, want in (None, 10 / 16), (weights, 17 / 40):
        options = dict(batch_size=2, sample_weight=given, verbose=0)
        np.testing.assert_allclose(model.evaluate(seqs, y, **options)[1], want, rtol=1e-6)
        fitted = model.fit(seqs, y, **options).history
        np.testing.assert_allclose(fitted["precision"], want, rtol=1e-6)
"""


STATES = """
    import warnings
    import keras, numpy as np, pylstm

    x = np.random.default_rng(0).normal(size=(2, 8, 3)).astype("float32")
    parts = np.split(x, 4, axis=1)
    layer = pylstm.LSTM(4, return_sequences=True)
    want = keras.ops.convert_to_numpy(layer(x))

    def model_of(kind):
        lstm = pylstm.LSTM(4, return_sequences=True, stateful=True)
        model = kind([keras.Input(batch_shape=(2, None, 3)), lstm])
        model.set_weights(layer.get_weights())
        model.compile(keras.optimizers.SGD(0.0), "mse")
        return model

    for kind in keras.Sequential, pylstm.Sequential:
        model = model_of(kind)
        assert len(model.weights) == len(model.get_weights()) == 3
        outputs = model.predict(np.concatenate(parts), batch_size=2, verbose=0)
        np.testing.assert_allclose(np.concatenate(np.split(outputs, 4), 1), want, atol=1e-6)
        state = keras.ops.convert_to_numpy(model.layers[0].states[0])
        np.testing.assert_allclose(state, want[:, -1], atol=1e-6)
        model.layers[0].reset_states()
        for part, steps in zip(parts, np.split(want, 4, axis=1), strict=True):
            # On torch, Keras' states cannot be trained with.
            if keras.backend.backend() == "torch":
                loss = model.evaluate(part, 0 * steps, batch_size=2, verbose=0)
            else:
                loss = model.fit(part, 0 * steps, shuffle=False, verbose=0).history["loss"][0]
            np.testing.assert_allclose(loss, (steps**2).mean(), rtol=1e-4)
        model.save("model.keras")
        model.save_weights("model.weights.h5")
        loaded = keras.models.load_model("model.keras")
        model.load_weights("model.weights.h5")
        for copy in loaded, pylstm.to_keras(model), pylstm.convert(pylstm.to_keras(model)):
            for layer_ in (copy.layers[0], model.layers[0]):
                layer_.reset_states()
            first, second = (keras.ops.convert_to_numpy(m(parts[0])) for m in (copy, model))
            np.testing.assert_allclose(first, second, atol=1e-6)

    model = model_of(keras.Sequential)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stock = pylstm.to_keras(model)
        pylstm.convert(stock)
    lost = [str(w.message) for w in caught if "lose the states" in str(w.message)]
    assert len(lost) == (keras.backend.backend() == "jax"), lost
    assert all(repr(model.layers[0].name) in message for message in lost)
    for part, steps in zip(parts, np.split(want, 4, axis=1), strict=True):
        got = keras.ops.convert_to_numpy(stock(part) if lost else stock.predict(part, verbose=0))
        np.testing.assert_allclose(got, steps, atol=1e-6)
"""


CONVOLUTIONS = """
    import keras, numpy as np, pylstm, pytest

    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(steps, 5, 5, 1)).astype("float32") for steps in (3, 5, 1)]
    targets = np.zeros((3, 3, 3, 2), "float32")
    layer = keras.layers.ConvLSTM2D(2, 3)
    text = keras.Input((None, 3), name="text")
    model = pylstm.Sequential([keras.Input((None, 5, 5, 1)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    alone = np.concatenate([keras.ops.convert_to_numpy(model(x[None])) for x in sequences])
    runs = model, model.predict, lambda x: model.fit(x, targets), model.predict_on_batch
    for run in runs if keras.backend.backend() == "jax" else ():
        with pytest.raises(pylstm.errors.RaggedError, match="PYL130.*'conv_lstm2d'") as caught:
            run(sequences)
        batches = eval(caught.value.fix.partition("     ")[0])
        np.testing.assert_allclose(model.evaluate(batches, verbose=0), (alone**2).mean(), 1e-4)
    if keras.backend.backend() != "jax":
        np.testing.assert_allclose(model.predict(sequences, verbose=0), alone, atol=1e-6)

    # The lists come to another layer.
    clips = np.stack([sequences[0]] * 2)
    inputs = [keras.Input((None, 5, 5, 1)), text]
    ends = [keras.layers.Flatten()(keras.layers.ConvLSTM2D(2, 3)(inputs[0])), pylstm.LSTM(4)(text)]
    model = pylstm.Model(inputs, keras.layers.Concatenate()(ends))
    assert model((clips, [np.ones((2, 3)), np.ones((4, 3))])).shape == (2, 22)
"""


TEXT = """
    import keras, numpy as np, pylstm, pytest
    from keras.layers import Embedding

    x = ["the cat sat", "a dog"]
    vectorize = keras.layers.TextVectorization()
    vectorize.adapt(x)
    layers = [Embedding(9, 4, mask_zero=True), pylstm.LSTM(3)]
    model = pylstm.Sequential([keras.Input((), dtype="string"), vectorize, *layers])
    for run in model, model.predict:
        with pytest.raises(pylstm.errors.DTypeError, match="PYL118.*no strings on") as caught:
            run(x)
    exec(caught.value.fix.partition("     ")[0])
    assert pylstm.Sequential(layers).predict(ids, verbose=0).shape == (2, 3)
"""


LABELS = """
    import keras, numpy as np, pylstm, pytest

    seqs = [np.ones((steps, 3), "float32") for steps in (3, 2, 4, 1)]
    steps = [np.zeros(len(seq), int) for seq in seqs]
    x, y = pylstm.pad(seqs, value=-1.0).x, pylstm.pad(steps, value=-1).x
    backend = keras.backend.backend()

    def model_of(*front, by_step=True):
        lstm = pylstm.LSTM(4, return_sequences=by_step)
        model = pylstm.Sequential([*front, lstm, keras.layers.Dense(3, "softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    for front in ([], [keras.Input((None, 3))]):
        for label in 3, -1:
            model, labels = model_of(*front, by_step=False), np.array([0, 1, label, 2])
            arrays, batches = (np.ones((4, 2, 3)), labels), (pylstm.dataset(seqs, labels),)
            for data in (seqs, labels), arrays, batches:
                with pytest.raises(pylstm.errors.ShapeError, match="PYL212") as caught:
                    model.fit(*data, verbose=0)
                assert caught.value.got.startswith(f"y[2] = {label}, of labels from")
        wrong = [*steps[:2], steps[2] + 3, steps[3]]
        with pytest.raises(pylstm.errors.ShapeError, match="PYL212") as caught:
            model_of(*front).fit(seqs, wrong, sample_weight=[s + 1.0 for s in steps], verbose=0)
        assert caught.value.got == "y[2][0] = 3, of labels from 0 to 3"

    # What counts nothing needs no class on JAX; the others look at its label, too.
    weights = (y >= 0).astype("float32")
    for front, options in (
        ([], {"sample_weight": weights}),
        ([keras.layers.Masking(-1.0)], {}),
        ([keras.Input((None, 3)), keras.layers.Masking(-1.0)], {}),
    ):
        model = model_of(*front)
        if backend == "jax":
            want = model.evaluate(x, np.maximum(y, 0), verbose=0, **options)
            np.testing.assert_allclose(model.evaluate(x, y, verbose=0, **options), want, rtol=1e-5)
            continue
        with pytest.raises(pylstm.errors.ShapeError, match="PYL212"):
            model.evaluate(x, y, verbose=0, **options)
    if backend == "torch":
        y = np.array([0, 1, -100, 2])
        assert np.isfinite(model_of(by_step=False).evaluate(seqs, y, verbose=0))
"""


TARGETS_OF_SEVERAL_OUTPUTS = """
    import keras, numpy as np, pylstm, pytest

    z, a = keras.Input((None, 2), name="z"), keras.Input((None, 3), name="a")
    outputs = {
        "y": pylstm.LSTM(1, return_sequences=True)(z),
        "b": pylstm.LSTM(1, return_sequences=True)(a),
        "fixed": keras.layers.RepeatVector(4)(pylstm.LSTM(1)(z)),
    }
    model = pylstm.Model({"z": z, "a": a}, outputs)
    model.compile(keras.optimizers.SGD(0.0), dict.fromkeys(outputs, "mse"))
    rng = np.random.default_rng(0)
    x = {
        "z": [rng.normal(size=(t, 2)).astype("float32") for t in (4, 3, 2)],
        "a": [rng.normal(size=(t, 3)).astype("float32") for t in (2, 3, 4)],
    }
    y = {
        "y": [np.ones((t, 1)) for t in (4, 3, 2)],
        "b": [np.ones((t, 1)) for t in (2, 3, 4)],
        "fixed": np.ones((3, 4, 1)),
    }
    options = {"batch_size": 1, "return_dict": True, "verbose": 0}
    want = model.evaluate(x, y, **options)
    alone = np.mean((1 - model.predict(x, verbose=0)["fixed"]) ** 2)
    np.testing.assert_allclose(want["fixed_loss"], alone, rtol=1e-5)
    padded = {**y, "y": pylstm.pad(y["y"]).x, "b": pylstm.pad(y["b"]).x}
    got = model.evaluate(x, padded, **options)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-5)
    with pytest.raises(pylstm.errors.TimestepError, match="PYL120") as caught:
        model.evaluate(x, {**y, "b": y["y"]}, verbose=0)
    assert caught.value.got == "sample 0: x['a'] has 2 steps, y['b'] has 4"
"""


@pytest.mark.parametrize("backend", ["tensorflow", *backends.OTHERS])
def test_labels_without_a_class(backend):
    backends.run_python(backend, "-W", "ignore", "-c", textwrap.dedent(LABELS))


@pytest.mark.parametrize("backend", ["tensorflow", *backends.OTHERS])
def test_targets_of_several_outputs(backend):
    backends.run_python(backend, "-W", "ignore", "-c", textwrap.dedent(TARGETS_OF_SEVERAL_OUTPUTS))


@pytest.mark.parametrize("backend", ["tensorflow", *backends.OTHERS])
@pytest.mark.parametrize(
    "script", [METRICS, STATES, CONVOLUTIONS], ids=["metrics", "states", "conv"]
)
def test_masks_and_states_reach_what_needs_them(backend, script, tmp_path):
    script = textwrap.dedent(script)
    backends.run_python(backend, "-W", "ignore", "-c", script, cwd=tmp_path)


@pytest.mark.parametrize("backend", backends.OTHERS)
def test_strings_where_keras_has_none(backend):
    backends.run_python(backend, "-W", "ignore", "-c", textwrap.dedent(TEXT))


@pytest.mark.parametrize("backend", ["tensorflow", *backends.OTHERS])
def test_other_steps_than_declared(backend):
    backends.run_python(backend, "-W", "ignore", "-c", textwrap.dedent(OTHER_STEPS))


@pytest.mark.parametrize("backend", backends.OTHERS)
def test_batches_of_a_dataset_that_are_no_arrays(backend):
    backends.run_python(backend, "-W", "ignore", "-c", textwrap.dedent(BATCHES_OF_NO_ARRAYS))


@pytest.mark.parametrize("backend", backends.OTHERS)
def test_sequences_of_several_lengths(backend):
    backends.run_python(backend, "-c", textwrap.dedent(SCRIPT))


@pytest.mark.parametrize("backend", backends.OTHERS)
def test_padded_steps_are_masked_all_the_way(backend):
    backends.run_python(backend, "-W", "ignore", "-c", textwrap.dedent(MASKS))


@pytest.mark.parametrize("backend", ["tensorflow", *backends.OTHERS])
def test_padded_batches_of_a_dataset_keep_their_mask(backend):
    """A `PaddedBatch` is a tuple of three, which Keras would take for x, y and sample_weight."""
    backends.run_python(backend, "-c", textwrap.dedent(PADDED_BATCHES))
