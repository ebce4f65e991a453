"""What only JAX has: its transformations."""

import numpy as np
import pytest

import pylstm
from pylstm.errors import DeviceError, FeatureMismatchError, MaskError, PylstmError, ShapeError
from tests import backends
from tests.cases import Case, make_inputs
from tests.functional import frameworks

jax = pytest.importorskip("jax", reason="jax is not installed")
CASE = Case(batch=2, time=3, features=2, units=3, dtype="float64", mask="right")


@pytest.fixture
def arguments():
    """x, h0, c0, kernel, recurrent_kernel, bias, mask; finite everywhere."""
    framework = frameworks.load("jax")
    return [framework.array(np.nan_to_num(value)) for value in make_inputs(CASE)[:7]]


def call(x, h0, c0, kernel, recurrent_kernel, bias, mask):
    return pylstm.lstm(
        x,
        kernel,
        recurrent_kernel,
        bias,
        initial_state=[h0, c0],
        mask=mask,
        return_state=True,
    )


def test_jit_gives_the_same_bits(arguments):
    for got, expected in zip(jax.jit(call)(*arguments), call(*arguments), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("jit", [False, True])
def test_numerical_gradients(arguments, jit):
    from jax.test_util import check_grads

    *differentiable, mask = arguments
    function = jax.jit(call) if jit else call
    check_grads(lambda *inputs: function(*inputs, mask), differentiable, order=1, modes=["rev"])


def test_gradient_by_one_argument_under_jit(arguments):
    *others, mask = arguments
    del others[3]

    def loss(kernel):
        x, h0, c0, recurrent_kernel, bias = others
        return call(x, h0, c0, kernel, recurrent_kernel, bias, mask)[0].sum()

    kernel = arguments[3]
    np.testing.assert_array_equal(jax.jit(jax.grad(loss))(kernel), jax.grad(loss)(kernel))


@pytest.mark.parametrize("wanted", [True, False])
def test_the_gradient_of_x_is_computed_only_where_it_is_wanted(arguments, wanted):
    *others, mask = arguments

    def loss(*others):
        return sum((result**2).sum() for result in call(*others, mask))

    gradient = jax.grad(loss, argnums=range(len(others))[not wanted :])
    program = jax.jit(gradient).lower(*others).as_text()
    assert f"input_gradient = {str(wanted).lower()}" in program
    expected = jax.grad(loss, argnums=range(len(others)))(*others)
    for got, exact in zip(jax.jit(gradient)(*others), expected[not wanted :], strict=True):
        np.testing.assert_array_equal(got, exact)


@pytest.mark.parametrize("kind", [list, tuple, jax.numpy.asarray])
def test_lengths_that_are_traced(arguments, kind):
    x, _, _, *weights, _ = arguments

    def call(x, lengths):
        return pylstm.lstm(x, *weights, lengths=lengths)

    lengths = kind([2, 1])
    np.testing.assert_array_equal(jax.jit(call)(x, lengths), call(x, lengths))
    np.testing.assert_array_equal(jax.jit(lambda n: call(x, [2, n]))(1), call(x, lengths))


@pytest.mark.parametrize("kind", [list, jax.numpy.asarray])
def test_lengths_that_are_traced_beside_arrays_of_numpy(arguments, kind):
    x, _, _, *weights, _ = (np.asarray(argument) for argument in arguments)

    def call(lengths, x):
        return pylstm.lstm(x, *weights, lengths=lengths)

    with pytest.raises(MaskError, match=r"PYL113(.|\n)*fix: +x = jax.numpy.asarray\(x\)"):
        jax.jit(lambda lengths: call(lengths, x))(kind([2, 1]))
    got = jax.jit(lambda lengths: call(lengths, jax.numpy.asarray(x)))(kind([2, 1]))
    np.testing.assert_allclose(got, call([2, 1], x), rtol=1e-6)


def test_lengths_without_rank_promotion(arguments):
    x, _, _, *weights, mask = arguments
    expected = pylstm.lstm(x, *weights, mask=mask, lengths=[2, 1])
    with jax.numpy_rank_promotion("raise"):
        got = pylstm.lstm(x, *weights, mask=mask, lengths=[2, 1])
    np.testing.assert_array_equal(got, expected)


def test_vmap(arguments):
    x, *others = arguments
    many = jax.numpy.stack([x, 2 * x, -x])
    y, _, _ = jax.vmap(lambda each: call(each, *others))(many)
    for each, got in zip(many, y, strict=True):
        np.testing.assert_array_equal(got, call(each, *others)[0])


SHARDED = """
import jax, numpy as np, pylstm
from jax.sharding import PartitionSpec as P

rng = np.random.default_rng(0)
x, kernel, recurrent_kernel, dense = (
    jax.numpy.asarray(rng.normal(size=size), "float32") for size in [(4, 3, 2), (2, 8), (2, 8), 2]
)

def gradients(weights, x):
    return jax.grad(lambda w: (pylstm.lstm(x, w[0], recurrent_kernel) @ w[1]).sum())(weights)

mesh = jax.sharding.Mesh(jax.devices(), ("batch",))
sharded = jax.shard_map(gradients, mesh=mesh, in_specs=(P(), P("batch")), out_specs=P())
alone = jax.shard_map(
    lambda x: pylstm.lstm(x, kernel, recurrent_kernel),
    mesh=mesh,
    in_specs=P("batch"),
    out_specs=P("batch"),
)
np.testing.assert_allclose(alone(x), pylstm.lstm(x, kernel, recurrent_kernel), rtol=1e-6)
weights = (kernel, dense)
for got, expected in zip(sharded(weights, x), gradients(weights, x), strict=True):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)

def penalty(kernel, x):
    by_x = jax.grad(lambda x: (pylstm.lstm(x, kernel, recurrent_kernel) ** 2).sum())(x)
    return (by_x**2).sum()

second = jax.grad(penalty)
sharded = jax.shard_map(second, mesh=mesh, in_specs=(P(), P("batch")), out_specs=P())
np.testing.assert_allclose(sharded(kernel, x), second(kernel, x), rtol=1e-5, atol=1e-5)
"""

EXPLICIT = """
import jax, numpy as np, pylstm
from jax.sharding import PartitionSpec as P

rng = np.random.default_rng(0)
sizes = [(4, 3, 2), (4, 2), (2, 8), (2, 8)]
arguments = [jax.numpy.asarray(rng.normal(size=size), "float32") for size in sizes]

def loss(x, h, *weights):
    return (pylstm.lstm(x, *weights, initial_state=[h, h], lengths=[3, 1, 0, 2]) ** 2).sum()

def penalty(*arguments):
    return sum((part**2).sum() for part in gradient(*arguments))

gradient = jax.grad(loss, argnums=(0, 1, 2, 3))
second = jax.grad(penalty, argnums=(0, 1, 2, 3))
with jax.set_mesh(jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))):
    for by in (P("d"), P("d"), P(), P()), (P(), P(), P(None, "d"), P(None, "d")):
        divided = [jax.device_put(a, spec) for a, spec in zip(arguments, by, strict=True)]
        for function in (gradient, jax.jit(gradient), second):
            parts = zip(function(*divided), function(*arguments), divided, strict=True)
            for got, expected, argument in parts:
                assert jax.typeof(got) == jax.typeof(argument)
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
"""


TWO_DEVICES = """
import jax, numpy as np, pytest, pylstm
from pylstm.errors import DeviceError

x, kernel, recurrent_kernel = (
    jax.numpy.ones(size, "float32") for size in [(4, 3, 2), (2, 8), (2, 8)]
)
expected = pylstm.lstm(x, kernel, recurrent_kernel)
first, second = jax.devices()
moved = jax.device_put(x, second)
y = pylstm.lstm(moved, kernel, recurrent_kernel)  # JAX moves what no one has placed
assert y.devices() == {second}
np.testing.assert_array_equal(y, expected)
placed = jax.device_put(kernel, first)
with pytest.raises(DeviceError, match=r"PYL138(.|\\n)*x on cpu:1, kernel on cpu:0\\n") as caught:
    pylstm.lstm(moved, placed, recurrent_kernel)
fix = caught.value.fix.partition(", and")[0]
assert eval(fix, {"jax": jax, "x": moved}).devices() == {first}
mesh = jax.sharding.Mesh(jax.devices(), ("batch",))
divided = jax.device_put(x, jax.NamedSharding(mesh, jax.P("batch")))
with pytest.raises(DeviceError, match=r"PYL138(.|\\n)*x on cpu:0 and cpu:1, kernel on cpu:0\\n"):
    pylstm.lstm(divided, placed, recurrent_kernel)
np.testing.assert_array_equal(pylstm.lstm(divided, kernel, recurrent_kernel), expected)
"""

SCRIPTS = {"shard_map": SHARDED, "explicit axes": EXPLICIT, "two devices": TWO_DEVICES}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_several_devices(script):
    """`shard_map` sums gradients by weights before and after, which each device holds whole."""
    devices = "--xla_force_host_platform_device_count=2"
    backends.run_python("jax", "-c", script, XLA_FLAGS=devices)


def test_shapes_are_checked_while_tracing(arguments):
    x, *others = arguments
    with pytest.raises(FeatureMismatchError, match="axis 2 is 1, not 2"):
        jax.jit(call)(x[..., :1], *others)


def test_export_of_any_batch_is_refused(arguments):
    x, _, _, *weights, _ = arguments
    (batch,) = jax.export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype)
    with pytest.raises(ShapeError, match=r"PYL141(.|\n)*x \(batch, 3, 2\)(.|\n)*pylstm.LSTM"):
        jax.export.export(jax.jit(lambda x: pylstm.lstm(x, *weights)))(shape)


def test_arrays_on_a_gpu_are_refused(arguments, monkeypatch):
    class Gpu:
        platform = "gpu"

    monkeypatch.setattr(type(arguments[0]), "devices", lambda array: {Gpu})
    with pytest.raises(DeviceError, match=r"PYL138(.|\n)*x on gpu(.|\n)*device_put"):
        call(*arguments)


def test_no_forward_mode(arguments):
    x, *others = arguments
    with pytest.raises(PylstmError, match=r"PYL134(.|\n)*forward mode(.|\n)*kernel=.keras"):
        jax.jvp(lambda x: call(x, *others)[0], (x,), (x,))


def test_no_second_derivative(arguments):
    """Keras' loop has it, where Keras runs on JAX."""
    x, *others = arguments

    def loss(x):
        return call(x, *others)[0].sum()

    with pytest.raises(PylstmError, match=r"PYL134(.|\n)*KERAS_BACKEND=jax"):
        jax.hessian(loss)(x)
