"""What only torch has: its checks of operators and gradients, its compiler, strides."""

import ml_dtypes
import numpy as np
import pytest

import pylstm
from pylstm.errors import DeviceError, DTypeError, PylstmError
from pylstm.ops import OPTIONS
from tests.cases import Case, make_inputs

torch = pytest.importorskip("torch", reason="torch is not installed")
op = pytest.importorskip("pylstm.ops.torch")
forward_ad = torch.autograd.forward_ad


def tensors(case, requires_grad=True):
    """x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout; finite everywhere."""
    arrays = [None if a is None else torch.from_numpy(np.nan_to_num(a)) for a in make_inputs(case)]
    for tensor in arrays[:6]:
        tensor.requires_grad_(requires_grad)
    return arrays


@pytest.mark.parametrize("mask", [None, "holes"])
def test_gradcheck(mask):
    *differentiable, mask, dropout = tensors(
        Case(batch=2, time=3, features=2, units=3, dtype="float64", mask=mask, dropout=True)
    )

    def call(x, h0, c0, *weights):
        return pylstm.lstm(
            x,
            *weights,
            initial_state=[h0, c0],
            mask=mask,
            recurrent_dropout=dropout,
            return_state=True,
        )

    assert torch.autograd.gradcheck(call, differentiable)


@pytest.mark.parametrize("save_for_backward", [False, True])
def test_operator_is_well_formed(save_for_backward):
    arguments = tensors(Case(dtype="float64"))
    torch.library.opcheck(op._forward, (*arguments, *OPTIONS.values(), save_for_backward))


def test_compiles_to_one_graph():
    *arguments, mask, _ = tensors(Case(mask="right"))

    def loss(*arguments):
        y, h, c = op.lstm(*arguments, mask=mask)
        return (y * y).sum() + (h * c).sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(loss(*arguments), arguments)
    for got, right in zip(
        torch.autograd.grad(compiled(*arguments), arguments), expected, strict=True
    ):
        torch.testing.assert_close(got, right)


@pytest.mark.filterwarnings("error:Dynamo detected a call to a `functools.lru_cache`")
def test_the_function_compiles_in_parts():
    x, _, _, kernel, recurrent_kernel, *_ = tensors(Case(), requires_grad=False)
    compiled = torch.compile(pylstm.lstm, backend="aot_eager")
    for lengths in (None, torch.arange(len(x)) + 1):
        got = compiled(x, kernel, recurrent_kernel, lengths=lengths)
        torch.testing.assert_close(got, pylstm.lstm(x, kernel, recurrent_kernel, lengths=lengths))


def test_strided_tensors():
    x, _, _, kernel, recurrent_kernel, *_ = tensors(Case(features=8), requires_grad=False)
    expected = pylstm.lstm(x[..., ::2].clone(), kernel[::2].clone(), recurrent_kernel)
    got = pylstm.lstm(x[..., ::2], kernel[::2], recurrent_kernel.T.clone().T)
    assert torch.equal(got, expected)


def spied(monkeypatch, name):
    """A list of the last argument of each later call of a function of `pylstm.ops.torch`."""
    seen, function = [], getattr(op, name)
    monkeypatch.setattr(op, name, lambda *args: (seen.append(args[-1]), function(*args))[1])
    return seen


def test_reserve_is_saved_only_for_a_gradient(monkeypatch):
    saved = spied(monkeypatch, "_forward")
    x, _, _, kernel, recurrent_kernel, *_ = tensors(Case())
    pylstm.lstm(x, kernel, recurrent_kernel)
    with torch.no_grad():
        pylstm.lstm(x, kernel, recurrent_kernel)
    pylstm.lstm(x.detach(), kernel.detach(), recurrent_kernel.detach())
    assert saved == [True, False, False]


def test_gradient_without_a_saved_reserve():
    arguments = tensors(Case(mask="holes"))
    gradients = []
    for save_for_backward in (False, True):
        y, h, c, reserve = op._forward(*arguments, *OPTIONS.values(), save_for_backward)
        assert (reserve.numel() > 0) == save_for_backward
        gradients.append(torch.autograd.grad(y.sum() + (h * c).sum(), arguments[:6]))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_the_gradient_of_x_is_computed_only_where_it_is_wanted(monkeypatch):
    wanted = spied(monkeypatch, "_backward")
    arguments = tensors(Case(mask="holes"))
    results = []
    for x in arguments[0], arguments[0].detach():
        y, h, c, _ = op._forward(x, *arguments[1:], *OPTIONS.values(), True)
        results.append(torch.autograd.grad(y.sum() + (h * c).sum(), arguments[1:6]))
    torch.autograd.grad(op._forward(*arguments, *OPTIONS.values(), True)[0].sum(), arguments[0])
    assert wanted == [True, False, True]
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_calls_use_as_many_threads_as_torch(monkeypatch):
    used = []

    def counting(function):
        def call(*arguments, threads, **options):
            used.append(threads)
            return function(*arguments, threads=threads, **options)

        return call

    for name in ("forward", "backward"):
        monkeypatch.setattr(op._core, name, counting(getattr(op._core, name)))
    x, _, _, kernel, recurrent_kernel, *_ = tensors(Case())
    for of_torch, cores, want in ((3, 4, 3), (3, 1, 1)):
        monkeypatch.setattr(torch, "get_num_threads", lambda number=of_torch: number)
        monkeypatch.setattr(op.os, "sched_getaffinity", lambda _, number=cores: set(range(number)))
        pylstm.lstm(x, kernel, recurrent_kernel).sum().backward()
        assert used == [want, want]
        used.clear()


