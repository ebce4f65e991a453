"""Inference on variables packs the weights once, until they change."""

import ctypes
import resource
import threading

import numpy as np
import pytest
import tensorflow as tf

import pylstm
from tests.ops.calls import Call

KERNEL, RECURRENT_KERNEL = 3, 4  # among a call's tensors


def on_variables(**sizes):
    """A call whose weights are variables."""
    call = Call(**sizes)
    for i in (KERNEL, RECURRENT_KERNEL):
        call.tensors[i] = tf.Variable(call.tensors[i])
    return call


def infer(call):
    return [output.numpy() for output in call.run(save_for_backward=False)]


def infer_in_graph(call):
    return call.run(save_for_backward=False)[0]


def infer_on_tensors(call):
    """The same results, from weights of which nothing can be kept."""
    variables = call.tensors
    call.tensors = [tf.convert_to_tensor(tensor) for tensor in variables]
    results = infer(call)
    call.tensors = variables
    return results


def assert_up_to_date(call):
    for _ in range(2):
        for got, want in zip(infer(call), infer_on_tensors(call), strict=True):
            np.testing.assert_array_equal(got, want)


def write_behind_tensorflows_back(variable, value):
    """Fills the variable's buffer as no operation does."""

    class Exported:
        def __dlpack__(self, **_):
            return tf.experimental.dlpack.to_dlpack(variable.value())

        def __dlpack_device__(self):
            return 1, 0  # the CPU

    address = np.from_dlpack(Exported()).ctypes.data
    count = int(np.prod(variable.shape))
    (ctypes.c_float * count).from_address(address)[:] = [value] * count


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"units": 16, "features": 1},
        {"units": 37, "features": 130, "batch": 7},  # x W comes ahead
        {"units": 50, "features": 13, "batch": 40, "mask": True},
        {"units": 33, "features": 0},
        {"units": 5, "bias": False, "go_backwards": True},
        {"units": 5, "recurrent_dropout": True},
        {"units": 70, "batch": 1, "time": 1},
    ],
    ids=str,
)
def test_same_bits_as_from_tensors(sizes, dtype):
    call = on_variables(**{"dtype": dtype, **sizes})
    assert_up_to_date(call)
    call.check(call.run(save_for_backward=False))


@pytest.mark.parametrize("changed", [KERNEL, RECURRENT_KERNEL])
def test_weights_are_packed_once(changed):
    call = on_variables()
    first = infer(call)
    write_behind_tensorflows_back(call.tensors[changed], 0.25)
    for got, want in zip(infer(call), first, strict=True):
        np.testing.assert_array_equal(got, want)
    call.tensors[changed].assign_add(tf.zeros_like(call.tensors[changed]))
    assert_up_to_date(call)
    assert not np.array_equal(infer(call)[0], first[0])


def test_a_layer_has_its_weights_packed_once():
    x = np.ones((3, 5, 4), np.float32)  # small calls read the weights in place
    layer = pylstm.LSTM(8)
    first = layer(x).numpy()
    for variable in (layer.cell.kernel.value, layer.cell.recurrent_kernel.value):
        write_behind_tensorflows_back(variable, 0.25)
    np.testing.assert_array_equal(layer(x), first)


def test_weights_of_the_same_sizes_are_told_apart():
    calls = [on_variables(seed=seed) for seed in (0, 1)]
    calls.append(on_variables(seed=1))
    calls[2].tensors[KERNEL] = calls[0].tensors[KERNEL]
    for call in [*calls, *calls]:
        assert_up_to_date(call)


def test_training_packs_its_weights_itself():
    call = on_variables()
    call.run(save_for_backward=True)
    write_behind_tensorflows_back(call.tensors[KERNEL], 0.25)
    assert_up_to_date(call)


CHANGES = {
    "assign": lambda v: v.assign(v + 0.1),
    "assign_add": lambda v: v.assign_add(tf.fill(v.shape, 0.1)),
    "slice": lambda v: v[1, 2:5].assign(v[1, 2:5] + 0.1),
    "scatter": lambda v: v.scatter_nd_add([[1, 2]], [0.1]),
    "optimizer": lambda v: tf.raw_ops.ResourceApplyGradientDescent(
        var=v.handle, alpha=0.1, delta=tf.ones(v.shape)
    ),
    "sparse optimizer": lambda v: tf.raw_ops.ResourceSparseApplyProximalGradientDescent(
        var=v.handle, alpha=0.1, l1=0.0, l2=0.0, grad=tf.ones((1, v.shape[1])), indices=[2]
    ),
}


@pytest.mark.parametrize("changed", [KERNEL, RECURRENT_KERNEL])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
def test_changed_weights_are_packed_anew(change, changed, in_graph):
    call = on_variables()
    variable = call.tensors[changed]

    def update():
        CHANGES[change](variable)

    if in_graph:
        update = tf.function(update)
    for _ in range(3):
        before = infer(call)[0]
        update()
        assert_up_to_date(call)
        assert not np.array_equal(infer(call)[0], before)


def test_a_graph_that_changes_its_weights():
    call = on_variables()
    kernel = call.tensors[KERNEL]

    @tf.function
    def run():
        first = call.run(save_for_backward=False)[0]
        kernel.assign_add(tf.ones_like(kernel))
        return first, call.run(save_for_backward=False)[0]

    for _ in range(3):
        wanted = [infer_on_tensors(call)[0]]
        got = run()
        wanted.append(infer_on_tensors(call)[0])
        for output, right in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(output, right)


def test_weights_change_while_others_read_them():
    """Each result is that of the old kernel or of the new one."""
    call = on_variables(units=40, features=20, time=9)
    kernel, results = call.tensors[KERNEL], []
    values = [tf.fill(kernel.shape, value) for value in (0.1, -0.2)]
    for value in values:
        kernel.assign(value)
        results.append(infer_on_tensors(call)[0])
    wrong = []

    def read():
        for _ in range(300):
            y = infer(call)[0]
            if not any(np.array_equal(y, right) for right in results):
                wrong.append(y)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    while any(reader.is_alive() for reader in readers):
        for value in values:
            kernel.assign(value)
    assert not wrong


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("how", ["changed", "deleted", "shared", "used twice at once"])
def test_memory_of_old_weights_is_given_back(how):
    """Allocators keep it for what comes next, so memory grows for a few rounds alone."""
    settled, rounds, weights = 4, 12, 4 * 4 * 1024**2
    sizes = {"units": 1024, "features": 1, "batch": 1, "time": 9}

    def use():
        call = on_variables(**sizes)
        infer(call)
        return call

    call = use()
    calls, run = [call], infer
    if how == "shared":
        calls.append(on_variables(**sizes))
        calls[1].tensors[RECURRENT_KERNEL] = call.tensors[RECURRENT_KERNEL]
    elif how == "used twice at once":
        other = on_variables(**sizes, seed=1)  # lest TensorFlow run one operation for both
        other.tensors[KERNEL:] = call.tensors[KERNEL:]
        run = tf.function(lambda _: (infer_in_graph(call), infer_in_graph(other)))
    for number in range(settled + rounds):
        if number == settled:
            before = resident_bytes()
        if how == "deleted":
            calls = [use()]
            continue
        kernel = call.tensors[RECURRENT_KERNEL]
        kernel.assign(tf.zeros_like(kernel))
        for each in calls:
            run(each)
    assert resident_bytes() - before < rounds / 2 * weights
