"""The NumPy binding: what it checks, how it takes arrays, threads and processes."""

import inspect
import os
import resource
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

from pylstm import _core
from pylstm.ops.numpy import lstm
from pylstm.reference import lstm_forward
from tests.cases import Case, make_inputs, make_output_gradients
from tests.tolerances import assert_close

NAMES = ("x", "h0", "c0", "kernel", "recurrent_kernel", "bias", "mask", "recurrent_dropout")
FULL = Case(batch=2, time=3, features=4, units=5, mask="holes", dropout=True)


def arguments(case=FULL):
    return dict(zip(NAMES, make_inputs(case), strict=True))


@pytest.fixture
def gradients():
    """Arguments of `backward`, with what `forward` saved for it."""
    call = arguments()
    reserve = _core.forward(**call, save_for_backward=True)[3]
    dy, dh, dc = make_output_gradients(FULL)
    return {**call, "reserve": reserve, "dy": dy, "dh": dh, "dc": dc}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_results_have_the_dtype_of_x(dtype):
    case = Case(dtype=dtype)
    inputs = make_inputs(case)
    results = lstm(*inputs[:6])
    for got, exact in zip(results, lstm_forward(*inputs), strict=True):
        assert got.dtype == np.dtype(dtype)
        assert_close(got, exact, dtype)


def unaligned(array):
    memory = np.empty(array.nbytes + 1, np.uint8)[1:]
    copy = memory.view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert not copy.flags.aligned
    return copy


LAYOUTS = {
    "fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: a[..., ::-1].copy()[..., ::-1],
    "transposed": lambda a: a.T.copy().T,
    "big_endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "unaligned": unaligned,
    "read_only": lambda a: np.lib.stride_tricks.as_strided(a, writeable=False),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same_bits(layout, gradients):
    call = arguments()
    changed = {
        name: a if layout in ("big_endian", "unaligned") and a.dtype == bool else LAYOUTS[layout](a)
        for name, a in call.items()
    }
    for got, expected in zip(_core.forward(**changed)[:3], _core.forward(**call)[:3], strict=True):
        np.testing.assert_array_equal(got, expected)
    got = _core.backward(**{**gradients, **changed})
    for one, other in zip(got, _core.backward(**gradients), strict=True):
        np.testing.assert_array_equal(one, other)


def test_any_byte_but_zero_is_true_in_a_mask(gradients):
    """An array of bool has other bytes where it views an image's mask, or another library's."""
    changed = {"mask": (gradients["mask"] * np.uint8(254)).view(bool)}
    expected = _core.forward(**arguments())[:3] + _core.backward(**gradients)
    got = _core.forward(**arguments() | changed)[:3] + _core.backward(**gradients | changed)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_arguments_are_not_written_to(gradients):
    before = {name: a.tobytes() for name, a in gradients.items()}
    _core.backward(**gradients)
    _core.forward(**{name: gradients[name] for name in NAMES}, save_for_backward=True)
    assert {name: a.tobytes() for name, a in gradients.items()} == before


SHAPES = [
    ("x", (2, 3), r"x \(batch, time, features=4\)\n  got: +\(2, 3\) +rank 2, not 3"),
    ("x", (2, 3, 5), r"features=4\)\n  got: +\(2, 3, 5\) +axis 2 is 5, not 4"),
    ("h0", (3, 5), r"h0 \(batch=2, units=5\)\n  got: +\(3, 5\) +axis 0 is 3, not 2"),
    ("c0", (2, 6), r"c0 \(batch=2, units=5\)\n  got: +\(2, 6\) +axis 1 is 6, not 5"),
    ("kernel", (4, 21), r"kernel .*\n  got: +\(4, 21\) +axis 1 is 21, no multiple of 4"),
    ("recurrent_kernel", (6, 20), r"recurrent_kernel .*\n  got: +\(6, 20\) +axis 0 is 6, not 5"),
    ("bias", (5,), r"bias \(4\*units=20\)\n  got: +\(5\) +axis 0 is 5, not 20"),
    ("mask", (2, 4), r"mask \(batch=2, time=3\)\n  got: +\(2, 4\) +axis 1 is 4, not 3"),
    ("recurrent_dropout", (3, 2, 5), r"\(4, batch=2, units=5\)\n  got: +\(3, 2, 5\) +axis 0 is 3"),
]


@pytest.mark.parametrize(("name", "shape", "message"), SHAPES)
def test_shapes_are_checked(name, shape, message):
    call = arguments()
    call[name] = np.zeros(shape, call[name].dtype)
    with pytest.raises(ValueError, match=message):
        _core.forward(**call)


@pytest.mark.parametrize(
    ("name", "shape"), [("dy", (2, 5)), ("dy", (2, 3, 6)), ("dh", (5, 2)), ("dc", (2,))]
)
def test_shapes_of_gradients_are_checked(name, shape, gradients):
    gradients[name] = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=f"the shape of {name} does not fit"):
        _core.backward(**gradients)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "x"])
