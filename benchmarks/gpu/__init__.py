"""Builds, checks and times the CUDA kernels on a GPU; see `__main__.py`."""

import importlib.util
import pathlib
import sys
import types

# Without TensorFlow pylstm's modules are imported without the package's own `__init__`, which
# needs it.
if "pylstm" not in sys.modules and importlib.util.find_spec("tensorflow") is None:
    _package = types.ModuleType("pylstm")
    _package.__path__ = [str(pathlib.Path(__file__).resolve().parents[2] / "pylstm")]
    sys.modules["pylstm"] = _package
