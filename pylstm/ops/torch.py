"""The LSTM as a torch operator with a gradient, for tensors on the CPU or on a CUDA device.

It computes in the tensors' own memory. `torch.compile` keeps `lstm` below in one graph; at
`pylstm.lstm`, which checks more, the graph breaks.
"""

import os

import ml_dtypes
import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from pylstm._library import load_core, load_cuda, load_triton
from pylstm.array_types import dtype_name
from pylstm.caching import constant
from pylstm.errors import BackendLoadError, PylstmError
from pylstm.ops import INPUTS, OPTIONS, cuda
from pylstm.ops.checks import check_devices

load_triton()
_core = load_core()
_DEVICES = ("cpu", "cuda", "meta")  # on "meta" there are shapes alone
_GRADIENT_OPTIONS = (*OPTIONS, "input_gradient")
_TRANSFORMATIONS = "forward mode and the transformations of torch.func"


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

    Differentiable by all floating arguments but `recurrent_dropout`, more than once where Keras
    runs on torch.

    Returns:
        y, (B, T, H) or (B, H); h and c after the last step, (B, H).

    Raises:
        PylstmError: In forward mode, or under a transformation of torch.func; on a GPU, as
            `pylstm.ops.cuda.forward`.
    """
    if _is_transformed():
        raise PylstmError(
            "PYL134",
            expected="reverse mode of plain tensors, as of backward and torch.autograd.grad",
            got=_TRANSFORMATIONS,
            fix="pylstm.LSTM with KERAS_BACKEND=torch, whose loop has them",
        )
    tensors = (x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout)
    needs_gradient = torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in tensors
    )
    options = OPTIONS | options
    y, h, c, _ = _forward(*tensors, *options.values(), needs_gradient)
    return y, h, c


def zero_state(x, units):
    """Returns zeros (B, H) for inputs x (B, T, F)."""
    return x.new_zeros((x.shape[0], units))


def own(tensors):
    """Returns the arguments of `lstm`, NumPy arrays as tensors where the others are, which on the
    CPU share their memory.

    Raises:
        DeviceError: The tensors are on several devices, or on one that the kernels do not reach.
    """
    placed = {name: t for name, t in zip(INPUTS, tensors, strict=True) if isinstance(t, Tensor)}
    check_devices(placed, _device, _DEVICES, "move them with .to(x.device)")
    device = next(iter(placed.values())).device
    return [_from_numpy(t).to(device) if isinstance(t, np.ndarray) else t for t in tensors]


def stacked(values):
    """Returns an array of a list whose numbers NumPy cannot read, such as of tensors on a GPU."""
    return torch.stack(values)


def mask_from_lengths(lengths, x, mask):
    """Returns the mask (B, T), or all True for None, with False from step lengths[b] on."""
    lengths = torch.as_tensor(lengths, device=x.device).to(torch.int64)
    within = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
    return within if mask is None else mask & within


@constant
def devices():
    """Returns the kinds of device that the operator has kernels for, such as "CPU"."""
    try:
        load_cuda()
    except BackendLoadError:
        return ["CPU"]
    return ["CPU", "GPU"]


def obstacle(x):
    """A clause that says what keeps a layer of Keras from the operator for x (B, T, F), or None."""
    if _is_transformed():
        return f"the fused kernel has no rule for {_TRANSFORMATIONS}"
    if torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():
        return "TorchScript and ONNX have no operator for the fused kernel"
    device = x.device.type
    if device == "cuda" and "GPU" not in devices():
        return "the input is on a GPU, for which the fused kernel is not built here"
    if device not in _DEVICES:
        reached = " and ".join(_DEVICES[:-1])
        return f"the input is on {device}, and the fused kernel runs on {reached}"
    return None


def _is_transformed():
    # Torch itself would silently take an operator's unknown tangents for zeros.
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _device(tensor):
    return tensor.device


# The annotations are the operators' schemas.
@torch.library.custom_op("pylstm::lstm", mutates_args=(), device_types="cpu")
def _forward(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    recurrent_dropout: Tensor | None,
    activation: str,
    recurrent_activation: str,
    go_backwards: bool,
    return_sequences: bool,
    zero_output_for_mask: bool,
    save_for_backward: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    tensors = (x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout)
    y, h, c, reserve = _core.forward(
        *map(_to_numpy, tensors),
        activation=activation,
        recurrent_activation=recurrent_activation,
        go_backwards=go_backwards,
        return_sequences=return_sequences,
        zero_output_for_mask=zero_output_for_mask,
        save_for_backward=save_for_backward,
        threads=_threads(),
    )
    reserve = x.new_empty(0, dtype=torch.uint8) if reserve is None else _from_numpy(reserve)
    return _from_numpy(y), _from_numpy(h), _from_numpy(c), reserve


def _threads():
    """As many as torch takes for its own operators, on the cores that the caller may use."""
    return min(torch.get_num_threads(), len(os.sched_getaffinity(0)))


@torch.library.custom_op("pylstm::lstm_backward", mutates_args=(), device_types="cpu")
def _backward(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    recurrent_dropout: Tensor | None,
    reserve: Tensor,
    dy: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
    activation: str,
    recurrent_activation: str,
    go_backwards: bool,
    return_sequences: bool,
    zero_output_for_mask: bool,
    input_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    tensors = (x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout)
    gradients = _core.backward(
        *map(_to_numpy, (*tensors, reserve, dy, dh, dc)),
        activation=activation,
        recurrent_activation=recurrent_activation,
        go_backwards=go_backwards,
        return_sequences=return_sequences,
        zero_output_for_mask=zero_output_for_mask,
        input_gradient=input_gradient,
        threads=_threads(),
    )
    # No list: torch can run it for each of a batch of gradients only if it returns plain tensors.
    return tuple(x.new_empty(0) if g is None else _from_numpy(g) for g in gradients)


@_forward.register_kernel("cuda")
def _forward_cuda(*arguments):
    tensors, options, save_for_backward = arguments[:8], arguments[8:-1], arguments[-1]
    options = dict(zip(OPTIONS, options, strict=True))
    y, h, c, reserve = cuda.forward(Cuda, tensors, save_for_backward=save_for_backward, **options)
    reserve = y.new_empty(0, dtype=torch.uint8) if reserve is None else reserve
    return y, h, c, reserve


@_backward.register_kernel("cuda")
def _backward_cuda(*arguments):
    inputs, (reserve, dy, dh, dc), options = arguments[:8], arguments[8:12], arguments[12:]
    options = dict(zip(_GRADIENT_OPTIONS, options, strict=True))
    gradients = cuda.backward(Cuda, inputs, reserve, (dy, dh, dc), **options)
    return tuple(arguments[0].new_empty(0) if g is None else g for g in gradients)


class Cuda:
    """What `pylstm.ops.cuda` asks of a framework."""

    OutOfMemory = torch.OutOfMemoryError

    @staticmethod
    def dense(tensor):
        return tensor.contiguous()

    @staticmethod
    def address(tensor):
        return tensor.data_ptr()

    device = staticmethod(_device)

    @staticmethod
    def empty(shape, dtype, like):
        return like.new_empty(shape, dtype=dtype and getattr(torch, dtype))

    @staticmethod
    def current_stream(tensor):
        return torch.cuda.current_stream(tensor.device).cuda_stream

    @staticmethod
    def on_device(tensor):
        return torch.cuda.device(tensor.device)

    @staticmethod
    def allow_tf32():
        matmul = torch.backends.cuda.matmul
        # torch 2.9 replaced the setting; the older one raises once the newer one was set.
        precision = getattr(matmul, "fp32_precision", None)
        return matmul.allow_tf32 if precision is None else precision == "tf32"


@_forward.register_fake
def _forward_shapes(x, h0, c0, kernel, recurrent_kernel, *rest):
    *_, return_sequences, _, save_for_backward = rest
    batch, time, _ = x.shape
    units = recurrent_kernel.shape[0]
    y = x.new_empty((batch, time, units) if return_sequences else (batch, units))
    reserve_bytes = 0
    if save_for_backward:  # in proportion to the sizes, which may be symbols here
        reserve_bytes = batch * time * units * _core.reserve_bytes(1, 1, 1, np.dtype(dtype_name(x)))
    return (
        y,
        x.new_empty(batch, units),
        x.new_empty(batch, units),
        x.new_empty(reserve_bytes, dtype=torch.uint8),
    )


@_backward.register_fake
def _backward_shapes(x, h0, c0, kernel, recurrent_kernel, bias, *rest):
    inputs = (x if rest[-1] else None, h0, c0, kernel, recurrent_kernel, bias)
    return tuple(x.new_empty(0 if tensor is None else tensor.shape) for tensor in inputs)


_NO_OPTIONS = [None] * len(OPTIONS)  # they have no gradient


def _save(ctx, inputs, output):
    *tensors, activation, recurrent_activation, back, sequences, zero, saved = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, output[-1] if saved else None)
    ctx.options = (activation, recurrent_activation, back, sequences, zero)


def _gradient(ctx, dy, dh, dc, _):
    *tensors, reserve = ctx.saved_tensors
    if reserve is None:
        reserve = _forward(*tensors, *ctx.options, True)[-1]
    input_gradient = ctx.needs_input_grad[0]
    dx, *gradients, dbias = _backward(*tensors, reserve, dy, dh, dc, *ctx.options, input_gradient)
    dx = dx if input_gradient else None
    dbias = None if tensors[5] is None else dbias
    without = [None] * 3  # mask, recurrent_dropout, save_for_backward
    return dx, *gradients, dbias, *without, *_NO_OPTIONS


def _save_gradient(ctx, inputs, output):
    *tensors, _reserve, dy, dh, dc = inputs[: -len(_GRADIENT_OPTIONS)]
    *options, ctx.input_gradient = inputs[-len(_GRADIENT_OPTIONS) :]
    ctx.save_for_backward(*tensors, dy, dh, dc)
    ctx.options = dict(zip(OPTIONS, options, strict=True))


def _gradient_of_gradient(ctx, *outer):
    """The derivatives of the gradient, weighted by `outer`: by a loop."""
    # Imported here, since it imports Keras: the checks on a GPU run this module without that.
    from pylstm.ops.loop import lstm_loop, require_loop

    require_loop("torch")
    *tensors, dy, dh, dc = ctx.saved_tensors
    *weighted, mask, dropout = tensors
    with torch.enable_grad():
        # Copies: one tensor may be two arguments, and each has a derivative of its own.
        weighted, upstream = [[_copy(t) for t in group] for group in (weighted, (dy, dh, dc))]
        outputs = lstm_loop(*weighted, mask, dropout, **ctx.options)
        used = [(y, dy) for y, dy in zip(outputs, upstream, strict=True) if dy is not None]
        gradient = torch.autograd.grad(
            [y for y, _ in used],
            [t for t in weighted[not ctx.input_gradient :] if t is not None],
            [dy for _, dy in used],
            create_graph=True,
            materialize_grads=True,
        )
        outer = [g for g, t in zip(outer, weighted, strict=True) if t is not None]
        weights = zip(gradient, outer[not ctx.input_gradient :], strict=True)
        result = sum((g * weight).sum() for g, weight in weights if weight is not None)
    sources = [*weighted, *upstream]
    derivatives = iter(
        torch.autograd.grad(
            result,
            [t for t in sources if t is not None],
            create_graph=torch.is_grad_enabled(),
            materialize_grads=True,
        )
    )
    derivatives = [None if t is None else next(derivatives) for t in sources]
    without = [None] * 3  # mask, recurrent_dropout, reserve
    options = [None] * len(_GRADIENT_OPTIONS)
    return *derivatives[: len(weighted)], *without, *derivatives[len(weighted) :], *options


def _copy(tensor):
    if tensor is None:
        return None
    return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()


_forward.register_autograd(_gradient, setup_context=_save)
_backward.register_autograd(_gradient_of_gradient, setup_context=_save_gradient)


def _to_numpy(tensor):
    """The tensor's memory as an array; NumPy's bfloat16 is that of ml_dtypes."""
    if tensor is None:
        return None
    tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _from_numpy(array):
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view("int16")).view(torch.bfloat16)
    return torch.from_numpy(array)
