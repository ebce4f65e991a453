"""`benchmarks.gpu.check` on a GPU; without one these tests report that they were skipped."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
check = pytest.importorskip("benchmarks.gpu.check")

if not torch.cuda.is_available():
    pytest.skip("there is no GPU: the kernels were not run on one", allow_module_level=True)
CASES = check.cases(check.SIZES, check.VARIANTS) | check.activation_cases()
CASES |= check.cases(check.LONG_SIZES, ["plain", "holes"])


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    assert "failed" not in check.check(CASES[name], check.Guarded(CASES[name]))


def test_overlapping_calls():
    check.overlapping_calls_agree()


def test_captured_calls():
    check.a_captured_call_agrees()
    check.a_captured_first_call_agrees()


def test_cupy():
    pytest.importorskip("cupy", reason="CuPy is not installed")
    check.cupy_agrees()
