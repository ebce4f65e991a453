"""The CUDA kernels, run on a CPU, against the float64 reference."""

import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from pylstm import reference
from tests.cases import GRADIENTS
from tests.cuda import harness
from tests.cuda.harness import Case

SIZES = {
    "odd": {"batch": 3, "time": 4, "features": 5, "units": 7},
    "aligned": {"batch": 5, "time": 3, "features": 16, "units": 8},
    "one": {"batch": 1, "time": 1, "features": 1, "units": 1},
    "tiles": {"batch": 21, "time": 3, "features": 70, "units": 24},
}
MASKS = ["", "right", "left", "holes"]


def hopper(shim):
    return shim.DeviceProperties(
        compute_capability=90, multiprocessors=132, shared_bytes_per_block=232448, clusters=[16] * 9
    )


def ampere(shim):
    """No clusters, and so few multiprocessors that a group of blocks takes tiles in turn."""
    return shim.DeviceProperties(
        compute_capability=80, multiprocessors=9, shared_bytes_per_block=166912
    )


def one_multiprocessor(shim):
    """So small that the launch-per-step kernel takes its large tiles."""
    return shim.DeviceProperties(
        compute_capability=80, multiprocessors=1, shared_bytes_per_block=48 * 1024
    )


DEVICES = [hopper, one_multiprocessor]


def check(shim, case, device):
    """Forward and backward against the reference, each in two orders of the threads."""
    inputs, output_gradients = case.inputs(), case.output_gradients()
    expected = reference.lstm_forward(**inputs, **case.options())
    outputs = harness.forward(shim, case, device, inputs)
    saving = harness.forward(shim, case, device, inputs, save_for_backward=True, seed=1)
    for name, value in zip("yhc", expected, strict=True):
        assert case.error(outputs[name], value) <= 1, name
        assert outputs[name].tobytes() == saving[name].tobytes(), f"{name} depends on the order"

    expected = reference.lstm_backward(**inputs, **output_gradients, **case.options())
    first, second = (
        harness.backward(shim, case, device, inputs, saving["reserve"], output_gradients, seed=seed)
        for seed in (2, 3)
    )
    for name, value in zip(GRADIENTS, expected, strict=True):
        if value is None:
            assert name not in first
            continue
        assert case.error(first[name], value, backward=True) <= 1, name
        assert first[name].tobytes() == second[name].tobytes(), f"{name} depends on the order"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", harness.DTYPES)
def test_sizes_and_types(shim, dtype, size, device):
    check(shim, Case(dtype=dtype, **SIZES[size]), device(shim))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", ["odd", "tiles"])
def test_tf32(shim, size, device):
    check(shim, Case(allow_tf32=True, **SIZES[size]), device(shim))


def test_the_step_kernel_is_launched_once_where_its_blocks_run_at_once(shim):
    def launches(device, time):
        case = Case(batch=21, units=72, time=time)
        inputs = case.inputs()
        start = shim.launches()
        outputs = harness.forward(shim, case, device, inputs, save_for_backward=True)
        middle = shim.launches()
        harness.backward(shim, case, device, inputs, outputs["reserve"], case.output_gradients())
        return np.array([middle - start, shim.launches() - middle])

    alone = shim.DeviceProperties(
        compute_capability=90,
        multiprocessors=132,
        shared_bytes_per_block=232448,
        cooperative=False,
    )
    for device, more in (hopper(shim), 0), (one_multiprocessor(shim), 6), (alone, 6):
        np.testing.assert_array_equal(launches(device, 9) - launches(device, 3), more)


RESIDENT = [
    # kernel, device, batch, units, and units with TF32, whose weights take twice the room
    ("block", hopper, 3, 7, 7),
    ("block", hopper, 18, 40, 40),
    ("block", ampere, 5, 72, 72),  # from here on with weights in shared memory
    ("block", hopper, 17, 127, 111),
    ("cluster", hopper, 5, 136, 120),
    ("cluster", hopper, 17, 255, 127),
    ("grid", ampere, 5, 136, 104),
    ("grid", ampere, 30, 141, 121),
    ("grid", hopper, 3, 264, 264),
]


