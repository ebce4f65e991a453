"""`python -m benchmarks.readme results.json`: writes measured figures where readers look.

The part of README.md between its benchmark markers, the picture there, and RESULTS.md with every
case. No figure is typed by hand.
"""

import json
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.picture import draw_speed_ups

_HERE = Path(__file__).parent
_EXPLANATION = (
    "Means are geometric. The best other is the fastest of torch, ONNX Runtime and JAX for each "
    "case. The kernel is pylstm on NumPy arrays, without TensorFlow's part of a call."
)
_OVERVIEW = (
    "Milliseconds of a call of `pylstm.LSTM` with H units on B sequences of T steps of F features, "
    "and how many times as fast that is as `keras.layers.LSTM`, both on TensorFlow, and as the "
    "fastest of `torch.nn.LSTM`, ONNX Runtime (inference only) and JAX. Means are geometric."
)
_BACKENDS = "How many times as fast as `keras.layers.LSTM` there (milliseconds of `pylstm.LSTM`)."


def main():
    content = json.loads(Path(sys.argv[1]).read_text())
    records = content["records"]
    six = [r for r in records if r["case"]["group"] == "six shapes"]
    draw_speed_ups(six, _HERE / "results.png")
    replace_between_markers(_HERE.parent / "README.md", "benchmarks", _readme_part(content))
    (_HERE / "RESULTS.md").write_text(_results_page(content))


def _readme_part(content):
    about = content["environment"]
    return "\n\n".join(
        [
            "![Times as fast as Keras, six shapes](benchmarks/results.png)",
            _OVERVIEW,
            report.overview(content["records"]),
            *_backend_means(content),
            report.one_step(content["records"]),
            f"All on one machine ({about['processor']}, {about['cores']} cores), the six shapes in "
            "float32. Every case, with versions: [benchmarks/RESULTS.md](benchmarks/RESULTS.md).",
        ]
    )


def _results_page(content):
    records = content["records"]
    return "\n\n".join(
        [
            "# Results",
            "Written by `python -m benchmarks.readme`; how they are measured: [README](README.md).",
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
            report.table(records, report.roofs(records)) + "\n",
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


def replace_between_markers(path, name, text):
    begin, end = (f"<!-- {name}: {place} -->" for place in ("begin", "end"))
    before, _, rest = path.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{path} lacks the markers {begin} and {end}")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


if __name__ == "__main__":
    main()