def test_dtypes_are_checked(name):
    call = arguments()
    call[name] = call[name].astype("float64")
    with pytest.raises(TypeError, match=rf"the dtype of {name} .*\n.*\n  got: +float64"):
        _core.forward(**call)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", np.zeros((2, 3, 4), int), r"float16, bfloat16, float32 or float64\n  got: +int64"),
        ("x", np.zeros((2, 3, 4), ml_dtypes.float8_e5m2), r"got: +float8_e5m2"),
        ("x", [[[1.0]]], r"x is a list, expected a NumPy array"),
        ("h0", None, r"h0 is a NoneType, expected a NumPy array"),
        ("kernel", np.zeros((4, 20), object), r"kernel .*\n.*\n  got: +object"),
    ],
)
def test_only_floating_arrays_are_taken(name, value, message):
    with pytest.raises(TypeError, match=message):
        _core.forward(**{**arguments(), name: value})


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("isa", "mmx", "isa=mmx: this processor runs baseline"),
        ("threads", -1, r"threads is -1, expected 0 \(all cores\) to 1024"),
        ("threads", 2000, "threads is 2000"),
        ("activation", "tan", "unknown activation 'tan'"),
        ("recurrent_activation", "", "unknown recurrent_activation ''"),
    ],
)
def test_options_are_checked(option, value, message):
    with pytest.raises(ValueError, match=message):
        _core.forward(**arguments(), **{option: value})


@pytest.mark.parametrize("reserve", [np.zeros(3, np.uint8), np.zeros((2, 3, 5, 5), np.float64)])
def test_another_calls_reserve_is_refused(reserve, gradients):
    gradients["reserve"] = reserve
    with pytest.raises((TypeError, ValueError), match="reserve"):
        _core.backward(**gradients)


def test_reserve_may_have_been_copied(gradients):
    expected = _core.backward(**gradients)
    gradients["reserve"] = unaligned(gradients["reserve"].view(np.float32)).view(np.uint8)
    for got, exact in zip(_core.backward(**gradients), expected, strict=True):
        np.testing.assert_array_equal(got, exact)


def test_reserve_bytes_is_the_size_of_the_reserve(gradients):
    assert _core.reserve_bytes(2, 3, 5, np.dtype("float32")) == gradients["reserve"].nbytes
    with pytest.raises(ValueError, match="a floating dtype"):
        _core.reserve_bytes(2, 3, 5, np.dtype("int32"))
    with pytest.raises(ValueError, match="reserve_bytes wants sizes"):
        _core.reserve_bytes(2**31, 2**31, 2**10, np.dtype("float32"))


def test_absent_gradients_are_zeros(gradients):
    for name in ("dy", "dh", "dc"):
        absent = _core.backward(**{**gradients, name: None})
        zeros = _core.backward(**{**gradients, name: np.zeros_like(gradients[name])})
        for one, other in zip(absent, zeros, strict=True):
            np.testing.assert_array_equal(one, other)


def test_poison_reaches_what_the_kernel_leaves_unwritten():
    call = arguments(Case(batch=2, time=3, features=4, units=5, mask="all"))
    poisoned = _core.forward(**call, save_for_backward=True, poison=True)
    assert np.isnan(poisoned[3].view(np.float32)).any()  # no step ran, so none was saved
    for got, plain in zip(poisoned[:3], _core.forward(**call)[:3], strict=True):
        np.testing.assert_array_equal(got, plain)