def test_forward_mode_is_no_silent_zero():
    x, _, _, kernel, recurrent_kernel, *_ = tensors(Case(), requires_grad=False)

    def call(x):
        return pylstm.lstm(x, kernel, recurrent_kernel)

    with pytest.raises(PylstmError, match=r"PYL134(.|\n)*forward mode"):
        torch.func.jvp(call, (x,), (x,))
    with forward_ad.dual_level(), pytest.raises(PylstmError, match=r"PYL134(.|\n)*forward mode"):
        call(forward_ad.make_dual(x, x))


def test_no_second_derivative():
    x, _, _, kernel, recurrent_kernel, *_ = tensors(Case())
    y = pylstm.lstm(x, kernel, recurrent_kernel)
    (gradient,) = torch.autograd.grad(y.sum(), kernel, create_graph=True)
    with pytest.raises(PylstmError, match="PYL134"):
        gradient.sum().backward()


def test_numpy_arrays_go_to_the_tensors_device():
    """The device "meta" stands for a GPU: what stays behind would be refused."""
    arrays = [np.ones(shape, np.float32) for shape in [(2, 3, 4), (4, 20), (5, 20)]]
    for place in range(3):
        mixed = list(arrays)
        mixed[place] = torch.from_numpy(arrays[place]).to("meta")
        for lengths in ([1, 2], list(torch.tensor([1, 2], device="meta"))):
            y = pylstm.lstm(*mixed, lengths=lengths)
            assert (y.shape, y.device.type) == ((2, 3, 5), "meta")


@pytest.mark.filterwarnings("error")
def test_numpy_arrays_that_torch_cannot_share():
    x, _, _, kernel, recurrent_kernel, *_ = tensors(Case(), requires_grad=False)
    expected = pylstm.lstm(x, kernel, recurrent_kernel)
    reversed_twice = x.flip(1).numpy()[:, ::-1]
    read_only = x.numpy().copy()
    read_only.flags.writeable = False
    for array in (reversed_twice, read_only):
        assert torch.equal(pylstm.lstm(array, kernel, recurrent_kernel), expected)
    x, kernel, recurrent_kernel = (t.bfloat16() for t in (x, kernel, recurrent_kernel))
    array = x.float().numpy().astype(ml_dtypes.bfloat16)
    expected = pylstm.lstm(x, kernel, recurrent_kernel)
    assert torch.equal(pylstm.lstm(array, kernel, recurrent_kernel), expected)


def test_what_is_not_dense_says_how_to_pass_it():
    x, _, _, kernel, recurrent_kernel, *_ = tensors(Case(), requires_grad=False)
    rows = [x[0], x[1, :1]]
    expected = pylstm.lstm(pylstm.pad(rows).x, kernel, recurrent_kernel, lengths=[len(x[0]), 1])
    ways = {
        torch.nested.nested_tensor(rows): r"x.to_padded_tensor\(0.0\), with lengths=",
        torch.nested.nested_tensor(rows, layout=torch.jagged): r"x.to_padded_tensor\(0.0\), with",
        torch.nn.utils.rnn.pack_sequence(rows): r"pad_packed_sequence\(x, batch_first=True\)",
        x.to_sparse(): r"x.to_dense\(\)",
        x.to_sparse_csr(): r"x.to_dense\(\)",
    }
    for value, fix in ways.items():
        with pytest.raises(DTypeError, match=rf"PYL142(.|\n)*x is a (.|\n)*{fix}"):
            pylstm.lstm(value, kernel, recurrent_kernel)
    nested = torch.nested.nested_tensor(rows)
    lengths = [len(s) for s in nested.unbind()]
    got = pylstm.lstm(nested.to_padded_tensor(0.0), kernel, recurrent_kernel, lengths=lengths)
    assert torch.equal(got, expected)


def test_gradients_on_meta_have_shapes():
    x, _, _, kernel, recurrent_kernel, *_ = (t.to("meta") for t in tensors(Case())[:5])
    y = pylstm.lstm(x, kernel, recurrent_kernel)
    (gradient,) = torch.autograd.grad(y.sum(), kernel)
    assert (gradient.shape, gradient.device.type) == (kernel.shape, "meta")


def test_fake_tensors_have_shapes():
    x, _, _, kernel, recurrent_kernel, *_ = tensors(Case())
    expected = pylstm.lstm(x, kernel, recurrent_kernel)
    with torch._subclasses.FakeTensorMode() as mode:
        y = pylstm.lstm(*map(mode.from_tensor, (x, kernel, recurrent_kernel)))
    assert y.shape == expected.shape


def test_tensors_on_two_devices_are_refused():
    x, _, _, kernel, recurrent_kernel, *_ = tensors(Case(), requires_grad=False)
    with pytest.raises(DeviceError, match=r"PYL138(.|\n)*x on cpu,.* recurrent_kernel on meta"):
        pylstm.lstm(x, kernel, recurrent_kernel.to("meta"))
