"""What is timed on a GPU, the most important first: there may not be time for all."""

from dataclasses import replace

from benchmarks.cases import DEEPBENCH, SIX, Case

HALF = ("float16", "bfloat16")
FLOAT = ("float32", "tf32")
BOTH = ("inference", "training")


def _each(dtypes, cases):
    return [replace(case, dtype=dtype) for case in cases for dtype in dtypes]


# FlashRNN's speed experiments of one head: the batch and the steps vary around (16, 1024).
FLASHRNN = [
    Case("FlashRNN", batch, steps, 768, 768)
    for batch, steps in [(16, 1024), (16, 256), (16, 512), (16, 2048)]
    + [(batch, 1024) for batch in (2, 8, 32, 64, 128, 256)]
]
SMALL = [
    Case("small batch", batch, 1000, units, units) for units in (512, 256, 128) for batch in (16, 1)
]
PADDED = [
    Case("padded", 64, 200, 80, 256, padding="right"),
    Case("padded", 32, 1440, 3, 50, padding="right"),
    Case("padded", 16, 1000, 512, 512, padding="right"),
    Case("padded", 64, 200, 80, 256, padding="left"),
]
_OPTIONS = ("options", 64, 200, 80, 256)
_RELU = Case(*_OPTIONS, activation="relu")
OPTIONS = [
    # Inference alone: where the derivative jumps, bfloat16's rounding decides on which side it is.
    replace(_RELU, dtype="bfloat16", modes=("inference",)),
    _RELU,
    *_each(("bfloat16", "float32"), [Case(*_OPTIONS, modes=("training",), recurrent_dropout=0.2)]),
]
# Haste's benchmark_lstm.cc, its 50 steps, at one of its batch and input sizes.
HASTE = [
    Case("Haste", 64, 50, 128, units) for units in (128, 256, 512, 768, 1024, 1536, 2048, 3072)
]

TIMED = [
    *_each(HALF, FLASHRNN[:1]),
    *_each(HALF, SMALL),
    *_each(HALF + FLOAT, SIX),
    *_each(("bfloat16", "float32"), PADDED),
    *OPTIONS,
    *_each(HALF + FLOAT, [case for case in DEEPBENCH if case.modes == BOTH]),
    *_each(FLOAT, HASTE),
    *_each(HALF, FLASHRNN[1:]),
    *_each(HALF + FLOAT, [case for case in DEEPBENCH if case.modes != BOTH]),
]
