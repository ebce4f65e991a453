"""Results as text: a line of progress, tables, ratios, and the measured part of the README."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence

from benchmarks.cases import EAGER, STREAMING
from benchmarks.peers import KERAS_BACKENDS, PEERS

OURS = "pylstm_layer"
KERNEL = "pylstm_arrays"  # the same kernel without TensorFlow
KERAS = "keras_layer"
RIVALS = ("torch_lstm", "onnx_runtime", "jax_scan")


def median(record: dict, peer: str) -> float | None:
    """Returns the seconds of one call, or None where the peer has no valid time."""
    return record["peers"].get(peer, {}).get("median")


def speed_up(record: dict, others: Iterable[str], ours: str = OURS) -> float | None:
    """Returns how many times pylstm is faster than the fastest of `others`."""
    seconds, other = median(record, ours), _fastest(record, others)
    return median(record, other) / seconds if other and seconds else None


def line(record: dict) -> str:
    """One case as a line of progress: milliseconds, and why a time is missing."""
    return ", ".join(f"{PEERS.get(p, p)} {_cell(r)}" for p, r in record["peers"].items())


def table(records: list[dict]) -> str:
    """All records as Markdown, one table per group and mode, in milliseconds."""
    # Over the run: a disturbed one counts little.
    sgemm = statistics.median(record["rates"]["sgemm"] for record in records)
    grouped = defaultdict(list)
    for record in records:
        grouped[record["case"]["group"], record["mode"]].append(record)
    parts = []
    for (group, mode), part in grouped.items():
        peers = [p for p in PEERS if any(p in r["peers"] for r in part)]
        titles = ["ms", *(PEERS[p] for p in peers)]
        titles += ["vs Keras", "vs best other", "% of sgemm", "% of FMA loop"]
        rows = []
        for r in part:
            times = [_cell(r["peers"].get(p, {})) for p in peers]
            rows.append([r["name"], *times, *_ratio_cells(r, sgemm)])
        parts.append(f"### {group}, {mode}\n\n{markdown(titles, rows)}")
    return "\n\n".join(parts)


def overview(records: list[dict]) -> str:
    """The six shapes in short, as a Markdown table."""
    columns = [["", *(r["name"] for r in _six(_sequences(records, "inference"))), "mean"]]
    for mode in ("inference", "training"):
        six = _six(_sequences(records, mode))
        columns.append([f"{mode}, ms", *(_milliseconds(median(r, OURS)) for r in six), ""])
        for title, others in _REFERENCES.items():
            ratios = [_times(r, others) for r in six]
            columns.append([title, *ratios, _spread(six, others)[0]])
    titles, *rows = zip(*columns, strict=True)
    return markdown(titles, rows)


def machine(content: dict) -> str:
    """The processor that a run was measured on, its cores, and the kernel that they ran."""
    about = content["environment"]
    return f"{about['processor']}, {about['cores']} cores, {about['versions']['pylstm ISA']}"


def machines(contents: list[dict], links: list[str]) -> str:
    """The means over all sequences of several runs, the smallest, and of how many cases.

    A Markdown table.

    Args:
        contents: The runs.
        links: Where all the results of each are.
    """
    rows = []
    for content, link in zip(contents, links, strict=True):
        row = [f"[{machine(content)}]({link})"]
        for mode in ("inference", "training"):
            for others in _REFERENCES.values():
                mean, smallest, *_, cases = _spread(_sequences(content["records"], mode), others)
                row.append(f"{mean} ({smallest}) of {cases}")
        rows.append(row)
    titles = [f"{mode}, {title}" for mode in ("inference", "training") for title in _REFERENCES]
    return markdown(["mean (smallest) of cases", *titles], rows)


def one_step(records: list[dict]) -> str:
    """What one step takes by each way to call pylstm, as a sentence; empty if not measured."""
    by_name = {r["name"]: r for r in records}
    graph, eager = (by_name.get(case.name) for case in (STREAMING[0], EAGER[0]))
    if not (graph and eager):
        return ""
    calls = [(graph, OURS), (eager, OURS), (graph, KERNEL), (graph, "onnx_runtime")]
    layer, call, arrays, onnx = (_milliseconds(median(*which)) for which in calls)
    return (
        f"A single step (B1 T1 F64 H128) takes `pylstm.LSTM` {layer} ms in a graph and {call} ms "
        f"outside one, `pylstm.lstm` on NumPy arrays {arrays} ms, ONNX Runtime {onnx} ms."
    )


def summary(records: list[dict]) -> str:
    """The ratios over all records as a Markdown table."""
    rows = []
    for mode in ("inference", "training"):
        eager = [r for r in records if r["mode"] == mode and r["case"]["eager"]]
        graphs = [r for r in records if r["mode"] == mode and not r["case"]["eager"]]
        chosen = _sequences(records, mode)
        single = [r for r in graphs if r["case"]["streaming"]]
        six = _six(chosen)
        small = [r for r in chosen if r["case"]["units"] <= 128]
        rows += [
            [f"{mode}: {what}", *_spread(part, others)]
            for what, part, others in (
                ("six shapes, against Keras", six, [KERAS]),
                ("six shapes, against the best other", six, RIVALS),
                ("all sequences, against Keras", chosen, [KERAS]),
                ("all sequences, against the best other", chosen, RIVALS),
                ("H ≤ 128, against the best other", small, RIVALS),
                ("single steps, against Keras", single, [KERAS]),
                ("single steps, against the best other", single, RIVALS),
                ("eager, against Keras", eager, [KERAS]),
                ("eager, against the best other", eager, RIVALS),
            )
        ]
    titles = ["pylstm's speed-up", "mean", "smallest", "where", "kernel: mean", "smallest", "cases"]
    return markdown(titles, [row for row in rows if row[-1] != "0"])


def options_cost(content: dict) -> str:
    """The time of each option over that without it, as Markdown; empty if it was not measured."""
    records, commit = _section(content, "options")
    measured = {(r["name"], r["mode"]): r["over_default"] for r in records}
    if not measured:
        return ""
    columns = [(peer, mode) for peer in (OURS, KERNEL) for mode in ("inference", "training")]
    rows = []
    for case in dict.fromkeys(name for name, _ in measured):
        ratios = [measured.get((case, mode), {}).get(peer) for peer, mode in columns]
        rows.append([case, *(f"{ratio:.2f}" if ratio else "" for ratio in ratios)])
    titles = ["time over the default's", *(f"{PEERS[peer]}, {mode}" for peer, mode in columns)]
    return "\n\n".join([markdown(titles, rows), *commit])


def _section(content, name):
    """The records of a section; and its commit as lines, none where it is that of the cases."""
    section = content.get(name, [])
    if isinstance(section, list):  # of a file from before sections told theirs
        return section, []
    commit = section["commit"]
    if commit == content["environment"]["commit"]:
        return section["records"], []
    return section["records"], [f"Measured at commit {commit}."]


def backends(content: dict, cases: bool = True) -> str:
    """pylstm beside Keras on each of Keras' backends, case by case or the means alone, as Markdown;
    empty if it was not measured. The mean without the case of the largest ratio tells what that
    one makes of the other."""
    if "backends" not in content:
        return ""
    records = content["backends"]["records"]
    largest = max(records, key=_largest_on_a_backend)["name"]
    rest = [r for r in records if r["name"] != largest]
    names = list(dict.fromkeys(r["name"] for r in records)) if cases else []
    columns = [["Keras on", *names, "mean", f"mean without {largest}"]]
    for name, (keras, ours) in KERAS_BACKENDS.items():
        for mode in ("inference", "training"):
            parts = [[r for r in part if r["mode"] == mode] for part in (records, rest)]
            cells = [_times(r, [keras], ours) + _own_time(r, ours) for r in parts[0] if cases]
            means = [_mean_and_failures(part, [keras], ours) for part in parts]
            columns.append([f"{name}, {mode}", *cells, *means])
    titles, *rows = zip(*columns, strict=True)
    return markdown(titles, rows)


def _largest_on_a_backend(record):
    return max(speed_up(record, [keras], ours) or 0 for keras, ours in KERAS_BACKENDS.values())


def _own_time(record, ours):
    seconds = median(record, ours)
    return f" ({_milliseconds(seconds)})" if seconds else ""


def _mean_and_failures(records, others, ours):
    ratios = filter(None, (speed_up(r, others, ours) for r in records))
    return _mean(list(ratios)) + _failures(records, [ours, *others])


def streaming_floor(records: list[dict]) -> str:
    """Streaming calls over the time to read R once from cache, as a Markdown table."""
    rows = []
    for record in records:
        if not record["case"]["streaming"] or record["case"]["eager"]:
            continue
        floor = 16 * record["case"]["units"] ** 2 / record["rates"]["read"]
        times = [median(record, p) for p in (KERNEL, OURS)]
        rows.append([record["name"], f"{1e6 * floor:.1f}", *(_over(t, floor) for t in times)])
    titles = ["one step", "floor, µs", "pylstm (NumPy) over it", "pylstm (TF) over it"]
    return markdown(titles, rows)


def scaling(content: dict) -> str:
    """How time grows with each size, as Markdown tables; empty where it was not measured."""
    parts = []
    sweeps, commit = _section(content, "scaling")
    for sweep in sweeps:
        name = sweep["name"]
        titles = ["ms", *(f"{name} {size}" for size in sweep["sizes"]), "slope"]
        rows = [
            [
                f"{p['pass']}, {p['threads']} thread{'s' if p['threads'] > 1 else ''}",
                *map(_milliseconds, p["seconds"]),
                f"{p['slope']:.2f}",
            ]
            for p in sweep["passes"]
        ]
        rows.append(["arithmetic", *[""] * len(sweep["sizes"]), f"{sweep['arithmetic_slope']:.2f}"])
        parts.append(markdown(titles, rows))
    return "\n\n".join([*parts, *commit])


def environment(content: dict) -> str:
    """The machine, the rates it reached (uneven ones tell of a busy machine), the versions."""
    about = content["environment"]
    versions = ", ".join(f"{k} {v}" for k, v in sorted(about["versions"].items()))
    rates = [
        f"{title} {min(reached):.0f}–{max(reached):.0f} GFLOP/s"
        for title, roof in (("sgemm", "sgemm"), ("FMA loop", "fma"))
        if (reached := [r["rates"][roof] / 1e9 for r in content["records"]])
    ]
    return (
        f"{machine(content)} ({', '.join(rates)} during the run); "
        f"{versions}; Python {about['python']}; commit {about['commit']}."
    )


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of these texts."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _sequences(records, mode):
    """The cases of a mode that are neither single steps nor eager."""
    of_mode = (r for r in records if r["mode"] == mode)
    return [r for r in of_mode if not (r["case"]["eager"] or r["case"]["streaming"])]


def _six(records):
    return [r for r in records if r["case"]["group"] == "six shapes"]


_REFERENCES = {"vs Keras": [KERAS], "vs best other": RIVALS}


def _fastest(record, peers):
    timed = (p for p in peers if median(record, p))
    return min(timed, key=lambda peer: median(record, peer), default=None)


def _failed(record, peers):
    """Those of `peers` that should have computed the case and did not."""
    return [p for p in peers if "failed" in record["peers"].get(p, {})]


def _failures(records, peers):
    count = sum(bool(_failed(r, peers)) for r in records)
    return f", a peer failed in {count}" if count else ""


def _spread(records, others):
    layer, kernel = (
        {r["name"]: ratio for r in records if (ratio := speed_up(r, others, ours))}
        for ours in (OURS, KERNEL)
    )
    cases = str(len(layer)) + _failures(records, [OURS, KERNEL, *others])
    where = min(layer, key=layer.get, default="")
    return [*_mean_and_smallest(layer), where, *_mean_and_smallest(kernel), cases]


def _mean_and_smallest(ratios):
    if not ratios:
        return ["", ""]
    return [_mean(ratios.values()), f"{min(ratios.values()):.2f}×"]


def _mean(ratios):
    return f"{statistics.geometric_mean(ratios):.2f}×" if ratios else ""


def _times(record, others, ours=OURS):
    """The ratio, marked where quartiles overlap, and who failed, for that moves it."""
    ratio = speed_up(record, others, ours)
    parts = [f"{_about(record, _fastest(record, others), ours)}{ratio:.2f}×"] if ratio else []
    parts += [f"{PEERS.get(p, p)} failed" for p in _failed(record, [ours, *others])]
    return ", ".join(parts)


def _about(record, *peers):
    results = [record["peers"][peer] for peer in peers]
    return "≈" if max(r["q1"] for r in results) <= min(r["q3"] for r in results) else ""


def _ratio_cells(record, sgemm):
    cells = [_times(record, others) for others in _REFERENCES.values()]
    ours = median(record, OURS)
    if record["case"]["dtype"] != "float32" or not ours:  # the rates are measured in float32
        return [*cells, "", ""]
    rate = record["flop"] / ours
    return [*cells, f"{rate / sgemm:.0%}", f"{rate / record['rates']['fma_in_turns']:.0%}"]


def _cell(result):
    if "median" not in result:
        return next((result[k] for k in ("refused", "failed") if k in result), "")
    low, middle, high = (_milliseconds(result[k]) for k in ("q1", "median", "q3"))
    return f"{middle} ({low}–{high})"


def _milliseconds(seconds):
    return f"{1e3 * seconds:.3g}" if seconds < 1 else f"{1e3 * seconds:.0f}"


def _over(seconds, floor):
    return f"{seconds / floor:.1f}×" if seconds else ""
