"""Which kernel runs what on which GPU, without any of them."""

import pytest

from tests.cuda.harness import Case

# compute capability, multiprocessors, shared memory per block with opt-in, clusters at once
DEVICES = {
    "T4": (75, 40, 65536, 0),
    "A100": (80, 108, 166912, 0),
    "RTX 3060": (86, 28, 101376, 0),
    "H100": (90, 132, 232448, 16),
    "H100 in parts": (90, 16, 232448, 1),
    "scattered": (110, 20, 232448, 0),  # never eight multiprocessors side by side
    "H200": (90, 132, 232448, 16),
    "B200": (100, 148, 232448, 16),
}


def choose(shim, device, case, *, ask="choose_kernel", **properties):
    capability, multiprocessors, shared, clusters = DEVICES[device]
    properties = shim.DeviceProperties(
        compute_capability=capability,
        multiprocessors=multiprocessors,
        shared_bytes_per_block=shared,
        clusters=clusters,
        **properties,
    )
    return getattr(shim, ask)(case.problem(shim, save_for_backward=True), properties)


@pytest.mark.parametrize(
    ("device", "batch", "units", "kernel"),
    [
        ("T4", 32, 64, "step"),
        ("A100", 32, 64, "block"),
        ("A100", 32, 128, "block"),
        ("A100", 4096, 128, "block"),
        ("A100", 32, 129, "grid"),
        ("A100", 32, 256, "grid"),
        ("A100", 32, 1024, "grid"),
        ("A100", 1024, 1024, "step"),
        ("RTX 3060", 32, 64, "block"),
        ("RTX 3060", 32, 112, "block"),
        ("RTX 3060", 32, 128, "grid"),
        ("RTX 3060", 32, 256, "grid"),
        ("RTX 3060", 32, 512, "grid"),
        ("RTX 3060", 32, 1024, "step"),
        ("H100", 1, 1, "block"),
        ("H100", 32, 64, "block"),
        ("H100", 32, 128, "block"),
        ("H100", 32, 136, "cluster"),
        ("H100", 4096, 256, "cluster"),
        ("H100", 32, 512, "grid"),
        ("H100 in parts", 32, 256, "cluster"),
        ("scattered", 32, 128, "block"),
        ("scattered", 32, 256, "grid"),
        ("scattered", 1024, 256, "step"),
        ("scattered", 32, 650, "step"),
        ("H200", 32, 1024, "grid"),
        ("H200", 32, 1032, "step"),
        ("H200", 32, 650, "grid"),
        ("B200", 32, 256, "cluster"),
        ("B200", 32, 1024, "grid"),
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sizes(shim, device, batch, units, kernel, dtype):
    chosen, reason = choose(shim, device, Case(dtype=dtype, batch=batch, units=units))
    assert chosen == kernel, reason


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dtype": "float64"}, "float64"),
        ({"dtype": "float32"}, "true float32"),
        ({"dtype": "float16", "batch": 0}, "nothing to compute"),
    ],
)
def test_what_only_the_step_kernel_does(shim, device, options, reason):
    kernel, given = choose(shim, device, Case(**options))
    assert kernel == "step"
    assert (reason if device != "T4" else "compute capability 8.0") in given


@pytest.mark.parametrize(
    "options",
    [{"activation": "relu"}, {"recurrent_activation": "hard_sigmoid"}, {"recurrent_dropout": True}],
)
def test_other_cells(shim, options):
    assert choose(shim, "A100", Case(dtype="float16", units=64, **options))[0] == "block"
    assert choose(shim, "A100", Case(dtype="float16", units=65, **options))[0] == "grid"
    assert choose(shim, "H100", Case(dtype="float16", units=65, **options))[0] == "cluster"
    assert choose(shim, "H100", Case(dtype="float16", units=1024, **options))[0] == "grid"


def test_tf32_takes_twice_the_registers(shim):
    assert choose(shim, "H100", Case(allow_tf32=True, units=64))[0] == "block"
    assert choose(shim, "H100", Case(allow_tf32=True, units=112))[0] == "block"
    assert choose(shim, "H100", Case(allow_tf32=True, units=113))[0] == "cluster"
    assert choose(shim, "A100", Case(allow_tf32=True, units=88))[0] == "block"
    assert choose(shim, "A100", Case(allow_tf32=True, units=89))[0] == "grid"
    assert choose(shim, "H100", Case(allow_tf32=True, units=512))[0] == "grid"
    assert choose(shim, "H100", Case(allow_tf32=True, units=520))[0] == "step"


@pytest.mark.parametrize(
    ("batch", "units", "small"),
    [
        (32, 1024, (True, True)),  # 64 and 16 large tiles, beside 132 multiprocessors
        (256, 1024, (False, True)),  # 256 and 64
        (1024, 1024, (False, False)),  # 1024 and 256
    ],
)
def test_tiles_occupy_every_multiprocessor(shim, batch, units, small):
    case = Case(dtype="float32", batch=batch, units=units)
    assert choose(shim, "H200", case, ask="small_tiles") == small


def test_without_cooperative_launches(shim):
    def kernel(units):
        case = Case(dtype="float16", batch=32, units=units)
        return choose(shim, "H100", case, cooperative=False)

    assert [kernel(units)[0] for units in (128, 256, 512)] == ["block", "cluster", "step"]
    assert "no cooperative launches" in kernel(512)[1]


@pytest.mark.parametrize(
    ("device", "kernel"),
    [
        ({}, "cluster"),
        # PTX for 8.0 runs on a Hopper GPU, too, but knows no clusters.
        ({"compiled_capability": 80}, "grid"),
        ({"clusters": 0}, "grid"),
        ({"clusters": -1}, "grid"),  # not even an answer
        ({"clusters": 0, "cooperative": 0}, "step"),
    ],
)
def test_what_the_device_says_of_itself(shim, device, kernel):
    properties = shim.device_properties(**device)
    case = Case(dtype="float16", batch=32, units=256)
    assert shim.choose_kernel(case.problem(shim, save_for_backward=False), properties)[0] == kernel
    assert shim.last_error() == 0
    assert shim.captures_strictly()
