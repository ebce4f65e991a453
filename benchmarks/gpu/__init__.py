"""Builds, checks and times the CUDA kernels on a GPU; see `__main__.py`."""
