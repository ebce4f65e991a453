"""`python -m tests.cuda.on_gpu RECORD UNTIL`: values and gradients on the GPU against float64.

Every buffer lies between guards and holds NaN until it is written.
"""

import itertools
import pathlib
import subprocess
import sys
import threading

import numpy as np
import torch

from benchmarks.gpu import tasks
from benchmarks.peers.torch_lstm import to_tensor
from pylstm import functional, reference
from pylstm.ops import INPUTS, cuda
from pylstm.ops import torch as torch_ops
from tests.cuda import harness
from tests.cuda.harness import Case

DTYPES = ("float16", "bfloat16", "tf32", "float32", "float64")
# (B, T, F, H); which kernel takes them is for the dispatch to say.
SIZES = [
    (3, 5, 7, 9),
    (1, 1, 1, 1),
    (9, 7, 16, 64),
    (100, 6, 20, 40),
    (300, 4, 12, 64),
    (20, 6, 8, 128),
    (33, 5, 9, 121),
    (17, 5, 10, 256),
    (18, 5, 30, 512),
    (300, 3, 16, 512),
    (2, 3, 5, 650),
    (7, 3, 130, 1024),
    (130, 3, 64, 1500),
]
# Of each resident kernel; float32 and float64 take the one that has a product per step.
LONG_SIZES = [(3, 400, 5, 24), (5, 200, 8, 128), (5, 200, 8, 136), (9, 400, 5, 264)]
VARIANTS = {
    "plain": {},
    "right": {"mask": "right"},
    "left": {"mask": "left", "return_sequences": False},
    "holes": {"mask": "holes", "go_backwards": True, "zero_output_for_mask": True},
    "no bias": {"use_bias": False, "go_backwards": True},
    "dropout": {"recurrent_dropout": True, "mask": "right"},
    "unaligned": {"unaligned": True},
    # No relu: where a derivative jumps, a rounded product may be on the other side.
    "elu": {"activation": "elu", "recurrent_activation": "softsign"},
}
SANITIZED_SIZES = [(3, 3, 5, 7), (9, 3, 8, 40), (9, 3, 8, 104), (3, 3, 8, 264), (2, 2, 9, 1100)]
SANITIZED_VARIANTS = ("plain", "holes", "dropout")


def cases(sizes, variants):
    """Cases by name."""
    named = {}
    for variant, size, dtype in itertools.product(variants, sizes, DTYPES):
        batch, time, features, units = size
        types = {"allow_tf32": True} if dtype == "tf32" else {"dtype": dtype}
        sizes_of_case = {"batch": batch, "time": time, "features": features, "units": units}
        named[f"{variant} {size} {dtype}"] = Case(**sizes_of_case, **types, **VARIANTS[variant])
    return named


def activation_cases():
    """Every activation in either place."""
    return {
        f"{place} {name} {dtype}": Case(dtype=dtype, time=2, scale=0.3, **{place: name})
        for place in ("activation", "recurrent_activation")
        for name in reference.ACTIVATIONS
        for dtype in ("float16", "float32")
    }


def check(case, framework):
    """The largest error of any result or gradient, in units of the tolerance, as a dict.

    Raises:
        AssertionError: A result differs from one call to the next, or something was written
            outside of the buffers.
    """
    inputs, output_gradients = case.inputs(), case.output_gradients()
    tensors = [framework.tensor(inputs[name]) for name in INPUTS]
    upstream = [framework.tensor(value) for value in output_gradients.values()]
    runs = []
    for _ in range(2):
        *outputs, reserve = cuda.forward(
            framework, tensors, save_for_backward=True, **case.options()
        )
        gradients = cuda.backward(framework, tensors, reserve, upstream, **case.options())
        runs.append([framework.numpy(value) for value in (*outputs, *gradients)])
    inference = cuda.forward(framework, tensors, **case.options())[:3]
    framework.assert_guards_intact()

    first, second = runs
    for one, other in itertools.zip_longest(first, second):
        assert _same_bits(one, other), "the second call gave another result"
    for one, other in zip(first, inference, strict=False):
        assert _same_bits(one, framework.numpy(other)), "inference gives another result"
    expected = reference.lstm_forward(**inputs, **case.options())
    expected += reference.lstm_backward(**inputs, **output_gradients, **case.options())
    errors = [
        case.error(result, value, backward=place >= len(outputs))
        for place, (result, value) in enumerate(zip(first, expected, strict=True))
        if value is not None
    ]
    worst = float(np.max(errors))
    return {"error": worst} if worst <= 1 else {"failed": f"{worst:.1f} times the tolerance"}


def _same_bits(one, other):
    return (one is None and other is None) or one.tobytes() == other.tobytes()


class Guarded(torch_ops.Cuda):
    """The framework that `pylstm.ops.cuda` asks for memory: torch, with guards around each buffer.

    Under compute-sanitizer, which sees what leaves an allocation, there must be none.
    """

    def __init__(self, case, device="cuda", guard_bytes=harness.GUARD_BYTES):
        self._device, self._guard_bytes = device, guard_bytes
        self._allow_tf32, self._unaligned = case.allow_tf32, case.unaligned
        self._made = []

    def allow_tf32(self):
        return self._allow_tf32

    def empty(self, shape, dtype, like):
        return self._allocate(shape, getattr(torch, dtype) if dtype else like.dtype)

    def tensor(self, array):
        """An input, between guards, too: what is read beyond it is NaN."""
        if array is None:
            return None
        values = to_tensor(array)
        shift = values.itemsize * self._unaligned
        return self._allocate(values.shape, values.dtype, shift).copy_(values)

    def _allocate(self, shape, dtype, shift=0):
        count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        start = self._guard_bytes + shift
        base = torch.full(
            (start + count + self._guard_bytes,), 255, dtype=torch.uint8, device=self._device
        )
        self._made.append(base)
        return base[start : start + count].view(dtype).reshape(shape)

    def synchronize(self):
        torch.cuda.synchronize()

    def numpy(self, tensor):
        if tensor is None:
            return None
        return (tensor.double() if tensor.is_floating_point() else tensor).cpu().numpy()

    def assert_guards_intact(self):
        for base in self._made if self._guard_bytes else ():
            ends = torch.cat([base[: self._guard_bytes], base[-self._guard_bytes :]])
            assert bool((ends == 255).all()), "written outside of a buffer"


