"""`python -m benchmarks.gpu.readme`: writes into README.md what a GPU last ran."""

from benchmarks.gpu import record
from benchmarks.readme import replace_between_markers

README = record.ROOT / "README.md"


def part(result):
    """README.md's part about GPUs, from the newest result or None."""
    if result is None:
        return (
            "The CUDA kernels compile and are tested on a CPU through a shim. They have never run\n"
            "on a GPU, and no speed is claimed for them."
        )
    return (
        f"The CUDA kernels last ran on an {result['device']}, {result['date'][:10]}, from the\n"
        f"sources with the hash `{result['csrc']}`; `python -m pylstm` says what it was built from."
    )


if __name__ == "__main__":
    replace_between_markers(README, "gpu", part(record.newest()))
