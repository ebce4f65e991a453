import copy
import dataclasses

import pytest

from benchmarks import readme, report, scaling
from benchmarks.cases import EAGER, SIX, STREAMING, TYPICAL
from benchmarks.picture import draw_speed_ups

RATES = {"sgemm": 200e9, "fma": 120e9, "fma_in_turns": 250e9}
MACHINE = {"processor": "A", "cores": 2, "versions": {"pylstm ISA": "avx2"}}


def record(mode="inference", case=SIX[0], **seconds):
    peers = {
        name: {"median": s, "q1": s, "q3": s, "calls": 5, "error": 1e-7}
        for name, s in seconds.items()
    }
    return {
        "name": case.name,
        "mode": mode,
        "case": dataclasses.asdict(case),
        "flop": 1e9,
        "rates": RATES,
        "peers": {**peers, "onnx_runtime": {"refused": "inference only"}},
    }


FASTER = record(pylstm_layer=0.01, keras_layer=0.04, torch_lstm=0.02, jax_scan=0.03)
SLOWER = record(case=SIX[1], pylstm_layer=0.01, keras_layer=0.01, torch_lstm=0.005)


def test_ratios_are_against_keras_and_the_fastest_other():
    table = report.table([FASTER])
    (row,) = (line for line in table.splitlines() if SIX[0].name in line)
    assert "| 4.00× | 2.00× | 50% | 40% |" in row
    assert "10 (10–10)" in row
    assert "inference only" in row


def test_summary_tells_the_mean_and_the_worst():
    rows = report.summary([FASTER, SLOWER]).splitlines()
    (keras,) = (row for row in rows if "inference: six shapes, against Keras" in row)
    assert f"| 2.00× | 1.00× | {SIX[1].name} |  |  | 2 |" in keras
    (best,) = (row for row in rows if "inference: all sequences, against the best" in row)
    assert f"| 1.00× | 0.50× | {SIX[1].name} |  |  | 2 |" in best
    assert not any("training" in row for row in rows)


SHAPES = [
    record(mode, case, pylstm_layer=0.01, keras_layer=keras, torch_lstm=0.02)
    for mode in ("inference", "training")
    for case, keras in ((SIX[0], 0.04), (TYPICAL[0], 0.01))
]


def test_the_overview_has_the_ratios_of_the_six_shapes():
    _, _, row, mean = report.overview(SHAPES).splitlines()
    assert row == f"| {SIX[0].name} | 10 | 4.00× | 2.00× | 10 | 4.00× | 2.00× |"
    assert mean == "| mean |  | 4.00× | 2.00× |  | 4.00× | 2.00× |"


def test_machines_are_beside_each_other():
    runs = [
        {"environment": {**MACHINE, "processor": name}, "records": SHAPES} for name in ("A", "B")
    ]
    rows = report.machines(runs, ["A.md", "B.md"]).splitlines()[2:]
    ratios = " | ".join(f"2.00× ({smallest}.00×) of 2" for smallest in (1, 2, 1, 2))
    assert rows == [f"| [{name}, 2 cores, avx2]({name}.md) | {ratios} |" for name in ("A", "B")]


def test_a_single_step_is_told_by_each_way_to_call():
    graph = record(case=STREAMING[0], pylstm_layer=2e-4, pylstm_arrays=1e-5)
    graph["peers"]["onnx_runtime"] = {"median": 5e-6}
    text = report.one_step([graph, record(case=EAGER[0], pylstm_layer=3e-4)])
    assert "0.2 ms in a graph and 0.3 ms outside one" in text
    assert "NumPy arrays 0.01 ms, ONNX Runtime 0.005 ms" in text
    assert report.one_step([graph]) == ""


def test_a_case_without_our_time_has_no_ratio():
    assert "×" not in report.table([record(keras_layer=0.01)])


def test_a_disturbed_product_counts_little_and_each_case_has_its_own_loop():
    disturbed = {**FASTER, "rates": {**RATES, "sgemm": 100e9, "fma_in_turns": 125e9}}
    table = report.table([FASTER, disturbed, SLOWER])
    assert [table.count(f"| 50% | {percent}% |") for percent in (40, 80)] == [2, 1]