STREAM_SIZES = [(32, 50, 64, 256), (16, 30, 40, 64), (16, 20, 64, 512), (8, 10, 16, 1500)]


def overlapping_calls_agree():
    """Calls of every kernel that overlap, on streams and threads of their own, give what they give
    alone, to the bit."""
    calls = [
        _call(size, dtype, training)
        for size in STREAM_SIZES
        for dtype in ("bfloat16", "float32")
        for training in (False, True)
    ]
    alone = [call() for call in calls]
    torch.cuda.synchronize()
    together = [[] for _ in calls]

    def repeat(i):
        with torch.cuda.stream(torch.cuda.Stream()):
            together[i] += [calls[i]() for _ in range(10)]

    threads = [threading.Thread(target=repeat, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.cuda.synchronize()
    for expected, results in zip(alone, together, strict=True):
        assert len(results) == 10
        assert all(_equal(result, expected) for result in results), "overlapping changes a result"
    return {"calls": 10 * len(calls)}


def a_captured_call_agrees():
    """A call, and a training step, may be captured in a CUDA graph."""
    for size, training in itertools.product(STREAM_SIZES, (False, True)):
        call = _call(size, "bfloat16", training)
        call()  # autograd starts a thread, torch loads kernels of its own
        _capture(call, size)
    return {"graphs": 2 * len(STREAM_SIZES)}


def a_captured_first_call_agrees():
    """Even the first call, which loads the kernel: in a process that has none yet."""
    command = [sys.executable, "-m", "tests.cuda.on_gpu", "--capture"]
    limit = tasks.LIMIT - 15  # it must not outlive this task
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=limit)
    assert done.returncode == 0, done.stderr[-2000:]
    return {"graphs": len(STREAM_SIZES)}


def _capture(call, size):
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = call()
    for value in captured:
        value.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert _equal(captured, call()), f"{size}: the replay gives another result"


def _equal(results, others):
    return all(itertools.starmap(torch.equal, zip(results, others, strict=True)))


def _call(size, dtype, training):
    """A function of no arguments that gives y, and in training the gradients."""
    batch, time, features, units = size
    case = Case(batch=batch, time=time, features=features, units=units, dtype=dtype)
    framework = Guarded(case, guard_bytes=0)
    inputs = case.inputs()
    x, _, _, *weights = [framework.tensor(inputs[name]) for name in INPUTS[:6]]
    dy = framework.tensor(case.output_gradients()["dy"])
    framework.synchronize()
    trained = [x, *weights]

    def step():
        y = functional.lstm(*trained)
        return y.detach(), *torch.autograd.grad(y, trained, dy)

    if not training:
        return lambda: (functional.lstm(*trained),)
    for value in trained:
        value.requires_grad_()
    return step


def cupy_agrees():
    """`pylstm.lstm` on CuPy arrays, on a stream of their own."""
    import cupy

    case = Case(batch=9, time=5, features=4, units=33, mask="right")
    inputs = case.inputs()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        arrays = {n: None if a is None else cupy.asarray(a) for n, a in inputs.items()}
        state = [arrays.pop("h0"), arrays.pop("c0")]
        y = functional.lstm(**arrays, initial_state=state)
        stream.synchronize()
    error = case.error(y.get(), reference.lstm_forward(**inputs)[0])
    assert error <= 1
    return {"error": error}


def all_checks():
    """The most telling first: there may not be time for all."""
    plain, *others = VARIANTS
    yield from _named_checks(cases(SIZES + LONG_SIZES, [plain]))
    yield "overlapping calls", overlapping_calls_agree
    yield "captured calls", a_captured_call_agrees
    yield "a captured first call", a_captured_first_call_agrees
    yield "CuPy", cupy_agrees
    yield from _named_checks(activation_cases() | cases(LONG_SIZES, ["holes"]))
    yield from _named_checks(cases(SIZES, others))


def _named_checks(named):
    for name, case in named.items():
        yield name, lambda case=case: check(case, Guarded(case))


def sanitize():
    """What compute-sanitizer watches."""
    for name, case in cases(SANITIZED_SIZES, SANITIZED_VARIANTS).items():
        result = check(case, Guarded(case, guard_bytes=0))
        if "failed" in result:
            sys.exit(f"{name}: {result['failed']}")
        print(f"checked: {name}", flush=True)


def main():
    if sys.argv[1:] == ["--sanitize"]:
        sanitize()
    elif sys.argv[1:] == ["--capture"]:
        for size in STREAM_SIZES:
            _capture(_call(size, "bfloat16", training=False), size)
    else:
        path, until = pathlib.Path(sys.argv[1]), float(sys.argv[2])
        tasks.work(path, "checks", all_checks(), until, recover=torch.cuda.synchronize)


if __name__ == "__main__":
    main()
