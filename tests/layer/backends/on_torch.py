"""What torch alone does with a layer: states in place, tracing, forward mode, devices."""

import types

import keras
import numpy as np
import pytest
import torch

import pylstm
from pylstm.ops import torch as op
from tests.cases import Case, make_inputs
from tests.layer.compare import assert_close, pair


@pytest.fixture
def x(rng):
    return torch.from_numpy(rng.standard_normal((3, 4, 2)))


def test_a_stateless_call_takes_lengths_on_the_loop(x):
    layer = pylstm.LSTM(5, kernel="keras")
    layer.build(x.shape)
    variables = layer.trainable_variables, layer.non_trainable_variables
    got, _ = layer.stateless_call(*variables, x.float(), lengths=[2, 4, 1])
    assert_close(got.detach(), layer(x.float(), lengths=[2, 4, 1]).detach())


@pytest.mark.filterwarnings("error:Dynamo detected a call to a `functools.lru_cache`")
def test_a_model_compiles_without_a_warning(x):
    model = pylstm.Sequential([pylstm.LSTM(5)])
    expected = model(x).detach()
    compiled = torch.compile(model, backend="aot_eager")
    assert_close(compiled(x).detach(), expected)


def test_stateful_layers_can_be_trained(x):
    """As stock Keras' cannot be: its new states overwrite what the gradient needs."""
    losses = []
    for lstm, options in ((pylstm.LSTM, {}), (keras.layers.LSTM, {"use_cudnn": False})):
        keras.utils.set_random_seed(1)
        layers = [keras.Input(batch_shape=x.shape), lstm(5, stateful=True, **options)]
        model = keras.Sequential([*layers, keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        data = np.asarray(x, "float32"), np.ones((3, 1))
        losses.append(model.fit(*data, batch_size=3, epochs=3, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert model.layers[0].states[0].value.abs().sum() > 0


def test_second_derivatives_of_the_function():
    """By the initial state, too, where masked steps come first."""
    case = Case(batch=2, time=3, features=2, units=2, dtype="float64")
    inputs = [torch.from_numpy(np.nan_to_num(value)) for value in make_inputs(case)[:6]]
    mask = torch.tensor([[False, True, False], [False, False, False]])

    def call(x, h0, c0, *weights):
        return pylstm.lstm(x, *weights, initial_state=[h0, c0], mask=mask, return_state=True)

    assert torch.autograd.gradgradcheck(call, [tensor.requires_grad_() for tensor in inputs])


@pytest.mark.parametrize(
    "jacobian",
    [
        lambda f, x: torch.autograd.functional.jacobian(f, x),
        lambda f, x: torch.autograd.functional.jacobian(f, x, vectorize=True),  # is_grads_batched
        lambda f, x: torch.autograd.functional.jacobian(
            f, x, vectorize=True, strategy="forward-mode"
        ),
        lambda f, x: torch.autograd.functional.hessian(lambda x: f(x).sum(), x),
    ],
    ids=["reverse", "reverse batched", "forward", "hessian"],
)
def test_jacobians(jacobian, x):
    stock, ours = pair(5, 2, dtype="float64")
    ours.kernel = "auto"
    assert_close(jacobian(ours, x), jacobian(stock, x))


@pytest.mark.parametrize(
    "collect",
    [
        lambda rows: torch.nn.utils.rnn.pack_sequence(rows),
        lambda rows: torch.nn.utils.rnn.pack_sequence(rows[::-1], enforce_sorted=False),
        torch.nested.nested_tensor,
        lambda rows: torch.nested.nested_tensor(rows, layout=torch.jagged),
    ],
    ids=["packed", "packed unsorted", "nested", "jagged"],
)
def test_torch_own_collections(collect, x):
    rows = [x[0], x[1, :2], x[2, :1]]
    layer = pylstm.LSTM(5, dtype="float64", kernel="fused")
    expected = layer(rows)
    collected = collect(rows)
    reversed_rows = getattr(collected, "unsorted_indices", None) is not None
    assert_close(layer(collected), expected.flip(0) if reversed_rows else expected)
    rows = rows[::-1] if reversed_rows else rows
    for got, want in zip(pylstm.unpad(pylstm.pad(collected)), rows, strict=True):
        np.testing.assert_array_equal(got, want)
    model = pylstm.Sequential([keras.Input((None, 2)), pylstm.LSTM(5, mask_value=-1.0)])
    model.compile("sgd", "mse")
    expected = model.predict(rows, verbose=0)
    np.testing.assert_allclose(model.predict(collected, verbose=0), expected, atol=1e-6)
    np.testing.assert_allclose(model(collected).detach(), expected, atol=1e-6)
    data = pylstm.dataset(collected, np.zeros((3, 5)), 2, mask_value=-1.0)
    assert np.isfinite(model.fit(data, verbose=0).history["loss"]).all()


def test_lists_in_a_data_loader(x):
    """Keras takes the size of the first tensor for that of the batch."""
    rows = [x[0, :1], x[1], x[2, :2]]
    loader = torch.utils.data.DataLoader(
        rows, 2, collate_fn=lambda batch: (batch, torch.ones(len(batch), 5))
    )
    model = pylstm.Sequential([keras.Input((None, 2)), pylstm.LSTM(5)])
    model.compile("sgd", "mse")
    expected = np.mean([np.square(model(row[None]).detach().numpy() - 1) for row in rows])
    np.testing.assert_allclose(model.evaluate(loader, verbose=0), expected, rtol=1e-5)
    model.optimizer.learning_rate = 0.0
    loss = model.fit(loader, verbose=0).history["loss"]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_sparse_tensor(x):
    layer = pylstm.LSTM(5, dtype="float64", kernel="fused")
    model = pylstm.Sequential([layer])
    expected = layer(x)
    for sparse in (x.to_sparse(), x.to_sparse_csr()):
        assert_close(layer(sparse), expected)
        assert_close(model.predict(sparse, verbose=0), expected)


def test_the_weights_of_a_layer_go_to_the_function_by_their_value(x):
    cell = pair(5, 2, dtype="float64")[1].cell
    with pytest.raises(pylstm.errors.DTypeError, match=r"PYL142(.|\n)* kernel.value"):
        pylstm.lstm(x, cell.kernel, cell.recurrent_kernel)
    pylstm.lstm(x, cell.kernel.value, cell.recurrent_kernel.value).sum().backward()
    assert cell.kernel.value.grad.any()


@pytest.mark.filterwarnings("error:Dynamo")
@pytest.mark.parametrize("dynamic", [False, True])
def test_module_compiles_to_one_graph(dynamic, x):
    stock, ours = pair(5, 2, dtype="float64")
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for sequences in (x, x[:2, :3]):
        assert_close(compiled(sequences), stock(sequences))
    assert ours.path == "fused"


@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x: torch.func.jvp(f, (x,), (x,))[1],
        lambda f, x: torch.func.vmap(torch.func.grad(lambda x: f(x[None]).sum()))(x),
        lambda f, x: torch.jit.trace(f, (x,), check_trace=False)(x),
    ],
    ids=["jvp", "vmap", "trace"],
)
def test_what_the_kernel_has_no_rule_for(transform, x):
    stock, ours = pair(5, 2, dtype="float64")
    ours.kernel = "auto"
    assert_close(transform(ours, x), transform(stock, x))
    assert ours.path == "keras"
    ours(x)
    assert ours.path == "fused"


@pytest.mark.filterwarnings("error::UserWarning")
def test_traces_declared_steps(x):
    layer = pylstm.LSTM(5, validate="strict", dtype="float64")
    model = keras.Sequential([keras.Input((4, 2), dtype="float64"), layer])
    assert_close(torch.jit.trace(model, (x,), check_trace=False)(x), model(x))


def test_symbolic_call():
    layer = pylstm.LSTM(5, kernel="fused", return_sequences=True)
    assert layer(keras.Input((None, 2))).shape == (None, None, 5)


@pytest.mark.parametrize(
    ("device", "built_for", "reason"),
    [
        ("cuda", ["CPU", "GPU"], None),
        ("cuda", ["CPU"], "the input is on a GPU, for which the fused kernel is not built here"),
        ("mps", ["CPU"], "the input is on mps, and the fused kernel runs on cpu and cuda"),
    ],
)
def test_devices(monkeypatch, device, built_for, reason):
    monkeypatch.setattr(op, "devices", lambda: built_for)
    x = types.SimpleNamespace(device=torch.device(device))
    assert op.obstacle(x) == reason
