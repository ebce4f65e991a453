"""`pylstm.lstm` on every framework: values, gradients, and the same errors."""

import sys

import numpy as np
import pandas as pd
import pytest

import pylstm
from pylstm import errors
from pylstm.ops import load_ops
from pylstm.reference import lstm_backward, lstm_forward
from tests.cases import GRADIENTS, RESULTS, Case, make_inputs, make_output_gradients
from tests.functional import frameworks
from tests.tolerances import assert_close


@pytest.fixture(params=frameworks.FRAMEWORKS)
def framework(request):
    return frameworks.load(request.param)


@pytest.fixture(params=[name for name in frameworks.FRAMEWORKS if name != "numpy"])
def differentiable(request):
    return frameworks.load(request.param)


class Call:
    """A case's inputs as a framework's arrays, and the call of `pylstm.lstm` with them."""

    def __init__(self, framework, case):
        self.framework, self.case = framework, case
        self.inputs = make_inputs(case)
        *tensors, mask, dropout = self.inputs
        self.tensors = [framework.array(value) for value in tensors if value is not None]
        self.keywords = dict(case.options)
        if mask is not None:
            self.keywords["mask"] = framework.array(mask)
        if dropout is not None:
            self.keywords["recurrent_dropout"] = framework.array(dropout)

    def __call__(self, x, h0, c0, *weights):
        return pylstm.lstm(x, *weights, initial_state=[h0, c0], return_state=True, **self.keywords)

    def check(self, results):
        exact = lstm_forward(*self.inputs, **self.case.options)
        for name, got, right in zip(RESULTS, results, exact, strict=True):
            got = self.framework.numpy(got)
            assert got.dtype == np.dtype(self.case.dtype)
            assert_close(got, right, self.case.dtype, what=f"{self.framework.name} {name}")


