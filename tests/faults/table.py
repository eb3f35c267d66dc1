"""`python -m tests.faults.table`: writes docs/faults.md, a row for each test of `test_what_is_said`."""

from pathlib import Path

from tests.faults.fault import Fault
from tests.faults.registry import FAULTS, GROUPS

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
HEAD = f"""# Error messages

This page lists {len(FAULTS)} faults and the message of each. Each row is a test (`tests/faults`, by the fault's
name): it causes the fault, runs the real command, and checks the exit status and that the command prints this one line
without a traceback. `…` stands for what varies.

After a fault, every file of the repository is as it was before the command, except the record in MLflow and work in
`.work` from which the next execution resumes. MLflow has either a FAILED run, whose tag `error` has the message, or, if
the command ends before a stage begins, no run.

`python -m tests.faults.table` writes this page.
"""


def page() -> str:
    """The page's text."""
    return HEAD + "".join(f"\n## {title}\n\n{_table(faults)}" for title, faults in GROUPS.items())


def _table(faults: list[Fault]) -> str:
    rows = (f"| {fault.name} | {_code(fault.typed)} | {_cell(fault.said)} | {_kept(fault)} |\n" for fault in faults)
    return "| fault | command | message | in MLflow |\n|---|---|---|---|\n" + "".join(rows)


def _kept(fault: Fault) -> str:
    if fault.ends:
        return "; ".join(f"{'another' if end == 'RUNNING' else 'a'} {end} run" for end in fault.ends)
    return "a FAILED run with the reason" if fault.recorded else "no run"


def _code(text: str) -> str:
    return f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
