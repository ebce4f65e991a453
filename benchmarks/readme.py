"""`python -m benchmarks.readme`: writes the figures of `results/cpu-*.json` where readers look.

A page with every case beside each of these files; the part of README.md between its benchmark
markers and the picture there, in which the newest file comes first. No figure is typed by hand: a
test compares these texts with what is committed.
"""

import json
from pathlib import Path

from benchmarks import report
from benchmarks.picture import draw_speed_ups

_HERE = Path(__file__).parent
_ABOUT = "≈ marks ratios of times whose quartiles overlap."
_EXPLANATION = (
    "Means are geometric. The best other is the fastest of torch, ONNX Runtime and JAX for each "
    "case. The kernel is pylstm on NumPy arrays, without TensorFlow's part of a call. " + _ABOUT
)
_OVERVIEW = (
    "Milliseconds per call of `pylstm.LSTM` with H units on B sequences of T steps and F features, "
    "and how many times as fast that is as `keras.layers.LSTM`, both on TensorFlow, and as the "
    "fastest of `torch.nn.LSTM`, ONNX Runtime (inference only) and JAX. Means are geometric. "
    + _ABOUT
)
_BACKENDS = "How many times as fast as `keras.layers.LSTM` there (milliseconds of `pylstm.LSTM`)."


def main():
    runs = published_runs()
    for path, text in texts(runs).items():
        path.write_text(text)
    newest, *_ = runs.values()
    six = [r for r in newest["records"] if r["case"]["group"] == "six shapes"]
    draw_speed_ups(six, _HERE / "results.png")


def texts(runs: dict[Path, dict]) -> dict[Path, str]:
    """Returns what each page holds, README.md among them, of `published_runs()`."""
    pages = {path.with_suffix(".md"): _results_page(run) for path, run in runs.items()}
    root = _HERE.parent
    links = [page.relative_to(root).as_posix() for page in pages]
    part = _readme_part(list(runs.values()), links)
    return {**pages, root / "README.md": with_part(root / "README.md", "benchmarks", part)}


def published_runs() -> dict[Path, dict]:
    """Returns the runs by their files, the newest first."""
    paths = sorted((_HERE / "results").glob("cpu-*.json"), reverse=True)
    return {path: json.loads(path.read_text()) for path in paths}


def _readme_part(contents, links):
    newest, *_ = contents
    return "\n\n".join(
        [
            "![Times as fast as Keras, six shapes](benchmarks/results.png)",
            _OVERVIEW,
            report.overview(newest["records"]),
            *_backend_means(newest),
            report.one_step(newest["records"]),
            f"All of this on {report.machine(newest)}, the six shapes in float32. Over all "
            "sequences of the benchmark, with links to every case:",
            report.machines(contents, links),
        ]
    )


def _results_page(content):
    records = content["records"]
    return "\n\n".join(
        [
            f"# Results on {report.machine(content)}",
            "Written by `python -m benchmarks.readme`; how they are measured: "
            "[README](../README.md).",
            report.environment(content),
            "## Ratios",
            report.summary(records),
            _EXPLANATION,
            *_backends_section(content),
            *filter(None, [report.options_cost(content)]),
            report.streaming_floor(records),
            *_scaling_section(content),
            "## Cases",
            "Milliseconds a call: median (quartiles).",
            report.table(records) + "\n",
        ]
    )


def _backends_section(content):
    table = report.backends(content)
    if not table:
        return []
    run = f"{_BACKENDS} One run, commit {content['backends']['commit']}."
    return ["### on each of Keras' backends", run, table]


def _backend_means(content):
    table = report.backends(content, cases=False)
    title = "Against Keras' layer on each of its backends, over the six shapes:"
    return [title, table] if table else []


def _scaling_section(content):
    tables = report.scaling(content)
    return ["## Scaling", "The kernel alone, by the NumPy binding.", tables] if tables else []


def with_part(path: Path, name: str, part: str) -> str:
    """Returns the text of `path` with `part` between its markers."""
    begin, end = (f"<!-- {name}: {place} -->" for place in ("begin", "end"))
    before, _, rest = path.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{path} lacks the markers {begin} and {end}")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"


if __name__ == "__main__":
    main()
