"""`python -m pylstm`: what pylstm runs with here, and whether its results are right."""

import sys

from pylstm.config import show_config
from pylstm.errors import BackendLoadError
from pylstm.self_test import run_checks


def main():
    show_config()
    print("self-test (forward and gradient against float64)")
    try:
        checks = list(run_checks())
    except BackendLoadError as error:
        print(f"failed: {error}")
        return 1
    for check in checks:
        verdict = "right" if check.passed else f"WRONG, more than {check.tolerance:.0e}"
        print(f"  {check.kernel:15} {check.dtype:8}  error {check.error:.1e}  {verdict}")
    failed = sum(not check.passed for check in checks)
    print(f"failed: {failed} of {len(checks)}" if failed else "passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