@pytest.mark.parametrize(("kernel", "device", "batch", "units", "tf32_units"), RESIDENT)
@pytest.mark.parametrize("mask", ["", "holes"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "tf32"])
def test_resident_kernels(shim, dtype, mask, kernel, device, batch, units, tf32_units):
    sizes = {"batch": batch, "units": units, "time": 3}
    types = {"allow_tf32": True, "units": tf32_units} if dtype == "tf32" else {"dtype": dtype}
    case = Case(mask=mask, go_backwards=bool(mask), **sizes | types)
    device = device(shim)
    chosen, _ = shim.choose_kernel(case.problem(shim, save_for_backward=True), device)
    assert chosen == kernel
    check(shim, case, device)


def test_only_a_grid_has_memory_to_exchange_gradients(shim):
    problem = Case(batch=5, units=136, dtype="float16").problem(shim, save_for_backward=True)
    scattered = shim.DeviceProperties(
        compute_capability=90, multiprocessors=132, shared_bytes_per_block=232448
    )
    devices = {"cluster": hopper(shim), "grid": scattered}
    for kernel, device in devices.items():
        assert shim.choose_kernel(problem, device)[0] == kernel
    cluster, grid = (shim.backward_workspace_bytes(problem, each) for each in devices.values())
    assert grid - cluster == 2 * 5 * 4 * 136 * np.float16().nbytes


@pytest.mark.parametrize(
    ("kernel", "device", "batch", "units"),
    [("block", ampere, 18, 40), ("cluster", hopper, 17, 71), ("grid", ampere, 30, 121)],
)
@pytest.mark.parametrize(
    "options",
    [
        # Smooth ones: where a derivative jumps, a rounded product may be on the other side.
        {"activation": "elu", "recurrent_activation": "softsign", "mask": "left"},
        {"recurrent_dropout": True},
        {"recurrent_dropout": True, "activation": "silu", "mask": "holes"},
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "tf32"])
def test_resident_kernels_with_other_cells(shim, dtype, options, kernel, device, batch, units):
    types = {"allow_tf32": True} if dtype == "tf32" else {"dtype": dtype}
    case = Case(batch=batch, units=units, time=3, **types, **options)
    device = device(shim)
    chosen, _ = shim.choose_kernel(case.problem(shim, save_for_backward=True), device)
    assert chosen == kernel
    check(shim, case, device)


def test_resident_relu(shim):
    """Values, whose rounding errors stay small at the bend."""
    case = Case(dtype="float16", units=40, activation="relu", mask="left")
    inputs = case.inputs()
    outputs = harness.forward(shim, case, hopper(shim), inputs)
    expected = reference.lstm_forward(**inputs, **case.options())
    for name, value in zip("yhc", expected, strict=True):
        assert case.error(outputs[name], value) <= 1, name


def test_resident_grid_with_four_splits(shim):
    check(shim, Case(dtype="float16", batch=2, time=2, units=520), hopper(shim))


