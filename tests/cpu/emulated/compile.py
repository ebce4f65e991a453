#!/usr/bin/env python3
"""Runs a compiler with AVX-512 and AMX emulated, for CMake as CMAKE_CXX_COMPILER_LAUNCHER."""

import os
import sys
from pathlib import Path

_HEADER = Path(__file__).with_name("intrinsics.h")


def _emulated(option):
    """-mavx512f as -DEMULATED_AVX512F."""
    if not option.startswith(("-mavx512", "-mamx")):
        return option
    return "-DEMULATED_" + option.removeprefix("-m").upper().replace("-", "_")


compiler, *options = sys.argv[1:]
# The compiler would note that vectors of 64 bytes are passed in another way than with AVX-512.
emulation = ["-include", str(_HEADER), "-Wno-psabi"]
os.execvp(compiler, [compiler, *emulation, *map(_emulated, options)])
