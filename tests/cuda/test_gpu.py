"""`on_gpu.py` on a GPU; without one these tests report that they were skipped."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
on_gpu = pytest.importorskip("tests.cuda.on_gpu")

if not torch.cuda.is_available():
    pytest.skip("there is no GPU: the kernels were not run on one", allow_module_level=True)
CASES = on_gpu.cases(on_gpu.SIZES, on_gpu.VARIANTS) | on_gpu.activation_cases()
CASES |= on_gpu.cases(on_gpu.LONG_SIZES, ["plain", "holes"])


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    assert "failed" not in on_gpu.check(CASES[name], on_gpu.Guarded(CASES[name]))


def test_overlapping_calls():
    on_gpu.overlapping_calls_agree()


def test_captured_calls():
    on_gpu.a_captured_call_agrees()
    on_gpu.a_captured_first_call_agrees()


def test_cupy():
    pytest.importorskip("cupy", reason="CuPy is not installed")
    on_gpu.cupy_agrees()
