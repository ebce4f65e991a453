"""The device code compiles for real GPUs, and the resident kernels without spills."""

import pathlib
import re
import subprocess

import pytest

CSRC = pathlib.Path(__file__).resolve().parents[2] / "csrc"
REPORT = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads",
    re.DOTALL,
)


@pytest.mark.parametrize("architecture", ["80", "90"])
@pytest.mark.parametrize("source", sorted(p.name for p in (CSRC / "cuda").glob("*.cu")))
def test_compiles_without_spills(nvcc, tmp_path, source, architecture):
    command = [nvcc, "-std=c++17", "-O3", f"-I{CSRC}", "-Xptxas=-v", "-cubin"]
    command += [f"-gencode=arch=compute_{architecture},code=sm_{architecture}"]
    command += ["-o", tmp_path / "out.cubin", CSRC / "cuda" / source]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kernels = list(REPORT.finditer(done.stderr))
    assert kernels, "the compiler's report was not understood"
    for kernel in kernels:
        if "resident" in kernel["name"]:
            assert kernel.group("stack", "stores", "loads") == ("0", "0", "0"), kernel[0]
