"""`pylstm.dataset`: what a batch holds, in which order, and that Keras takes it."""

import itertools
import pickle
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import pylstm
from pylstm import errors
from pylstm.inputs.padding import pad, unpad
from pylstm.models.data.dataset import dataset
from tests import backends, data

LENGTHS = np.random.default_rng(1).integers(1, 30, 200)


def sequences():
    """Sequence i holds the number i, so that a batch shows which samples it has."""
    return [np.full((t, 2), i, np.float32) for i, t in enumerate(LENGTHS)]


def samples_in(batch):
    return [int(row[0, 0]) for row in batch[0]]


def test_each_sample_comes_once_with_its_target_and_weight():
    labels = np.arange(200)
    batches = list(dataset(sequences(), labels, 32, sample_weight=labels / 10))
    seen = []
    for x, y, weight in batches:
        assert samples_in((x,)) == y.tolist()
        np.testing.assert_allclose(weight, y / 10)
        seen += y.tolist()
    assert sorted(seen) == list(range(200))
    assert sorted(len(y) for _, y, _ in batches) == [8, 32, 32, 32, 32, 32, 32]


def test_without_targets_the_order_is_kept():
    batches = list(dataset(sequences(), batch_size=32))
    assert [i for batch in batches for i in samples_in(batch)] == list(range(200))
    assert batches[0][0].shape.as_list() == [32, None, 2]


def test_buckets_save_padding():
    def padded_steps(**options):
        return sum(
            x.row_lengths().numpy().max() * len(y)
            for x, y in dataset(sequences(), np.zeros(200), 8, seed=0, **options)
        )

    assert LENGTHS.sum() <= padded_steps() < 1.15 * LENGTHS.sum()
    assert padded_steps(bucket=False) > 1.5 * LENGTHS.sum()


def test_batches_of_similar_lengths_come_in_any_order():
    batches = dataset(sequences(), np.zeros(200), 8, seed=0)
    longest = [int(x.row_lengths().numpy().max()) for x, _ in batches]
    assert longest != sorted(longest)


def test_a_new_order_each_epoch_and_the_same_for_a_seed():
    def epochs(seed):
        data = dataset(sequences(), np.arange(200), seed=seed)
        first = [y.tolist() for _, y in data]
        data.on_epoch_end()
        return first, [y.tolist() for _, y in data]

    assert epochs(3) == epochs(3)
    assert epochs(3) != epochs(4)
    first, second = epochs(3)
    assert first != second


