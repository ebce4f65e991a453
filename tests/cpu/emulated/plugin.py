"""Has the tests use a `_core` with emulated instructions: EMULATED_CORE, its folder.

For `pytest -p tests.cpu.emulated.plugin tests/cpu`.
"""

import importlib.util
import os
import sys
from pathlib import Path

_ISAS = ["baseline", "avx2", "avx512", "avx512_bf16", "amx_bf16"]

(_library,) = Path(os.environ["EMULATED_CORE"]).glob("_core*.so")
_spec = importlib.util.spec_from_file_location("pylstm._core", _library)
_core = importlib.util.module_from_spec(_spec)
sys.modules["pylstm._core"] = _core
_spec.loader.exec_module(_core)
assert _core.isas() == _ISAS, _core.isas()
