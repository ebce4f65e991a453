"""What is measured: one `Case` per shape and set of options."""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["inference", "training"]


@dataclass(frozen=True)
class Case:
    """One LSTM call: its sizes, element type and options.

    Attributes:
        group: The heading under which the report lists the case.
        batch, time, features, units: B, T, F and H.
        modes: "inference" is the forward pass. "training" is the forward pass and the gradients
            by x, kernel, recurrent kernel and bias, without an optimizer.
        first_layer: x is data: training without the gradient by x.
        padding: Lengths drawn like speech, so that half of the steps are padding, on the right
            or on the left. None: every row has T steps.
        recurrent_dropout: The rate; the masks are fixed, so that results can be checked.
        dtype: "tf32" is float32 whose products a GPU may round to TF32.
        streaming: The caller hands the states in and gets them back.
        eager: TensorFlow's layers are called outside a `tf.function`, as by `model(x)`.
    """

    group: str
    batch: int
    time: int
    features: int
    units: int
    modes: tuple[Mode, ...] = ("inference", "training")
    dtype: Literal["float32", "float64", "tf32", "float16", "bfloat16"] = "float32"
    activation: Literal["tanh", "relu"] = "tanh"
    use_bias: bool = True
    padding: Literal["right", "left"] | None = None
    recurrent_dropout: float = 0.0
    first_layer: bool = False
    bidirectional: bool = False
    streaming: bool = False
    eager: bool = False

    @property
    def name(self) -> str:
        """For example "B32 T100 F64 H128 relu"."""
        options = [
            self.dtype if self.dtype != "float32" else "",
            self.activation if self.activation != "tanh" else "",
            "" if self.use_bias else "no bias",
            f"padded {self.padding}" if self.padding else "",
            "recurrent dropout" if self.recurrent_dropout else "",
            "first layer" if self.first_layer else "",
            "bidirectional" if self.bidirectional else "",
            "streaming" if self.streaming else "",
            "eager" if self.eager else "",
        ]
        sizes = f"B{self.batch} T{self.time} F{self.features} H{self.units}"
        return " ".join([sizes, *filter(None, options)])

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def without_options(self) -> "Case":
        """The same sizes in float32 with Keras' defaults."""
        return Case(self.group, self.batch, self.time, self.features, self.units, self.modes)


def _deepbench(modes: tuple[Mode, ...], sizes: list[tuple[int, int, int]]) -> list[Case]:
    """DeepBench gives (units, batch, time) and feeds as many features as units."""
    return [Case("DeepBench", b, t, h, h, modes) for h, b, t in sizes]


SIX = [
    Case("six shapes", 32, 100, 13, 64),
    Case("six shapes", 64, 200, 80, 256),
    Case("six shapes", 32, 1440, 3, 50),
    Case("six shapes", 20, 35, 650, 650),
    Case("six shapes", 1, 100, 64, 512),
    Case("six shapes", 64, 25, 1024, 1024),
]

TYPICAL = [Case("Keras-typical", 32, 100, 64, units) for units in (32, 64, 128)]

_OPTIONS = ("options", 32, 100, 64, 128)
_PADDED = ("options", 64, 200, 80, 256)
OPTIONS = [
    Case(*_OPTIONS, activation="relu"),
    Case(*_OPTIONS, modes=("training",), recurrent_dropout=0.2),
    Case(*_OPTIONS, use_bias=False),
    Case(*_OPTIONS, bidirectional=True),
    Case(*_OPTIONS, dtype="bfloat16"),
    Case(*_OPTIONS, dtype="float64"),
    Case(*_PADDED, padding="right"),
    Case(*_PADDED, padding="left"),
    Case("options", 20, 35, 650, 650, modes=("training",), first_layer=True),
    Case("options", 64, 25, 1024, 1024, modes=("training",), first_layer=True),
]

STREAMING = [
    Case("streaming", 1, 1, 64, units, modes=("inference",), streaming=True)
    for units in (128, 256, 512, 1024)
]

EAGER = [
    Case("eager", 1, 1, 64, 128, modes=("inference",), streaming=True, eager=True),
    Case("eager", 32, 100, 64, 64, eager=True),
]

# github.com/baidu-research/DeepBench, code/kernels/rnn_problems.h, without H 4096 and without the
# one that is among SIX.
DEEPBENCH = _deepbench(
    ("inference", "training"),
    [
        (units, batch, 25)
        for units in (512, 1024, 2048)
        for batch in (16, 32, 64, 128)
        if (units, batch) != (1024, 64)
    ]
    + [(1536, batch, 50) for batch in (8, 16, 32)]
    + [(256, batch, 150) for batch in (16, 32, 64)],
) + _deepbench(
    ("inference",),
    [(units, batch, 25) for units in (512, 1024, 2048) for batch in (1, 2, 4)]
    + [(1536, batch, 50) for batch in (1, 2, 4)]
    + [(256, batch, 150) for batch in (1, 2, 4)],
)

FULL = [*SIX, *TYPICAL, *OPTIONS, *STREAMING, *EAGER, *DEEPBENCH]
QUICK = [*SIX, TYPICAL[-1], OPTIONS[0]]
