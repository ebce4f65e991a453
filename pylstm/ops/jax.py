"""The LSTM as a JAX function with a gradient, on the CPU.

It runs in XLA's own threads on XLA's own buffers, under `jit`, `grad` and `vmap` (one element after
the other). Derivatives of a gradient come from a loop; there is no forward mode.
"""

import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.custom_derivatives import SymbolicZero, zero_from_primal
from jax.sharding import NamedSharding, PartitionSpec

from pylstm._library import load_core
from pylstm.errors import BackendLoadError, PylstmError
from pylstm.ops import INPUTS, OPTIONS
from pylstm.ops.checks import check_devices
from pylstm.ops.loop import lstm_loop, require_loop

_core = load_core()
_TARGETS = {name: f"pylstm_lstm_{name}" for name in ("forward", "backward")}


def _register_targets():
    handlers = _core.xla_handlers()
    if not handlers:
        raise BackendLoadError(
            "PYL131",
            "pylstm was built without the handlers for JAX",
            fix="pip install .     in the clone; the build brings TensorFlow's headers",
        )
    try:
        for name, target in _TARGETS.items():
            jax.ffi.register_ffi_target(target, handlers[name], platform="cpu")
    except jax.errors.JaxRuntimeError as error:  # JAX's interface is older than the handlers'
        raise BackendLoadError(
            "PYL132",
            "JAX does not take the compiled handlers",
            expected="JAX 0.8.2 or newer",
            got=f"JAX {jax.__version__}: {error}",
            fix="pip install 'jax>=0.8.2'",
        ) from error


_register_targets()


def lstm(
    x,
    h0,
    c0,
    kernel,
    recurrent_kernel,
    bias=None,
    *,
    mask=None,
    recurrent_dropout=None,
    **options,
):
    """Runs an LSTM over a batch of sequences; arguments as in `pylstm.lstm`.

    Differentiable in reverse mode by all floating arguments but `recurrent_dropout`, which gets
    zeros; where Keras runs on JAX, that gradient is differentiable in both modes.

    Returns:
        y, (B, T, H) or (B, H); h and c after the last step, (B, H).

    Raises:
        DeviceError: An array is not on the CPU, or two are on different ones of its devices. Under
            `jit` only XLA knows: it reports that `pylstm_lstm_forward` has no implementation on the
            platform.
        PylstmError: In forward mode; under `jit` JAX itself raises.
    """
    tensors = (x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout)
    _check_devices(tensors)
    tensors = [None if t is None else _whole(t) for t in tensors]
    try:
        return _compiled(tuple(sorted((OPTIONS | options).items())), *_divided_alike(tensors))
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        fix = 'pylstm.LSTM(..., kernel="keras") with KERAS_BACKEND=jax, whose loop has it'
        expected = "reverse mode, as of jax.grad and jax.vjp"
        raise PylstmError("PYL134", expected=expected, got="forward mode", fix=fix) from None


def zero_state(x, units):
    """Returns zeros (B, H) for inputs x (B, T, F)."""
    return jnp.zeros((x.shape[0], units), x.dtype)


def own(tensors):
    """Returns the arguments of `lstm`, NumPy arrays as JAX's, which may share their memory and go
    where the others are."""
    return [jnp.asarray(t) if isinstance(t, np.ndarray) else t for t in tensors]


def stacked(values):
    """Returns an array of a list whose numbers NumPy cannot read, such as of tracers."""
    return jnp.asarray(values)


def mask_from_lengths(lengths, x, mask):
    """Returns the mask (B, T), or all True for None, with False from step lengths[b] on."""
    within = jnp.arange(x.shape[1])[None] < jnp.asarray(lengths)[:, None]
    return within if mask is None else mask & within


def _check_devices(tensors):
    arrays = {
        name: tensor
        for name, tensor in zip(INPUTS, tensors, strict=True)
        if isinstance(tensor, jax.Array) and not isinstance(tensor, jax.core.Tracer)
    }
    fix = "jax.device_put(x, jax.devices('cpu')[0]), and the others alike"
    placed = {name: array for name, array in arrays.items() if array.committed}
    check_devices(placed or arrays, _platform, ("cpu",), fix)  # JAX moves the others to these
    check_devices(placed, _device, None, fix)


def _whole(tensor):
    """The whole tensor, as the kernels need it, where a mesh with explicit axes divides it. The
    operation that gathers it has a gradient, divided as the tensor was."""
    kind = jax.typeof(tensor).sharding
    if not any(kind.spec):
        return tensor
    return jax.sharding.reshard(tensor, NamedSharding(kind.mesh, PartitionSpec()))


def _divided_alike(tensors):
    """The tensors, all divided where `jax.shard_map` divides one, so that JAX sums the gradients of
    the others."""
    axes = frozenset().union(*(_divided_over(t) for t in tensors if t is not None))
    return [None if t is None else _divided(t, axes) for t in tensors]


def _divided(tensor, axes):
    missing = axes - _divided_over(tensor)
    return jax.lax.pcast(tensor, tuple(missing), to="varying") if missing else tensor


def _divided_over(tensor):
    """The names of the axes over which `jax.shard_map` divides a tensor."""
    kind = getattr(jax.typeof(tensor), "manual_axis_type", None)  # in newer versions of JAX
    return frozenset() if kind is None else kind.varying


def _device(array):
    return " and ".join(sorted(f"{d.platform}:{d.id}" for d in array.devices()))


def _platform(array):
    return next(iter(array.devices())).platform