@pytest.mark.parametrize("zero_output_for_mask", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_masks(shim, dtype, mask, go_backwards, return_sequences, zero_output_for_mask):
    case = Case(
        dtype=dtype,
        time=6,
        mask=mask,
        go_backwards=go_backwards,
        return_sequences=return_sequences,
        zero_output_for_mask=zero_output_for_mask,
    )
    check(shim, case, hopper(shim))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mask", ["", "holes"])
@pytest.mark.parametrize("dtype", harness.DTYPES)
def test_recurrent_dropout(shim, dtype, mask, device):
    case = Case(dtype=dtype, mask=mask, recurrent_dropout=True, units=11, go_backwards=True)
    check(shim, case, device(shim))
    check(shim, dataclasses.replace(case, units=16, batch=18), device(shim))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_activations(shim, activation, dtype):
    sizes = {"time": 2, "scale": 0.3}  # exponentials of exponentials overflow soon
    check(shim, Case(dtype=dtype, activation=activation, **sizes), hopper(shim))
    check(shim, Case(dtype=dtype, recurrent_activation=activation, **sizes), hopper(shim))


def test_tf32_is_not_tried_where_there_is_none(shim):
    turing = shim.DeviceProperties(
        compute_capability=75, multiprocessors=40, shared_bytes_per_block=65536
    )
    case, exact = Case(allow_tf32=True), Case()
    inputs = case.inputs()
    expected = reference.lstm_forward(**inputs, **case.options())
    outputs = harness.forward(shim, case, turing, inputs)
    assert exact.error(outputs["y"], expected[0]) <= 1


@hypothesis.settings(max_examples=60)
@hypothesis.given(data=strategies.data())
def test_any_problem(shim, data):
    """Sizes, types and options drawn at random, on each device."""
    draw = data.draw
    dtype = draw(strategies.sampled_from([*harness.DTYPES, "tf32"]))
    case = Case(
        batch=draw(strategies.integers(1, 20)),
        time=draw(strategies.integers(1, 5)),
        features=draw(strategies.integers(1, 20)),
        units=draw(strategies.integers(1, 48) | strategies.sampled_from([72, 103, 128])),
        dtype="float32" if dtype == "tf32" else dtype,
        allow_tf32=dtype == "tf32",
        mask=draw(strategies.sampled_from(MASKS)),
        activation=draw(strategies.sampled_from(["tanh", "elu", "silu"])),
        recurrent_activation=draw(strategies.sampled_from(["sigmoid", "softsign"])),
        **{
            name: draw(strategies.booleans())
            for name in (
                "use_bias",
                "recurrent_dropout",
                "go_backwards",
                "return_sequences",
                "zero_output_for_mask",
            )
        },
    )
    check(shim, case, draw(strategies.sampled_from([hopper, ampere, one_multiprocessor]))(shim))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", harness.DTYPES)
def test_inputs_that_are_not_aligned(shim, dtype, device):
    check(shim, Case(dtype=dtype, unaligned=True, **SIZES["aligned"]), device(shim))


def test_a_first_call_may_be_captured(shim):
    """The shim refuses to load a kernel outside of the relaxed mode, and the call goes back."""
    case = Case()
    harness.forward(shim, case, hopper(shim), case.inputs())
    assert shim.captures_strictly()


def test_the_largest_limit_of_shared_memory_stays(shim):
    """The limit is the process's: another thread may be about to launch with it."""
    for units in (128, 104):
        inputs = (case := Case(dtype="float16", units=units)).inputs()
        harness.forward(shim, case, hopper(shim), inputs)


def test_no_bias(shim):
    check(shim, Case(use_bias=False), hopper(shim))


@pytest.mark.parametrize("empty", ["batch", "time", "features"])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_empty(shim, empty, return_sequences):
    check(shim, Case(return_sequences=return_sequences, **{empty: 0}), hopper(shim))


def test_many_steps_split_the_weight_gradient(shim):
    """Over 512 rows and few result tiles: the sums are taken in parts."""
    check(shim, Case(batch=60, time=12, dtype="float64"), hopper(shim))


def test_the_gradient_of_x_has_tiles_both_ways(shim):
    check(shim, Case(batch=50, time=3, features=70), hopper(shim))


def test_absent_output_gradients_are_zeros(shim):
    case, device = Case(mask="right"), hopper(shim)
    inputs = case.inputs()
    reserve = harness.forward(shim, case, device, inputs, save_for_backward=True)["reserve"]
    zeros = {name: np.zeros_like(value) for name, value in case.output_gradients().items()}
    given = harness.backward(shim, case, device, inputs, reserve, zeros)
    absent = harness.backward(shim, case, device, inputs, reserve, dict.fromkeys(zeros))
    for name, value in given.items():
        np.testing.assert_array_equal(value, absent[name], strict=True)


@pytest.mark.parametrize("device", DEVICES)
def test_without_the_gradient_of_x(shim, device):
    case, device = Case(mask="holes"), device(shim)
    inputs, upstream = case.inputs(), case.output_gradients()
    reserve = harness.forward(shim, case, device, inputs, save_for_backward=True)["reserve"]
    all_gradients = harness.backward(shim, case, device, inputs, reserve, upstream)
    start = shim.launches()
    others = harness.backward(shim, case, device, inputs, reserve, upstream, input_gradient=False)
    fewer = shim.launches() - start
    harness.backward(shim, case, device, inputs, reserve, upstream)
    assert shim.launches() - start == 2 * fewer + 1
    assert all_gradients.keys() - others.keys() == {"dx"}
    for name, value in others.items():
        np.testing.assert_array_equal(value, all_gradients[name], strict=True)
