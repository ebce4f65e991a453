"""Builds the kernels for the CPU, and finds a CUDA compiler."""

import fcntl
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shim_build():
    """The folder with the CUDA sources compiled as C++ for this machine; see shim/."""
    build = ROOT / "build" / "cuda-shim"
    pybind11 = pytest.importorskip("pybind11")
    cmake, ninja = _tool("cmake"), _tool("ninja")
    configure = [cmake, "-S", ROOT / "tests" / "cuda" / "shim", "-B", build, "-G", "Ninja"]
    configure += [f"-DCMAKE_MAKE_PROGRAM={ninja}", f"-DPython_EXECUTABLE={sys.executable}"]
    configure += [f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
    build.mkdir(parents=True, exist_ok=True)
    with (build / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest's workers share the folder
        for command in (configure, [ninja, "-C", build]):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                pytest.fail(f"{command[0]} failed:\n{done.stdout}\n{done.stderr}", pytrace=False)
    return build


@pytest.fixture(scope="session")
def shim(shim_build):
    """The kernels and their dispatch, with all that a test wants to choose."""
    return _load(shim_build, "cuda_shim")


@pytest.fixture(scope="session")
def binding(shim_build):
    """`pylstm._cuda`, whose pointers are to host memory here."""
    return _load(shim_build, "_cuda")


@pytest.fixture(scope="session")
def nvcc():
    """The CUDA compiler, from the machine or from PyPI's nvidia-cuda-nvcc."""
    path = shutil.which("nvcc")
    if path is None:
        for folder in map(pathlib.Path, sys.path):
            path = next(iter(folder.glob("nvidia/*/bin/nvcc")), path)
    if path is None:
        pytest.skip("no nvcc on this machine: the device code was not compiled")
    return path


def _load(folder, name):
    (path,) = folder.glob(f"{name}.*so")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _tool(name):
    """A build tool, from this environment first."""
    places = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    path = shutil.which(name, path=places)
    if path is None:
        pytest.fail(f"{name} is needed to build the CUDA kernels for the CPU", pytrace=False)
    return path