@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (2, 0), (0, 0)])
def test_empty_calls(batch, steps):
    call = arguments(Case(batch=batch, time=steps, features=4, units=5))
    y, h, c, reserve = _core.forward(**call, save_for_backward=True)
    assert y.shape == (batch, steps, 5)
    if steps == 0:
        np.testing.assert_array_equal(h, call["h0"])
        np.testing.assert_array_equal(c, call["c0"])
    gradients = _core.backward(**call, reserve=reserve, dy=y, dh=h, dc=c)
    for gradient, name in zip(gradients, NAMES, strict=False):
        assert gradient.shape == call[name].shape
    assert not gradients[3].any()


def test_rows_beyond_64_bits():
    """An array without elements may claim any size, and there is memory for each of its rows."""
    call = arguments(Case(batch=0, features=0, units=0))
    for name, shape in (("x", (2**58, 0, 0)), ("h0", (2**58, 0)), ("c0", (2**58, 0))):
        call[name] = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match="the call is too large: batch=288230376151711744"):
        _core.forward(**call)


def test_any_number_of_steps_without_a_row():
    call = arguments(Case(batch=0, features=4, units=5))
    call["x"] = np.zeros((0, 2**56, 4), np.float32)
    options = {"return_sequences": False}
    y, h, c, reserve = _core.forward(**call, **options, save_for_backward=True)
    assert y.shape == (0, 5)
    gradients = _core.backward(**call, **options, reserve=reserve, dy=y, dh=h, dc=c)
    assert gradients[0].shape == call["x"].shape
    assert not gradients[3].any()


def test_any_number_of_features_without_a_unit():
    call = arguments(Case(batch=0, features=0, units=0))
    call["x"] = np.zeros((0, 1, 2**50), np.float32)
    call["kernel"] = np.zeros((2**50, 0), np.float32)
    reserve = _core.forward(**call, save_for_backward=True)[3]
    empty = np.zeros((0, 1, 0), np.float32)
    gradients = _core.backward(**call, reserve=reserve, dy=empty, dh=empty[:, 0], dc=empty[:, 0])
    assert gradients[3].shape == call["kernel"].shape


def test_any_number_of_steps_without_a_unit_and_a_feature():
    call = arguments(Case(batch=1, features=0, units=0))
    call["x"] = np.zeros((1, 2**44, 0), np.float32)
    y, h, c, reserve = _core.forward(**call, save_for_backward=True)
    assert y.shape == (1, 2**44, 0)
    gradients = _core.backward(**call, reserve=reserve, dy=y, dh=h, dc=c)
    assert gradients[0].shape == call["x"].shape


def test_out_of_memory_says_how_much_was_asked_for():
    call = arguments(Case(batch=1, features=0, units=4))
    call["x"] = np.zeros((1, 2**44, 0), np.float32)
    size = _core.reserve_bytes(1, 2**44, 4, np.dtype("float32"))
    with pytest.raises(MemoryError, match=f"no memory for {size} bytes"):
        _core.forward(**call, return_sequences=False, save_for_backward=True)


def test_shapes_without_arrays():
    shapes = {name: a.shape for name, a in arguments().items()}
    assert _core.find_mismatch(**shapes) is None
    assert _core.find_mismatch(**{**shapes, "x": (None, None, 4), "mask": None, "h0": None}) is None
    code, expected, got, _ = _core.find_mismatch(**{**shapes, "x": (None, 3, 7)})
    assert code == "PYL103"
    assert expected == "x (batch, time, features=4)"
    assert got.startswith("(?, 3, 7)")
    assert _core.find_mismatch(**{**shapes, "x": (2, 3)})[0] == "PYL101"


def test_calls_from_several_threads_at_once():
    cases = [Case(batch=b, time=20, features=7, units=h) for b, h in ((1, 33), (5, 64), (16, 17))]
    calls = [arguments(case) for case in cases] * 8
    expected = [_core.forward(**call, threads=1) for call in calls]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda call: _core.forward(**call, threads=3), calls))
    for got, exact in zip(results, expected, strict=True):
        for one, other in zip(got[:3], exact[:3], strict=True):
            np.testing.assert_array_equal(one, other)


