"""The TensorFlow operation: values, gradients, graphs, threads, and what it refuses."""

import functools
import resource
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from pylstm.errors import PylstmError, quoted_error
from pylstm.ops.tensorflow import lstm
from tests import backends
from tests.ops.calls import Call, differentiate

OPTIONS = [
    {},
    {"bias": False},
    {"mask": True},
    {"mask": True, "bias": False, "recurrent_dropout": True},
    {"mask": True, "zero_output_for_mask": True},
    {"recurrent_dropout": True},
    {"go_backwards": True, "mask": True},
    {"return_sequences": False},
    {"return_sequences": False, "mask": True, "zero_output_for_mask": True},
    {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("saving", [True, False], ids=["saving", "recomputing"])
def test_values_and_gradients(options, saving):
    call = Call(dtype="float64", **options)
    call.check(*call.run_with_gradients(save_for_backward=saving))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes(dtype):
    call = Call(dtype=dtype, mask=True, recurrent_dropout=True)
    outputs, gradients = call.run_with_gradients(save_for_backward=True)
    assert {tensor.dtype.name for tensor in (*outputs, *gradients)} == {dtype}
    call.check(outputs, gradients)


@pytest.mark.parametrize("sizes", [(0, 5, 4, 6), (3, 0, 4, 6), (3, 5, 0, 6), (1, 1, 1, 1)], ids=str)
def test_extreme_sizes(sizes):
    call = Call(*sizes, dtype="float64")
    call.check(*call.run_with_gradients(save_for_backward=True))


def test_only_some_outputs_used():
    call = Call(dtype="float64")
    x, *rest = call.tensors
    with tf.GradientTape() as tape:
        tape.watch(x)
        _, _, c = lstm(x, *rest)
        loss = tf.reduce_sum(c * call.output_gradients[2])
    got = tape.gradient(loss, x)
    call.output_gradients[:2] = [tf.zeros_like(gradient) for gradient in call.output_gradients[:2]]
    call.check(*differentiate(call.tensors, call.output_gradients, {}))
    np.testing.assert_array_equal(got, differentiate(call.tensors, call.output_gradients, {})[1][0])


@pytest.mark.parametrize("watched", [True, False])
def test_the_gradient_of_x_is_computed_only_where_it_is_wanted(watched):
    call = Call(dtype="float64", mask=True)
    x, *rest = call.tensors

    @tf.function
    def gradients():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([x, *rest] if watched else rest)
            outputs = lstm(x, *rest, **call.keywords)
        sources = [x, *rest] if watched else rest
        return tape.gradient(outputs, sources, call.output_gradients)

    graph = gradients.get_concrete_function().graph
    (op,) = (op for op in graph.get_operations() if op.type == "PylstmLstmGrad")
    assert op.get_attr("input_gradient") == watched
    assert op.outputs[0].shape == (x.shape if watched else [0])
    _, expected = call.run_with_gradients()
    for got, exact in zip(gradients(), expected[not watched :], strict=True):
        np.testing.assert_array_equal(got, exact)


def test_sparse_gradient_of_the_output():
    """The gradient of `tf.gather` is a `tf.IndexedSlices`."""
    call = Call(dtype="float64")
    dy, dh, dc = call.output_gradients
    rows = tf.one_hot([0, 2], dy.shape[0], dtype=dy.dtype)
    with tf.GradientTape() as tape:
        tape.watch(call.tensors)
        y, h, c = call.run()
        loss = tf.reduce_sum(tf.gather(y, [0, 2]) * tf.gather(dy, [0, 2]))
        loss += tf.reduce_sum(h * dh) + tf.reduce_sum(c * dc)
    gradients = tape.gradient(loss, call.tensors)
    call.output_gradients[0] = dy * tf.reduce_sum(rows, 0)[:, None, None]
    call.check((y, h, c), gradients)


@pytest.mark.parametrize("saving", [True, False], ids=["saving", "recomputing"])
def test_one_graph_for_any_batch_and_time(saving):
    traces = []

    @tf.function(reduce_retracing=True)
    def run(tensors, output_gradients, mask):
        traces.append(1)
        keywords = {"mask": mask, "save_for_backward": saving}
        return differentiate(tensors, output_gradients, keywords)

    signature = run.get_concrete_function(
        [tf.TensorSpec((None, None, 4), tf.float64)]
        + [tf.TensorSpec((None, 6), tf.float64)] * 2
        + [tf.TensorSpec(shape, tf.float64) for shape in ((4, 24), (6, 24), (24,))],
        [tf.TensorSpec((None, None, 6), tf.float64)] + [tf.TensorSpec((None, 6), tf.float64)] * 2,
        tf.TensorSpec((None, None), tf.bool),
    )
    (y, h, c), gradients = signature.structured_outputs
    assert y.shape.as_list() == [None, None, 6]
    assert h.shape.as_list() == c.shape.as_list() == [None, 6]
    assert [g.shape.as_list() for g in gradients[3:]] == [[4, 24], [6, 24], [24]]
    for batch, time in [(3, 5), (1, 1), (7, 2)]:
        call = Call(batch, time, dtype="float64", mask=True)
        call.check(*signature(call.tensors, call.output_gradients, call.keywords["mask"]))
    assert len(traces) == 1


def test_unknown_rank():
    @tf.function(input_signature=[tf.TensorSpec(None, tf.float64)])
    def run(x):
        return lstm(x, *call.tensors[1:])

    call = Call(dtype="float64")
    call.check(run(call.tensors[0]))


def test_static_shapes_come_from_any_input():
    """The batch size is known from h0, the number of features from the kernel."""
    call = Call()

    @tf.function(input_signature=[tf.TensorSpec((None, 5, None), tf.float32)])
    def run(x):
        y, h, _ = lstm(x, *call.tensors[1:])
        assert y.shape.as_list() == [3, 5, 6]
        assert h.shape.as_list() == [3, 6]
        return y

    run(call.tensors[0])


def test_under_dataset_map():
    call = Call(dtype="float64")
    x, *rest = call.tensors
    dataset = (
        tf.data.Dataset.from_tensors(x)
        .repeat(4)
        .map(lambda x: lstm(x, *rest), num_parallel_calls=4)
    )
    results = list(dataset)
    assert len(results) == 4
    for outputs in results:
        call.check(outputs)


def test_under_mirrored_strategy():
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    call = Call(dtype="float64")
    with strategy.scope():
        tensors = [tf.Variable(tensor) for tensor in call.tensors]

    @tf.function
    def step():
        return differentiate([tensor.value() for tensor in tensors], call.output_gradients, {})

    call.check(*strategy.experimental_local_results(strategy.run(step))[0])


def test_the_gradient_is_computed_where_its_reserve_is():
    """What a reserve holds is in the order of the kernels of its device."""
    call = Call(dtype="float64")

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(call.tensors)
            with tf.device("/CPU:1"):
                outputs = lstm(*call.tensors)
        return tape.gradient(outputs, call.tensors, call.output_gradients)

    graph = gradients.get_concrete_function().graph
    devices = {op.type: op.device for op in graph.get_operations()}
    assert devices["PylstmLstmGrad"] == devices["PylstmLstm"] == "/device:CPU:1"


def test_in_a_while_loop():
    """A step at a time, with the state carried by the graph."""
    call = Call(dtype="float64")
    x, h0, c0, *weights = call.tensors

    @tf.function
    def run(x):
        h, c = h0, c0
        for t in tf.range(tf.shape(x)[1]):
            _, h, c = lstm(x[:, t : t + 1], h, c, *weights)
        return h, c

    y, _, _ = call.run()
    h, c = run(x)
    call.check((y, h, c))


def test_several_threads_at_once():
    """Calls large enough to share out to TensorFlow's workers, more of them than there are."""
    calls = [Call(33, 40, 16, 64, seed=seed, mask=True) for seed in range(8)]
    alone = [call.run_with_gradients(save_for_backward=True) for call in calls]
    together = [None] * len(calls)

    def run(i):
        for _ in range(5):
            together[i] = calls[i].run_with_gradients(save_for_backward=True)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for got, expected in zip(together, alone, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, got, expected)


def test_scratch_memory_is_not_mapped_anew_by_each_call():
    call = Call(4, 4, 1500, 1500)  # 72 MB of scratch
    run = functools.partial(lstm, *call.tensors, save_for_backward=False)
    run()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        run()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 100


FULL_QUEUES = """
import faulthandler, threading
import tensorflow as tf
import pylstm

faulthandler.dump_traceback_later(100, exit=True)
tf.config.threading.set_intra_op_parallelism_threads(2)
kernel, recurrent_kernel = tf.ones((16, 64)), tf.ones((16, 64))

@tf.function
def run(x):
    step = lambda x: [pylstm.lstm(x, kernel, recurrent_kernel)]
    return tf.while_loop(lambda x: True, step, [x], maximum_iterations=4000)

matrices = tf.random.normal((4, 800, 800))
threads = [threading.Thread(target=tf.linalg.svd, args=(matrices,)) for _ in range(3)]
for thread in threads:
    thread.start()
run(tf.ones((96, 14, 16)))
for thread in threads:
    thread.join()
"""


def test_workers_that_others_keep_busy():
    """Their queues fill up, and then run what is scheduled in the thread that schedules it."""
    backends.run_python("tensorflow", "-c", FULL_QUEUES)


def test_nothing_is_saved_for_inference():
    call = Call()
    from pylstm._library import load_tensorflow_ops

    op = load_tensorflow_ops().pylstm_lstm
    lists = [call.tensors[5:], [], []]
    assert op(*call.tensors[:5], *lists).reserve.shape == [0]
    assert op(*call.tensors[:5], *lists, save_for_backward=True).reserve.shape == [
        5 * 3 * 5 * 6 * 4
    ]


def test_second_derivative_is_refused_without_keras_loop(monkeypatch):
    """Other backends of Keras have none that TensorFlow can differentiate."""
    call = Call()
    x, *rest = call.tensors
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y, _, _ = lstm(x, *rest, save_for_backward=True)
        dx = inner.gradient(y, x)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(PylstmError, match=r"PYL134(.|\n)*KERAS_BACKEND=tensorflow"):
        outer.gradient(dx, x)


WRONG_SHAPES = {
    # position of the input: (shape, what the message says)
    "x": (0, (3, 5, 7), r"x \(batch, time, features=4\)\n.*\(3, 5, 7\) +axis 2 is 7, not 4"),
    "x of rank 2": (0, (5, 4), r"x \(batch, time, features=4\)\n.*\(5, 4\) +rank 2, not 3"),
    "h0": (1, (2, 6), r"h0 \(batch=3, units=6\)\n.*\(2, 6\) +axis 0 is 2, not 3"),
    "c0": (2, (3, 5), r"c0 \(batch=3, units=6\)\n.*\(3, 5\) +axis 1 is 5, not 6"),
    "kernel": (3, (4, 23), r"kernel \(features, 4\*units\)\n.*axis 1 is 23, no multiple of 4"),
    "recurrent_kernel": (4, (7, 24), r"\(units=6, 4\*units=24\)\n.*axis 0 is 7, not 6"),
    "bias": (5, (6,), r"bias \(4\*units=24\)\n.*\(6\) +axis 0 is 6, not 24"),
    "mask": ("mask", (3, 4), r"mask \(batch=3, time=5\)\n.*axis 1 is 4, not 5"),
    "recurrent_dropout": ("recurrent_dropout", (3, 6), r"\(4, batch=3, units=6\)\n.*rank 2, not 3"),
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
@pytest.mark.parametrize(
    ("wrap", "error"),
    [(lambda run: run, tf.errors.InvalidArgumentError), (tf.function, ValueError)],
    ids=["eager", "graph"],
)
def test_wrong_shapes(name, wrap, error):
    where, shape, message = WRONG_SHAPES[name]
    call = Call(mask=True, recurrent_dropout=True)
    place = call.tensors if isinstance(where, int) else call.keywords
    place[where] = tf.zeros(shape, place[where].dtype)
    with pytest.raises(error, match=f"the shape of {name.split()[0]} does not fit(.|\n)*{message}"):
        wrap(call.run)()


def test_wrong_shape_that_only_the_call_knows():
    call = Call()

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
    def run(x):
        return lstm(x, *call.tensors[1:])

    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        run(tf.zeros((3, 5, 9)))
    error = quoted_error(str(caught.value))
    assert error.code == "PYL103"
    assert error.expected == "x (batch, time, features=4)"
    assert error.got.endswith("axis 2 is 9, not 4")


def test_unknown_activation():
    with pytest.raises(tf.errors.InvalidArgumentError, match="unknown activation 'swoosh'"):
        Call().run(activation="swoosh")


def test_sizes_beyond_64_bits():
    """A tensor without elements may claim any size."""
    _, h0, c0, _, *weights = Call(batch=1).tensors
    x, kernel = tf.zeros((1, 2**60, 0)), tf.zeros((0, 24))
    with pytest.raises(tf.errors.InvalidArgumentError, match="the call is too large"):
        lstm(x, h0, c0, kernel, *weights)


def test_reserve_of_another_call_is_refused():
    from pylstm._library import load_tensorflow_ops

    op = load_tensorflow_ops().pylstm_lstm_grad
    call = Call()
    with pytest.raises(tf.errors.InvalidArgumentError, match="reserve is not this call's"):
        op(
            *call.tensors[:5],
            call.tensors[5:],
            [],
            [],
            tf.zeros(7, tf.uint8),
            *call.output_gradients,
        )
