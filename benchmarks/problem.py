"""The numbers of a case: its inputs, its true results, and the arithmetic that it takes."""

from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Case, Mode
from benchmarks.quiet import native_logs_hidden

# Largest error against float64, as a fraction of the result's largest value, beyond which a
# peer's time does not count. 16-bit types allow for peers that also accumulate in them.
TOLERANCES = {"float64": 1e-10, "float32": 1e-4, "tf32": 0.02, "float16": 0.02, "bfloat16": 0.1}


@dataclass(frozen=True)
class Weights:
    """One direction's weights in Keras' layout, gates i, f, c, o."""

    kernel: np.ndarray  # (F, 4H)
    recurrent_kernel: np.ndarray  # (H, 4H)
    bias: np.ndarray | None  # (4H,)


@dataclass(frozen=True)
class Problem:
    """The inputs of a case, in its element type; every process draws the same ones."""

    case: Case
    x: np.ndarray  # (B, T, F)
    h0: np.ndarray  # (B, H)
    c0: np.ndarray  # (B, H)
    weights: tuple[Weights, ...]  # one per direction, forwards first
    mask: np.ndarray | None  # (B, T) bool
    lengths: np.ndarray | None  # (B,) int64
    recurrent_dropout: np.ndarray | None  # (4, B, H)
    dy: np.ndarray  # (B, T, directions * H), the gradient that arrives at y


def draw_problem(case: Case) -> Problem:
    """Draws the inputs of `case` from a fixed seed."""
    rng = np.random.default_rng(0)
    b, t, f, h = case.batch, case.time, case.features, case.units
    dtype = _numpy_dtype(case.dtype)

    def normal(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    def uniform(*shape):
        return ((2 * rng.random(shape, dtype=np.float32) - 1) / np.sqrt(h)).astype(dtype)

    weights = tuple(
        Weights(uniform(f, 4 * h), uniform(h, 4 * h), uniform(4 * h) if case.use_bias else None)
        for _ in range(case.directions)
    )
    lengths = mask = recurrent_dropout = None
    dy = normal(b, t, case.directions * h)
    if case.padding:
        lengths = np.maximum(1, np.rint(t * rng.beta(2, 2, b))).astype(np.int64)
        lengths[np.argmax(lengths)] = t
        mask = np.arange(t) < lengths[:, None]
        mask = np.ascontiguousarray(mask[:, ::-1]) if case.padding == "left" else mask
        dy *= mask[..., None]  # what a masked step gives is each framework's own convention
    if case.recurrent_dropout:
        keep = 1 - case.recurrent_dropout
        recurrent_dropout = ((rng.random((4, b, h)) < keep) / keep).astype(dtype)
    state = normal(2, b, h).astype(dtype) * dtype.type(0.5 if case.streaming else 0)
    return Problem(
        case,
        normal(b, t, f).astype(dtype),
        *state,
        weights,
        mask,
        lengths,
        recurrent_dropout,
        dy.astype(dtype),
    )


def reference_results(problem: Problem, mode: Mode) -> dict[str, np.ndarray]:
    """Computes the results of `problem` in float64, by name, as `largest_error` takes them."""
    with native_logs_hidden():  # here, since it imports Keras, whose backend a peer chooses
        from pylstm.reference import lstm_backward, lstm_forward

    results, outputs, dx = {}, [], 0.0
    for direction, weights in enumerate(problem.weights):
        inputs = _as_float64(
            problem.x,
            problem.h0,
            problem.c0,
            weights.kernel,
            weights.recurrent_kernel,
            weights.bias,
        )
        masks = (problem.mask, _as_float64(problem.recurrent_dropout)[0])
        options = {"activation": problem.case.activation, "go_backwards": direction == 1}
        y, h, c = lstm_forward(*inputs, *masks, **options)
        outputs.append(y[:, ::-1] if direction else y)
        if problem.case.streaming:
            results |= {"h": h, "c": c}
        if mode == "training":
            dy = _as_float64(np.split(problem.dy, len(problem.weights), -1)[direction])[0]
            dy = dy[:, ::-1] if direction else dy
            by_x, _, _, *by_weights = lstm_backward(*inputs, *masks, dy, **options)
            dx = dx + by_x
            results |= name_gradients(direction, *by_weights)
    results["y"] = np.concatenate(outputs, -1)
    if mode == "training" and not problem.case.first_layer:
        results["dx"] = dx
    return results


def name_gradients(direction: int, dkernel, drecurrent_kernel, dbias=None) -> dict:
    """Names one direction's weight gradients."""
    gradients = {"dkernel": dkernel, "drecurrent_kernel": drecurrent_kernel, "dbias": dbias}
    return {f"{name}_{direction}": g for name, g in gradients.items() if g is not None}


def largest_error(problem: Problem, results: dict, expected: dict) -> float:
    """Returns the largest error of any result, relative to the result's largest value.

    Raises:
        KeyError: When a result is missing.
        ValueError: When one has another shape than expected.
    """
    errors = []
    for name, true in expected.items():
        got = np.asarray(results[name], np.float64)
        if got.shape != true.shape:
            raise ValueError(f"{name}: expected shape {true.shape}, got {got.shape}")
        if name == "y" and problem.mask is not None:
            got, true = got[problem.mask], true[problem.mask]
        errors.append(np.abs(got - true).max() / np.abs(true).max())
    return float(max(errors))  # NaN compares false with every tolerance


def arithmetic(problem: Problem, mode: Mode) -> float:
    """Counts the floating-point operations of the matrix products of steps that are not padding.

    A training step takes them three times: forwards, by the inputs, by the weights; in a first
    layer no gradient by x.
    """
    case = problem.case
    steps = case.batch * case.time if problem.mask is None else int(problem.mask.sum())
    columns = case.features + case.units
    if mode == "training":
        columns = 3 * columns - (case.features if case.first_layer else 0)
    return case.directions * 2.0 * steps * 4 * case.units * columns


def _numpy_dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype("float32" if name == "tf32" else name)


def _as_float64(*arrays):
    return [None if array is None else np.asarray(array, np.float64) for array in arrays]