def test_figures_go_between_the_markers_and_nowhere_else(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("a\n<!-- benchmarks: begin -->\nold\n<!-- benchmarks: end -->\nb\n")
    expected = "a\n<!-- benchmarks: begin -->\n\nnew\n\n<!-- benchmarks: end -->\nb\n"
    assert readme.with_part(path, "benchmarks", "new") == expected
    path.write_text("no markers")
    with pytest.raises(ValueError, match="lacks the markers"):
        readme.with_part(path, "benchmarks", "new")


def test_no_published_figure_is_typed_by_hand():
    for path, text in readme.texts(readme.published_runs()).items():
        assert path.read_text() == text, "python -m benchmarks.readme writes it anew"


def test_the_picture_is_drawn(tmp_path):
    path = tmp_path / "picture.png"
    draw_speed_ups(
        [FASTER, SLOWER, record(mode="training", pylstm_layer=1.0, keras_layer=2.0)], path
    )
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_slope_is_that_of_the_logarithms():
    assert scaling.slope([2, 4, 8], [12.0, 48.0, 192.0]) == pytest.approx(2)


def test_options_are_over_the_default():
    measured = [
        {"name": "relu", "mode": "inference", "over_default": {"pylstm_layer": 1.04}},
        {"name": "relu", "mode": "training", "over_default": {"pylstm_arrays": 0.98}},
    ]
    table = report.options_cost({"options": measured})
    assert "| relu | 1.04 |  |  | 0.98 |" in table
    assert report.options_cost({}) == ""
    assert_tells_another_commit(report.options_cost, "options", measured)


def assert_tells_another_commit(text, name, records):
    """Of a section; in old files it is the records alone."""
    old = text({name: records})
    for commit, told in (("0", ""), ("1", "\n\nMeasured at commit 1.")):
        section = {"commit": commit, "records": records}
        assert text({"environment": {"commit": "0"}, name: section}) == old + told


def test_backends_are_beside_keras():
    records = [
        record(mode, SIX[0], keras_jax=0.03, pylstm_jax=0.01, keras_torch=0.04, **torch)
        for mode, torch in (("inference", {"pylstm_torch": 0.02}), ("training", {}))
    ]
    content = {"backends": {"commit": "0", "records": records}}
    *_, row, mean, _ = report.backends(content).splitlines()
    assert row == f"| {SIX[0].name} |  |  | 3.00× (10) | 3.00× (10) | 2.00× (20) |  |"
    assert mean == "| mean |  |  | 3.00× | 3.00× | 2.00× |  |"
    assert report.backends(content, cases=False).splitlines()[2] == mean
    assert report.backends({}) == ""


def test_one_large_ratio_is_told_apart_from_the_mean_over_backends():
    records = [
        record(mode, case, keras_torch=seconds, pylstm_torch=0.01)
        for mode in ("inference", "training")
        for case, seconds in ((SIX[0], 0.02), (SIX[1], 0.16), (SIX[2], 0.02))
    ]
    *_, mean, without = report.backends({"backends": {"records": records}}).splitlines()
    assert mean == "| mean |  |  |  |  | 4.00× | 4.00× |"
    assert without == f"| mean without {SIX[1].name} |  |  |  |  | 2.00× | 2.00× |"


def test_ratios_of_times_that_overlap_are_marked():
    close = record(pylstm_layer=0.01, keras_layer=0.04, torch_lstm=0.02)
    close["peers"]["pylstm_layer"]["q3"] = 0.02
    close["peers"]["torch_lstm"]["q1"] = 0.02
    assert "| 4.00× | ≈2.00× |" in report.table([close])
    close["peers"]["torch_lstm"]["q1"] = 0.0201
    assert "| 4.00× | 2.00× |" in report.table([close])


def test_a_peer_that_failed_is_named_and_counted():
    broken = copy.deepcopy(SHAPES)
    for case in broken[:2]:
        case["peers"]["jax_scan"] = {"failed": "ValueError: error 1e-3"}
    assert "ValueError: error 1e-3 | 4.00× | 2.00×, JAX failed |" in report.table(broken)
    assert "| 4.00× | 2.00×, JAX failed | 10 | 4.00× | 2.00× |" in report.overview(broken)
    rows = report.summary(broken).splitlines()
    (keras,) = (row for row in rows if "inference: all sequences, against Keras" in row)
    assert keras.endswith("| 2 |")
    (best,) = (row for row in rows if "inference: all sequences, against the best" in row)
    assert best.endswith("| 2, a peer failed in 2 |")
    run = {"environment": MACHINE, "records": broken}
    assert "| 2.00× (2.00×) of 2, a peer failed in 2 |" in report.machines([run], ["a.md"])
    broken[0]["peers"]["keras_layer"] = {"failed": "it ended"}
    assert "| Keras (TF) failed | 2.00×, JAX failed |" in report.table(broken)


def test_a_backend_that_failed_is_counted():
    failing = record(case=SIX[0], pylstm_torch=0.01)
    failing["peers"]["keras_torch"] = {"failed": "it ended"}
    records = [failing, record(case=SIX[1], keras_torch=0.02, pylstm_torch=0.01)]
    table = report.backends({"backends": {"records": records}}, cases=False)
    assert "| 2.00×, a peer failed in 1 |" in table


def test_scaling_is_a_table_for_each_size():
    sweep = {
        "name": "T",
        "sizes": [25, 50],
        "arithmetic_slope": 1.0,
        "passes": [{"pass": "forward", "threads": 2, "seconds": [1e-3, 1.9e-3], "slope": 0.926}],
    }
    table = report.scaling({"scaling": [sweep]})
    assert "| forward, 2 threads | 1 | 1.9 | 0.93 |" in table
    assert report.scaling({}) == ""
    assert_tells_another_commit(report.scaling, "scaling", [sweep])
