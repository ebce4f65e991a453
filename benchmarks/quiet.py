"""TensorFlow's start-up messages, which no log level hides, kept off the screen."""

import os
from contextlib import contextmanager


@contextmanager
def native_logs_hidden():
    """Sends what native code writes to standard error nowhere; exceptions are not touched."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