def test_calls_at_the_same_time_have_scratch_memory_of_their_own():
    """Sizes on both sides of what is kept between calls; each call fills its scratch with NaN."""
    sizes = ((5, 33), (3, 150), (9, 250), (4, 400), (5, 600))
    calls = [arguments(Case(batch=b, time=4, features=64, units=h)) for b, h in sizes] * 6
    expected = [_core.forward(**call, threads=1) for call in calls]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda call: _core.forward(**call, poison=True), calls))
    for got, exact in zip(results, expected, strict=True):
        for one, other in zip(got[:3], exact[:3], strict=True):
            np.testing.assert_array_equal(one, other)


def test_scratch_memory_is_not_mapped_anew_by_each_call():
    call = arguments(Case(batch=4, time=4, units=1500))  # 36 MB of scratch
    _core.forward(**call)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        _core.forward(**call)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 100


def test_scratch_memory_of_layers_that_take_turns_is_not_mapped_anew():
    sizes = (1500, 300)  # 36 MB and 1.5 MB
    calls = [arguments(Case(batch=4, time=4, units=units)) for units in sizes]
    for call in calls:
        _core.forward(**call)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for call in calls * 10:
        _core.forward(**call)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 100


def test_scratch_memory_that_nothing_wants_any_more_is_given_up():
    def mapped():
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith("VmRSS"))
        return int(line.split()[1]) << 10

    small, large = (arguments(Case(batch=4, time=4, units=units)) for units in (30, 3000))
    _core.forward(**large)
    before = mapped()
    for _ in range(200):
        _core.forward(**small)
    assert mapped() < before - (100 << 20)  # of 144 MB


def test_other_threads_run_during_a_call():
    call = arguments(Case(batch=32, time=600, features=64, units=256))
    worker = threading.Thread(target=lambda: _core.forward(**call, threads=1))
    worker.start()
    ticks = 0
    while worker.is_alive():
        time.sleep(0.001)
        ticks += 1
    assert ticks > 5  # with the lock held, there is at most one before and one after


def run_alone(script, *functions, **environment):
    """Runs a script in a process that has loaded the module as `core`, by itself."""
    head = """
        import importlib.util, os, sys, threading
        import numpy as np
        spec = importlib.util.spec_from_file_location("_core", sys.argv[1])
        core = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(core)
        draw = np.random.default_rng(0).standard_normal
        shapes = (32, 50, 8), (32, 64), (32, 64), (8, 256), (64, 256)
        call = [draw(shape, np.float32) for shape in shapes]
    """
    parts = [textwrap.dedent(head), *map(inspect.getsource, functions), textwrap.dedent(script)]
    command = [sys.executable, "-c", "\n".join(parts), _core.__file__]
    finished = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | environment
    )
    assert (finished.returncode, finished.stderr) == (0, "")


def test_the_module_needs_no_framework():
    run_alone(
        """
        core.forward(*call)
        assert not {"tensorflow", "keras", "pylstm"} & set(sys.modules)
        """
    )


