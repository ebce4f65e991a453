"""`python -m benchmarks.gpu.check`: values and gradients on the GPU against float64."""

import argparse
import itertools
import sys

import numpy as np
import torch

from benchmarks.gpu import modules

reference = modules.load("reference")
operator = modules.load("ops.torch")
NAMES = ("x", "h0", "c0", "kernel", "recurrent_kernel", "bias")
TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 4e-6, "float64": 1e-13, "tf32": 3e-3}
# One for each kernel: step (odd sizes and large batch), block, cluster, grid.
SIZES = [(3, 5, 7, 9), (100, 6, 20, 40), (9, 7, 16, 64), (20, 6, 8, 128), (18, 5, 30, 512)]
SMALL_SIZES = [(3, 3, 5, 7), (9, 3, 8, 40), (9, 3, 8, 104), (3, 3, 8, 264)]
VARIANTS = {
    "plain": {},
    "masked": {"mask": True},
    "all": {"mask": True, "recurrent_dropout": True, "go_backwards": True, "activation": "relu"},
}


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.check", description=__doc__)
    parser.add_argument("--small", action="store_true", help="for compute-sanitizer")
    options = parser.parse_args(arguments)
    # New tensors hold NaN until they are written.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True

    failures = []
    sizes = SMALL_SIZES if options.small else SIZES
    for size, dtype, variant in itertools.product(sizes, TOLERANCE, VARIANTS):
        worst = check(size, dtype, **VARIANTS[variant])
        if not worst <= 2:  # NaN fails, too
            failures.append(f"{size} {dtype} {variant}: {worst:.1f} times the tolerance")
    if not options.small and not two_streams_agree():
        failures.append("two streams at once change a result")
    print(f"{len(sizes) * len(TOLERANCE) * len(VARIANTS)} checks, {len(failures)} failed")
    sys.exit("\n".join(failures) or None)


def check(size, dtype, *, mask=False, recurrent_dropout=False, **options):
    """The largest error of any result or gradient, in units of the tolerance."""
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    tensors, keywords = arguments(size, dtype, mask=mask, recurrent_dropout=recurrent_dropout)
    options = {
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "go_backwards": False,
        "return_sequences": True,
        "zero_output_for_mask": False,
    } | options
    outputs = operator.lstm(*tensors, **keywords, **options)
    weights = [torch.randn_like(output) for output in outputs]
    gradients = torch.autograd.grad(outputs, tensors, weights)

    arrays = dict(zip(NAMES, map(to_numpy, tensors), strict=True))
    arrays |= {name: to_numpy(value) for name, value in keywords.items()}
    expected = reference.lstm_forward(**arrays, **options)
    dy, dh, dc = map(to_numpy, weights)
    expected += reference.lstm_backward(**arrays, dy=dy, dh=dh, dc=dc, **options)
    errors = [
        np.linalg.norm(to_numpy(result) - value) / np.linalg.norm(value)
        for result, value in zip((*outputs, *gradients), expected, strict=True)
    ]
    return np.max(errors) / TOLERANCE[dtype]


def arguments(size, dtype, *, mask, recurrent_dropout, seed=0):
    """Random tensors (B, T, F, H) on the GPU: those with a gradient, then the others by name."""
    batch, time, features, units = size
    random = torch.Generator(device="cuda").manual_seed(seed)
    kind = torch.float32 if dtype == "tf32" else getattr(torch, dtype)

    def normal(*shape, scale=1.0):
        values = torch.randn(shape, generator=random, device="cuda") * scale
        return values.to(kind).requires_grad_()

    tensors = [
        normal(batch, time, features),
        normal(batch, units),
        normal(batch, units),
        normal(features, 4 * units, scale=features**-0.5),
        normal(units, 4 * units, scale=units**-0.5),
        normal(4 * units),
    ]
    keywords = {"mask": None, "recurrent_dropout": None}
    if mask:
        keywords["mask"] = torch.rand((batch, time), generator=random, device="cuda") < 0.7
    if recurrent_dropout:
        keep = torch.rand((4, batch, units), generator=random, device="cuda") < 0.8
        keywords["recurrent_dropout"] = keep.to(kind) / 0.8
    return tensors, keywords


def two_streams_agree():
    """Whether calls that overlap on two streams give what they give alone, to the bit."""
    call = {"activation": "tanh", "recurrent_activation": "sigmoid", "go_backwards": False}
    call |= {"return_sequences": True, "zero_output_for_mask": False}
    cases = [
        arguments((32, 50, 64, 256), "bfloat16", mask=False, recurrent_dropout=False, seed=seed)[0]
        for seed in (1, 2)
    ]
    with torch.no_grad():
        alone = [operator.lstm(*case, **call)[0] for case in cases]
        torch.cuda.synchronize()
        streams = [torch.cuda.Stream() for _ in cases]
        together = []
        for _ in range(20):
            for stream, case in zip(streams, cases, strict=True):
                with torch.cuda.stream(stream):
                    together.append(operator.lstm(*case, **call)[0])
        torch.cuda.synchronize()
    return all(torch.equal(y, alone[i % 2]) for i, y in enumerate(together))


def to_numpy(tensor):
    if tensor is None:
        return None
    tensor = tensor.detach().cpu()
    return (tensor if tensor.dtype == torch.bool else tensor.double()).numpy()


if __name__ == "__main__":
    main()
