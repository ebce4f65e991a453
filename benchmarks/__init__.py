"""Demonstration and benchmarks of pylstm; not part of the installed package."""
