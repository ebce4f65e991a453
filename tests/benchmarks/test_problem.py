import dataclasses

import numpy as np
import pytest

from benchmarks.cases import FULL, Case
from benchmarks.problem import arithmetic, draw_problem, largest_error, reference_results

SMALL = Case("test", 3, 5, 2, 4)
PADDED = dataclasses.replace(SMALL, batch=64, time=50, padding="left")


def test_every_case_has_its_own_name():
    assert len({case.name for case in FULL}) == len(FULL)


def test_every_process_draws_the_same_problem():
    first, second = draw_problem(SMALL), draw_problem(SMALL)
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.dy, second.dy)


def test_about_half_of_the_steps_are_padding():
    problem = draw_problem(PADDED)
    assert 0.4 < problem.mask.mean() < 0.6
    assert problem.mask[:, -1].all()
    assert problem.lengths.max() == PADDED.time
    np.testing.assert_array_equal(problem.mask.sum(1), problem.lengths)
    assert not problem.dy[~problem.mask].any()


def test_arithmetic_counts_the_matrix_products():
    assert arithmetic(draw_problem(SMALL), "inference") == 2 * 3 * 5 * (4 * 4) * (2 + 4)
    assert arithmetic(draw_problem(SMALL), "training") == 3 * 2 * 3 * 5 * (4 * 4) * (2 + 4)
    first = draw_problem(dataclasses.replace(SMALL, first_layer=True))
    assert arithmetic(first, "training") == 2 * 3 * 5 * (4 * 4) * (2 * 2 + 3 * 4)
    padded = draw_problem(PADDED)
    assert arithmetic(padded, "inference") == 2 * padded.mask.sum() * (4 * 4) * (2 + 4)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"padding": "right"}])
def test_reference_gradients_are_those_of_the_reference_outputs(options):
    problem = draw_problem(dataclasses.replace(SMALL, dtype="float64", **options))
    gradient = reference_results(problem, "training")["dx"]
    direction = np.random.default_rng(1).normal(size=problem.x.shape)
    ends = [
        reference_results(dataclasses.replace(problem, x=problem.x + step * direction), "inference")
        for step in (1e-6, -1e-6)
    ]
    slope = ((ends[0]["y"] - ends[1]["y"]) * problem.dy).sum() / 2e-6
    np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6)


def test_a_first_layer_has_no_gradient_by_its_inputs():
    inner = reference_results(draw_problem(SMALL), "training")
    first = reference_results(
        draw_problem(dataclasses.replace(SMALL, first_layer=True)), "training"
    )
    assert inner.keys() - first.keys() == {"dx"}


def test_a_wrong_result_is_seen():
    problem = draw_problem(PADDED)
    expected = reference_results(problem, "inference")
    assert largest_error(problem, expected, expected) == 0
    padding = {"y": expected["y"] + ~problem.mask[..., None]}
    assert largest_error(problem, padding, expected) == 0  # each framework's own convention
    wrong = {"y": expected["y"].copy()}
    wrong["y"][0, -1, 0] += np.abs(expected["y"]).max() / 2
    assert largest_error(problem, wrong, expected) == pytest.approx(0.5)
    wrong["y"][0, -1, 0] = np.nan
    assert np.isnan(largest_error(problem, wrong, expected))
    with pytest.raises(ValueError, match=r"y: expected shape \(64, 50, 4\), got \(64, 49, 4\)"):
        largest_error(problem, {"y": expected["y"][:, 1:]}, expected)
    with pytest.raises(KeyError, match="y"):
        largest_error(problem, {}, expected)