@pytest.mark.parametrize("model_type", [keras.Sequential, pylstm.Sequential])
@pytest.mark.parametrize("batches", [2, 10])
def test_short_epochs_take_each_sample_once_before_one_again(model_type, batches):
    taken = []

    def loss(y, y_pred):
        taken.extend(y.numpy().ravel().tolist())
        return keras.ops.mean(y_pred, -1)

    size = 4 * batches
    labels = np.arange(size, dtype="float32")
    model = model_type([keras.Input((None, 2)), pylstm.LSTM(1)])
    model.compile("sgd", loss, run_eagerly=True)
    x = dataset(sequences()[:size], labels, 4)
    for _ in range(2):
        taken.clear()
        model.fit(x, steps_per_epoch=batches // 2, epochs=4, verbose=0)
        first, second = taken[:size], taken[size:]
        assert sorted(first) == sorted(second) == labels.tolist()
        assert batches == 2 or first != second  # of two there are but two orders


def test_a_new_order_for_a_loop_that_stops_early():
    batches = dataset(sequences(), np.arange(200), 4, seed=0)
    iterated, indexed = set(), set()
    for _ in range(8):
        iterated |= {i for _, y in itertools.islice(batches, 25) for i in y.tolist()}
        batches.on_epoch_end()
    for _ in range(8):
        indexed |= {i for index in range(25) for i in batches[index][1].tolist()}
        batches.on_epoch_end()
    assert min(len(iterated), len(indexed)) > 180


def test_keras_seed_seeds_the_order():
    def order():
        keras.utils.set_random_seed(5)
        return [y.tolist() for _, y in dataset(sequences(), np.arange(200))]

    assert order() == order()


def test_drop_remainder():
    assert len(dataset(sequences(), batch_size=32, drop_remainder=True)) == 6
    assert len(dataset(sequences(), batch_size=32)) == 7


def test_targets_per_step_are_padded_with_weight_0():
    steps = [np.arange(t) + 1 for t in LENGTHS]
    for x, y, weight in dataset(sequences(), steps, 16):
        assert np.array_equal(np.asarray(y)[..., 0] > 0, np.asarray(weight) == 1)
        assert [
            len(s) for s in unpad(np.asarray(y), mask=weight)
        ] == x.row_lengths().numpy().tolist()


def test_weights_per_sample_and_per_step_with_targets_per_step():
    steps = [np.ones(t) for t in LENGTHS]
    rows = [int(s.shape[0]) for s in steps]
    per_sample = next(
        iter(dataset(sequences(), steps, 4, shuffle=False, sample_weight=[2.0] * 200))
    )
    per_step = next(
        iter(
            dataset(
                sequences(),
                steps,
                4,
                shuffle=False,
                sample_weight=[2 * s for s in steps],
            )
        )
    )
    np.testing.assert_array_equal(per_sample[2], per_step[2])
    assert np.asarray(per_sample[2]).sum(axis=1).tolist() == [2 * t for t in rows[:4]]


def test_weights_per_step_may_have_an_axis_of_one():
    steps = [np.ones(t) for t in LENGTHS]
    weights = [np.arange(t) / t for t in LENGTHS]
    columns = [w[:, None] for w in weights]
    want = dataset(sequences(), steps, 8, seed=0, sample_weight=weights)[0][2]
    for same in (columns, pad(columns).x):
        got = dataset(sequences(), steps, 8, seed=0, sample_weight=same)[0][2]
        np.testing.assert_array_equal(got, want)
    with pytest.raises(errors.RankError, match=r"PYL101.*too many axes") as caught:
        dataset(sequences(), steps, sample_weight=[np.ones((t, 2)) for t in LENGTHS])
    assert caught.value.got == "sample_weight (200, None, 2)"
    with pytest.raises(errors.RankError, match=r"PYL101.*too many axes"):
        dataset(sequences(), steps, sample_weight=np.ones((200, max(LENGTHS), 2)))


def test_several_inputs_and_outputs():
    x = {"signal": sequences(), "meta": np.arange(200)}
    y = {"label": np.arange(200), "steps": [np.ones(t) for t in LENGTHS]}
    batch_x, batch_y, weight = dataset(x, y, 8)[0]
    assert samples_in((batch_x["signal"],)) == batch_x["meta"].tolist() == batch_y["label"].tolist()
    assert weight["label"].tolist() == [1] * 8
    assert (*np.asarray(weight["steps"]).shape, 1) == np.asarray(batch_y["steps"]).shape


@pytest.mark.parametrize("workers", [1, 3])
def test_fit_of_a_plain_keras_model(workers):
    """Batches of any length, although the first two are equally long."""
    lengths = np.array([9] * 16 + [3, 5, 2, 7])
    seqs = [np.ones((t, 2), np.float32) for t in lengths]
    steps = [np.ones((t, 1)) for t in lengths]
    densify = keras.layers.Lambda(lambda x: x.to_tensor() if isinstance(x, tf.RaggedTensor) else x)
    model = keras.Sequential([densify, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = dataset(seqs, steps, 8, shuffle=False, workers=workers)
    history = model.fit(data, epochs=3, verbose=0, shuffle=False)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_other_backends_get_dense_batches(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    (x,) = dataset(sequences(), batch_size=4, mask_value=-1.0)[0]
    assert type(x) is np.ndarray
    np.testing.assert_array_equal(x, pad(sequences(), value=-1).x[:4])


def test_other_backends_do_not_pad_in_silence(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(errors.RaggedError, match=r"\[PYL114\](.|\n)*mask_value=-1.0 here"):
        dataset(sequences())[0]
    (x,) = dataset([np.ones((3, 2))] * 4)[0]
    np.testing.assert_array_equal(x, np.ones((4, 3, 2)))


@pytest.mark.parametrize("backend", ["tensorflow", *backends.OTHERS])
def test_a_loop_of_ones_own_calls_models_and_layers(backend):
    program = """
        import keras, numpy as np, pylstm

        seqs = [np.full((steps, 2), steps, "float32") for steps in (3, 1, 4, 2)]
        lstm = pylstm.LSTM(3)
        inputs = keras.Input((None, 2))
        models = [lstm, pylstm.Sequential([lstm]), pylstm.Model(inputs, lstm(inputs))]
        batches = pylstm.dataset(seqs, [3, 1, 4, 2], 3, seed=0)
        alone = {len(seq): keras.ops.convert_to_numpy(lstm(seq[None]))[0] for seq in seqs}
        orders = set()
        for _ in range(20):
            order = []
            for x, y in batches:
                order += y.tolist()
                for model in models:
                    got = keras.ops.convert_to_numpy(model(x))
                    np.testing.assert_allclose(got, [alone[steps] for steps in y], atol=1e-6)
            assert sorted(order) == [1, 2, 3, 4]
            orders.add(tuple(order))
            batches.on_epoch_end()
        assert len(orders) > 1
        for (x,) in pylstm.dataset(seqs, batch_size=4, mask_value=-1.0):
            assert backend == "tensorflow" or type(x) is np.ndarray
    """
    backends.run_python(backend, "-c", f"backend = {backend!r}\n{textwrap.dedent(program)}")


def test_numbers_of_samples_differ():
    with pytest.raises(errors.BatchMismatchError, match=r"\[PYL110\]") as caught:
        dataset(sequences(), np.zeros(199))
    assert caught.value.got == "x has 200 samples, y has 199"


def test_joined_rows_are_never_split_silently():
    with pytest.raises(errors.BatchMismatchError, match=r"\[PYL111\]") as caught:
        dataset(np.zeros((600, 3)), np.zeros(20))
    assert caught.value.fix.startswith("np.reshape(x, (20, 30, 3))")


def test_targets_per_step_of_another_length_are_named():
    steps = [np.ones(t) for t in LENGTHS]
    steps[7] = np.ones(LENGTHS[7] + 1)
    with pytest.raises(errors.TimestepError, match=r"\[PYL120\]") as caught:
        dataset(sequences(), steps)
    t = LENGTHS[7]
    assert caught.value.got == f"sample 7: x has {t} steps, y has {t + 1}"


def test_weights_per_step_of_targets_per_sample():
    weights = [np.ones(t) for t in LENGTHS]
    with pytest.raises(errors.TimestepError, match=r"\[PYL120\].*weights are per step") as caught:
        dataset(sequences(), np.ones((200, 2)), sample_weight=weights)
    assert caught.value.expected == "sample_weight with one number per sample, as y"


def test_padded_targets_per_step_are_as_long_as_their_batch():
    steps = [np.full((t, 2), 1.0) for t in LENGTHS]
    for targets in (steps, pad(steps).x):
        for x, y, weights in dataset(sequences(), targets, 20, seed=0):
            longest = int(x.row_lengths().numpy().max())
            assert np.asarray(y).shape == (20, longest, 2)
            np.testing.assert_array_equal(weights.sum(axis=1), x.row_lengths())


@pytest.mark.parametrize("x", [None, (), {}, (None, None), {"a": None}])
def test_no_input(x):
    with pytest.raises(errors.StructureError, match=r"PYL146(.|\n)*got: +x="):
        dataset(x)


@pytest.mark.parametrize("batch_size", [0, -1, None, 2.0])
@pytest.mark.parametrize("y", [None, np.ones(200)])
def test_batch_size_is_a_positive_integer(y, batch_size):
    with pytest.raises(ValueError, match=rf"PYL144(.|\n)*positive integer\n.*got: +{batch_size}"):
        dataset(sequences(), y, batch_size)


@pytest.mark.parametrize("seed", ["a", -1, 1.5])
def test_seed_is_one_of_numpy(seed):
    with pytest.raises(errors.OptionError, match=r"PYL144(.|\n)*expected: seed(.|\n)*got: +"):
        dataset(sequences(), seed=seed)
    dataset(sequences(), shuffle=True, seed=np.random.default_rng(1))


@pytest.mark.parametrize("value", [np.nan, "a", [1.0]])
def test_mask_value_is_one_number(value):
    with pytest.raises(errors.MaskError, match="PYL112"):
        dataset(sequences(), mask_value=value)


def test_text_labels():
    with pytest.raises(errors.DTypeError, match="values are none of these"):
        dataset(sequences(), ["yes"] * 200)


def test_numpys_global_generator_is_drawn_from_for_shuffling_alone():
    np.random.seed(0)
    expected = np.random.get_state()[1:3]
    np.random.seed(0)
    dataset(sequences(), batch_size=32)
    np.testing.assert_equal(np.random.get_state()[1:3], expected)


def test_batches_of_a_dataset_are_ordinary_arrays():
    seqs = data.sequences([3, 6, 1, 6])
    _, y, weight = dataset(seqs, seqs, batch_size=4, shuffle=False)[0]
    padded = pad(seqs)
    for got, want in ((y, padded.x), (weight, padded.mask)):
        assert got.shape == np.zeros(got.shape).shape == pickle.loads(pickle.dumps(got)).shape
        assert got.mean() == pytest.approx(want.mean())
        assert got.std() == pytest.approx(want.std())
        assert str(got).startswith("[[")
        np.testing.assert_array_equal(got, want)


def test_a_dataset_of_no_batch():
    with pytest.raises(errors.OptionError, match="drop_remainder=False"):
        dataset(sequences(), batch_size=201, drop_remainder=True)
    assert len(dataset(sequences(), batch_size=200, drop_remainder=True)) == 1
