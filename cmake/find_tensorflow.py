"""Prints TensorFlow's version and folder, a line each, without importing it (seconds, and it may
not even load); prints nothing where TensorFlow is not installed."""

import importlib.metadata
import importlib.util
import pathlib

spec = importlib.util.find_spec("tensorflow")
if spec is not None and spec.origin is not None:
    # The wheel's name differs (tensorflow, tensorflow-cpu, ...), its import package does not.
    distribution = importlib.metadata.packages_distributions()["tensorflow"][0]
    print(importlib.metadata.version(distribution))
    print(pathlib.Path(spec.origin).parent)