CASES = [
    Case(dtype="float16", mask="right"),
    Case(dtype="bfloat16"),
    Case(dtype="float32", bias=False, dropout=True, options={"return_sequences": False}),
    Case(
        dtype="float64",
        mask="holes",
        dropout=True,
        options={
            "go_backwards": True,
            "zero_output_for_mask": True,
            "activation": "softsign",
            "recurrent_activation": "hard_sigmoid",
        },
    ),
    Case(batch=1, time=1, features=1, units=1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values(framework, case):
    call = Call(framework, case)
    call.check(call(*call.tensors))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients(differentiable, case):
    call = Call(differentiable, case)
    output_gradients = make_output_gradients(case)
    gradients = differentiable.gradients(
        call, call.tensors, [differentiable.array(value) for value in output_gradients]
    )
    exact = lstm_backward(*call.inputs, *output_gradients, **case.options)
    for name, got, right in zip(GRADIENTS, gradients, exact, strict=False):
        got = differentiable.numpy(got)
        assert_close(got, right, case.dtype, backward=True, what=f"{differentiable.name} {name}")


def test_defaults(framework):
    """Zeros as states, and y alone."""
    case = Case(bias=False)
    x, h0, c0, kernel, recurrent_kernel, *_ = make_inputs(case)
    y = pylstm.lstm(*map(framework.array, (x, kernel, recurrent_kernel)))
    exact, _, _ = lstm_forward(x, 0 * h0, 0 * c0, kernel, recurrent_kernel)
    assert_close(framework.numpy(y), exact, case.dtype)


def test_the_module_has_the_defaults_of_the_function(framework):
    arrays = [framework.array(value) for value in make_inputs(Case())[:6]]
    x, h0, c0, *weights = arrays
    got = load_ops(framework.name).lstm(*arrays)
    expected = pylstm.lstm(x, *weights, initial_state=[h0, c0], return_state=True)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(framework.numpy(one), framework.numpy(other))


def test_options_need_not_be_bools(framework):
    x, _, _, *weights, _, _ = make_inputs(Case())
    arrays = [framework.array(value) for value in (x, *weights)]
    options = ("go_backwards", "return_sequences", "zero_output_for_mask")
    for value in (1, np.True_, None):
        got = pylstm.lstm(*arrays, **dict.fromkeys(options, value))
        expected = pylstm.lstm(*arrays, **dict.fromkeys(options, bool(value)))
        np.testing.assert_array_equal(framework.numpy(got), framework.numpy(expected))


@pytest.mark.parametrize("kind", ["list", "numpy", "own"])
def test_lengths(framework, kind):
    case = Case(batch=3, time=5, dtype="float64")
    x, h0, c0, *weights, _, _ = make_inputs(case)
    mask = np.array([[1, 0, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1]], bool)
    lengths = {"list": [5, 3, 0], "numpy": np.array([5, 3, 0])}.get(kind)
    if lengths is None:
        lengths = framework.array(np.array([5, 3, 0], np.int32))
    within = np.arange(5) < np.array([[5], [3], [0]])
    for given, wanted in ((None, within), (mask, within & mask)):
        results = pylstm.lstm(
            framework.array(x),
            *map(framework.array, weights),
            initial_state=(framework.array(h0), framework.array(c0)),
            mask=None if given is None else framework.array(given),
            lengths=lengths,
            return_state=True,
        )
        exact = lstm_forward(x, h0, c0, *weights, wanted)
        for got, right in zip(results, exact, strict=True):
            assert_close(framework.numpy(got), right, case.dtype)


@pytest.mark.parametrize(
    "lengths",
    [
        (2, 1),
        range(2, 0, -1),
        [2.0, 1.0],
        pd.Series([2, 1]),
        np.array([2, 1]),
        np.array([2, 1], np.uint32),
        np.array([2, 1], ">i4"),
        "tensorflow",
        "jax",
        "torch",
    ],
)
@pytest.mark.filterwarnings("error:__array__ implementation")
def test_lengths_and_masks_of_other_kinds(framework, lengths):
    x, kernel, recurrent_kernel = np.ones((2, 3, 4)), np.ones((4, 20)), np.ones((5, 20))
    mask = np.array([[0, 1, 1], [1, 1, 1]], bool)
    right = pylstm.lstm(x, kernel, recurrent_kernel, mask=mask & (np.arange(3) < [[2], [1]]))
    if isinstance(lengths, str):
        lengths = frameworks.load(lengths).array(np.array([2, 1]))
    own = framework.array
    for arrays in ((own(x), kernel, mask), (x, own(kernel), mask), (x, own(kernel), own(mask))):
        y = pylstm.lstm(*arrays[:2], recurrent_kernel, mask=arrays[2], lengths=lengths)
        assert_close(framework.numpy(y), right, "float64")
    assert pylstm.lstm(own(x[:0]), kernel, recurrent_kernel, lengths=[]).shape == (0, 3, 5)


def test_masked_lengths_are_refused(framework):
    lengths = np.ma.array([1, 2], mask=[False, True])
    x = framework.array(np.ones((2, 3, 4)))
    with pytest.raises(errors.MaskError, match=r"PYL113(.|\n)*lengths a masked array \(2,\)"):
        pylstm.lstm(x, np.ones((4, 20)), np.ones((5, 20)), lengths=lengths)


def test_swapped_bytes(framework):
    x, kernel, recurrent_kernel = (
        (np.arange(n) / n).reshape(shape).astype("float32")
        for n, shape in ((24, (2, 3, 4)), (80, (4, 20)), (100, (5, 20)))
    )
    right = pylstm.lstm(x, kernel, recurrent_kernel)
    for swapped in (x, kernel):
        arrays = [framework.array(a) for a in (x, kernel, recurrent_kernel) if a is not swapped]
        arrays.insert(0 if swapped is x else 1, swapped.astype(">f4"))
        assert_close(framework.numpy(pylstm.lstm(*arrays)), right, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "value"), [("mask", [[True, False, True]] * 2), ("bias", [0.5] * 20)]
)
def test_lists_made_arrays_as_the_error_says(name, value, dtype):
    arguments = {
        "x": np.ones((2, 3, 4), dtype),
        "kernel": np.ones((4, 20), dtype),
        "recurrent_kernel": np.ones((5, 20), dtype),
    }
    with pytest.raises(errors.DTypeError, match="PYL142") as caught:
        pylstm.lstm(**arguments, **{name: value})
    line = caught.value.fix.partition("     ")[0]
    pylstm.lstm(**arguments, **{name: eval(line, {"np": np, name: value})})


def test_numpy_arrays_among_a_frameworks(framework):
    case = Case(mask="right")
    call = Call(framework, case)
    x, h0, c0, *weights = call.inputs[:6]
    call.keywords["mask"] = call.inputs[6]
    results = call(x, h0, c0, *map(framework.array, weights))
    assert type(results[0]) is type(call.tensors[0])
    call.check(results)


def aligned(array):
    """A copy where every framework could share its memory."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[:] = array
    return copy


def test_numpy_arrays_may_be_written_over_before_the_gradient(differentiable):
    call = Call(differentiable, Case(mask="holes"))
    x, h0, c0, *weights = call.inputs[:6]
    weights = [differentiable.array(weight) for weight in weights]
    results = []
    for changed in (None, 0, 1, 2, "mask"):
        shared = [aligned(array) for array in (x, h0, c0)]
        mask = call.keywords["mask"] = aligned(call.inputs[6])

        def outputs(*weights, shared=shared, mask=mask, changed=changed):
            results = call(*shared, *weights)
            if changed is not None:
                (mask if changed == "mask" else shared[changed])[:] = 1
            return results

        ones = [differentiable.array(value) for value in make_output_gradients(call.case)]
        results.append(differentiable.gradients(outputs, weights, ones))
    for changed in results[1:]:
        for got, right in zip(changed, results[0], strict=True):
            np.testing.assert_array_equal(differentiable.numpy(got), differentiable.numpy(right))


def refused(framework, **changes):
    """The error of a call of batch 2, time 3, features 4, units 5 with changed arguments."""
    zeros = {
        "x": (2, 3, 4),
        "kernel": (4, 20),
        "recurrent_kernel": (5, 20),
        "bias": (20,),
    }
    call = {name: np.zeros(shape, np.float32) for name, shape in zeros.items()} | changes
    call = {k: framework.array(v) if isinstance(v, np.ndarray) else v for k, v in call.items()}
    with pytest.raises(errors.PylstmError) as caught:
        pylstm.lstm(**call)
    return caught.value


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("changes", "error", "code", "got"),
    [
        ({"x": zeros(2, 3)}, errors.RankError, "PYL101", "(2, 3)     rank 2, not 3"),
        (
            {"x": zeros(2, 3, 7)},
            errors.FeatureMismatchError,
            "PYL103",
            "(2, 3, 7)     axis 2 is 7, not 4",
        ),
        (
            {"bias": zeros(5)},
            errors.ShapeError,
            "PYL141",
            "(5)     axis 0 is 5, not 20",
        ),
        (
            {"mask": zeros(2, 4, dtype=bool)},
            errors.MaskError,
            "PYL112",
            "(2, 4)     axis 1 is 4, not 3",
        ),
        ({"lengths": [1, 2, 3]}, errors.MaskError, "PYL113", "lengths (3,) int64"),
        ({"lengths": [1, 9]}, errors.MaskError, "PYL113", "lengths (2,) int64     lengths[1] is 9"),
        ({"lengths": [0.5, 1]}, errors.MaskError, "PYL113", "lengths (2,) float64"),
        (
            {"lengths": [1, np.inf]},
            errors.MaskError,
            "PYL113",
            "lengths (2,) float64     lengths[1] is inf",
        ),
        (
            {"lengths": [1, 1e30]},
            errors.MaskError,
            "PYL113",
            "lengths (2,) float64     lengths[1] is 1e+30",
        ),
        ({"lengths": 2}, errors.MaskError, "PYL113", "lengths () int64"),
        ({"lengths": [[1], [1, 2]]}, errors.MaskError, "PYL113", "lengths list"),
        ({"mask": zeros(2, 3, dtype=int)}, errors.DTypeError, "PYL142", "mask of int64"),
        ({"x": zeros(2, 3, 4, dtype=int)}, errors.DTypeError, "PYL142", "x of int64"),
        (
            {"kernel": zeros(4, 20, dtype=np.float16)},
            errors.DTypeError,
            "PYL142",
            "kernel of float16",
        ),
        ({"kernel": [[0.0]]}, errors.DTypeError, "PYL142", "kernel is a list"),
        ({"activation": "tan"}, errors.OptionError, "PYL143", "'tan'"),
        ({"recurrent_activation": abs}, errors.OptionError, "PYL143", repr(abs)),
        ({"initial_state": zeros(2, 5)}, errors.StateError, "PYL116", None),
        ({"initial_state": [1, 2, 3]}, errors.StateError, "PYL116", "list of 3"),
        (
            {"initial_state": [None, zeros(2, 5)]},
            errors.StateError,
            "PYL116",
            "list of 2, one of them None",
        ),
        ({"x": None}, errors.DTypeError, "PYL142", "x is a NoneType"),
    ],
)
@pytest.mark.parametrize("with_states", [False, True])
def test_refused_alike(framework, with_states, changes, error, code, got):
    states = [framework.array(zeros(2, 5))] * 2 if with_states else None
    found = refused(framework, **{"initial_state": states, **changes})
    assert type(found) is error
    assert found.code == code
    assert got is None or found.got == got
    assert found.expected
    assert found.fix


@pytest.mark.parametrize(
    ("x", "fix"),
    [
        ([np.ones((3, 4))] * 2, "np.asarray(x, 'float32')"),
        ([np.ones((3, 4)), np.ones((2, 4))], "pylstm.pad(x, dtype='float32')"),
        (pylstm.pad([np.ones((3, 4)), np.ones((2, 4))]), "x.x, with lengths=x.lengths"),
        (np.ones((2, 3, 4), "complex64"), "np.concatenate([np.real(x), np.imag(x)], axis=-1)"),
    ],
)
def test_the_fix_for_other_inputs(framework, x, fix):
    found = refused(framework, x=x)
    assert (type(found), found.code) == (errors.DTypeError, "PYL142")
    assert fix in found.fix


def test_states_that_do_not_fit(framework):
    state = framework.array(zeros(3, 5))
    found = refused(framework, initial_state=[state, state])
    assert (type(found), found.code) == (errors.StateError, "PYL116")
    assert found.expected == "h0 (batch=2, units=5)"
    assert found.got == "(3, 5)     axis 0 is 3, not 2"


def test_arrays_of_two_frameworks_are_refused():
    torch, jax = frameworks.load("torch"), frameworks.load("jax")
    found = refused(torch, kernel=jax.array(zeros(4, 20)))
    assert found.code == "PYL142"
    assert "kernel of jax" in found.got


class Shared:
    """An array of an unknown kind that shares its memory by DLPack."""

    def __init__(self, array, device=None):
        self._array = array
        self._device = device or array.__dlpack_device__()

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._device


def test_memory_shared_by_dlpack():
    x, kernel, recurrent_kernel = np.ones((2, 3, 4)), np.ones((4, 20)), np.ones((5, 20))
    expected = pylstm.lstm(x, kernel, recurrent_kernel)
    shared = [Shared(array) for array in (x, kernel, recurrent_kernel)]
    np.testing.assert_array_equal(pylstm.lstm(*shared), expected)


def test_masked_arrays_keep_no_mask_in_silence():
    x, kernel, recurrent_kernel = np.ones((2, 3, 4)), np.ones((4, 20)), np.ones((5, 20))
    expected = pylstm.lstm(x, kernel, recurrent_kernel)
    got = pylstm.lstm(np.ma.masked_equal(x, 7), kernel, recurrent_kernel)
    np.testing.assert_array_equal(got, expected)
    with pytest.raises(errors.DTypeError, match=r"no numbers(.|\n)*x is a masked(.|\n)*mask=~x"):
        pylstm.lstm(np.ma.masked_equal(x, 1), kernel, recurrent_kernel)


class OnGpu:
    """An array of an unknown kind on a GPU."""

    __cuda_array_interface__ = {"version": 3}  # noqa: RUF012


@pytest.mark.parametrize("value", [OnGpu(), Shared(np.ones((4, 20)), device=(2, 0))])
def test_memory_on_a_gpu_needs_cupy(monkeypatch, value):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(errors.DTypeError, match=r"CuPy(.|\n)*kernel is a (.|\n)*pip install cupy"):
        pylstm.lstm(np.ones((2, 3, 4)), value, np.ones((5, 20)))
