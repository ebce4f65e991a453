"""A cache for what stays the same as long as a process runs."""

import functools


def constant(function):
    """Caches the results of a function that depend on its arguments alone.

    `torch.compile` takes them for constants. At `functools.cache` it would warn, and trace into the
    function, where its graph breaks at an import, for one.
    """
    cached = functools.cache(function)

    @functools.wraps(function)
    def call(*arguments):
        return cached(*arguments)

    call.cache_clear = cached.cache_clear
    call._dynamo_marked_constant = True  # as torch.compiler.assume_constant_result, without torch
    return call