def test_a_forked_child_has_threads_of_its_own():
    run_alone(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of such forks
        expected = core.forward(*call, threads=3)[0]
        child = os.fork()
        if child == 0:
            same = np.array_equal(core.forward(*call, threads=3)[0], expected)
            # The pool's two and the main thread.
            os._exit(0 if same and len(os.listdir("/proc/self/task")) == 3 else 1)
        assert os.waitpid(child, 0)[1] == 0
        """
    )


def test_a_forked_child_does_not_wait_for_calls_of_its_parent():
    run_alone(
        """
        import time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of such forks
        shapes = (64, 1000, 8), (64, 64), (64, 64), (8, 256), (64, 256)
        call = [draw(shape, np.float32) for shape in shapes]
        done = False
        def go_on():
            while not done:
                core.forward(*call, threads=2)
        running = threading.Thread(target=go_on)
        running.start()
        time.sleep(0.01)
        child = os.fork()
        if child == 0:
            core.forward(*call, threads=2)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        done = True
        running.join()
        """
    )


def test_calls_without_a_thread_to_start_keep_nothing():
    run_alone(
        """
        import resource
        tasks = len(os.listdir("/proc/self/task"))
        core.forward(*call, threads=1)
        with open("/proc/self/statm") as file:
            mapped = int(file.read().split()[0]) * resource.getpagesize()
        limit = mapped + (6 << 20)  # no room for a thread's stack, nor for what calls leave
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        for _ in range(2500):
            core.forward(*call, threads=1024)
        assert len(os.listdir("/proc/self/task")) == tasks
        """
    )


def test_a_mask_that_changes_during_a_call_spoils_numbers_alone():
    run_alone(
        """
        shapes = (64, 300, 8), (64, 48), (64, 48), (8, 192), (48, 192)
        call = [draw(shape, np.float32) for shape in shapes]
        mask, done = np.zeros((64, 300), bool), False
        def change():
            while not done:
                mask[:] = True
                mask[:] = False
        changing = threading.Thread(target=change)
        changing.start()
        for _ in range(60):
            *_, reserve = core.forward(*call, mask=mask, save_for_backward=True)
            core.backward(*call, None, mask, None, reserve, None, None, None)
        done = True
        changing.join()
        """
    )


def test_short_calls_share_their_work_only_where_they_follow_each_other():
    run_alone(
        """
        import time
        def step():
            core.forward(*call, threads=2)
            return len(os.listdir("/proc/self/task"))
        shapes = (1, 1, 64), (1, 256), (1, 256), (64, 1024), (256, 1024)
        call = [draw(shape, np.float32) for shape in shapes]
        alone = len(os.listdir("/proc/self/task"))
        for _ in range(20):
            time.sleep(0.002)
            assert step() == alone
        for _ in range(2000):
            core.forward(*call, threads=2)
        assert step() == alone + 1
        """
    )


def core_of(task):
    with open(f"/proc/self/task/{task}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[36])


def runs_where_it_is_told_to():
    cores = os.sched_getaffinity(0)
    try:
        for core in cores:
            os.sched_setaffinity(0, {core})
            if core_of(threading.get_native_id()) != core:
                return False
    finally:
        os.sched_setaffinity(0, cores)
    return len(cores) > 1


@pytest.mark.skipif(not runs_where_it_is_told_to(), reason="needs two cores to choose from")
def test_threads_of_a_call_are_on_different_cores():
    """The system may put a thread that it wakes on the core of the one who woke it."""
    run_alone(
        """
        import time
        def tasks():
            return set(os.listdir("/proc/self/task"))
        cores, alone = os.sched_getaffinity(0), tasks()
        core.forward(*call, threads=2)
        (other,) = tasks() - alone
        together = 0
        for _ in range(100):
            time.sleep(0.003)  # until it sleeps
            core.forward(*call, threads=2)
            together += core_of(other) == core_of(threading.get_native_id())
        assert together < 40  # a busy system may move either
        assert os.sched_getaffinity(int(other)) == os.sched_getaffinity(0) == cores
        """,
        core_of,
    )


def test_threads_stay_on_the_cores_that_they_may_run_on():
    run_alone(
        """
        only = {min(os.sched_getaffinity(0))}
        os.sched_setaffinity(0, only)
        alone = set(os.listdir("/proc/self/task"))
        expected = core.forward(*call, threads=1)[0]
        for _ in range(20):
            np.testing.assert_array_equal(core.forward(*call, threads=3)[0], expected)
        others = set(os.listdir("/proc/self/task")) - alone
        assert len(others) == 2
        for task in [0, *others]:
            assert os.sched_getaffinity(int(task)) == only
        """
    )


def test_a_sandbox_may_only_pretend_to_move_a_thread(tmp_path):
    library = tmp_path / "pretend.so"
    source = "int sched_getcpu(void) { return 0; } int sched_setaffinity() { return 0; }"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=source, text=True, check=True)
    run_alone(
        """
        expected = core.forward(*call, threads=1)[0]
        for _ in range(20):
            np.testing.assert_array_equal(core.forward(*call, threads=3)[0], expected)
        """,
        LD_PRELOAD=str(library),
    )


@pytest.mark.skipif(not runs_where_it_is_told_to(), reason="needs two cores to choose from")
def test_a_thread_held_to_one_core_leaves_others_theirs():
    run_alone(
        """
        def hold():
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            core.forward(*call)
        held = threading.Thread(target=hold)
        held.start()
        held.join()
        others = set(os.listdir("/proc/self/task"))
        core.forward(*call)
        assert set(os.listdir("/proc/self/task")) - others
        """
    )


def test_the_process_ends_while_threads_compute():
    run_alone(
        """
        started = threading.Event()
        def compute():
            while True:
                core.forward(*call, threads=4)
                started.set()
        threading.Thread(target=compute, daemon=True).start()
        assert started.wait(60)
        """
    )
