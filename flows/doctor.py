"""Says what is wrong with this installation, a line for each thing that it needs; status 1 if anything is."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from flows.checks import Finding
from flows.checks.checkout import check_files, check_git, check_killed, check_locks, check_runs, check_untracked
from flows.checks.machine import check_disk, check_gpus, check_links, check_packages, check_telemetry
from flows.checks.remote import check_mlflow, check_prefect, check_remote
from flows.errors import TOLD, told
from runtime.execution.faults import named

CHECKS = (
    check_packages,
    check_git,
    check_files,
    check_disk,
    check_links,
    check_gpus,
    check_telemetry,
    check_mlflow,
    check_prefect,
    check_remote,
    check_killed,
    check_locks,
    check_runs,
    check_untracked,
)


def main() -> None:
    """Prints the findings as they come."""
    argparse.ArgumentParser(prog="python -m flows.doctor", description=__doc__).parse_args()
    wrong = 0
    with told():
        for check in CHECKS:
            finding = _found(check)
            wrong += bool(finding.remedy)
            print(line(finding), flush=True)
    print(f"{wrong} of {len(CHECKS)} are wrong." if wrong else "All is well.", flush=True)
    os._exit(bool(wrong))  # MLflow's exit handlers take a second


def line(finding: Finding) -> str:
    """One finding in one line."""
    remedy = f" -> {finding.remedy}" if finding.remedy else ""
    return f"{'wrong' if finding.remedy else 'ok   '}  {finding.subject:<16} {finding.text}{remedy}"


def _found(check: Callable[[Path], Finding]) -> Finding:
    subject = check.__name__.removeprefix("check_")
    try:
        return check(Path.cwd())
    except ImportError as error:
        return Finding(subject, f"cannot be looked at ({error})", "mend the packages first")
    except (*TOLD, OSError) as error:  # a fault in machine.yaml, say
        return Finding(subject, "; ".join(str(named(error, Path.cwd(), TOLD)).splitlines()), "correct that first")


if __name__ == "__main__":
    main()
