"""`python -m benchmarks.gpu.readme`: writes into README.md what a GPU last ran."""

from benchmarks.gpu import record, report
from benchmarks.readme import with_part

README = record.ROOT / "README.md"


def part(content):
    """README.md's part about GPUs, from the newest record or None."""
    if content is None:
        return (
            "The CUDA kernels compile and are tested on a CPU through a shim. They have never run\n"
            "on a GPU, and no speed is claimed for them."
        )
    about, checks = content["environment"], content["checks"]
    failed = sum("failed" in result for result in checks.values())
    return (
        f"The CUDA kernels last ran on an {about['device']}, {about['date'][:10]}, from the\n"
        f"sources with the hash `{about['csrc']}`; `python -m pylstm` says what it was built\n"
        f"from. {len(checks) - failed} of {len(checks)} checks passed.\n\n{report.summary(content)}"
    )


if __name__ == "__main__":
    README.write_text(with_part(README, "gpu", part(record.newest())))
