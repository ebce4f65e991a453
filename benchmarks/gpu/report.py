"""`python -m benchmarks.gpu.report FILE`: a record as text."""

import json
import math
import pathlib
import statistics
import sys

from benchmarks.gpu.cases import HALF, TIMED
from benchmarks.report import markdown

# A way to L2 and back on an H200, 0.16 to 0.2 µs. Blocks that exchange h through it wait for four
# in turn: the stores of h, which the release waits for; the addition to the counter; the read that
# sees it; the copy of h into shared memory.
L2_TRIP, L2_TRIPS = 0.175, 4
# Microseconds that a step of each kernel takes at least on Hopper, for what it waits for between
# two steps: nothing, a cluster's barrier, the exchange through L2. A launch per step would be 1.3.
FLOORS = {"block": 0.0, "cluster": 0.47, "grid": L2_TRIPS * L2_TRIP, "step": L2_TRIPS * L2_TRIP}
TITLES = {  # in the order of the report
    "pylstm": "pylstm",
    "cudnn": "cuDNN",
    "cudnn_unpacked": "not packed",
    "pylstm_layer": "pylstm (TF)",
    "keras_layer": "Keras (TF)",
}


def text(content):
    """The whole record."""
    return "\n\n".join([*tables(content), summary(content), verdict(content)])


def verdict(content):
    """What was checked and what failed."""
    checks, sanitizer = content["checks"], content["sanitizer"]
    lines = [f"{len(checks)} checks, {sum('failed' in r for r in checks.values())} failed"]
    for tool, result in sanitizer.items():
        lines.append(f"compute-sanitizer {tool}: {_outcome(result)}")
    timed = sum(len(case.modes) for case in TIMED)
    lines.append(f"{len(content['timings'])} of {timed} timings were reached")
    return "\n".join([*lines, *failures(content)])


def failures(content):
    """A line for each result that is wrong or missing because something failed."""
    lines = [
        f"FAILED {section} {name}: {result['failed']}"
        for section in ("checks", "sanitizer", "timings")
        for name, result in content[section].items()
        if "failed" in result
    ]
    lines += [
        f"FAILED timings {name}: {peer} {result['failed']}"
        for name, timing in content["timings"].items()
        for peer, result in timing.get("peers", {}).items()
        if "failed" in result and peer.startswith("pylstm")
    ]
    return lines


def tables(content):
    """The timings as Markdown, one table for each group and mode."""
    grouped = {}
    for name, timing in content["timings"].items():
        if "peers" in timing:
            grouped.setdefault((timing["case"]["group"], timing["mode"]), []).append((name, timing))
    for (group, mode), rows in grouped.items():
        peers = [peer for peer in TITLES if any(median(timing, peer) for _, timing in rows)]
        titles = ["µs a step", "kernel", "floor", *(TITLES[peer] for peer in peers), "vs cuDNN"]
        lines = [_row(name.removesuffix(f" {mode}"), timing, peers) for name, timing in rows]
        yield f"### {group}, {mode}\n\n{markdown(titles, lines)}"


def _row(name, timing, peers):
    floor = FLOORS.get(timing["kernel"], math.nan) * (2 if timing["mode"] == "training" else 1)
    cells = [_step_cell(timing, peer) for peer in peers]
    ratio = speed_up(timing, "pylstm", "cudnn")
    return [name, timing["kernel"], f"{floor:.2f}", *cells, f"{ratio:.2f}×" if ratio else ""]


def _step_cell(timing, peer):
    seconds = median(timing, peer)
    if seconds is None:
        result = timing["peers"].get(peer, {})
        return result.get("refused") or result.get("failed", "")
    return f"{1e6 * seconds / timing['case']['time']:.2f}"


def median(timing, peer):
    """Seconds of a call, or None where the peer has no valid time."""
    return timing["peers"].get(peer, {}).get("median")


def speed_up(timing, ours, other):
    """How many times faster `ours` is; None where either has no time."""
    times = median(timing, ours), median(timing, other)
    return times[1] / times[0] if all(times) else None


def summary(content):
    """As Markdown: ratios of medians, and the steps of small batches."""
    timings = [timing for timing in content["timings"].values() if "peers" in timing]
    rows = []
    for mode in ("inference", "training"):
        for what, chooses, ours, other in RATIOS:
            part = [t for t in timings if t["mode"] == mode and chooses(t["case"])]
            ratios = [ratio for timing in part if (ratio := speed_up(timing, ours, other))]
            if ratios:
                mean = f"{statistics.geometric_mean(ratios):.2f}×"
                rows.append([f"{mode}: {what}", mean, f"{min(ratios):.2f}×", str(len(ratios))])
    ratios = markdown(["pylstm's speed-up", "geometric mean", "smallest", "cases"], rows)
    rows = []
    for what, chooses in STEPS:
        part = [t for t in timings if t["mode"] == "inference" and chooses(t["case"])]
        steps = [1e6 * time / t["case"]["time"] for t in part if (time := median(t, "pylstm"))]
        if steps:
            rows.append([what, f"{min(steps):.2f}", f"{max(steps):.2f}", str(len(steps))])
    return f"{ratios}\n\n{markdown(['µs a step, inference', 'fastest', 'slowest', 'cases'], rows)}"


def _outside_cudnn(case):
    """Whether Keras leaves cuDNN for this case."""
    return (
        case["activation"] != "tanh" or case["recurrent_dropout"] > 0 or case["padding"] == "left"
    )


# What is compared, in which cases, whose time with whose.
RATIOS = [
    (
        "DeepBench and six shapes, against cuDNN",
        lambda case: case["group"] in ("DeepBench", "six shapes"),
        "pylstm",
        "cudnn",
    ),
    (
        "bfloat16, against cuDNN",
        lambda case: case["dtype"] == "bfloat16" and not case["padding"],
        "pylstm",
        "cudnn",
    ),
    (
        "float32 above H 192, against cuDNN",
        lambda case: case["dtype"] == "float32" and case["units"] > 192 and not case["padding"],
        "pylstm",
        "cudnn",
    ),
    (
        "right padding, against cuDNN packed",
        lambda case: case["padding"] == "right",
        "pylstm",
        "cudnn",
    ),
    (
        "right padding, against cuDNN on padding",
        lambda case: case["padding"] == "right",
        "pylstm",
        "cudnn_unpacked",
    ),
    (
        "where Keras uses cuDNN, against Keras",
        lambda case: not _outside_cudnn(case),
        "pylstm_layer",
        "keras_layer",
    ),
    (
        "relu, recurrent dropout, left padding, against Keras",
        _outside_cudnn,
        "pylstm_layer",
        "keras_layer",
    ),
]
STEPS = [
    (
        "H up to 512, B up to 16, 16-bit",
        lambda case: case["units"] <= 512 and case["batch"] <= 16 and case["dtype"] in HALF,
    ),
    (
        "B16 H768 float16",
        lambda case: (case["batch"], case["units"], case["dtype"]) == (16, 768, "float16"),
    ),
]


def _outcome(result):
    if "failed" in result:
        return "findings"
    return result.get("refused") or f"no findings in {result['checks']} checks"


if __name__ == "__main__":
    print(text(json.loads(pathlib.Path(sys.argv[1]).read_text())))