def devices():
    """Returns the kinds of device that the function runs on."""
    return ["CPU"]


def obstacle(x):
    """A clause that says what keeps a layer of Keras from the function for x (B, T, F), or None."""
    known = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
    platform = _platform(x) if known else jax.default_backend()
    if platform != "cpu":
        return f"JAX computes on {platform}, and the fused kernel for JAX only on the CPU"
    if not all(isinstance(size, int) for size in x.shape):
        return "the fused kernel needs sizes, and JAX traces the call without them"
    if jax.sharding.get_abstract_mesh().explicit_axes and not any(jax.typeof(x).sharding.spec):
        return "the mesh has explicit axes, by which a `vmap` around the layer may divide arrays"
    if keras.distribution.distribution() is not None:
        return "keras.distribution divides arrays, which the fused kernel for JAX needs whole"
    return None


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _lstm(options, *tensors):
    return tuple(_forward(options, False, tensors)[:-1])


def _save(options, *primals):
    tensors = tuple(None if primal is None else primal.value for primal in primals)
    *outputs, reserve = _forward(options, True, tensors)
    # What is saved becomes an array, whose value is unknown while tracing; None stays None.
    input_gradient = () if primals[0].perturbed else None
    return tuple(outputs), (tensors, reserve, input_gradient)


def _gradient(options, saved, output_gradients):
    tensors, reserve, input_gradient = saved
    axes = _divided_over(reserve)
    output_gradients = tuple(_divided(_dense(g), axes) for g in output_gradients)
    gradients = _backward(options, input_gradient is not None, tensors, reserve, output_gradients)
    return *gradients, None, None


def _dense(gradient):
    """The gradient as an array: zeros where nothing depends on the output."""
    if isinstance(gradient, SymbolicZero):
        return jnp.zeros(gradient.shape, gradient.dtype)
    return gradient


_lstm.defvjp(_save, _gradient, symbolic_zeros=True)
# Outside of `jit`, `jax.shard_map` has no rule for it, and single operations are slower.
_compiled = jax.jit(_lstm, static_argnums=0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _forward(options, save_for_backward, tensors):
    """y, h, c and the reserve, which is empty if nothing is saved."""
    x, state = tensors[:2]
    batch, time, _ = x.shape
    units = state.shape[1]
    y_shape = (batch, time, units) if dict(options)["return_sequences"] else (batch, units)
    saved = _core.reserve_bytes(batch, time, units, x.dtype) if save_for_backward else 0
    results = [
        jax.ShapeDtypeStruct(y_shape, x.dtype),
        jax.ShapeDtypeStruct((batch, units), x.dtype),
        jax.ShapeDtypeStruct((batch, units), x.dtype),
        jax.ShapeDtypeStruct((saved,), np.uint8),
    ]
    return _call("forward", results, tensors, _attributes(options, tensors, save_for_backward))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _backward(options, input_gradient, tensors, reserve, output_gradients):
    """The gradients of x, or None, h0, c0, kernel, recurrent_kernel and, or None, bias."""
    x, *others, _, _ = tensors  # mask and recurrent_dropout have none
    shapes = [x.shape if input_gradient else (0,), *(t.shape for t in others if t is not None)]
    dx, *gradients = _call(
        "backward",
        [jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes],
        (*tensors, reserve, *output_gradients),
        _attributes(options, tensors, save_for_backward=True) | {"input_gradient": input_gradient},
    )
    if tensors[5] is None:
        gradients.append(None)
    return dx if input_gradient else None, *gradients


# Differentiating a gradient means differentiating both of its parts.


@_forward.defjvp
def _forward_tangents(options, save_for_backward, primals, tangents):
    require_loop("jax")
    (tensors,), (by_tensors,) = primals, tangents
    *weighted, mask, dropout = tensors

    def outputs(*weighted):
        return lstm_loop(*weighted, mask, dropout, **dict(options))

    results = _forward(options, save_for_backward, tensors)
    _, changes = jax.jvp(outputs, tuple(weighted), by_tensors[:-2])
    of_reserve = zero_from_primal(results[-1])
    return results, [*changes, of_reserve]


@_backward.defjvp
def _backward_tangents(options, input_gradient, primals, tangents):
    require_loop("jax")
    tensors, _, output_gradients = primals
    by_tensors, _, by_output_gradients = tangents
    *weighted, mask, dropout = tensors

    def gradient(weighted, output_gradients):
        def outputs(*weighted):
            return lstm_loop(*weighted, mask, dropout, **dict(options))

        dx, *gradients = jax.vjp(outputs, *weighted)[1](output_gradients)
        return dx if input_gradient else None, *gradients

    _, changes = jax.jvp(
        gradient, (tuple(weighted), output_gradients), (by_tensors[:-2], by_output_gradients)
    )
    return _backward(options, input_gradient, *primals), changes


def _attributes(options, tensors, save_for_backward):
    *_, bias, mask, recurrent_dropout = tensors
    return {
        **dict(options),
        "use_bias": bias is not None,
        "has_mask": mask is not None,
        "has_recurrent_dropout": recurrent_dropout is not None,
        "save_for_backward": save_for_backward,
    }


def _call(name, results, tensors, attributes):
    call = jax.ffi.ffi_call(_TARGETS[name], results, vmap_method="sequential")
    outputs = call(*(t for t in tensors if t is not None), **attributes)
    return [_divided(output, _divided_over(tensors[0])) for output in outputs]
