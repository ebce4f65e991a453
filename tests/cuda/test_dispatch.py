"""Which kernel runs what on which GPU, without any of them."""

import pytest

from tests.cuda.harness import Case

HOPPER = [16] * 6 + [18] * 2
# compute capability, multiprocessors, shared memory per block with opt-in, and where clusters are
# known, how many multiprocessors lie side by side
DEVICES = {
    "T4": (75, 40, 65536, []),
    "A100": (80, 108, 166912, []),
    "RTX 3060": (86, 28, 101376, []),
    "H100": (90, 132, 232448, HOPPER),
    "H100 in parts": (90, 16, 232448, [9, 7]),
    "scattered": (110, 20, 232448, [5] * 4),
    "H200": (90, 132, 232448, HOPPER),
    "B200": (100, 148, 232448, [18] * 6 + [20] * 2),
}


def choose(shim, device, case, *, ask="choose_kernel", **properties):
    capability, multiprocessors, shared, neighbours = DEVICES[device]
    properties = shim.DeviceProperties(
        compute_capability=capability,
        multiprocessors=multiprocessors,
        shared_bytes_per_block=shared,
        clusters=[0, *(sum(n // blocks for n in neighbours) for blocks in range(1, 9))],
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
        ("scattered", 32, 160, "cluster"),
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


@pytest.mark.parametrize(("units", "clusters"), [(256, 16), (224, 16), (192, 18), (160, 24)])
def test_half_tiles_where_all_run_at_once(shim, units, clusters):
    """Clusters of five to eight blocks."""

    def rows(batch):
        case = Case(dtype="float16", batch=batch, units=units)
        return choose(shim, "H100", case, ask="tile_rows")

    assert [rows(8 * clusters), rows(8 * clusters + 1)] == [8, 16]


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


def test_clusters_of_each_size_are_counted(shim):
    properties = shim.device_properties(clusters=3)
    assert properties.clusters == [0, 0, 12, 6, 6, 3, 3, 3, 3]
