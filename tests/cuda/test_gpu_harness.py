"""`on_gpu.py` and `benchmarks.gpu.timing` on a CPU: the kernels run through the shim."""

import contextlib
import itertools

import pytest

from benchmarks import problem
from benchmarks.cases import Case
from benchmarks.gpu import report
from benchmarks.gpu.__main__ import DONE
from pylstm.ops import cuda
from tests.cuda import harness

on_gpu = pytest.importorskip("tests.cuda.on_gpu", reason="torch is not installed")
peers = pytest.importorskip("benchmarks.gpu.peers")
reference = pytest.importorskip("benchmarks.gpu.reference")
timing = pytest.importorskip("benchmarks.gpu.timing")


class OnHost(on_gpu.Guarded):
    """torch's CPU tensors, for the shim."""

    def __init__(self, case, **options):
        super().__init__(case, device="cpu", **options)

    def on_device(self, tensor):
        return contextlib.nullcontext()

    def synchronize(self):
        pass

    def current_stream(self, tensor):
        return 0


@pytest.fixture
def shim_in_place(binding, monkeypatch):
    monkeypatch.setattr(cuda, "load_cuda", lambda: binding)
    return binding


SMALL = on_gpu.cases([(3, 3, 5, 7), (5, 3, 4, 40)], on_gpu.VARIANTS)


@pytest.mark.parametrize("name", SMALL)
def test_the_check_passes_on_the_shim(shim_in_place, name):
    result = on_gpu.check(SMALL[name], OnHost(SMALL[name]))
    assert 0 < result["error"] <= 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_what_overlaps_and_is_captured(monkeypatch, dtype):
    """Torch's tensors on the CPU stand for those on a GPU."""
    monkeypatch.setattr(on_gpu, "Guarded", OnHost)
    size = (3, 4, 5, 6)
    (y,) = on_gpu._call(size, dtype, training=False)()
    assert not y.requires_grad
    call = on_gpu._call(size, dtype, training=True)
    first, second = call(), call()
    assert [tuple(value.shape) for value in first] == [
        (3, 4, 6),
        (3, 4, 5),
        (5, 24),
        (6, 24),
        (24,),
    ]
    assert on_gpu._equal(first, second)
    assert on_gpu._equal(first[:1], (y,))
    second[-1].add_(1)
    assert not on_gpu._equal(first, second)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_long_sequence_passes_on_the_shim(shim_in_place, dtype):
    case = harness.Case(dtype=dtype, batch=2, time=200, features=3, units=8)
    assert 0 < on_gpu.check(case, OnHost(case))["error"] <= 1


def test_what_the_sanitizer_watches(shim_in_place, monkeypatch, capsys):
    monkeypatch.setattr(on_gpu, "Guarded", OnHost)
    monkeypatch.setattr(on_gpu, "SANITIZED_SIZES", on_gpu.SANITIZED_SIZES[:2])
    on_gpu.sanitize()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(on_gpu.SANITIZED_VARIANTS) * len(on_gpu.DTYPES)
    assert all(line.startswith(DONE) for line in lines)


def test_the_check_sees_a_wrong_number(shim_in_place, monkeypatch):
    right = on_gpu.reference.lstm_forward

    def wrong(*args, **options):
        return tuple(1.001 * value for value in right(*args, **options))

    monkeypatch.setattr(on_gpu.reference, "lstm_forward", wrong)
    case = harness.Case()
    assert "times the tolerance" in on_gpu.check(case, OnHost(case))["failed"]


def test_the_check_sees_what_was_not_written(shim_in_place, monkeypatch):
    """y is left as it came: NaN."""
    forward = cuda.forward

    def unwritten(framework, tensors, **options):
        y, *others = forward(framework, tensors, **options)
        return framework.empty(y.shape, None, y), *others

    monkeypatch.setattr(cuda, "forward", unwritten)
    case = harness.Case()
    assert "inf times the tolerance" in on_gpu.check(case, OnHost(case))["failed"]


def test_the_check_sees_what_was_written_outside(shim_in_place):
    class TooSmall(OnHost):
        def empty(self, shape, dtype, like):
            if len(shape) == 3:  # y
                shape = (shape[0] - 1, *shape[1:])
            return super().empty(shape, dtype, like)

    case = harness.Case(dtype="float16")
    with pytest.raises(AssertionError, match="written outside of a buffer"):
        on_gpu.check(case, TooSmall(case))


def test_the_check_sees_a_result_that_moves(shim_in_place, monkeypatch):
    forward, count = cuda.forward, itertools.count()

    def moving(framework, tensors, **options):
        y, *others = forward(framework, tensors, **options)
        y.view(-1)[0] += 1e-3 * next(count)
        return y, *others

    monkeypatch.setattr(cuda, "forward", moving)
    with pytest.raises(AssertionError, match="the second call gave another result"):
        on_gpu.check(harness.Case(), OnHost(harness.Case()))


CASES = [
    Case("test", 5, 7, 4, 6, dtype=dtype) for dtype in ("float32", "tf32", "float16", "bfloat16")
] + [
    Case("test", 5, 7, 4, 6, padding="right"),
    Case("test", 5, 7, 4, 6, padding="left", use_bias=False),
    Case("test", 5, 7, 4, 6, activation="relu"),
    Case("test", 5, 7, 4, 6, recurrent_dropout=0.5),
]


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_timings_reference_is_the_benchmarks(case, mode):
    drawn = problem.draw_problem(case)
    expected = problem.reference_results(drawn, mode)
    results = reference.results(drawn, mode, "cpu")
    assert results.keys() == expected.keys()
    assert problem.largest_error(drawn, results, expected) < 1e-12


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_timings_on_a_cpu(shim_in_place, monkeypatch, case, mode):
    """All of it but the device: torch's CPU kernels stand for cuDNN, ours for the CUDA kernels."""
    monkeypatch.setattr(peers, "DEVICE", "cpu")
    monkeypatch.setattr(timing, "TURN", 1e-5)
    timed = timing.measure(case, mode)
    packed = "refused" not in timed["peers"]["cudnn"]
    assert packed == (
        case.padding != "left" and case.activation == "tanh" and not case.recurrent_dropout
    )
    expected = {"pylstm"} | ({"cudnn"} if packed else set())
    expected |= {"cudnn_unpacked"} if case.padding == "right" else set()
    assert {name for name in timed["peers"] if report.median(timed, name)} == expected
    assert timed["peers"]["keras_layer"] == {"refused": "TensorFlow finds no GPU"}
    assert timed["kernel"] in report.FLOORS


def test_a_wrong_result_has_no_time(shim_in_place, monkeypatch):
    monkeypatch.setattr(peers, "DEVICE", "cpu")
    right = timing.reference.results

    def wrong(*args):
        return {name: value + 1 for name, value in right(*args).items()}

    monkeypatch.setattr(timing.reference, "results", wrong)
    timed = timing.measure(CASES[0], "inference")
    assert "wrong: error" in timed["peers"]["pylstm"]["failed"]
    assert report.median(timed, "pylstm") is None


def test_a_peer_that_fails_says_why(shim_in_place, monkeypatch):
    monkeypatch.setattr(peers, "DEVICE", "cpu")

    def fails(problem, mode):
        raise MemoryError("too large")

    monkeypatch.setattr(peers.PEERS["cudnn"], "prepare", fails)
    timed = timing.measure(CASES[0], "inference")
    assert timed["peers"]["cudnn"] == {"failed": "MemoryError: too large"}
    assert report.median(timed, "pylstm")


def test_every_peer_has_a_title():
    assert list(report.TITLES) == list(peers.PEERS)
