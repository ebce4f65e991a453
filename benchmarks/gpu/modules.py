"""pylstm's modules on a machine that may lack Keras and TensorFlow."""

import importlib
import pathlib
import sys
import types

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "pylstm"


def load(name):
    """Imports `pylstm.<name>` without running the package's own `__init__`, which needs Keras."""
    if "pylstm" not in sys.modules:
        package = types.ModuleType("pylstm")
        package.__path__ = [str(PACKAGE)]
        sys.modules["pylstm"] = package
    return importlib.import_module(f"pylstm.{name}")
