"""Finds and loads the compiled libraries; absent and broken ones give different errors."""

import contextlib
import functools
import importlib
import os
import pathlib
import sys

from pylstm.caching import constant
from pylstm.errors import BackendLoadError

_PACKAGE = pathlib.Path(__file__).parent


def built_with(name):
    """Returns what the libraries were built with, such as `TENSORFLOW_VERSION`, or None."""
    try:
        from pylstm import _build_info
    except ImportError:  # nothing was built
        return None
    return getattr(_build_info, name)


@constant
def load_core():
    """Loads the kernels' NumPy binding.

    Returns:
        The module `pylstm._core`.

    Raises:
        BackendLoadError: It is absent, or present and cannot be loaded.
    """
    return _load_module("_core")


@functools.cache
def load_cuda():
    """Loads the CUDA kernels' binding; that needs no GPU.

    Returns:
        The module `pylstm._cuda`.

    Raises:
        BackendLoadError: It is absent, as where pylstm was built without CUDA, or present and
            cannot be loaded.
    """
    if built_with("CUDA_VERSION") is None:
        raise BackendLoadError(
            "PYL131",
            "pylstm was built without its CUDA kernels",
            fix=_rebuild("build CUDA=ON", ", with nvcc on the PATH"),
        )
    return _load_module("_cuda")


def _load_module(name):
    try:
        return importlib.import_module(f"pylstm.{name}")
    except ImportError as error:
        if not list(_PACKAGE.glob(f"{name}.*so")):
            raise _absent(f"pylstm.{name}") from error
        raise _broken(f"pylstm.{name}", error) from error


@functools.cache
def load_tensorflow_ops():
    """Loads the TensorFlow op. It is loaded at most once in a process.

    Returns:
        The module of the op's Python wrappers.

    Raises:
        BackendLoadError: TensorFlow or the op's library is absent or cannot be loaded, or the
            library was built for another TensorFlow.
    """
    with tensorflow_required():
        import tensorflow as tf
    library = _PACKAGE / "_tensorflow_ops.so"
    built = built_with("TENSORFLOW_VERSION")
    if built is None or not library.exists():
        raise _absent(library)
    # Another minor version's C++ ABI differs even where the library happens to load.
    if _minor(tf.__version__) != _minor(built):
        raise BackendLoadError(
            "PYL132",
            "the compiled library was built for another TensorFlow",
            expected=f"TensorFlow {_minor(built)}.*",
            got=f"TensorFlow {tf.__version__}",
            fix=_tensorflow_pip(),
        )
    try:
        return tf.load_op_library(str(library))
    except (tf.errors.OpError, OSError) as error:
        raise _broken(library, error) from error


def load_triton():
    """Loads Triton, which torch loads later, so that it shares a process with TensorFlow.

    Each holds an LLVM of its own. The one that comes second would use the other's symbols, with
    which Triton 3.7 and 3.9 end the process.
    """
    if "tensorflow" not in sys.modules:
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    try:
        importlib.import_module("triton")
    except ImportError:
        pass  # builds of torch for the CPU alone come without it
    finally:
        sys.setdlopenflags(flags)


@contextlib.contextmanager
def tensorflow_required(otherwise="KERAS_BACKEND=jax, or torch, in the environment"):
    """Says how to install TensorFlow, or what to do `otherwise`, where importing it fails.

    Raises:
        BackendLoadError: It is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "tensorflow":
            raise
        raise BackendLoadError(
            "PYL131",
            "TensorFlow is not installed",
            fix=f"{_tensorflow_pip()}; or {otherwise}",
        ) from None


def _minor(version):
    return ".".join(version.split(".")[:2])


def _tensorflow_pip():
    built = built_with("TENSORFLOW_VERSION")
    pin = f"=={_minor(built)}.*" if built else ""
    return f"pip install 'tensorflow-cpu{pin}'   (or tensorflow, for GPUs)"


def _absent(library):
    return BackendLoadError("PYL131", got=f"no {library}", fix=_rebuild())


def _broken(library, error):
    return BackendLoadError("PYL132", got=f"{library}: {error}", fix=_rebuild())


def _rebuild(targets="build", condition=""):
    checkout = _PACKAGE.parent
    if (checkout / "CMakeLists.txt").exists():
        return f"make -C {checkout} {targets}   (or leave that folder, if pylstm is installed)"
    return f"pip install --force-reinstall --no-deps .   (in a clone of pylstm{condition})"
