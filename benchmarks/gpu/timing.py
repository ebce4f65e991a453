"""Microseconds per step beside cuDNN, which torch.nn.LSTM calls."""

import statistics

import torch

from benchmarks.gpu import check, modules

operator = modules.load("ops.torch")
DTYPES = ("float16", "bfloat16", "tf32", "float32")
# (batch, time, features, units)
CASES = [
    (32, 100, 13, 64),
    (64, 200, 80, 256),
    (32, 1440, 3, 50),
    (20, 35, 650, 650),
    (1, 100, 64, 512),
    (16, 1024, 768, 768),  # FlashRNN's
    (64, 25, 512, 512),  # DeepBench's, as the following
    (16, 150, 256, 256),
    (16, 25, 1024, 1024),
    (64, 25, 1024, 1024),
    (32, 25, 2048, 2048),
]
REPEATS = 20
OPTIONS = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "go_backwards": False,
    "return_sequences": True,
    "zero_output_for_mask": False,
}


def measure():
    """One row, a dict, for each case, dtype and pass; times are medians in µs per time step."""
    rows = []
    for size in CASES:
        for dtype in DTYPES:
            for training in (False, True):
                allow_tf32 = dtype == "tf32"
                torch.backends.cuda.matmul.allow_tf32 = allow_tf32
                torch.backends.cudnn.allow_tf32 = allow_tf32
                row = {"size": size, "dtype": dtype, "pass": "train" if training else "forward"}
                row["pylstm"] = per_step(size, ours(size, dtype, training))
                row["cudnn"] = per_step(size, cudnn(size, dtype, training))
                row["cudnn packed"] = per_step(size, cudnn(size, dtype, training, packed=True))
                rows.append(row)
    return rows


def ours(size, dtype, training):
    tensors, _ = check.arguments(size, dtype, mask=False, recurrent_dropout=False)
    weight = torch.ones_like(operator.lstm(*tensors, **OPTIONS)[0])

    def call():
        with torch.set_grad_enabled(training):
            y, _, _ = operator.lstm(*tensors, **OPTIONS)
        if training:
            torch.autograd.grad(y, tensors, weight)

    return call


def cudnn(size, dtype, training, packed=False):
    batch, time, features, units = size
    kind = torch.float32 if dtype == "tf32" else getattr(torch, dtype)
    layer = torch.nn.LSTM(features, units, batch_first=True, device="cuda", dtype=kind)
    x = torch.randn(batch, time, features, device="cuda", dtype=kind, requires_grad=True)
    lengths = torch.full((batch,), time)

    def call():
        with torch.set_grad_enabled(training):
            data = x
            if packed:
                data = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
            y, _ = layer(data)
            y = y.data if packed else y
        if training:
            torch.autograd.grad(y, [x, *layer.parameters()], torch.ones_like(y))

    return call


def per_step(size, call):
    """The median of REPEATS, by device events, after a warm-up."""
    for _ in range(3):
        call()
    times = []
    for _ in range(REPEATS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1000 / size[1])
    return statistics.median(times)


def table(rows):
    """The rows as text."""
    lines = [
        f"{'B, T, F, H':>22} {'dtype':>9} {'pass':>8} {'pylstm':>9} {'cuDNN':>9} {'packed':>9}"
    ]
    for row in rows:
        size = ", ".join(map(str, row["size"]))
        times = " ".join(f"{row[name]:9.2f}" for name in ("pylstm", "cudnn", "cudnn packed"))
        lines.append(f"{size:>22} {row['dtype']:>9} {row['pass']:>8} {times}")
    return "\n".join([*lines, "µs per time step, median"])
