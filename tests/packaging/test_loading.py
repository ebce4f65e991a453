"""What a user sees where a compiled library is absent, broken, or made for another TensorFlow."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap

import pytest
import tensorflow as tf
from scikit_build_core import build

from pylstm import _library
from pylstm.errors import BackendLoadError
from tests import backends

PACKAGE = pathlib.Path(_library.__file__).parent
load_core = _library.load_core.__wrapped__  # without their caches
load_tensorflow_ops = _library.load_tensorflow_ops.__wrapped__


@pytest.fixture
def package(tmp_path):
    """A copy of the package, to be damaged, as if it were installed: no CMakeLists.txt beside."""
    return shutil.copytree(PACKAGE, tmp_path / "pylstm")


def run(code, folder, **environment):
    return subprocess.run(
        [sys.executable, "-W", "always", "-c", textwrap.dedent(code)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_absent_op(tmp_path, monkeypatch):
    monkeypatch.setattr(_library, "_PACKAGE", tmp_path / "pylstm")
    with pytest.raises(BackendLoadError, match=r"PYL131.* missing(.|\n)*fix: +pip install") as info:
        load_tensorflow_ops()
    assert str(tmp_path) in info.value.got


def test_broken_op(tmp_path, monkeypatch):
    monkeypatch.setattr(_library, "_PACKAGE", tmp_path)
    (tmp_path / "_tensorflow_ops.so").write_bytes(b"not a library")
    with pytest.raises(BackendLoadError, match=r"PYL132.* cannot be loaded(.|\n)*pip install"):
        load_tensorflow_ops()


def test_a_checkout_is_rebuilt_not_reinstalled(tmp_path, monkeypatch):
    monkeypatch.setattr(_library, "_PACKAGE", tmp_path / "pylstm")
    (tmp_path / "CMakeLists.txt").touch()
    with pytest.raises(BackendLoadError, match=f"make -C {tmp_path} build"):
        load_tensorflow_ops()


def test_a_checkout_without_a_build_hides_what_is_installed(package):
    for built in [*package.glob("*.so"), *package.glob("_build_info.py"), *package.glob("_gpu_*")]:
        built.unlink()
    (package.parent / "CMakeLists.txt").touch()
    ran = run("import runpy; runpy.run_module('pylstm', run_name='__main__')", package.parent)
    assert ran.returncode == 1
    assert re.search(
        r"failed: \[PYL131\].*\n.*\n +fix: +make .* \(or leave that folder", ran.stdout
    )


@pytest.mark.parametrize("checkout", [False, True])
def test_built_without_cuda(tmp_path, monkeypatch, checkout):
    monkeypatch.setattr(_library, "built_with", lambda name: None)
    monkeypatch.setattr(_library, "_PACKAGE", tmp_path / "pylstm")
    fix = r"pip install .* \. +\(in a clone of pylstm, with nvcc on the PATH\)"
    if checkout:
        (tmp_path / "CMakeLists.txt").touch()
        fix = f"make -C {tmp_path} build CUDA=ON"
    with pytest.raises(BackendLoadError, match=rf"PYL131.* without its CUDA(.|\n)*fix: +{fix}"):
        _library.load_cuda.__wrapped__()


def test_make_adds_cuda_to_what_was_built_without(tmp_path):
    for made in ("requirements-dev.txt", "build.ninja"):
        (tmp_path / made).touch()
    command = ["make", "-n", "build", "CUDA=ON", f"BUILD={tmp_path}", f"VENV={tmp_path}"]
    ran = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert "-DPYLSTM_CUDA=ON" in ran.stdout


def test_op_for_another_tensorflow(monkeypatch):
    """Refused before it is loaded: another ABI may load and then go wrong."""
    monkeypatch.setattr(tf, "__version__", "2.19.1")
    monkeypatch.setattr(tf, "load_op_library", None)
    built = _library.built_with("TENSORFLOW_VERSION")
    with pytest.raises(
        BackendLoadError, match=r"another TensorFlow(.|\n)*got: +TensorFlow 2\.19\.1\n.*pip install"
    ) as info:
        load_tensorflow_ops()
    assert info.value.expected == f"TensorFlow {built.rpartition('.')[0]}.*"


def test_another_patch_version_is_taken(monkeypatch):
    monkeypatch.setattr(tf, "__version__", tf.__version__.rpartition(".")[0] + ".99")
    assert load_tensorflow_ops().pylstm_lstm


def test_absent_and_broken_core(package):
    (core,) = package.glob("_core.*so")
    code = """
        import sys, types
        package = sys.modules["pylstm"] = types.ModuleType("pylstm")  # without importing Keras
        package.__path__ = ["pylstm"]
        from pylstm._library import load_core
        load_core()
        """
    core.write_bytes(b"not a library")
    assert "BackendLoadError: [PYL132]" in run(code, package.parent).stderr
    core.unlink()
    assert "BackendLoadError: [PYL131]" in run(code, package.parent).stderr


def test_layer_without_its_library(package):
    (package / "_tensorflow_ops.so").unlink()
    done = run(
        """
        import numpy, pylstm
        x = numpy.ones((2, 3, 4), "float32")
        layer = pylstm.LSTM(5)
        layer(x), layer(x), pylstm.LSTM(5)(x)
        print(layer.path)
        pylstm.LSTM(5, kernel="fused")(x)
        """,
        package.parent,
    )
    assert done.stdout.strip() == "keras"
    assert done.stderr.count("RuntimeWarning") == 1
    assert done.stderr.count("BackendLoadError") == 1
    assert done.stderr.count("pip install --force-reinstall") == 2  # in both


HIDE_TENSORFLOW = "import sys; sys.modules['tensorflow'] = None; "  # as if not installed
SELF_TEST = "import runpy; runpy.run_module('pylstm', run_name='__main__')"


def test_without_tensorflow():
    code = HIDE_TENSORFLOW + "import pylstm"
    done = run(code, PACKAGE.parent, KERAS_BACKEND="tensorflow")
    assert done.returncode == 1
    assert "TensorFlow is not installed" in done.stderr
    assert "pip install 'tensorflow-cpu==2.21.*'" in done.stderr


def test_a_missing_module_without_a_name_is_not_taken_for_tensorflow():
    with pytest.raises(ModuleNotFoundError, match="a plugin"), _library.tensorflow_required():
        raise ModuleNotFoundError("a plugin")


def test_the_self_test_without_tensorflow_says_so_and_no_more(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDE_TENSORFLOW)
    done = subprocess.run(
        [sys.executable, "-m", "pylstm"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(PACKAGE.parent)]),
            "KERAS_BACKEND": "tensorflow",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(
        r"failed: \[PYL131\] TensorFlow is not installed\.\n  fix: +pip install .*\n", done.stderr
    )


@pytest.mark.parametrize("backend", backends.OTHERS)
def test_other_backends_need_no_tensorflow(backend):
    printed = backends.run_python(backend, "-c", HIDE_TENSORFLOW + SELF_TEST)
    assert f"{backend} op" in printed
    assert f"{backend} op".ljust(16) + "float32   error" in printed
    assert printed.strip().endswith("passed")


def test_a_jax_with_an_older_interface_runs_keras_loop():
    """The handlers are refused where they are registered, as by JAX 0.8.0."""
    backends.run_python(
        "jax",
        "-c",
        textwrap.dedent(
            """
            import warnings
            import jax, numpy

            def refuse(*args, **kwargs):
                raise jax.errors.JaxRuntimeError("the handler's API version (0.2) is incompatible")

            jax.ffi.register_ffi_target = refuse
            import pylstm

            layer = pylstm.LSTM(5)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                layer(numpy.ones((2, 3, 4), "float32"))
            assert layer.path == "keras", layer.path
            assert "cannot be loaded" in layer.path_reason
            (text,) = [str(w.message) for w in caught if w.category is RuntimeWarning]
            assert "[PYL132] JAX does not take the compiled handlers" in text
            assert f"JAX {jax.__version__}: the handler's API version (0.2)" in text
            assert "pip install 'jax>=0.8.2'" in text
            """
        ),
    )


def main(folder):
    return run(SELF_TEST, folder)


def test_self_test_passes():
    done = main(PACKAGE.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("passed")


@pytest.mark.parametrize("backend", backends.OTHERS)
def test_self_test_passes_without_a_warning(backend):
    """JAX has no float64 here, of which it would warn."""
    printed = backends.run_python(backend, "-W", "error::UserWarning", "-m", "pylstm")
    assert f"{backend} op" in printed.partition("self-test")[2]
    assert printed.strip().endswith("passed")


def test_self_test_finds_a_broken_library(package):
    (package / "_tensorflow_ops.so").write_bytes(b"not a library")
    done = main(package.parent)
    assert done.returncode == 1
    assert done.stdout.count("PYL132") == 2  # among the kernels, and from the test


def test_self_test_finds_wrong_numbers(package):
    reference = package / "reference.py"
    right = "c = rec(z[:, 1]) * c"
    assert right in reference.read_text()
    reference.write_text(reference.read_text().replace(right, "c = 1.01 * rec(z[:, 1]) * c"))
    done = main(package.parent)
    assert done.returncode == 1
    assert "WRONG" in done.stdout


def test_triton_gets_its_own_symbols(tmp_path, monkeypatch):
    """With those of TensorFlow's LLVM it ends the process."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    (tmp_path / "triton.py").write_text("import sys\nflags = sys.getdlopenflags()")
    before = sys.getdlopenflags()
    _library.load_triton()
    triton = sys.modules.pop("triton")
    assert triton.flags == before | os.RTLD_DEEPBIND
    assert sys.getdlopenflags() == before


def test_torch_beside_tensorflow():
    pytest.importorskip("torch")
    code = """
        import pylstm, tensorflow, torch
        x, kernel, recurrent_kernel = torch.ones(2, 3, 4), torch.ones(4, 8), torch.ones(2, 8)
        assert pylstm.lstm(x, kernel, recurrent_kernel).shape == (2, 3, 2)
        torch.optim.SGD([kernel])
    """
    done = run(code, PACKAGE.parent, KERAS_BACKEND="tensorflow")
    assert done.returncode == 0, done.stderr


def test_a_source_distribution_takes_no_compiled_library_along(tmp_path, monkeypatch):
    """It would stay beside that of the Python which the distribution is then built for."""
    monkeypatch.chdir(PACKAGE.parent)
    with tarfile.open(tmp_path / build.build_sdist(str(tmp_path))) as archive:
        names = archive.getnames()
    assert any(name.endswith("csrc/bindings/python.cc") for name in names)
    assert not [name for name in names if name.endswith((".so", "_build_info.py"))]
